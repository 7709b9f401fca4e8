"""Outside judges of certificates and revocation lists: OpenSSL's command, and pkilint."""

import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

_PATIENCE = 20.0


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What OpenSSL's command says, on standard output and standard error as one."""
    return subprocess.run(
        ["openssl", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_PATIENCE,
    )


def openssl_verify(chain: Path, roots: Path, purpose: str, *options: str | Path) -> str:
    """What `openssl verify` has against the first certificate of `chain` for `purpose`; "" where it has nothing.

    The others of `chain` are those on the way to one of `roots`. X.509 is taken strictly.
    """
    judged = openssl(
        *("verify", "-x509_strict", "-purpose", purpose, "-CAfile", roots, "-untrusted", chain), *options, chain
    )
    return "" if judged.returncode == 0 and judged.stdout == f"{chain}: OK\n" else judged.stdout


def pkilint_certificate(certificate: Path, spiffe_ids: Collection[str], host_names: Collection[str] = ()) -> list[str]:
    """What pkilint has against a certificate: its warnings, errors and fatal findings, each as "code: message".

    Two of its rules are narrower than RFC 5280. Of URIs it knows the schemes of the web and no other, so what it says
    of exactly the `spiffe_ids` is left out, since another judge knows those; and of DNS names those with a top-level
    domain, so what it says of `host_names` is left out.
    """
    known = {f'pkix.invalid_uri_syntax: Invalid URI syntax: "{each}"' for each in spiffe_ids}
    known |= {f'pkix.invalid_domain_name_syntax: Invalid domain name syntax: "{each}"' for each in host_names}
    return [each for each in _pkilint("lint_pkix_cert", "lint", certificate) if each not in known]


def pkilint_pair(issuer: Path, subject: Path) -> list[str]:
    """What pkilint has against a certificate and the one that it is said to be issued by."""
    return _pkilint("lint_pkix_signer_signee_cert_chain", "lint", issuer, subject)


def pkilint_revocation_list(revocation_list: Path) -> list[str]:
    """What pkilint has against a revocation list, by RFC 5280."""
    return _pkilint("lint_crl", "lint", "--type", "CRL", "--profile", "PKIX", revocation_list)


def openssl_handshake(address: str, version: str, identity: Path) -> str | None:
    """The protocol agreed upon with a client that has `version` (tls1_2, say) and no other; None where there is none.

    The client shows the certificate of the identity folder, as a party of the plane does, and takes any cipher, so that
    nothing but the version is in the way.
    """
    agreed = openssl(
        *("s_client", "-connect", address, f"-{version}", "-cipher", "ALL:@SECLEVEL=0", "-alpn", "h2", "-brief"),
        *("-cert", identity / "tls.crt", "-cert_chain", identity / "tls.crt", "-key", identity / "tls.key"),
        *("-CAfile", identity / "ca.crt"),
    )
    established = re.search(r"^CONNECTION ESTABLISHED\nProtocol version: (\S+)$", agreed.stdout, re.MULTILINE)
    return established[1] if established else None


def _pkilint(linter: str, *arguments: str | Path) -> list[str]:
    options = ("--severity", "WARNING", "--format", "JSON")
    linted = subprocess.run(
        [sys.executable, "-m", f"pkilint.bin.{linter}", arguments[0], *options, *map(str, arguments[1:])],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    assert linted.stderr == "", linted.stderr
    return list(_findings(json.loads(linted.stdout)["results"]))


def _findings(results: Iterable[dict[str, list[dict[str, str]]]]) -> Iterable[str]:
    for result in results:
        for finding in result["finding_descriptions"]:
            yield f"{finding['code']}: {finding['message']}"
