"""PKCS#8 encryption with scrypt (RFC 5958, RFC 8018 PBES2, RFC 7914), as `openssl pkcs8 -scrypt` does it.

`cryptography` reads this form but cannot write it: its own choice for PKCS#8 is PBKDF2 with 2,048 rounds,
which is too few to keep a root authority's key behind a passphrase that a person made up.
"""

import base64
import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

# 16 MiB and five passes: as hard as 128 MiB and one, and within the 32 MiB that the openssl command allows.
_COST, _BLOCK_SIZE, _PARALLELISM = 2**14, 8, 5

_PBES2 = bytes.fromhex("06092a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT = bytes.fromhex("06092b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES256_CBC = bytes.fromhex("060960864801650304012a")  # 2.16.840.1.101.3.4.1.42

_INTEGER, _OCTET_STRING, _SEQUENCE = 0x02, 0x04, 0x30


def encrypted_pem(private_key_info: bytes, passphrase: bytes) -> bytes:
    """The PEM `ENCRYPTED PRIVATE KEY` of a DER `PrivateKeyInfo`, keyed by scrypt from the passphrase."""
    salt, initial_vector = os.urandom(16), os.urandom(16)
    key = Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK_SIZE, p=_PARALLELISM).derive(passphrase)
    derivation = _sequence(
        _SCRYPT,
        _sequence(_der(_OCTET_STRING, salt), _integer(_COST), _integer(_BLOCK_SIZE), _integer(_PARALLELISM)),
    )
    cipher = _sequence(_AES256_CBC, _der(_OCTET_STRING, initial_vector))
    return _pem(
        _sequence(
            _sequence(_PBES2, _sequence(derivation, cipher)),
            _der(_OCTET_STRING, _aes_cbc(key, initial_vector, private_key_info)),
        )
    )


def _aes_cbc(key: bytes, initial_vector: bytes, plain: bytes) -> bytes:
    padder = PKCS7(algorithms.AES.block_size).padder()
    padded = padder.update(plain) + padder.finalize()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(initial_vector)).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


def _sequence(*parts: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(parts))


def _integer(number: int) -> bytes:
    return _der(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, b"-----END ENCRYPTED PRIVATE KEY-----", b""])
