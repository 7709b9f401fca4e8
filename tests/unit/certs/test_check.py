import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from certs.authority import Authority, create_issuing, create_root
from certs.check import (
    ChainReason,
    ChainRefused,
    SvidReason,
    SvidRefused,
    check_authority,
    check_svid,
    root_pin,
    serial_hex,
    verify_chain,
)
from certs.keys import new_key
from tests.unit.certs.forge import (
    AUTHORITY,
    LEAF,
    LEAF_ID,
    NOW,
    TRUST_DOMAIN,
    Forgery,
    StoppedClock,
    authorities,
    common_name,
    key_usage,
)

SECOND = timedelta(seconds=1)
SERIAL_WARNING = "ignore:Parsed a serial number which wasn't positive"

ROOT, ISSUING = authorities(StoppedClock())
LEAF_DER = LEAF.signed_by(ISSUING.certificate, ISSUING.key).public_bytes(Encoding.DER)


@pytest.mark.check("trust-08")
@pytest.mark.parametrize(
    "forgery",
    [
        LEAF,
        LEAF.but(dns_names=("a.example", "b.example")),
        LEAF.but(subject=common_name("anything"), san_critical=False),
        LEAF.but(subject=common_name("anything"), san_critical=True),
        LEAF.but(constraints=None),
        LEAF.but(usage=key_usage("digital_signature", "key_encipherment", "key_agreement")),
    ],
)
def test_a_leaf_that_keeps_every_rule_is_taken_for_whom_it_names(forgery: Forgery, issuing: Authority) -> None:
    assert str(check_svid(forgery.signed_by(issuing.certificate, issuing.key))) == LEAF_ID


