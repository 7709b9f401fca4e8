import base64
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import crypto

from certs.keys import (
    KeyEncrypted,
    KeyReason,
    KeyRefused,
    WrongPassphrase,
    checked_public_key_type,
    key_from_pem,
    key_to_pem,
    load_key,
    new_key,
    public_key_sha256,
    save_key,
)

KEY = new_key()
PASSPHRASE = "grüße, hafen".encode()
ENCRYPTED = key_to_pem(KEY, PASSPHRASE)


@pytest.fixture(params=[0o000, 0o777])
def _any_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_a_new_key_is_on_p256_and_like_no_other() -> None:
    assert isinstance(KEY.curve, ec.SECP256R1)
    assert KEY.private_numbers() != new_key().private_numbers()


def test_a_key_comes_back_from_its_pem() -> None:
    pem = key_to_pem(KEY)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert key_from_pem(pem).private_numbers() == KEY.private_numbers()


def test_an_encrypted_key_comes_back_under_its_passphrase() -> None:
    assert ENCRYPTED.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert key_from_pem(ENCRYPTED, PASSPHRASE).private_numbers() == KEY.private_numbers()


def test_a_key_is_encrypted_under_scrypt_and_never_the_same_way_twice() -> None:
    scrypt_oid = bytes.fromhex("06092b06010401da47040b")
    first, second = (_der(key_to_pem(KEY, PASSPHRASE)) for _ in range(2))
    assert scrypt_oid in first
    assert first != second


def test_openssl_opens_an_encrypted_key() -> None:
    read = crypto.load_privatekey(crypto.FILETYPE_PEM, ENCRYPTED, PASSPHRASE).to_cryptography_key()
    assert isinstance(read, ec.EllipticCurvePrivateKey)
    assert read.private_numbers() == KEY.private_numbers()


@pytest.mark.parametrize("passphrase", [b"wrong", PASSPHRASE + b"\n"])
def test_another_passphrase_is_refused_as_wrong(passphrase: bytes) -> None:
    with pytest.raises(WrongPassphrase, match="newline at its end") as refusal:
        key_from_pem(ENCRYPTED, passphrase, source="/keys/ca.key")
    assert refusal.value.reason is KeyReason.WRONG_PASSPHRASE
    assert "/keys/ca.key" in str(refusal.value)
    assert passphrase.decode() not in str(refusal.value)


def test_an_encrypted_key_without_a_passphrase_is_refused_saying_what_to_do() -> None:
    with pytest.raises(KeyEncrypted, match="name the file that holds its passphrase") as refusal:
        key_from_pem(ENCRYPTED)
    assert refusal.value.reason is KeyReason.ENCRYPTED


def test_a_passphrase_for_a_key_that_is_not_encrypted_is_refused() -> None:
    with pytest.raises(KeyRefused) as refusal:
        key_from_pem(key_to_pem(KEY), PASSPHRASE)
    assert refusal.value.reason is KeyReason.NOT_ENCRYPTED


def test_an_empty_passphrase_is_refused_when_writing_and_when_reading() -> None:
    with pytest.raises(KeyRefused) as writing:
        key_to_pem(KEY, b"")
    with pytest.raises(KeyRefused) as reading:
        key_from_pem(ENCRYPTED, b"")
    assert writing.value.reason is reading.value.reason is KeyReason.EMPTY_PASSPHRASE


@settings(deadline=None)
@given(st.binary(), st.none() | st.binary(min_size=1))
def test_bytes_that_are_no_key_are_refused(content: bytes, passphrase: bytes | None) -> None:
    with pytest.raises(KeyRefused):
        key_from_pem(content, passphrase)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (rsa.generate_private_key(65537, 2048), KeyReason.FOREIGN_TYPE),
        (ed25519.Ed25519PrivateKey.generate(), KeyReason.FOREIGN_TYPE),
        (ec.generate_private_key(ec.SECP521R1()), KeyReason.FOREIGN_CURVE),
        (ec.generate_private_key(ec.SECP256K1()), KeyReason.FOREIGN_CURVE),
    ],
)
def test_a_key_of_a_foreign_kind_is_refused(
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, reason: KeyReason
) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(KeyRefused) as private:
        key_from_pem(pem)
    with pytest.raises(KeyRefused) as public:
        checked_public_key_type(key.public_key())
    assert private.value.reason is public.value.reason is reason


def test_a_key_on_p384_is_taken() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    assert key_from_pem(key_to_pem(key)).private_numbers() == key.private_numbers()


def test_the_sum_of_a_public_key_is_that_of_its_spki() -> None:
    spki = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert public_key_sha256(KEY.public_key()) == hashlib.sha256(spki).digest()


@pytest.mark.usefixtures("_any_umask")
def test_a_key_on_disk_is_readable_by_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "tls.key"
    save_key(path, KEY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path).private_numbers() == KEY.private_numbers()


def test_saving_replaces_a_readable_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "tls.key"
    path.write_text("old")
    path.chmod(0o644)
    save_key(path, KEY, PASSPHRASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path, PASSPHRASE).private_numbers() == KEY.private_numbers()
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "tls.key" / "in-the-way").mkdir(parents=True)
    with pytest.raises(OSError, match=r"tls\.key"):
        save_key(tmp_path / "tls.key", KEY)
    assert [entry.name for entry in tmp_path.iterdir()] == ["tls.key"]


def _der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))
