from __future__ import annotations

import subprocess
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import CRLEntryExtensionOID

from certs.authority import Authority, AuthorityReason, AuthorityRefused, create_issuing, create_root
from certs.check import serial_hex
from certs.issue import IssuedCertificate, issue
from certs.keys import new_key
from certs.revocation_list import RevocationListReason, RevocationListRefused, RevokedEntry, build
from certs.spiffe import SpiffeId
from tests.unit.certs.forge import NOW, TRUST_DOMAIN, UUID, StoppedClock

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
APPLICATION = SpiffeId.application(TRUST_DOMAIN, UUID)
REASONS = {
    1: x509.ReasonFlags.key_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    9: x509.ReasonFlags.privilege_withdrawn,
}


@pytest.fixture
def leaf(issuing: Authority, clock: StoppedClock) -> IssuedCertificate:
    return issue(issuing, new_key().public_key(), APPLICATION, HOUR, clock)


def test_a_list_says_whose_it_is_which_one_and_when_the_next_comes(issuing: Authority) -> None:
    crl = _read(issuing, [], number=7)
    assert crl.issuer == issuing.certificate.subject
    assert crl.is_signature_valid(issuing.key.public_key())
    assert (crl.last_update_utc, crl.next_update_utc) == (NOW, NOW + DAY)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    assert list(crl) == []


def test_a_list_points_at_the_key_that_its_leaves_point_at(issuing: Authority, leaf: IssuedCertificate) -> None:
    def identifier(of: x509.Certificate | x509.CertificateRevocationList) -> bytes | None:
        return of.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier

    assert identifier(_read(issuing, [])) == identifier(leaf.certificate)


def test_a_list_without_critical_extensions_is_read_by_everybody(issuing: Authority) -> None:
    crl = _read(issuing, [RevokedEntry("0a", NOW, 1)])
    assert not [each for of in (crl, *crl) for each in of.extensions if each.critical]


@pytest.mark.parametrize("reason", REASONS)
def test_an_entry_has_the_reason_that_was_given(issuing: Authority, reason: int) -> None:
    (entry,) = _read(issuing, [RevokedEntry("0a", NOW, reason)])
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason == REASONS[reason]


def test_an_entry_without_a_reason_has_no_extension_for_it(issuing: Authority) -> None:
    (entry,) = _read(issuing, [RevokedEntry("0a", NOW)])
    assert CRLEntryExtensionOID.CRL_REASON not in [each.oid for each in entry.extensions]


def test_a_revoked_leaf_is_found_and_another_one_is_not(issuing: Authority, leaf: IssuedCertificate) -> None:
    crl = _read(issuing, [RevokedEntry(leaf.serial_hex, NOW - HOUR, 1)])
    entry = crl.get_revoked_certificate_by_serial_number(leaf.certificate.serial_number)
    assert entry is not None
    assert entry.revocation_date_utc == NOW - HOUR
    assert crl.get_revoked_certificate_by_serial_number(leaf.certificate.serial_number + 1) is None


def test_entries_are_in_the_order_of_their_numbers_however_they_come(issuing: Authority) -> None:
    serials = ["ff00", "7f", "80", "0100", "01"]
    assert [each.serial_number for each in _read(issuing, [RevokedEntry(serial, NOW) for serial in serials])] == [
        0x01,
        0x7F,
        0x80,
        0x100,
        0xFF00,
    ]


def test_times_are_cut_to_whole_seconds(issuing: Authority) -> None:
    late = timedelta(microseconds=999_999)
    der = build(issuing, [RevokedEntry("0a", NOW + late)], 1, NOW + late, NOW + DAY + late)
    crl = x509.load_der_x509_crl(der)
    (entry,) = crl
    assert (crl.last_update_utc, crl.next_update_utc, entry.revocation_date_utc) == (NOW, NOW + DAY, NOW)


def test_the_longest_numbers_that_the_standard_allows_are_written(issuing: Authority) -> None:
    most = 2**159 - 1
    crl = _read(issuing, [RevokedEntry(f"{most:040x}", NOW)], number=most)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == most
    assert [each.serial_number for each in crl] == [most]


