"""Looking for secrets where none may be, in every form that one could have slipped there in."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from certs.keys import key_to_pem
from certs.token import OneTimeToken

ANY_TOKEN = re.compile(rb"moor_[a-z2-7]{40}")
ANY_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_SHORTEST = 8


class Secrets:
    """The secrets of one plane, each under a name that may be told."""

    def __init__(self) -> None:
        self._forms: dict[str, set[bytes]] = {}

    def add(self, name: str, *secrets: bytes) -> None:
        """A secret that is one of `secrets`, as it is written in different places."""
        assert all(len(secret) >= _SHORTEST for secret in secrets)
        self._forms[name] = {form for secret in secrets for form in _forms(secret)}

    def add_token(self, name: str, token: str) -> None:
        """A one-time token: its text, and the secret in it."""
        self.add(name, token.encode(), OneTimeToken.decode(token).secret)

    def add_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> None:
        """A private key: its number, which its DER contains, and the body of its PEM."""
        body = b"".join(key_to_pem(key).splitlines()[1:-1])
        self.add(name, key.private_numbers().private_value.to_bytes(32), body[64:128])

    def found_in(self, places: Mapping[str, bytes]) -> list[str]:
        """Where which of them is, by their names; tokens and private keys that are none of them count too."""
        found = []
        for place, content in places.items():
            found += [f"{name} in {place}" for name, forms in self._forms.items() if any(f in content for f in forms)]
            found += [f"a token in {place}"] if ANY_TOKEN.search(content) else []
            found += [f"a private key in {place}"] if ANY_PRIVATE_KEY.search(content) else []
        return found


def process(pid: int) -> dict[str, bytes]:
    """What others may read of a process: its arguments and its environment."""
    return {f"{part} of process {pid}": Path(f"/proc/{pid}/{part}").read_bytes() for part in ("cmdline", "environ")}


def _forms(secret: bytes) -> set[bytes]:
    return {
        secret,
        secret.hex().encode(),
        secret.hex().upper().encode(),
        base64.b64encode(secret).rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
        repr(secret)[2:-1].encode(),
    }
