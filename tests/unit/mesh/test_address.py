"""Where a service is: one address, all that a name has, or a list."""

import pytest

from mesh.address import AddressRefused, Target, check_addresses, first_of, target_of


@pytest.mark.parametrize("address", ["127.0.0.1:7443", "[::1]:7443", "director.plane.example:7443", "localhost:1"])
def test_one_address_is_gone_to_as_it_is(address: str) -> None:
    assert target_of(address) == Target(address)


def test_of_a_name_with_dns_every_address_is_gone_to() -> None:
    address = "dns:///director.plane.example:7443"
    assert target_of(address) == Target(address, several=True)


@pytest.mark.parametrize(
    ("address", "uri", "authority"),
    [
        ("10.0.0.1:7443,10.0.0.2:7443", "ipv4:10.0.0.1:7443,10.0.0.2:7443", "10.0.0.1:7443"),
        ("127.0.0.1:7443, 127.0.0.1:7447", "ipv4:127.0.0.1:7443,127.0.0.1:7447", "127.0.0.1:7443"),
        ("[::1]:7443,[fd00::2]:7443", "ipv6:[::1]:7443,[fd00::2]:7443", "[::1]:7443"),
    ],
)
def test_each_of_a_list_is_gone_to_and_must_have_the_name_of_the_first(address: str, uri: str, authority: str) -> None:
    assert target_of(address) == Target(uri, authority, several=True)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "no address"),
        ("director.plane.example", "no address"),
        ("director.plane.example:0", "no address"),
        ("director.plane.example:65536", "no address"),
        ("https://director.plane.example:7443", "no address"),
        ("dns:///", "no address"),
        ("dns:///director.plane.example", "no address"),
        ("dns://8.8.8.8/director.plane.example:7443", "no address"),
        ("a.plane.example:7443,b.plane.example:7443", "'a.plane.example:7443' of .* is no IP:port.* dns:///name:port"),
        ("10.0.0.1:7443,", "'' of .* is no IP:port"),
        ("10.0.0.1:7443,10.0.0.2", "'10.0.0.2' of .* is no IP:port"),
        ("10.0.0.1:7443,10.0.0.256:7443", "'10.0.0.256:7443' of"),
        ("10.0.0.1:7443,10.0.0.2:70000", "'10.0.0.2:70000' of"),
        ("[::1]:7443,::2:7443", "'::2:7443' of"),
        ("10.0.0.1:7443,[::1]:7443", "IPv4 and IPv6"),
    ],
)
def test_what_is_no_address_is_refused_with_what_is_wrong(address: str, says: str) -> None:
    with pytest.raises(AddressRefused, match=says):
        target_of(address)


@pytest.mark.parametrize(
    ("address", "first"),
    [
        ("10.0.0.1:7443,10.0.0.2:7443", "10.0.0.1:7443"),
        ("dns:///director.plane.example:7443", "director.plane.example:7443"),
        ("[::1]:7443", "[::1]:7443"),
    ],
)
def test_who_can_be_told_of_one_is_told_the_first(address: str, first: str) -> None:
    assert first_of(address) == first


def test_a_setting_that_is_no_address_is_named_and_an_empty_one_is_none() -> None:
    check_addresses(director="", connector="127.0.0.1:7444")
    with pytest.raises(AddressRefused, match=r"^connector: 'x' is no address"):
        check_addresses(director="", connector="x")
