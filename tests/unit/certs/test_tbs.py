"""What is put together by hand is what `cryptography` makes of the same parts."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from certs import tbs
from certs.authority import Authority, authority_key_identifier, create_issuing, create_root
from certs.keys import public_key_info
from tests.unit.certs.forge import TRUST_DOMAIN, StoppedClock

Address = IPv4Address | IPv6Address

ISSUING: Authority = create_issuing(create_root(TRUST_DOMAIN, StoppedClock()), StoppedClock())
KEYS = [ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1())]
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - naive ends
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=200)


@pytest.mark.check("trust-08")
@given(
    serial_number=st.integers(1, 2**159 - 1),
    not_before=TIMES,
    key=st.sampled_from(KEYS),
    uri=NAMES,
    hosts=st.lists(NAMES, max_size=5),
    addresses=st.lists(st.ip_addresses(), max_size=5),
)
def test_the_bytes_are_those_of_a_builder(
    serial_number: int,
    not_before: datetime,
    key: ec.EllipticCurvePrivateKey,
    uri: str,
    hosts: list[str],
    addresses: list[Address],
) -> None:
    not_before = not_before.replace(microsecond=0)
    not_after = not_before + timedelta(hours=1)
    names = x509.SubjectAlternativeName(
        [
            x509.UniformResourceIdentifier(f"spiffe://{uri}/x"),
            *(x509.DNSName(host) for host in hosts),
            *(x509.IPAddress(address) for address in addresses),
        ]
    )
    issuer = ISSUING.certificate
    built = (
        x509.CertificateBuilder()
        .serial_number(serial_number)
        .issuer_name(issuer.subject)
        .subject_name(x509.Name([]))
        .public_key(key.public_key())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(names, critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(tbs.AUTHENTICATES, critical=True)
        .add_extension(tbs.BOTH_ENDS_OF_TLS, critical=False)
        .add_extension(authority_key_identifier(issuer), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(ISSUING.key, hashes.SHA256())
    )
    key_info = public_key_info(key.public_key())
    encoded = tbs.encode(issuer, serial_number, not_before, not_after, key_info, f"spiffe://{uri}/x", hosts, addresses)
    assert encoded == built.tbs_certificate_bytes
    assert x509.load_der_x509_certificate(tbs.signed(encoded, built.signature)) == built
