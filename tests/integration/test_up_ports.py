"""Which ports the embedded plane takes."""

import random
import socket
from ipaddress import ip_address

import pytest

from cli.plane.ports import Ports, check_free, free_ports
from mesh.exits import Exit, Stopped

LOOPBACK = ip_address("127.0.0.1")


def test_free_ports_are_four_that_can_be_listened_on() -> None:
    ports = free_ports(LOOPBACK, None, random.Random(1))
    assert len(set(ports.all)) == 4
    check_free(LOOPBACK, ports)


def test_free_ports_are_not_among_those_that_outgoing_connections_get() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ephemeral:
        lowest = min(ephemeral.getsockname()[1], 32768)
    assert max(free_ports(LOOPBACK, None, random.Random(2)).all) < lowest


def test_the_ports_of_the_start_before_are_taken_again() -> None:
    before = free_ports(LOOPBACK, None, random.Random(3))
    assert free_ports(LOOPBACK, before, random.Random(4)) == before


def test_other_ports_are_taken_where_one_of_the_start_before_is_gone() -> None:
    before = free_ports(LOOPBACK, None, random.Random(5))
    with socket.create_server(("127.0.0.1", before.enrolment)):
        after = free_ports(LOOPBACK, before, random.Random(6))
    assert before.enrolment not in after.all


def test_a_taken_port_is_named() -> None:
    ports = free_ports(LOOPBACK, None, random.Random(7))
    with (
        socket.create_server(("127.0.0.1", ports.connector)),
        pytest.raises(Stopped, match=rf"127\.0\.0\.1:{ports.connector} is taken") as refused,
    ):
        check_free(LOOPBACK, ports)
    assert refused.value.code is Exit.PORT_TAKEN


def test_ports_follow_the_first_one() -> None:
    assert Ports.following(7443) == Ports(director=7443, connector=7444, enrolment=7445, provisioner=7446)


def test_further_directors_follow_after_the_others() -> None:
    ports = Ports.following(7443, 3)
    assert ports.all == (7443, 7444, 7445, 7446, 7447, 7448)
    assert ports.directors == (7443, 7447, 7448)


def test_more_directors_than_there_are_ports_are_refused() -> None:
    assert Ports.following(65532).provisioner == 65535
    with pytest.raises(Stopped, match="too few ports") as refused:
        Ports.following(65532, 2)
    assert refused.value.code is Exit.USAGE


def test_a_director_more_or_less_leaves_the_others_where_they_were() -> None:
    two = free_ports(LOOPBACK, None, random.Random(8), directors=2)
    assert len(set(two.all)) == 5
    three = free_ports(LOOPBACK, two, random.Random(9), directors=3)
    assert (three.all[:5], len(set(three.all))) == (two.all, 6)
    assert free_ports(LOOPBACK, three, random.Random(10), directors=1).all == two.all[:4]
