"""When and how a party renews its certificate, on a clock that moves only by sleeping."""

import asyncio
import uuid
from datetime import timedelta

import pytest
from moorage.connector.v1.enrolment_pb2 import PlaneAddresses

from certs.identity import Identity, LoadedIdentity
from certs.keys import key_from_pem
from certs.spiffe import SpiffeId
from mesh.recovery import NotRecovered
from mesh.renewal import LONGEST_NAP, IdentityExpired, RenewalLoop, renewal_time
from tests.support.identities import TRUST_DOMAIN, Mint
from tests.unit.mesh_enrolment.clockwork import START, Clockwork
from tests.unit.mesh_enrolment.connector_double import ADDRESSES, UNAVAILABLE, ConnectorDouble

RUNTIME = SpiffeId.runtime(TRUST_DOMAIN, uuid.UUID(int=1))
LIFE = timedelta(hours=24)


class Party:
    """An identity, its renewal loop, and what the loop said. `run` returns after `renewals` of them."""

    def __init__(
        self, mint: Mint, clockwork: Clockwork, draw: float = 0.0, life: timedelta = LIFE, *, recovers: bool = False
    ) -> None:
        self.identity: Identity = mint.identity("runtime", RUNTIME.name, life)
        self.connector = ConnectorDouble(mint, RUNTIME, life)
        self.renewed: list[tuple[timedelta, LoadedIdentity]] = []
        self.recoveries: list[Exception | None] = []
        """What the next attempts to recover end with; none are left: it is not tried."""
        self._mint = mint
        self._clockwork = clockwork
        self._loop = RenewalLoop(
            self.identity,
            self.connector.renew,
            self._on_renewed,
            clock=clockwork,
            sleep=clockwork.sleep,
            random=lambda: draw,
            recover=self._recover if recovers else None,
        )

    async def run(self, renewals: int = 1) -> None:
        self._wanted = renewals
        with pytest.raises(asyncio.CancelledError):
            await self._loop.run()

    def renew_now(self) -> None:
        self._loop.renew_now()

    async def run_until_expired(self) -> IdentityExpired:
        with pytest.raises(IdentityExpired) as expired:
            await self._loop.run()
        return expired.value

    def replaced(self) -> LoadedIdentity:
        """Another identity, which somebody puts into the folder."""
        return self._mint.identity("runtime", RUNTIME.name, LIFE, folder=self.identity.folder).load()

    async def _recover(self) -> PlaneAddresses:
        if failure := self.recoveries.pop(0):
            raise failure
        self.replaced()
        return ADDRESSES

    async def _on_renewed(self, identity: LoadedIdentity, addresses: PlaneAddresses) -> None:
        assert addresses == ADDRESSES
        self.renewed.append((self._clockwork.elapsed, identity))
        if len(self.renewed) == self._wanted:
            raise asyncio.CancelledError


async def test_a_certificate_is_renewed_at_two_thirds_of_its_life_at_the_latest(
    mint: Mint, clockwork: Clockwork
) -> None:
    party = Party(mint, clockwork, draw=0.0)

    await party.run()

    assert abs(party.renewed[0][0] - LIFE * 2 / 3) < timedelta(seconds=1)


async def test_renewals_of_parties_that_enrolled_together_are_spread(mint: Mint) -> None:
    identity = mint.identity("runtime", RUNTIME.name, LIFE).load()

    times = [renewal_time(identity, draw / 1000) for draw in range(1000)]

    assert max(times) - min(times) > LIFE * 0.3
    assert min(times) >= START + LIFE / 3
    assert max(times) <= START + LIFE * 2 / 3


async def test_the_back_dated_minute_is_no_part_of_a_short_life(mint: Mint, clockwork: Clockwork) -> None:
    party = Party(mint, clockwork, life=timedelta(seconds=12))

    await party.run(renewals=3)

    assert [round(elapsed.total_seconds()) for elapsed, _ in party.renewed] == [8, 16, 24]


async def test_each_renewal_is_for_a_new_key_and_is_on_disk_when_told_of(mint: Mint, clockwork: Clockwork) -> None:
    party = Party(mint, clockwork)
    first = party.identity.load()

    await party.run(renewals=2)

    assert len(set(party.connector.keys)) == 2
    serials = [first.serial, *(identity.serial for _, identity in party.renewed)]
    assert len(set(serials)) == 3
    assert party.identity.load().serial == serials[-1]


async def test_a_host_that_slept_past_the_renewal_point_renews_at_once(mint: Mint, clockwork: Clockwork) -> None:
    party = Party(mint, clockwork)
    clockwork.oversleep = LIFE * 5 / 6

    await party.run()

    assert clockwork.naps == [LONGEST_NAP.total_seconds()]