@pytest.mark.check("trust-08")
@pytest.mark.parametrize(
    ("forgery", "reason"),
    [
        (LEAF.but(uris=()), SvidReason.NO_URI_SAN),
        (LEAF.but(uris=(), dns_names=("a.example",)), SvidReason.NO_URI_SAN),
        (LEAF.but(uris=(LEAF_ID, LEAF_ID)), SvidReason.SEVERAL_URI_SANS),
        (LEAF.but(uris=(LEAF_ID, "https://a.example")), SvidReason.SEVERAL_URI_SANS),
        (LEAF.but(uris=("https://a.example/a",)), SvidReason.NOT_A_SPIFFE_ID),
        (LEAF.but(uris=("spiffe://Td/a",)), SvidReason.NOT_A_SPIFFE_ID),
        (LEAF.but(uris=("spiffe://td/a/../b",)), SvidReason.NOT_A_SPIFFE_ID),
        (LEAF.but(uris=("spiffe://td/a?b",)), SvidReason.NOT_A_SPIFFE_ID),
        (LEAF.but(uris=("spiffe://td/",)), SvidReason.NOT_A_SPIFFE_ID),
        (LEAF.but(uris=("spiffe://td",)), SvidReason.NO_PATH),
        (LEAF.but(san_critical=False), SvidReason.SAN_NOT_CRITICAL),
        (LEAF.but(constraints=x509.BasicConstraints(ca=True, path_length=None)), SvidReason.IS_AUTHORITY),
        (LEAF.but(usage=None), SvidReason.NO_KEY_USAGE),
        (LEAF.but(usage_critical=False), SvidReason.KEY_USAGE_NOT_CRITICAL),
        (LEAF.but(usage=key_usage("key_agreement")), SvidReason.NO_DIGITAL_SIGNATURE),
        (LEAF.but(usage=key_usage("digital_signature", "key_cert_sign")), SvidReason.MAY_SIGN_CERTIFICATES),
        (LEAF.but(usage=key_usage("digital_signature", "crl_sign")), SvidReason.MAY_SIGN_CRLS),
        (LEAF.but(extended_usage=()), SvidReason.NO_EXTENDED_KEY_USAGE),
        (LEAF.but(extended_usage=(ExtendedKeyUsageOID.CLIENT_AUTH,)), SvidReason.NO_SERVER_AUTH),
        (LEAF.but(extended_usage=(ExtendedKeyUsageOID.SERVER_AUTH,)), SvidReason.NO_CLIENT_AUTH),
        (
            LEAF.but(uris=(), extra=((x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.17"), b"\x30\x05x"), True),)),
            SvidReason.MALFORMED,
        ),
    ],
)
def test_a_leaf_that_breaks_a_rule_is_refused_with_its_name(
    forgery: Forgery, reason: SvidReason, issuing: Authority
) -> None:
    certificate = forgery.signed_by(issuing.certificate, issuing.key)
    with pytest.raises(SvidRefused) as refusal:
        check_svid(certificate)
    assert refusal.value.reason is reason


@pytest.mark.filterwarnings(SERIAL_WARNING)
@settings(deadline=None)
@given(changes=st.dictionaries(st.integers(0, len(LEAF_DER) - 1), st.integers(0, 255), min_size=1, max_size=2))
def test_a_damaged_leaf_is_refused_with_a_reason(changes: dict[int, int]) -> None:
    damaged = bytearray(LEAF_DER)
    for position, byte in changes.items():
        damaged[position] = byte
    assume(damaged != LEAF_DER)
    try:
        leaf = x509.load_der_x509_certificate(bytes(damaged))
    except (ValueError, x509.InvalidVersion):
        return
    with pytest.raises((SvidRefused, ChainRefused)):
        verify_chain(leaf, [ISSUING.certificate], [ROOT.certificate], NOW)


@pytest.mark.filterwarnings(SERIAL_WARNING)
@pytest.mark.parametrize("serial", [b"\x02\x01\x00", b"\x02\x01\xff"])
def test_a_serial_number_that_is_not_positive_is_refused(serial: bytes) -> None:
    der = LEAF.but(serial=0x55).self_signed().public_bytes(Encoding.DER).replace(b"\x02\x01\x55", serial, 1)
    leaf = x509.load_der_x509_certificate(der)
    with pytest.raises(SvidRefused) as refusal:
        check_svid(leaf)
    assert refusal.value.reason is SvidReason.MALFORMED


@pytest.mark.check("trust-08")
def test_a_leaf_that_breaks_a_rule_has_no_valid_chain_either(root: Authority, issuing: Authority) -> None:
    leaf = LEAF.but(uris=(LEAF_ID, LEAF_ID)).signed_by(issuing.certificate, issuing.key)
    with pytest.raises(SvidRefused):
        verify_chain(leaf, [issuing.certificate], [root.certificate], NOW)


@pytest.mark.check("trust-08")
@pytest.mark.parametrize(
    ("forgery", "reason"),
    [
        (AUTHORITY.but(uris=()), SvidReason.NO_URI_SAN),
        (AUTHORITY.but(uris=(f"spiffe://{TRUST_DOMAIN}/ca",)), SvidReason.HAS_PATH),
        (AUTHORITY.but(constraints=None), SvidReason.NOT_AN_AUTHORITY),
        (
            AUTHORITY.but(constraints=x509.BasicConstraints(ca=False, path_length=None)),
            SvidReason.NOT_AN_AUTHORITY,
        ),
        (AUTHORITY.but(constraints_critical=False), SvidReason.NOT_AN_AUTHORITY),
        (AUTHORITY.but(usage=None), SvidReason.NO_KEY_USAGE),
        (AUTHORITY.but(usage_critical=False), SvidReason.KEY_USAGE_NOT_CRITICAL),
        (AUTHORITY.but(usage=key_usage("crl_sign")), SvidReason.MAY_NOT_SIGN_CERTIFICATES),
        (AUTHORITY.but(key_identifier=False), SvidReason.NO_KEY_IDENTIFIER),
    ],
)
def test_an_authority_that_breaks_a_rule_is_refused_with_its_name(forgery: Forgery, reason: SvidReason) -> None:
    with pytest.raises(SvidRefused) as refusal:
        check_authority(forgery.self_signed())
    assert refusal.value.reason is reason


def test_an_authority_that_keeps_every_rule_names_its_trust_domain() -> None:
    assert check_authority(AUTHORITY.self_signed()).trust_domain == TRUST_DOMAIN


def test_a_chain_leads_from_the_leaf_over_its_issuer_to_the_root(root: Authority, issuing: Authority) -> None:
    leaf = LEAF.signed_by(issuing.certificate, issuing.key)
    assert verify_chain(leaf, [issuing.certificate], [root.certificate], NOW) == (
        leaf,
        issuing.certificate,
        root.certificate,
    )


def test_any_root_of_the_bundle_will_do(clock: StoppedClock, root: Authority, issuing: Authority) -> None:
    leaf = LEAF.signed_by(issuing.certificate, issuing.key)
    other = create_root(TRUST_DOMAIN, clock)
    for bundle in ([root.certificate, other.certificate], [other.certificate, root.certificate]):
        assert verify_chain(leaf, [issuing.certificate], bundle, NOW)[-1] == root.certificate


def test_the_right_issuer_is_found_among_several(clock: StoppedClock, root: Authority, issuing: Authority) -> None:
    leaf = LEAF.signed_by(issuing.certificate, issuing.key)
    others = [create_issuing(root, clock).certificate for _ in range(3)]
    path = verify_chain(leaf, [*others, issuing.certificate], [root.certificate], NOW)
    assert path[1] == issuing.certificate


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (LEAF.not_before - SECOND, ChainReason.NOT_YET_VALID),
        (LEAF.not_before, None),
        (LEAF.not_after, None),
        (LEAF.not_after + SECOND, ChainReason.EXPIRED),
    ],
)
def test_a_leaf_is_valid_from_its_first_to_its_last_second(
    at: datetime, reason: ChainReason | None, root: Authority, issuing: Authority
) -> None:
    leaf = LEAF.signed_by(issuing.certificate, issuing.key)
    assert _reason(lambda: verify_chain(leaf, [issuing.certificate], [root.certificate], at)) is reason


@pytest.mark.parametrize("expired", ["root", "issuing"])
def test_an_authority_that_is_not_valid_then_makes_no_chain(expired: str, clock: StoppedClock) -> None:
    day = timedelta(days=1)
    root = create_root(TRUST_DOMAIN, clock, day if expired == "root" else 9 * day)
    issuing = create_issuing(root, clock, day)
    leaf = LEAF.but(not_after=NOW + 5 * day).signed_by(issuing.certificate, issuing.key)
    if expired == "root":  # an issuing authority of its own making, that would outlive its root
        forged = AUTHORITY.but(key=issuing.key, subject=issuing.certificate.subject, not_after=NOW + 5 * day)
        intermediate = forged.signed_by(root.certificate, root.key)
    else:
        intermediate = issuing.certificate
    assert _reason(lambda: verify_chain(leaf, [intermediate], [root.certificate], NOW)) is None
    refused = _reason(lambda: verify_chain(leaf, [intermediate], [root.certificate], NOW + 2 * day))
    assert refused is ChainReason.AUTHORITY_NOT_VALID


def test_an_empty_bundle_trusts_nobody(issuing: Authority) -> None:
    leaf = LEAF.signed_by(issuing.certificate, issuing.key)
    assert _reason(lambda: verify_chain(leaf, [issuing.certificate], [], NOW)) is ChainReason.NO_ROOTS


def test_a_leaf_under_another_root_is_refused(clock: StoppedClock, issuing: Authority) -> None:
    leaf = LEAF.signed_by(issuing.certificate, issuing.key)
    other = create_root(TRUST_DOMAIN, clock).certificate
    assert _reason(lambda: verify_chain(leaf, [issuing.certificate], [other], NOW)) is ChainReason.UNTRUSTED


def test_a_root_of_the_same_name_with_another_key_is_refused(root: Authority, issuing: Authority) -> None:
    leaf = LEAF.signed_by(issuing.certificate, issuing.key)
    impostor = AUTHORITY.but(
        subject=root.certificate.subject, constraints=x509.BasicConstraints(ca=True, path_length=1)
    ).self_signed()
    assert _reason(lambda: verify_chain(leaf, [issuing.certificate], [impostor], NOW)) is ChainReason.UNTRUSTED


def test_a_leaf_signed_in_the_name_of_an_authority_by_another_key_is_refused(
    root: Authority, issuing: Authority
) -> None:
    leaf = LEAF.signed_by(issuing.certificate, new_key())
    found = _reason(lambda: verify_chain(leaf, [issuing.certificate], [root.certificate], NOW))
    assert found is ChainReason.UNTRUSTED


def test_a_chain_without_the_issuing_authority_is_refused(root: Authority, issuing: Authority) -> None:
    leaf = LEAF.signed_by(issuing.certificate, issuing.key)
    assert _reason(lambda: verify_chain(leaf, [], [root.certificate], NOW)) is ChainReason.UNTRUSTED


def test_a_leaf_cannot_act_as_an_authority(root: Authority, issuing: Authority) -> None:
    false_issuer = LEAF.but(subject=common_name("leaf"), san_critical=False)
    middle = false_issuer.signed_by(issuing.certificate, issuing.key)
    leaf = LEAF.signed_by(middle, false_issuer.key)
    chain = [middle, issuing.certificate]
    assert _reason(lambda: verify_chain(leaf, chain, [root.certificate], NOW)) is ChainReason.UNTRUSTED


def test_an_issuing_authority_cannot_make_another(root: Authority, issuing: Authority) -> None:
    grandchild = AUTHORITY.signed_by(issuing.certificate, issuing.key)
    leaf = LEAF.signed_by(grandchild, AUTHORITY.key)
    chain = [grandchild, issuing.certificate]
    assert _reason(lambda: verify_chain(leaf, chain, [root.certificate], NOW)) is ChainReason.UNTRUSTED


def test_no_path_has_more_than_one_authority_under_its_root(root: Authority) -> None:
    deep = AUTHORITY.but(constraints=x509.BasicConstraints(ca=True, path_length=None))
    upper, lower = (deep.but(key=new_key(), subject=common_name(name)) for name in ("upper", "lower"))
    anchor = deep.self_signed()
    above = upper.signed_by(anchor, deep.key)
    below = lower.signed_by(above, upper.key)
    leaf = LEAF.signed_by(below, lower.key)
    assert _reason(lambda: verify_chain(leaf, [below, above], [anchor], NOW)) is ChainReason.UNTRUSTED
    assert _reason(lambda: verify_chain(leaf, [below], [above], NOW)) is None


def test_an_unknown_critical_extension_makes_no_chain(root: Authority, issuing: Authority) -> None:
    extra = (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
    leaf = LEAF.but(extra=(extra,)).signed_by(issuing.certificate, issuing.key)
    found = _reason(lambda: verify_chain(leaf, [issuing.certificate], [root.certificate], NOW))
    assert found is ChainReason.UNTRUSTED


def test_an_authority_certifies_nobody_of_another_trust_domain(root: Authority, issuing: Authority) -> None:
    leaf = LEAF.but(uris=("spiffe://other.test/admin/ada",)).signed_by(issuing.certificate, issuing.key)
    found = _reason(lambda: verify_chain(leaf, [issuing.certificate], [root.certificate], NOW))
    assert found is ChainReason.FOREIGN_TRUST_DOMAIN


def test_a_root_certifies_no_authority_of_another_trust_domain(clock: StoppedClock) -> None:
    root, _ = authorities(clock, "other.test")
    middle = AUTHORITY.signed_by(root.certificate, root.key)
    leaf = LEAF.signed_by(middle, AUTHORITY.key)
    found = _reason(lambda: verify_chain(leaf, [middle], [root.certificate], NOW))
    assert found is ChainReason.FOREIGN_TRUST_DOMAIN


def test_an_authority_that_breaks_the_svid_rules_makes_no_chain(root: Authority) -> None:
    middle = AUTHORITY.but(uris=()).signed_by(root.certificate, root.key)
    leaf = LEAF.signed_by(middle, AUTHORITY.key)
    with pytest.raises(SvidRefused) as refusal:
        verify_chain(leaf, [middle], [root.certificate], NOW)
    assert refusal.value.reason is SvidReason.NO_URI_SAN


def test_a_root_pin_is_the_sha256_of_the_der_certificate(root: Authority) -> None:
    assert root_pin(root.certificate) == hashlib.sha256(root.certificate.public_bytes(Encoding.DER)).hexdigest()


@pytest.mark.parametrize(("serial", "written"), [(1, "01"), (0xA0B, "0a0b"), (0xFF00, "ff00")])
def test_a_serial_number_is_written_in_whole_octets(serial: int, written: str) -> None:
    assert serial_hex(AUTHORITY.but(serial=serial).self_signed()) == written


def _reason(verify: Callable[[], object]) -> ChainReason | None:
    try:
        verify()
    except ChainRefused as refusal:
        return refusal.reason
    return None
