"""How often a network address, or an identity, may ask."""

from dataclasses import dataclass
from datetime import timedelta

import grpc
import pytest
from moorage.errors.v1.errors_pb2 import Reason

from connector.limits import Allowance, RateLimits
from mesh.errors import Refusal

ANN = "spiffe://plane.test/admin/ann"
BOB = "spiffe://plane.test/admin/bob"


@dataclass
class Seconds:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def limits(seconds: Seconds, rate: float = 2.0, burst: int = 3, most: int = 100) -> RateLimits:
    allowance = Allowance(rate, burst)
    return RateLimits({"address": allowance, "identity": allowance}, seconds, most)


def refused(made: RateLimits, key: str) -> bool:
    try:
        made.take("address", key)
    except Refusal:
        return True
    return False


def test_a_burst_is_let_through_and_what_is_beyond_it_is_told_when_to_come_back() -> None:
    made = limits(Seconds())
    for _ in range(3):
        made.take("identity", ANN)

    with pytest.raises(Refusal) as caught:
        made.take("identity", ANN)

    refusal = caught.value
    assert (refusal.reason, refusal.code) == (Reason.REASON_RATE_LIMITED, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert refusal.metadata == {"limit": "identity"}
    assert refusal.retry_after == timedelta(seconds=0.5)


def test_whoever_comes_back_when_told_is_let_through_once() -> None:
    seconds = Seconds()
    made = limits(seconds)
    for _ in range(3):
        made.take("address", "ipv4:192.0.2.1:1")
    seconds.now += 0.5

    assert not refused(made, "ipv4:192.0.2.1:1")
    assert refused(made, "ipv4:192.0.2.1:1")


def test_asking_while_refused_does_not_put_the_next_call_off() -> None:
    seconds = Seconds()
    made = limits(seconds)
    while not refused(made, "ipv4:192.0.2.1:1"):
        pass
    for _ in range(100):
        seconds.now += 0.004
        assert refused(made, "ipv4:192.0.2.1:1")
    seconds.now += 0.2

    assert not refused(made, "ipv4:192.0.2.1:1")


def test_a_rest_gives_back_the_burst_and_no_more() -> None:
    seconds = Seconds()
    made = limits(seconds)
    while not refused(made, "ipv4:192.0.2.1:1"):
        pass
    seconds.now += 3600

    assert [refused(made, "ipv4:192.0.2.1:1") for _ in range(4)] == [False, False, False, True]


def test_one_that_asks_too_often_keeps_nobody_else_from_asking() -> None:
    made = limits(Seconds())
    for _ in range(3):
        made.take("identity", ANN)
    with pytest.raises(Refusal):
        made.take("identity", ANN)

    made.take("identity", BOB)
    made.take("address", "ipv4:192.0.2.1:1")


@pytest.mark.parametrize(
    ("peer", "other", "same"),
    [
        ("ipv4:192.0.2.1:40000", "ipv4:192.0.2.1:50000", True),
        ("ipv4:192.0.2.1:40000", "ipv4:192.0.2.2:40000", False),
        ("ipv6:[2001:db8::1]:40000", "ipv6:%5B2001:db8::ffff:2%5D:50000", True),
        ("ipv6:[2001:db8:0:1::1]:40000", "ipv6:[2001:db8:0:2::1]:40000", False),
        ("ipv6:[::ffff:192.0.2.1]:40000", "ipv4:192.0.2.1:50000", True),
        ("ipv6:[fe80::1%25eth0]:40000", "ipv6:[fe80::2%25eth0]:40000", True),
        ("unix:/run/one", "unix:/run/other", False),
        ("ipv4:none", "ipv4:other", False),
    ],
)
def test_an_address_counts_without_its_port_and_of_ipv6_the_network_counts(peer: str, other: str, same: bool) -> None:
    made = limits(Seconds(), burst=1)
    made.take("address", peer)

    assert refused(made, other) == same


def test_a_rate_of_0_limits_nobody() -> None:
    made = limits(Seconds(), rate=0, burst=1)

    assert not any(refused(made, "ipv4:192.0.2.1:1") for _ in range(100))


def test_any_number_of_addresses_takes_little_memory_and_those_used_last_are_remembered() -> None:
    made = limits(Seconds(), burst=1, most=10)
    for number in range(1000):
        made.take("address", f"ipv4:10.0.{number // 256}.{number % 256}:1")

    assert [refused(made, f"ipv4:10.0.3.{last}:1") for last in range(222, 232)] == [True] * 10
    assert not refused(made, "ipv4:10.0.0.0:1")
