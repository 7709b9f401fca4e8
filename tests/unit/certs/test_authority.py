import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certs.authority import Authority, AuthorityReason, AuthorityRefused, create_issuing, create_root
from certs.keys import KeyEncrypted, KeyRefused, WrongPassphrase, new_key
from certs.spiffe import SpiffeIdRefused
from tests.unit.certs.forge import AUTHORITY, NOW, TRUST_DOMAIN, StoppedClock, authorities, key_usage

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
PASSPHRASE = b"a long and dry passphrase"


@pytest.mark.parametrize(("which", "path_length"), [(0, 1), (1, 0)])
def test_an_authority_may_sign_certificates_and_only_as_deep_as_it_must(
    which: int, path_length: int, root_and_issuing: tuple[Authority, Authority]
) -> None:
    certificate = root_and_issuing[which].certificate
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=path_length)
    assert usage.critical
    assert usage.value == key_usage("key_cert_sign", "crl_sign")


def test_an_authority_names_its_trust_domain_alone(root_and_issuing: tuple[Authority, Authority]) -> None:
    for authority in root_and_issuing:
        names = authority.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(names) == [x509.UniformResourceIdentifier(f"spiffe://{TRUST_DOMAIN}")]
        assert authority.trust_domain == TRUST_DOMAIN


def test_an_authority_has_no_name_constraints(root_and_issuing: tuple[Authority, Authority]) -> None:
    for authority in root_and_issuing:
        with pytest.raises(x509.ExtensionNotFound):
            authority.certificate.extensions.get_extension_for_class(x509.NameConstraints)


def test_an_authority_is_on_p256_with_a_positive_serial_of_at_most_159_bits(
    root_and_issuing: tuple[Authority, Authority],
) -> None:
    for authority in root_and_issuing:
        assert isinstance(authority.key.curve, ec.SECP256R1)
        assert 0 < authority.certificate.serial_number < 2**159


def test_key_identifiers_lead_from_each_authority_to_its_issuer(root: Authority, issuing: Authority) -> None:
    for authority, issuer in ((root, root), (issuing, root)):
        own = authority.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        its = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert own.key_identifier == its.digest


def test_no_two_authorities_have_the_same_name(clock: StoppedClock, root: Authority, issuing: Authority) -> None:
    every = [root, issuing, create_root(TRUST_DOMAIN, clock), create_issuing(root, clock)]
    assert len({authority.certificate.subject for authority in every}) == len(every)


def test_an_authority_of_the_longest_trust_domain_has_a_name_within_its_bounds(clock: StoppedClock) -> None:
    root = create_root("d" * 255, clock)
    (common_name,) = root.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert len(common_name.value) <= 64


def test_a_root_lives_ten_years_and_an_issuing_authority_one(root: Authority, issuing: Authority) -> None:
    assert root.certificate.not_valid_after_utc == NOW + timedelta(days=3652)
    assert issuing.certificate.not_valid_after_utc == NOW + timedelta(days=365)


def test_an_authority_is_dated_back_a_minute_but_not_before_its_issuer(clock: StoppedClock) -> None:
    root = create_root(TRUST_DOMAIN, clock)
    assert root.certificate.not_valid_before_utc == NOW - MINUTE
    clock.now = NOW + MINUTE / 2
    assert create_issuing(root, clock).certificate.not_valid_before_utc == NOW - MINUTE / 2
    clock.now = NOW - MINUTE / 2
    assert create_issuing(root, clock).certificate.not_valid_before_utc == NOW - MINUTE


def test_an_issuing_authority_ends_with_its_root_at_the_latest(clock: StoppedClock) -> None:
    root = create_root(TRUST_DOMAIN, clock, 10 * DAY)
    issuing = create_issuing(root, clock, 11 * DAY)
    assert issuing.certificate.not_valid_after_utc == root.certificate.not_valid_after_utc


@pytest.mark.parametrize("offset", [-2 * MINUTE, DAY, 2 * DAY])
def test_a_root_that_is_not_valid_now_signs_nothing(offset: timedelta, clock: StoppedClock) -> None:
    root = create_root(TRUST_DOMAIN, clock, DAY)
    clock.now = NOW + offset
    _is_refused(AuthorityReason.NOT_VALID_NOW, create_issuing, root, clock)


@pytest.mark.parametrize("lifetime", [timedelta(0), -DAY, timedelta(milliseconds=999)])
def test_a_lifetime_under_a_second_is_refused(lifetime: timedelta, clock: StoppedClock, root: Authority) -> None:
    _is_refused(AuthorityReason.BAD_LIFETIME, create_root, TRUST_DOMAIN, clock, lifetime)
    _is_refused(AuthorityReason.BAD_LIFETIME, create_issuing, root, clock, lifetime)


def test_an_issuing_authority_signs_no_authority(clock: StoppedClock, issuing: Authority) -> None:
    _is_refused(AuthorityReason.NOT_A_ROOT, create_issuing, issuing, clock)


def test_a_root_of_a_bad_trust_domain_is_refused(clock: StoppedClock) -> None:
    with pytest.raises(SpiffeIdRefused):
        create_root("Moorage.test", clock)


