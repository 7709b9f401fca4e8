"""Queries upon credentials and the requests for them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, insert, or_, select, tuple_, update

from director.store.registry import Values
from director.store.tables import access_requests, credentials, group_applications, group_runtimes

SHARED = ""
"""The `runtime_id` of a credential that every Runtime uses which its Application serves."""

API, BUNDLE = "API", "BUNDLE"
"""What a `target_kind` can be."""


def find(tx: Connection, application_id: str, target_id: str, runtime_id: str) -> Values | None:
    """A credential, without its secret."""
    key = {"application": application_id, "target": target_id, "runtime": runtime_id}
    row = tx.execute(_FIND, key).first()
    return row._asdict() if row is not None else None


def store(tx: Connection, values: Values) -> None:
    """Write a credential, in place of the one that its target has."""
    drop(tx, values["application_id"], values["target_id"], values["runtime_id"])
    tx.execute(_INSERT, dict(values))


def drop(tx: Connection, application_id: str, target_id: str, runtime_id: str) -> bool:
    """Remove a credential; says whether there was one."""
    key = {"application": application_id, "target": target_id, "runtime": runtime_id}
    return tx.execute(_DROP, key).rowcount > 0


def drop_of_runtime(tx: Connection, runtime_id: str) -> None:
    """Remove the credentials that are for a Runtime alone."""
    tx.execute(_DROP_OF_RUNTIME, {"runtime": runtime_id})


def page(tx: Connection, application_id: str, after: Sequence[str] | None, limit: int) -> list[Values]:
    """The first `limit` credentials of an Application after the place (runtime id, target id), without secrets."""
    query = _OF_APPLICATION if after is None else _OF_APPLICATION.where(_BEYOND)
    values = {"application": application_id, "limit": limit}
    if after is not None:
        values |= {"after_runtime": after[0], "after_target": after[1]}
    return [row._asdict() for row in tx.execute(query, values)]


def page_to_use(
    tx: Connection, runtime_id: str, application_id: str, after: Sequence[str] | None, limit: int
) -> list[Row[Any]]:
    """The first `limit` credentials that a Runtime is to use, sealed, after the place (application id, target id).

    Of the Applications that serve it, or of one: for each target its own credential, else the shared one.
    """
    query = _TO_USE
    values: dict[str, Any] = {"runtime": runtime_id, "limit": limit}
    if application_id:
        query = query.where(credentials.c.application_id == bindparam("application"))
        values["application"] = application_id
    if after is not None:
        query = query.where(_BEYOND_TARGET)
        values |= {"after_application": after[0], "after_target": after[1]}
    return list(tx.execute(query, values))


def find_request(tx: Connection, id: str) -> Values | None:
    """A request for a credential."""
    row = tx.execute(_FIND_REQUEST, {"id": id}).first()
    return row._asdict() if row is not None else None


def find_pending(tx: Connection, runtime_id: str, target_id: str, state: int) -> Values | None:
    """The request of a Runtime for a target that is in this state, where there is one."""
    row = tx.execute(_FIND_PENDING, {"runtime": runtime_id, "target": target_id, "state": state}).first()
    return row._asdict() if row is not None else None


def find_last_answered(tx: Connection, runtime_id: str, target_id: str, state: int) -> Values | None:
    """The request of a Runtime for a target that was the last to be answered so, where there is one."""
    row = tx.execute(_FIND_LAST_ANSWERED, {"runtime": runtime_id, "target": target_id, "state": state}).first()
    return row._asdict() if row is not None else None


def insert_request(tx: Connection, values: Values) -> None:
    """Write a new request."""
    tx.execute(insert(access_requests), dict(values))


def answer_request(tx: Connection, id: str, values: Values) -> None:
    """Write what became of a request."""
    tx.execute(update(access_requests).where(access_requests.c.access_request_id == id).values(**values))


def drop_request(tx: Connection, id: str) -> None:
    """Remove a request."""
    tx.execute(delete(access_requests).where(access_requests.c.access_request_id == id))


def page_of_requests(tx: Connection, within: Values, after: tuple[int, str] | None, limit: int) -> list[Values]:
    """The first `limit` requests after the place (time, id), oldest first, whose columns are as `within` says."""
    place = (access_requests.c.create_time, access_requests.c.access_request_id)
    query = select(access_requests).order_by(*place).limit(limit)
    query = query.where(*(access_requests.c[name] == value for name, value in within.items()))
    if after is not None:
        query = query.where(or_(place[0] > after[0], and_(place[0] == after[0], place[1] > after[1])))
    return [row._asdict() for row in tx.execute(query)]


# The statements are built once: building one costs more than SQLite takes to run it.
_KEY = (
    credentials.c.application_id == bindparam("application"),
    credentials.c.target_id == bindparam("target"),
    credentials.c.runtime_id == bindparam("runtime"),
)
_ABOUT = [column for column in credentials.c if column.name != "sealed"]
_FIND = select(*_ABOUT).where(*_KEY)
_INSERT = insert(credentials)
_DROP = delete(credentials).where(*_KEY)
_DROP_OF_RUNTIME = delete(credentials).where(credentials.c.runtime_id == bindparam("runtime"))
_PLACE = (credentials.c.runtime_id, credentials.c.target_id)
_OF_APPLICATION = (
    select(*_ABOUT)
    .where(credentials.c.application_id == bindparam("application"))
    .order_by(*_PLACE)
    .limit(bindparam("limit"))
)
_BEYOND = tuple_(*_PLACE) > tuple_(
    bindparam("after_runtime", type_=credentials.c.runtime_id.type),
    bindparam("after_target", type_=credentials.c.target_id.type),
)
_own = credentials.alias("own")
_SERVING = (
    select(group_applications.c.application_id)
    .join(group_runtimes, group_runtimes.c.group_id == group_applications.c.group_id)
    .where(
        group_runtimes.c.runtime_id == bindparam("runtime"),
        group_runtimes.c.removed_revision.is_(None),
        group_applications.c.removed_revision.is_(None),
    )
)
_TARGET_PLACE = (credentials.c.application_id, credentials.c.target_id)
_TO_USE = (
    select(credentials)
    .where(
        credentials.c.application_id.in_(_SERVING),
        or_(
            credentials.c.runtime_id == bindparam("runtime"),
            and_(
                credentials.c.runtime_id == SHARED,
                ~select(_own.c.target_id)
                .where(
                    _own.c.application_id == credentials.c.application_id,
                    _own.c.target_id == credentials.c.target_id,
                    _own.c.runtime_id == bindparam("runtime"),
                )
                .exists(),
            ),
        ),
    )
    .order_by(*_TARGET_PLACE)
    .limit(bindparam("limit"))
)
_BEYOND_TARGET = tuple_(*_TARGET_PLACE) > tuple_(
    bindparam("after_application", type_=credentials.c.application_id.type),
    bindparam("after_target", type_=credentials.c.target_id.type),
)
_FIND_REQUEST = select(access_requests).where(access_requests.c.access_request_id == bindparam("id"))
_FIND_PENDING = select(access_requests).where(
    access_requests.c.runtime_id == bindparam("runtime"),
    access_requests.c.target_id == bindparam("target"),
    access_requests.c.state == bindparam("state"),
)
_FIND_LAST_ANSWERED = _FIND_PENDING.order_by(access_requests.c.revision.desc()).limit(1)
