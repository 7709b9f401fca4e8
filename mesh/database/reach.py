"""Waiting for a PostgreSQL server that does not take connections yet."""

import asyncio
from datetime import timedelta

from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping
from sqlalchemy import URL

from mesh import telemetry
from mesh.backoff import Backoff
from mesh.database.connections import wire_options
from mesh.database.limits import Limits

_FIRST_WAIT = timedelta(milliseconds=200)
_LONGEST_WAIT = timedelta(seconds=5)

_AWAY = frozenset({Ping.NO_RESPONSE, Ping.REJECT})
"""It is not to be found, or it starts, stops or recovers. A server that takes others but not us is not away."""

_log = telemetry.logger("database")


async def reach(url: URL, limits: Limits, within: float) -> bool:
    """Ask the server until it takes connections; false where it does not `within` seconds.

    That this role, its password or the database is wrong is for whoever connects to find: it would not mend itself.
    """
    _, parameters = url.get_dialect()().create_connect_args(url)
    connection = make_conninfo(**parameters, **wire_options(url, limits)).encode()
    loop = asyncio.get_running_loop()
    last = loop.time() + within
    backoff = Backoff(_FIRST_WAIT, _LONGEST_WAIT)
    while (answer := Ping(await asyncio.to_thread(PGconn.ping, connection))) in _AWAY:
        left = last - loop.time()
        if left <= 0:
            return False
        _log.warning("waiting for the database", answer=answer.name, seconds_left=round(left))
        await asyncio.sleep(min(backoff.next(), left))
    return True
