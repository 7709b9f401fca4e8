"""What credentials are for: the APIs and bundles of Applications, the targets of credentials and of requests for them.

A Runtime learns that a credential changed by a revision: that of the Application for a shared one, which is part of the
Application's configuration, and its own for one that is for it alone.
"""

from director.changes import Action, Kind, Mutation
from director.store import Transaction, targets
from director.store.registry import APPLICATIONS, RUNTIMES


def forget_target(tx: Transaction, mutation: Mutation, application_id: str, target_id: str) -> None:
    """Remove the credentials of a target that goes, and the requests for them."""
    targets.drop_requests(tx, application_id, target_id)
    for runtime_id in targets.drop_credentials(tx, application_id, target_id):
        credential_changed(tx, mutation, Action.DELETE, application_id, target_id, runtime_id)


def credential_changed(
    tx: Transaction, mutation: Mutation, action: Action, application_id: str, target_id: str, runtime_id: str
) -> None:
    """Note that a credential of a target changed, and have those who use it learn of it.

    `runtime_id` is empty where it is shared.
    """
    if runtime_id:
        RUNTIMES.update(tx, runtime_id, {"credentials_revision": mutation.revision})
    else:
        moved = dict.fromkeys(("credentials_revision", "configuration_revision"), mutation.revision)
        APPLICATIONS.update(tx, application_id, moved)
    mutation.record(action, Kind.CREDENTIAL, target_id, application_id=application_id, runtime_id=runtime_id or None)
