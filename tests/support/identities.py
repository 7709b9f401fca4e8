"""A trust domain of a test's own: authorities, and identities of any kind in a folder."""

import ipaddress
from datetime import timedelta
from pathlib import Path

from certs.authority import create_issuing, create_root
from certs.clock import Clock, system_clock
from certs.identity import Identity
from certs.issue import issue
from certs.keys import key_to_pem, new_key
from certs.spiffe import Kind, SpiffeId

TRUST_DOMAIN = "moorage.test"


class Mint:
    """Makes identities under one root, each in a folder of its own below `home`."""

    def __init__(self, home: Path, trust_domain: str = TRUST_DOMAIN, clock: Clock = system_clock) -> None:
        self.home = home
        self.trust_domain = trust_domain
        self.clock = clock
        self.root = create_root(trust_domain, clock)
        self.issuing = create_issuing(self.root, clock)
        self._made = 0

    def identity(
        self, kind: str, name: str, lifetime: timedelta = timedelta(hours=1), folder: Path | None = None
    ) -> Identity:
        """An identity such as ("application", UUID) or ("service", "director"); services can serve on loopback."""
        self._made += 1
        identity = Identity(folder or self.home / f"{self._made}-{kind}")
        key = new_key()
        serves = kind == Kind.SERVICE
        issued = issue(
            self.issuing,
            key.public_key(),
            SpiffeId(self.trust_domain, f"/{kind}/{name}"),
            lifetime,
            self.clock,
            ("localhost",) if serves else (),
            (ipaddress.ip_address("127.0.0.1"),) if serves else (),
            server=serves,
        )
        identity.write(key_to_pem(key), issued.chain_pem, self.root.chain_pem)
        return identity