@pytest.mark.parametrize("serial", ["", "0", "00", "xy", f"{2**159:040x}", "ff" * 21])
def test_what_is_no_serial_number_is_refused(issuing: Authority, serial: str) -> None:
    _is_refused(issuing, [RevokedEntry(serial, NOW)], RevocationListReason.BAD_SERIAL_NUMBER)


def test_a_certificate_that_is_there_twice_is_refused(issuing: Authority) -> None:
    twice = [RevokedEntry("0a", NOW, 1), RevokedEntry("0a", NOW, 4)]
    _is_refused(issuing, twice, RevocationListReason.SERIAL_NUMBER_TWICE)


@pytest.mark.parametrize("reason", [2, 6, 7, 8, 10, -1])
def test_a_reason_that_no_leaf_can_have_is_refused(issuing: Authority, reason: int) -> None:
    _is_refused(issuing, [RevokedEntry("0a", NOW, reason)], RevocationListReason.UNKNOWN_REASON)


@pytest.mark.parametrize("number", [-1, 2**159])
def test_a_number_that_no_list_can_have_is_refused(issuing: Authority, number: int) -> None:
    _is_refused(issuing, [], RevocationListReason.BAD_NUMBER, number=number)


@pytest.mark.parametrize("lasts", [timedelta(), timedelta(microseconds=900_000), -DAY])
def test_a_next_list_that_does_not_come_later_is_refused(issuing: Authority, lasts: timedelta) -> None:
    _is_refused(issuing, [], RevocationListReason.BAD_TIMES, lasts=lasts)


def test_a_root_has_no_list_of_leaves(root: Authority) -> None:
    with pytest.raises(AuthorityRefused) as refused:
        build(root, [], 1, NOW, NOW + DAY)
    assert refused.value.reason is AuthorityReason.NOT_AN_ISSUING_AUTHORITY


@pytest.mark.check("trust-08")
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
def test_openssl_verifies_a_list_and_refuses_what_is_on_it(
    clock: StoppedClock, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    root = create_root(TRUST_DOMAIN, clock, key=ec.generate_private_key(curve))
    issuing = create_issuing(root, clock, key=ec.generate_private_key(curve))
    good, bad = (issue(issuing, new_key().public_key(), APPLICATION, HOUR, clock) for _ in range(2))
    der = build(issuing, [RevokedEntry(serial_hex(bad.certificate), NOW, 4)], 1, NOW, NOW + DAY)
    (tmp_path / "list.der").write_bytes(der)
    (tmp_path / "list.pem").write_bytes(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM))
    (tmp_path / "root.pem").write_bytes(root.chain_pem)
    (tmp_path / "issuing.pem").write_bytes(issuing.certificate.public_bytes(Encoding.PEM))
    for name, leaf in (("good", good), ("bad", bad)):
        (tmp_path / f"{name}.pem").write_bytes(leaf.certificate.public_bytes(Encoding.PEM))

    read = _openssl(tmp_path, "crl", "-inform", "DER", "-in", "list.der", "-noout", "-verify", "-CAfile", "issuing.pem")
    assert (read.returncode, "verify OK" in read.stderr) == (0, True), read
    checked = ["verify", "-x509_strict", "-attime", str(int(NOW.timestamp())), "-crl_check", "-CRLfile", "list.pem"]
    checked += ["-CAfile", "root.pem", "-untrusted", "issuing.pem"]
    assert _openssl(tmp_path, *checked, "good.pem").returncode == 0
    refused = _openssl(tmp_path, *checked, "bad.pem")
    assert "certificate revoked" in refused.stdout + refused.stderr
    assert refused.returncode != 0


def _read(authority: Authority, entries: Iterable[RevokedEntry], *, number: int = 1) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(build(authority, entries, number, NOW, NOW + DAY))


def _is_refused(
    authority: Authority,
    entries: Iterable[RevokedEntry],
    reason: RevocationListReason,
    *,
    number: int = 1,
    lasts: timedelta = DAY,
) -> None:
    with pytest.raises(RevocationListRefused) as refused:
        build(authority, entries, number, NOW, NOW + lasts)
    assert refused.value.reason is reason


def _openssl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=False)
