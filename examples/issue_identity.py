"""Signs an identity with the issuing authority, where no Connector can: its own first one, and the administrator's.

Run it where the authority is, with the Python that Moorage is installed for. All others enrol with one-time tokens, and
whoever has an identity asks the Connector for the next one (`Connector.Renew`). The Connector's setting
`first_identities` takes what is signed here into its ledger.

    issue_identity.py --authority connector/authority/issuing --out connector/identity \
        --path /service/connector --dns connector.example --days 30
"""

import argparse
import ipaddress
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from certs.authority import Authority, certificates_to_pem
from certs.clock import system_clock
from certs.identity import Identity
from certs.issue import issue
from certs.keys import key_to_pem, new_key
from certs.spiffe import SpiffeId


def main(argv: Sequence[str] | None = None) -> None:
    """Write `tls.crt`, `tls.key` and `ca.crt` into a folder, in one step; a service that runs there takes them up."""
    parser = argparse.ArgumentParser(description="Sign an identity with the issuing authority.")
    parser.add_argument("--authority", type=Path, required=True, help="folder of the issuing authority")
    parser.add_argument("--passphrase-file", type=Path, help="file whose first line opens the authority's key")
    parser.add_argument("--out", type=Path, required=True, help="folder of the identity")
    parser.add_argument("--path", required=True, help="path of the SPIFFE ID: /service/NAME, /admin/NAME, /viewer/NAME")
    parser.add_argument("--dns", action="append", default=[], help="DNS name that a service answers to, repeatable")
    parser.add_argument("--ip", type=ipaddress.ip_address, action="append", default=[], help="likewise, IP address")
    parser.add_argument("--days", type=float, default=30, help="life of the certificate; 30 by default")
    asked = parser.parse_args(argv)

    passphrase = asked.passphrase_file.read_bytes().splitlines()[0] if asked.passphrase_file else None
    authority = Authority.load(asked.authority, passphrase)
    key = new_key()
    issued = issue(
        authority,
        key.public_key(),
        SpiffeId(authority.trust_domain, asked.path),
        timedelta(days=asked.days),
        system_clock,
        asked.dns,
        asked.ip,
        server=bool(asked.dns or asked.ip),
    )
    Identity(asked.out).write(key_to_pem(key), issued.chain_pem, certificates_to_pem((authority.root,)))


if __name__ == "__main__":
    main()
