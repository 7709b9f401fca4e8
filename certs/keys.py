"""Private keys: made on P-256, kept as PKCS#8 PEM, encrypted when there is a passphrase."""

import hashlib
from enum import StrEnum, auto
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from certs import files, pkcs8
from certs.errors import CertsError


class KeyReason(StrEnum):
    """Why a key was refused."""

    MALFORMED = auto()
    FOREIGN_TYPE = auto()
    FOREIGN_CURVE = auto()
    ENCRYPTED = auto()
    NOT_ENCRYPTED = auto()
    WRONG_PASSPHRASE = auto()
    EMPTY_PASSPHRASE = auto()


class KeyRefused(CertsError[KeyReason]):
    """A key that cannot be read, or that is of a kind Moorage does not use."""


class KeyEncrypted(KeyRefused):
    """The key is encrypted and no passphrase was given."""

    def __init__(self, source: str) -> None:
        super().__init__(
            KeyReason.ENCRYPTED,
            f"{source} is encrypted: name the file that holds its passphrase in the settings",
        )


class WrongPassphrase(KeyRefused):
    """The passphrase does not open the key."""

    def __init__(self, source: str) -> None:
        super().__init__(
            KeyReason.WRONG_PASSPHRASE,
            f"the passphrase does not open {source}: give the one it was written with, and look for a stray "
            "newline at its end; if it is the right one, the key is damaged and must come from a backup",
        )


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new key on P-256, from the operating system's randomness."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """PKCS#8 PEM; with a passphrase encrypted by AES-256 under scrypt, which takes a fifth of a second.

    Raises `KeyRefused` (EMPTY_PASSPHRASE): an empty passphrase protects nothing.
    """
    _check_passphrase(passphrase)
    if passphrase is None:
        return _pkcs8(key, serialization.Encoding.PEM)
    return pkcs8.encrypted_pem(_pkcs8(key, serialization.Encoding.DER), passphrase)


def key_from_pem(
    pem: bytes, passphrase: bytes | None = None, *, source: str = "the private key"
) -> ec.EllipticCurvePrivateKey:
    """Read an EC key on P-256 or P-384; `source` names it in messages.

    Raises `KeyEncrypted`, `WrongPassphrase`, or `KeyRefused` for what is no such key. A passphrase for a key
    that is not encrypted is refused too: whoever gave one believes the key to be protected.
    """
    _check_passphrase(passphrase)
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except TypeError as error:  # how `cryptography` says that passphrase and key do not go together
        if passphrase is None:
            raise KeyEncrypted(source) from error
        raise KeyRefused(
            KeyReason.NOT_ENCRYPTED,
            f"{source} is not encrypted though a passphrase was given: encrypt it with `openssl pkcs8 -topk8 "
            "-scrypt`, or remove the passphrase from the settings",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase is not None and _ENCRYPTED_LABEL in pem:
            raise WrongPassphrase(source) from error
        raise KeyRefused(KeyReason.MALFORMED, f"{source} is not a private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyRefused(KeyReason.FOREIGN_TYPE, f"{source} is not an elliptic curve key")
    checked_public_key_type(key.public_key(), source=source)
    return key


def save_key(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> None:
    """Write the key to `path` with mode 0600, replacing at once what was there. Raises `OSError`."""
    files.replace(path, key_to_pem(key, passphrase), files.PRIVATE)


def load_key(path: Path, passphrase: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """Read what `save_key` wrote; raises as `key_from_pem` does, naming `path`, and `OSError`."""
    return key_from_pem(path.read_bytes(), passphrase, source=str(path))


def public_key_info(public_key: PublicKeyTypes) -> bytes:
    """The DER of its SubjectPublicKeyInfo (RFC 5280, 4.1.2.7)."""
    return public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_key_sha256(public_key: PublicKeyTypes) -> bytes:
    """SHA-256 of the DER SubjectPublicKeyInfo: 32 bytes that stand for the key."""
    return hashlib.sha256(public_key_info(public_key)).digest()


def checked_public_key_type(public_key: PublicKeyTypes, *, source: str = "the public key") -> ec.EllipticCurvePublicKey:
    """The key itself, when it is on P-256 or P-384; else `KeyRefused` (FOREIGN_TYPE or FOREIGN_CURVE)."""
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise KeyRefused(KeyReason.FOREIGN_TYPE, f"{source} is not an elliptic curve key: use P-256 or P-384")
    if not isinstance(public_key.curve, ec.SECP256R1 | ec.SECP384R1):
        raise KeyRefused(KeyReason.FOREIGN_CURVE, f"{source} is on {public_key.curve.name}: use P-256 or P-384")
    return public_key


_ENCRYPTED_LABEL = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def _pkcs8(key: ec.EllipticCurvePrivateKey, encoding: serialization.Encoding) -> bytes:
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _check_passphrase(passphrase: bytes | None) -> None:
    if passphrase == b"":
        raise KeyRefused(KeyReason.EMPTY_PASSPHRASE, "the passphrase is empty: put one in its file, or name no file")
