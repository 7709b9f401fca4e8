"""Queries upon what hangs on a target of credentials: an API or a bundle."""

from sqlalchemy import Connection, bindparam, delete

from director.store.tables import access_requests, credentials


def drop_credentials(tx: Connection, application_id: str, target_id: str) -> list[str]:
    """Remove a target's credentials; gives the Runtime of each in order, empty for the shared one."""
    return sorted(tx.execute(_DROP_CREDENTIALS, {"application": application_id, "target": target_id}).scalars())


def drop_requests(tx: Connection, application_id: str, target_id: str) -> None:
    """Remove the requests for credentials of a target."""
    tx.execute(_DROP_REQUESTS, {"application": application_id, "target": target_id})


_DROP_CREDENTIALS = (
    delete(credentials)
    .where(
        credentials.c.application_id == bindparam("application"),
        credentials.c.target_id == bindparam("target"),
    )
    .returning(credentials.c.runtime_id)
)
_DROP_REQUESTS = delete(access_requests).where(
    access_requests.c.application_id == bindparam("application"),
    access_requests.c.target_id == bindparam("target"),
)
