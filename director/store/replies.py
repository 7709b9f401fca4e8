"""Queries upon the first answers to requests that carried a request id."""

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select

from director.store.tables import replies
from mesh.database import Prepared


class Reply(NamedTuple):
    """A first answer: the digest of the request it was given to, and the serialised response."""

    request_sha256: bytes
    response: bytes


def find(tx: Connection, caller: str, method: str, request_id: str) -> Reply | None:
    """The first answer to this caller's request, if there was one."""
    row = _FIND.first(tx, {"caller": caller, "method": method, "request_id": request_id})
    return Reply(**row) if row is not None else None


def store(tx: Connection, caller: str, method: str, request_id: str, reply: Reply, time: int) -> None:
    """Keep a first answer; `time` is in microseconds since the epoch."""
    key = {"caller": caller, "method": method, "request_id": request_id}
    _STORE.run(tx, {**key, "create_time": time, **reply._asdict()})


def drop_before(tx: Connection, time: int) -> int:
    """Forget answers given before `time`, in microseconds since the epoch; says how many."""
    return tx.execute(delete(replies).where(replies.c.create_time < time)).rowcount


_FIND = Prepared(
    select(replies.c.request_sha256, replies.c.response).where(
        replies.c.caller == bindparam("caller"),
        replies.c.method == bindparam("method"),
        replies.c.request_id == bindparam("request_id"),
    )
)
_STORE = Prepared(insert(replies), [column.name for column in replies.c])
