"""Which addresses the Director connects to, where others choose the URL (server-side request forgery, CWE-918)."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class NetworkRule:
    """The networks that may be connected to. An IPv6 address that leads to an IPv4 one counts as that one, too."""

    denied: tuple[Network, ...] = ()
    """Those that may not."""

    allowed: tuple[Network, ...] = ()
    """Those that may, though they are denied or not public."""

    public_only: bool = False
    """Whether, save for the allowed, only what is public may be connected to."""

    @classmethod
    def all_but(cls, denied: Collection[str]) -> "NetworkRule":
        """All networks save those (CIDR); raises `ValueError` for what is no network."""
        return cls(denied=tuple(map(ip_network, denied)))

    @classmethod
    def public_and(cls, allowed: Collection[str]) -> "NetworkRule":
        """All that is public, and those (CIDR); raises `ValueError` for what is no network."""
        return cls(allowed=tuple(map(ip_network, allowed)), public_only=True)

    def admits(self, address: str) -> bool:
        """Whether an IP address may be connected to; raises `ValueError` for what is no address."""
        written = ip_address(address)
        meant = _meant(written)
        if _lies_in(self.allowed, written, meant):
            return True
        return not _lies_in(self.denied, written, meant) and (not self.public_only or _is_public(meant))


_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            # The IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890), and multicast.
            "0.0.0.0/8",  # this host, unspecified
            "10.0.0.0/8",  # private (RFC 1918)
            "100.64.0.0/10",  # shared, behind a carrier's NAT (RFC 6598)
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays, deprecated
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
            "2001::/23",  # protocol assignments, Teredo among them
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all others are reserved, or are for some special purpose (RFC 4291)

# Where an IPv4 address stands in an IPv6 one: the prefix, and the bits to the right of the address.
_EMBEDDING = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped (RFC 4291)
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (IPv6Network("2002::/16"), 80),  # 6to4 (RFC 3056)
)


def _meant(address: Address) -> Address:
    """The address that is reached by it in the end."""
    for network, right in _EMBEDDING:
        if address in network:
            return IPv4Address(int(address) >> right & 0xFFFFFFFF)
    return address


def _lies_in(networks: tuple[Network, ...], *addresses: Address) -> bool:
    return any(address in network for network in networks for address in addresses)


def _is_public(address: Address) -> bool:
    return (address.version == 4 or address in _GLOBAL_UNICAST) and not _lies_in(_NOT_PUBLIC, address)