async def test_a_failed_renewal_is_tried_again_with_growing_waits_and_a_new_key(
    mint: Mint, clockwork: Clockwork
) -> None:
    party = Party(mint, clockwork)
    party.connector.failures = [UNAVAILABLE, UNAVAILABLE, UNAVAILABLE]

    await party.run()

    assert clockwork.naps[-3:] == [1, 2, 4]
    assert len(set(party.connector.keys)) == 4


async def test_who_asks_is_renewed_without_waiting(mint: Mint, clockwork: Clockwork) -> None:
    party = Party(mint, clockwork)
    clockwork.interruptions = [party.renew_now] * 3

    await party.run(renewals=3)

    assert clockwork.elapsed == timedelta(0)
    assert len({identity.serial for _, identity in party.renewed}) == 3


async def test_who_asks_while_a_renewal_is_under_way_gets_that_one(mint: Mint, clockwork: Clockwork) -> None:
    party = Party(mint, clockwork)
    party.connector.meanwhile = party.renew_now

    await party.run(renewals=2)

    assert party.renewed[1][0] - party.renewed[0][0] > LIFE / 4


async def test_who_asks_does_not_wait_for_the_next_attempt_but_the_one_after_waits_again(
    mint: Mint, clockwork: Clockwork
) -> None:
    party = Party(mint, clockwork)
    party.connector.failures = [UNAVAILABLE, UNAVAILABLE, UNAVAILABLE]
    clockwork.interruptions = [party.renew_now] * 2

    await party.run()

    assert clockwork.elapsed == timedelta(seconds=2 + 4)


async def test_renewal_is_tried_until_the_certificate_ends_and_then_reported(mint: Mint, clockwork: Clockwork) -> None:
    party = Party(mint, clockwork)
    party.connector.failures = [UNAVAILABLE] * 10_000

    expired = await party.run_until_expired()

    assert str(RUNTIME) in str(expired)
    assert clockwork.elapsed >= LIFE
    assert clockwork.elapsed - LIFE < timedelta(seconds=2)


async def test_a_certificate_that_ended_while_the_host_slept_is_reported(mint: Mint, clockwork: Clockwork) -> None:
    party = Party(mint, clockwork)
    clockwork.oversleep = LIFE * 2

    await party.run_until_expired()

    assert party.connector.keys == []


async def test_a_certificate_for_somebody_else_is_not_written(mint: Mint, clockwork: Clockwork) -> None:
    party = Party(mint, clockwork)
    held = party.identity.load()
    party.connector.spiffe_id = SpiffeId.runtime(TRUST_DOMAIN, uuid.UUID(int=2))

    await party.run_until_expired()

    assert party.identity.load() == held


async def test_an_identity_that_somebody_else_puts_there_is_the_one_that_is_renewed(
    mint: Mint, clockwork: Clockwork
) -> None:
    party = Party(mint, clockwork)
    put: list[LoadedIdentity] = []
    clockwork.oversleep = LIFE / 3
    clockwork.meanwhile = lambda: put.append(party.replaced())

    await party.run()

    assert put
    assert abs(party.renewed[0][0] - LIFE * 2 / 3) < timedelta(minutes=1)
    assert party.renewed[0][1].serial != put[0].serial


async def test_a_certificate_that_expired_is_recovered_and_renewed_at_once(mint: Mint, clockwork: Clockwork) -> None:
    party = Party(mint, clockwork, recovers=True)
    party.recoveries = [UNAVAILABLE, UNAVAILABLE, None]
    clockwork.oversleep = LIFE * 2

    await party.run(renewals=2)

    (recovered_at, recovered), (renewed_at, renewed) = party.renewed
    assert clockwork.naps[-2:] == [1, 2]
    assert renewed_at == recovered_at
    assert recovered.serial != renewed.serial
    assert len(party.connector.keys) == 1
    assert key_from_pem(renewed.key_pem, source="it") != key_from_pem(recovered.key_pem, source="it")


async def test_what_is_not_recovered_is_reported_with_the_reason(mint: Mint, clockwork: Clockwork) -> None:
    party = Party(mint, clockwork, recovers=True)
    party.recoveries = [UNAVAILABLE, NotRecovered("the Connector does not recover it: too late")]
    clockwork.oversleep = LIFE * 2

    expired = await party.run_until_expired()

    assert "too late" in str(expired)


async def test_whoever_waits_to_be_recovered_goes_on_with_the_identity_that_somebody_puts_there(
    mint: Mint, clockwork: Clockwork
) -> None:
    party = Party(mint, clockwork, recovers=True)
    party.recoveries = [UNAVAILABLE]
    clockwork.oversleep = LIFE * 2
    put: list[LoadedIdentity] = []

    def in_the_wait_after_the_first_attempt() -> None:
        clockwork.meanwhile = lambda: put.append(party.replaced())

    clockwork.meanwhile = in_the_wait_after_the_first_attempt

    await party.run()

    assert party.renewed[0][1].serial != put[0].serial
    assert len(party.connector.keys) == 1
