"""Where a service is, as settings, contexts and the plane itself say it: at one address, or at several.

    host:port             one instance, or whatever hides several behind one address
    dns:///name:port      every address that the name has
    IP:port,IP:port,...   those of a list; IPv4, or IPv6 in brackets, but not both

Nothing of gRPC is needed to read one.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

_DNS = "dns:///"
_PORT = r"[1-9]\d{0,4}"
_ONE = re.compile(rf"[^\s/@,]+:{_PORT}")
_LISTED = re.compile(rf"(?:\[(?P<six>[^\]]*)\]|(?P<four>[^:]*)):{_PORT}")
_HIGHEST_PORT = 65_535


class AddressRefused(ValueError):
    """It is no address of a service; the message says what is wrong with it."""


@dataclass(frozen=True)
class Target:
    """What gRPC is told so that it finds every instance at an address."""

    uri: str
    """The name for gRPC's resolvers (its `naming.md`)."""

    authority: str | None = None
    """`host:port` whose host every instance's certificate must have, where the `uri` does not say it."""

    several: bool = False
    """Whether calls go round: there may be several instances."""


def target_of(address: str) -> Target:
    """Read an address; raises `AddressRefused`."""
    if "," in address:
        return _listed(address)
    one = address.removeprefix(_DNS)
    if not _ONE.fullmatch(one) or not _is_port(one):
        raise AddressRefused(
            f"{address!r} is no address: write host:port, dns:///name:port, or IP:port,IP:port with more of them"
        )
    return Target(address, several=address != one)


def first_of(address: str) -> str:
    """`host:port` of one instance at an address that was read, for who can be told of one only."""
    return address.partition(",")[0].removeprefix(_DNS)


def check_addresses(**addresses: str) -> None:
    """Have settings say, by their names, which of them is no address; an empty one is passed over.

    Raises `AddressRefused`.
    """
    for name, address in addresses.items():
        try:
            if address:
                target_of(address)
        except AddressRefused as error:
            raise AddressRefused(f"{name}: {error}") from error


def _listed(address: str) -> Target:
    each = [one.strip() for one in address.split(",")]
    versions = {_version(one, address) for one in each}
    if len(versions) > 1:
        raise AddressRefused(f"{address!r} has IPv4 and IPv6 addresses: gRPC takes a list of one kind")
    return Target(f"ipv{versions.pop()}:{','.join(each)}", authority=each[0], several=True)


def _version(one: str, address: str) -> int:
    parts = _LISTED.fullmatch(one)
    try:
        if parts is None or not _is_port(one):
            raise ValueError
        return IPv6Address(parts["six"]).version if parts["six"] is not None else IPv4Address(parts["four"]).version
    except ValueError:
        raise AddressRefused(
            f"{one!r} of {address!r} is no IP:port: a list has IP addresses with ports, IPv6 in brackets, and for all "
            "addresses of a name there is dns:///name:port"
        ) from None


def _is_port(one: str) -> bool:
    return int(one.rpartition(":")[2]) <= _HIGHEST_PORT
