"""What leaves are issued, as a list of modifiers and validators for each kind of party."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs.authority import Authority
from certs.check import verify_chain
from certs.issue import IssueReason, IssueRefused, PlannedCertificate, plan, sign
from certs.keys import KeyRefused, new_key, public_key_sha256
from certs.policy import EVERY_LEAF, Draft, Profile, lives, profiles
from certs.spiffe import Kind, SpiffeId
from tests.unit.certs.forge import NOW, TRUST_DOMAIN, UUID

DAY = timedelta(days=1)
KEY = new_key()
PARTIES = {
    Kind.ADMIN: SpiffeId.admin(TRUST_DOMAIN, "ann"),
    Kind.VIEWER: SpiffeId.viewer(TRUST_DOMAIN, "vic"),
    Kind.APPLICATION: SpiffeId.application(TRUST_DOMAIN, UUID),
    Kind.RUNTIME: SpiffeId.runtime(TRUST_DOMAIN, UUID),
    Kind.SERVICE: SpiffeId.service(TRUST_DOMAIN, "director"),
}


def draft(issuing: Authority, kind: Kind, profile: Profile, *dns_names: str) -> Draft:
    return profile.draft(issuing, KEY.public_key(), PARTIES[kind], NOW, dns_names, server=bool(dns_names))


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_of_party_has_its_own_life(kind: Kind, issuing: Authority) -> None:
    lifetimes = {each: timedelta(hours=n) for n, each in enumerate(Kind, 1)}

    made = draft(issuing, kind, profiles(lifetimes.__getitem__, lambda _: DAY)[kind])

    assert made.not_after == NOW + lifetimes[kind]


@pytest.mark.parametrize("kind", Kind)
def test_no_life_is_longer_than_the_ceiling(kind: Kind, issuing: Authority) -> None:
    made = draft(issuing, kind, profiles(lambda _: 3650 * DAY, lambda _: DAY)[kind])

    assert made.not_after == NOW + DAY


def test_a_certificate_is_dated_back_as_far_as_is_said(issuing: Authority) -> None:
    profile = profiles(lambda _: DAY, lambda _: DAY, timedelta(seconds=7))[Kind.ADMIN]

    assert draft(issuing, Kind.ADMIN, profile).not_before == NOW - timedelta(seconds=7)


@pytest.mark.parametrize("kind", Kind)
def test_only_a_service_is_given_host_names(kind: Kind, issuing: Authority) -> None:
    profile = profiles(lambda _: DAY, lambda _: DAY)[kind]

    if kind is Kind.SERVICE:
        assert draft(issuing, kind, profile, "director.plane.test").dns_names == ("director.plane.test",)
    else:
        with pytest.raises(IssueRefused) as refused:
            draft(issuing, kind, profile, "director.plane.test")
        assert refused.value.reason is IssueReason.CLIENT_WITH_HOST_NAME


def test_a_rule_of_ones_own_is_one_more_in_the_list(issuing: Authority) -> None:
    def names_nobody_called_ann(asked: Draft) -> None:
        if asked.spiffe_id.name == "ann":
            raise IssueRefused(IssueReason.FOREIGN_TRUST_DOMAIN, "not Ann")

    profile = Profile([lives(DAY)], [*EVERY_LEAF, names_nobody_called_ann])

    draft(issuing, Kind.VIEWER, profile)
    with pytest.raises(IssueRefused, match="not Ann"):
        draft(issuing, Kind.ADMIN, profile)


@pytest.mark.check("trust-06")
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
def test_keys_on_p256_and_on_p384_are_certified(curve: ec.EllipticCurve, issuing: Authority, root: Authority) -> None:
    key = ec.generate_private_key(curve)
    profile = profiles(lambda _: DAY, lambda _: DAY)[Kind.ADMIN]

    issued = sign(issuing, plan(profile.draft(issuing, key.public_key(), PARTIES[Kind.ADMIN], NOW)))

    verify_chain(issued.certificate, [issuing.certificate], [root.certificate], NOW)
    assert public_key_sha256(issued.certificate.public_key()) == public_key_sha256(key.public_key())


@pytest.mark.check("trust-06")
def test_keys_on_other_curves_are_not(issuing: Authority) -> None:
    key = ec.generate_private_key(ec.SECP521R1())

    with pytest.raises(KeyRefused):
        profiles(lambda _: DAY, lambda _: DAY)[Kind.ADMIN].draft(issuing, key.public_key(), PARTIES[Kind.ADMIN], NOW)


def planned(issuing: Authority) -> PlannedCertificate:
    profile = profiles(lambda _: DAY, lambda _: DAY)[Kind.SERVICE]
    return plan(
        profile.draft(
            issuing,
            KEY.public_key(),
            PARTIES[Kind.SERVICE],
            NOW,
            ["localhost"],
            [ip_address("127.0.0.1")],
            server=True,
        )
    )


def test_what_is_signed_are_the_bytes_that_were_planned(issuing: Authority) -> None:
    plans = planned(issuing)

    issued = sign(issuing, plans)

    assert issued.certificate.tbs_certificate_bytes == plans.tbs
    assert issued.serial_hex == plans.serial_hex
    names = issued.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]


def test_a_plan_that_is_signed_twice_gives_one_certificate_but_for_the_signature(issuing: Authority) -> None:
    plans = planned(issuing)

    first, second = sign(issuing, plans), sign(issuing, plans)

    assert first.certificate.tbs_certificate_bytes == second.certificate.tbs_certificate_bytes


@pytest.mark.parametrize(
    "change",
    [
        {"serial_hex": "01"},
        {"public_key_sha256": bytes(32)},
        {"not_after": NOW + 2 * DAY},
        {"not_before": NOW - DAY},
        {"spiffe_id": PARTIES[Kind.ADMIN]},
        {"tbs": b"no certificate"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_plan_that_was_altered_is_not_signed(change: dict[str, object], issuing: Authority) -> None:
    with pytest.raises(IssueRefused) as refused:
        sign(issuing, replace(planned(issuing), **change))  # type: ignore[arg-type]  # each is of its field's type
    assert refused.value.reason is IssueReason.SELF_CHECK_FAILED