def test_an_authority_uses_the_key_it_is_given(clock: StoppedClock) -> None:
    key = new_key()
    root = create_root(TRUST_DOMAIN, clock, key=key)
    assert root.key is key
    assert root.certificate.public_key() == key.public_key()


def test_a_key_of_another_certificate_makes_no_authority(root: Authority, issuing: Authority) -> None:
    _is_refused(AuthorityReason.KEY_MISMATCH, Authority, root.certificate, issuing.key)


def test_a_chain_that_does_not_hold_makes_no_authority(
    clock: StoppedClock, root: Authority, issuing: Authority
) -> None:
    stranger = create_root(TRUST_DOMAIN, clock)
    _is_refused(AuthorityReason.BROKEN_CHAIN, Authority, issuing.certificate, issuing.key, (stranger.certificate,))
    _is_refused(AuthorityReason.BROKEN_CHAIN, Authority, issuing.certificate, issuing.key)


def test_a_leaf_makes_no_authority() -> None:
    leaf = AUTHORITY.but(usage=key_usage("digital_signature"))
    _is_refused(AuthorityReason.BREAKS_RULES, Authority, leaf.self_signed(), leaf.key)


def test_a_chain_over_two_trust_domains_makes_no_authority(clock: StoppedClock) -> None:
    foreign, _ = authorities(clock, "other.test")
    certificate = AUTHORITY.signed_by(foreign.certificate, foreign.key)
    _is_refused(AuthorityReason.BREAKS_RULES, Authority, certificate, AUTHORITY.key, (foreign.certificate,))


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_an_authority_comes_back_from_its_folder(passphrase: bytes | None, issuing: Authority, tmp_path: Path) -> None:
    issuing.save(tmp_path / "a" / "issuing", passphrase)
    loaded = Authority.load(tmp_path / "a" / "issuing", passphrase)
    assert (loaded.certificate, loaded.chain) == (issuing.certificate, issuing.chain)
    assert loaded.root == issuing.root
    assert loaded.key.private_numbers() == issuing.key.private_numbers()


def test_a_saved_authority_is_private_and_complete(root: Authority, tmp_path: Path) -> None:
    root.save(tmp_path / "root")
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "root" / "ca.key").stat().st_mode) == 0o600
    assert {entry.name for entry in (tmp_path / "root").iterdir()} == {"ca.crt", "ca.key"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["root"]


def test_an_authority_may_be_saved_into_an_empty_folder(root: Authority, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    root.save(tmp_path / "root")
    assert Authority.load(tmp_path / "root").certificate == root.certificate


def test_an_authority_is_never_overwritten(clock: StoppedClock, root: Authority, tmp_path: Path) -> None:
    root.save(tmp_path / "root")
    _is_refused(AuthorityReason.EXISTS, create_root(TRUST_DOMAIN, clock).save, tmp_path / "root")
    assert Authority.load(tmp_path / "root").certificate == root.certificate
    assert [entry.name for entry in tmp_path.iterdir()] == ["root"]


def test_an_authority_does_not_take_the_place_of_a_file(root: Authority, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("in the way")
    _is_refused(AuthorityReason.EXISTS, root.save, tmp_path / "root")
    assert [entry.name for entry in tmp_path.iterdir()] == ["root"]


def test_an_authority_that_cannot_be_written_leaves_nothing(root: Authority, tmp_path: Path) -> None:
    with pytest.raises(KeyRefused):
        root.save(tmp_path / "root", b"")
    assert list(tmp_path.iterdir()) == []


def test_an_encrypted_authority_is_opened_by_its_passphrase_only(root: Authority, tmp_path: Path) -> None:
    root.save(tmp_path / "root", PASSPHRASE)
    with pytest.raises(KeyEncrypted):
        Authority.load(tmp_path / "root")
    with pytest.raises(WrongPassphrase):
        Authority.load(tmp_path / "root", b"another")


@pytest.mark.parametrize("missing", ["ca.crt", "ca.key"])
def test_a_folder_without_one_of_the_files_holds_no_authority(missing: str, root: Authority, tmp_path: Path) -> None:
    root.save(tmp_path / "root")
    (tmp_path / "root" / missing).unlink()
    refusal = _is_refused(AuthorityReason.MISSING, Authority.load, tmp_path / "root")
    assert missing in str(refusal)


def test_garbage_instead_of_certificates_is_refused(root: Authority) -> None:
    _is_refused(AuthorityReason.MALFORMED, Authority.from_pem, b"garbage", root.key_pem())


def test_an_authority_shown_does_not_show_its_key(root: Authority) -> None:
    secret = root.key.private_numbers().private_value
    assert "PrivateKey" not in repr(root)
    assert str(secret) not in repr(root)
    assert f"{secret:x}" not in repr(root)


def _is_refused(reason: AuthorityReason, do: object, *arguments: object) -> AuthorityRefused:
    assert callable(do)
    with pytest.raises(AuthorityRefused) as refusal:
        do(*arguments)
    assert refusal.value.reason is reason
    return refusal.value
