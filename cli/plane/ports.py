"""The addresses of the embedded plane: one host, four ports that are free, and one more for each further Director."""

import errno
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from mesh.exits import Exit, Stopped

ListenAddress = IPv4Address | IPv6Address

_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_ATTEMPTS = 200
_HIGHEST = 65_535


@dataclass(frozen=True)
class Ports:
    """A port for each listener."""

    director: int
    connector: int
    enrolment: int
    provisioner: int
    more_directors: tuple[int, ...] = ()

    @classmethod
    def following(cls, first: int, directors: int = 1) -> "Ports":
        """The Director on `first`, the others on the three after it, and further Directors on those that follow.

        Raises `Stopped` (USAGE) where there are not so many.
        """
        last = first + 2 + directors
        if last > _HIGHEST:
            raise Stopped(Exit.USAGE, f"after --port {first} there are too few ports: name a lower one")
        return cls(first, first + 1, first + 2, first + 3, tuple(range(first + 4, last + 1)))

    @property
    def directors(self) -> tuple[int, ...]:
        """Of every Director, the first one first."""
        return (self.director, *self.more_directors)

    @property
    def all(self) -> tuple[int, ...]:
        """Each of them."""
        return (self.director, self.connector, self.enrolment, self.provisioner, *self.more_directors)


def at(listen: ListenAddress, port: int) -> str:
    """`HOST:PORT`, with the brackets that an IPv6 address needs (RFC 3986, 3.2.2)."""
    return f"[{listen}]:{port}" if listen.version == 6 else f"{listen}:{port}"


def at_each(listen: ListenAddress, ports: Sequence[int]) -> str:
    """Where several instances are, as `mesh.address` reads it."""
    return ",".join(at(listen, port) for port in ports)


def free_ports(
    listen: ListenAddress, preferred: Ports | None, chance: random.Random | None = None, *, directors: int = 1
) -> Ports:
    """Free ports for a plane: the `preferred` ones where all are still free, and others where these are too few.

    They lie below the range that the system takes ports for outgoing connections from, so that none is gone when a
    service that died comes back a moment later. Raises `Stopped` (PORT_TAKEN) where none are to be had.
    """
    wanted = 3 + directors
    found: list[int] = []
    if preferred and all(_error_at(listen, port) is None for port in preferred.all[:wanted]):
        found += preferred.all[:wanted]
    chance = chance or random.Random()  # noqa: S311 - spreads planes over the ports, guards nothing
    highest = _first_ephemeral_port()
    for _ in range(_ATTEMPTS):
        if len(found) == wanted:
            director, connector, enrolment, provisioner, *more = found
            return Ports(director, connector, enrolment, provisioner, tuple(more))
        port = chance.randrange(_LOWEST, highest)
        if port not in found and _error_at(listen, port) is None:
            found.append(port)
    _explain(listen, highest, _error_at(listen, highest))
    raise Stopped(Exit.PORT_TAKEN, f"no {wanted} free ports on {listen}: name the first of them with --port")


def check_free(listen: ListenAddress, ports: Ports) -> None:
    """Raises `Stopped` for the first port that cannot be listened on."""
    for port in ports.all:
        _explain(listen, port, _error_at(listen, port))


def _explain(listen: ListenAddress, port: int, error: OSError | None) -> None:
    if error is None:
        return
    if error.errno == errno.EADDRINUSE:
        raise Stopped(
            Exit.PORT_TAKEN,
            f"{at(listen, port)} is taken: stop what listens there, choose another --port, "
            "or let --port 0 find free ones",
        )
    if error.errno == errno.EACCES:
        raise Stopped(Exit.PORT_TAKEN, f"{at(listen, port)} may not be listened on: choose a --port from 1024 on")
    raise Stopped(
        Exit.USAGE, f"{listen} cannot be listened on ({error.strerror}): --listen takes an address of this machine"
    )


def _error_at(listen: ListenAddress, port: int) -> OSError | None:
    family = socket.AF_INET6 if listen.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the services do: connections that linger after a restart (TIME_WAIT) do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((str(listen), port))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def _first_ephemeral_port() -> int:
    try:
        first = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32_768
    return first if first > _LOWEST + 1_000 else 65_536
