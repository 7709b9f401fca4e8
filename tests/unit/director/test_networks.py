"""Which addresses may be connected to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from director.networks import NetworkRule

PUBLIC = NetworkRule.public_and(())

NOT_PUBLIC = (
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:0:7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
)


def embedded(address: str) -> tuple[str, ...]:
    """The forms in which an IPv4 address stands in an IPv6 one."""
    high, low = address.split(".")[:2], address.split(".")[2:]
    hexadecimal = ":".join("".join(f"{int(part):02x}" for part in half) for half in (high, low))
    return f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{hexadecimal}::1"


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public_is_denied(address: str) -> None:
    assert not PUBLIC.admits(address)


@pytest.mark.parametrize("address", [each for each in NOT_PUBLIC if "." in each])
def test_what_is_not_public_is_denied_in_ipv6_too(address: str) -> None:
    assert not any(PUBLIC.admits(form) for form in embedded(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "9.255.255.255", "11.0.0.0", "172.32.0.1", "192.167.1.1", "223.1.1.1"])
def test_what_is_public_is_admitted(address: str) -> None:
    assert all(PUBLIC.admits(form) for form in (address, *embedded(address)))


@pytest.mark.parametrize("address", ["2606:4700::1111", "2a00:1450::1", "2003::1"])
def test_what_is_public_in_ipv6_is_admitted(address: str) -> None:
    assert PUBLIC.admits(address)


@given(st.ip_addresses(v=4))
def test_an_address_is_admitted_in_every_form_or_in_none(address: object) -> None:
    assert len({PUBLIC.admits(form) for form in (str(address), *embedded(str(address)))}) == 1


def test_what_is_allowed_is_admitted_and_nothing_beside_it() -> None:
    rule = NetworkRule.public_and(["10.1.0.0/16", "fd00::/64"])
    assert all(rule.admits(each) for each in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00::1", "1.1.1.1"))
    assert not any(rule.admits(each) for each in ("10.2.0.1", "127.0.0.1", "fd00:0:0:1::1"))


def test_what_is_denied_is_denied_in_every_form_and_all_else_is_admitted() -> None:
    rule = NetworkRule.all_but(["127.0.0.0/8", "2002::/16"])
    assert not any(rule.admits(each) for each in ("127.0.0.1", *embedded("127.0.0.1"), "2002:101:101::"))
    assert all(rule.admits(each) for each in ("10.0.0.1", "::1", "169.254.169.254"))


@pytest.mark.parametrize("network", ["10.0.0.0/33", "10.0.0.1/8", "here", ""])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match=network or "''"):
        NetworkRule.public_and([network])
