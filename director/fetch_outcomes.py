"""What came of an attempt to fetch the document of an offer, as a unit of work."""

from director import offers
from director.changes import Mutation
from director.mutate import Occasion
from director.specifications.fetching import FetchOutcome
from director.store import Transaction, fetches
from director.store.fetches import Fetch
from director.times import to_micros


def store_outcome(tx: Transaction, occasion: Occasion, fetch: Fetch, outcome: FetchOutcome) -> bool:
    """Note what came of an attempt, and give the offer the document if there is one; what Runtimes see is a revision.

    Says whether the fetch still was as it was when the attempt began: if not, nothing is done.
    """
    values = {
        "state": outcome.state,
        "attempts": outcome.attempts,
        "failure": outcome.failure,
        "attempt_time": to_micros(occasion.time),
    }
    if outcome.document is None:
        return fetches.attempted(tx, fetch, values)
    mutation = Mutation(tx, occasion.time, occasion.actor, occasion.request_id, occasion.new_id)
    if not fetches.attempted(tx, fetch, values):
        return False
    offers.take_fetched(tx, mutation, fetch.offer_id, outcome.document)
    mutation.finish()
    return True
