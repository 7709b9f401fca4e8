"""Trust: certificate signing requests. Of them nothing but the key is honoured, and a bad one changes nothing."""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest, IssuedIdentity, RecoverRequest, RenewRequest
from moorage.connector.v1.token_pb2 import IssueTokenRequest

from certs.keys import key_to_pem, new_key
from certs.request import make_csr
from tests.integration.connector.plane import RUNTIME_ID, Plane, problem_of
from tests.support.identities import TRUST_DOMAIN
from tests.support.judges import openssl
from tests.support.lenient import lenient_plane, newcomers_channel, state
from tests.support.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

Key = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | dsa.DSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
Hash = hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None

PATIENCE = 20.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plane]:
    async with lenient_plane(tmp_path_factory.mktemp("requests")) as plane:
        yield plane


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def newcomer(plane: Plane) -> AsyncIterator[ConnectorStub]:
    async with newcomers_channel(plane) as channel:
        yield ConnectorStub(channel)


def signed(key: Key, algorithm: Hash = None) -> bytes:
    """A request that is as it should be, but for its key or its algorithm."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


def with_another_key_in_it(csr: bytes) -> bytes:
    """The request, with the same signature, for a key that made none."""
    own, other = (_point(x509.load_der_x509_csr(each).public_key()) for each in (csr, make_csr(new_key())))
    return csr.replace(own, other)


GOOD = make_csr(new_key())

BAD: Mapping[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "garbage": lambda: b"garbage",
    "1 MB": lambda: bytes(1024 * 1024),
    "1 MB after a good one": lambda: GOOD.ljust(1024 * 1024, b"\0"),
    "without its end": lambda: GOOD[:-1],
    "with a byte too many": lambda: GOOD + b"\0",
    "in PEM": lambda: x509.load_der_x509_csr(GOOD).public_bytes(Encoding.PEM),
    "bad signature": lambda: with_another_key_in_it(GOOD),
    "weak signature": lambda: signed(new_key(), hashes.SHA224()),
    "weak key": lambda: signed(rsa.generate_private_key(65537, 1024), hashes.SHA256()),
    "RSA": lambda: signed(rsa.generate_private_key(65537, 2048), hashes.SHA256()),
    "DSA": lambda: signed(dsa.generate_private_key(2048), hashes.SHA256()),
    "Ed25519": lambda: signed(ed25519.Ed25519PrivateKey.generate()),
    "Ed448": lambda: signed(ed448.Ed448PrivateKey.generate()),
    "P-224": lambda: signed(ec.generate_private_key(ec.SECP224R1()), hashes.SHA256()),
    "P-521": lambda: signed(ec.generate_private_key(ec.SECP521R1()), hashes.SHA512()),
    "secp256k1": lambda: signed(ec.generate_private_key(ec.SECP256K1()), hashes.SHA256()),
    "Brainpool": lambda: signed(ec.generate_private_key(ec.BrainpoolP256R1()), hashes.SHA256()),
}
TAKEN: Mapping[str, tuple[ec.EllipticCurve, Hash]] = {
    "P-256": (ec.SECP256R1(), hashes.SHA256()),
    "P-256 with SHA-512": (ec.SECP256R1(), hashes.SHA512()),
    "P-384": (ec.SECP384R1(), hashes.SHA384()),
    "P-384 with SHA-256": (ec.SECP384R1(), hashes.SHA256()),
}


@pytest.mark.check("trust-06")
@pytest.mark.parametrize("what", BAD)
async def test_a_bad_csr_is_refused_by_its_field_and_the_token_still_works(
    plane: Plane, newcomer: ConnectorStub, what: str
) -> None:
    token, csr = (await plane.token()).encode(), BAD[what]()
    before = state(plane)

    problem = await problem_of(newcomer.Enroll(EnrollRequest(token=token, csr=csr), timeout=PATIENCE))

    assert problem.code == grpc.StatusCode.INVALID_ARGUMENT
    assert problem.reason == ("CSR_REFUSED" if csr else "FIELD_INVALID")
    assert [each.field for each in problem.violations] == ["csr"]
    assert state(plane) == before
    good = await newcomer.Enroll(EnrollRequest(token=token, csr=make_csr(new_key())), timeout=PATIENCE)
    assert good.identity.spiffe_id == f"spiffe://{TRUST_DOMAIN}/runtime/{RUNTIME_ID}"


@pytest.mark.check("trust-06")
@pytest.mark.parametrize("what", TAKEN)
async def test_a_key_on_either_curve_is_certified(plane: Plane, newcomer: ConnectorStub, what: str) -> None:
    curve, algorithm = TAKEN[what]
    key, token = ec.generate_private_key(curve), await plane.token()

    answer = await newcomer.Enroll(EnrollRequest(token=token.encode(), csr=signed(key, algorithm)), timeout=PATIENCE)

    assert _point(leaf_of(answer.identity).public_key()) == _point(key.public_key())


GREED: Sequence[tuple[x509.ExtensionType, bool]] = (
    (x509.BasicConstraints(ca=True, path_length=9), True),
    (
        x509.SubjectAlternativeName(
            [
                x509.UniformResourceIdentifier(f"spiffe://{TRUST_DOMAIN}/admin/eve"),
                x509.UniformResourceIdentifier("spiffe://other.example/admin/eve"),
                x509.DNSName("director.plane.example"),
                x509.RFC822Name("eve@plane.example"),
            ]
        ),
        True,
    ),
    (x509.KeyUsage(*(True,) * 6, *(True, False, False)), True),  # everything, keyCertSign and cRLSign among it
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, ExtendedKeyUsageOID.CODE_SIGNING]), False),
    (x509.NameConstraints([x509.DNSName("example")], None), True),
    # 2.5.29.16, the private key's usage period, is where a request could name a time: from 2020 to 2040.
    (
        x509.UnrecognizedExtension(
            ObjectIdentifier("2.5.29.16"), b"\x30\x22\x80\x0f20200101000000Z\x81\x0f20400101000000Z"
        ),
        False,
    ),
    (x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"), True),
)


def greedy_csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "eve"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "administrators"),
        ]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension, critical in GREED:
        builder = builder.add_extension(extension, critical=critical)
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"ten years, please")
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.check("trust-07")
@pytest.mark.parametrize("call", ["Enroll", "Renew", "Recover"])
async def test_of_a_greedy_csr_nothing_but_the_key_is_honoured(
    plane: Plane, newcomer: ConnectorStub, tmp_path: Path, call: str
) -> None:
    asked = IssueTokenRequest(viewer=f"vic-{call}") if call == "Recover" else IssueTokenRequest(runtime_id=RUNTIME_ID)
    token = (await plane.connector().IssueToken(asked, timeout=PATIENCE)).token
    key = new_key()
    csr = greedy_csr(key)

    first = (await newcomer.Enroll(EnrollRequest(token=token, csr=csr), timeout=PATIENCE)).identity
    given = await again(plane, newcomer, call, first, key, tmp_path)

    lifetime = 1 if call == "Recover" else 86400
    told = openssl_text(given, tmp_path)
    assert extensions(told) == {
        ("X509v3 Basic Constraints: critical", "CA:FALSE"),
        ("X509v3 Key Usage: critical", "Digital Signature"),
        ("X509v3 Extended Key Usage:", "TLS Web Server Authentication, TLS Web Client Authentication"),
        ("X509v3 Authority Key Identifier:", _colons(plane.mint.issuing.certificate)),
        ("X509v3 Subject Alternative Name: critical", f"URI:{first.spiffe_id}"),
        ("X509v3 Subject Key Identifier:", _colons(leaf_of(given))),
    }
    assert re.search(r"^\s+Subject: *$", told, re.MULTILINE)
    assert given.spiffe_id == first.spiffe_id
    assert given.not_after.seconds - given.not_before.seconds == lifetime + 60


async def again(
    plane: Plane,
    newcomer: ConnectorStub,
    call: str,
    first: IssuedIdentity,
    key: ec.EllipticCurvePrivateKey,
    folder: Path,
) -> IssuedIdentity:
    """What a greedy request gets by `call`, from whoever has enrolled by one; `folder` is for the identity."""
    if call == "Renew":
        identity = plane.mint.identity("runtime", RUNTIME_ID, folder=folder / "held")
        identity.write(key_to_pem(key), first.certificate_chain_pem.encode(), plane.mint.root.chain_pem)
        request = RenewRequest(csr=greedy_csr(new_key()))
        return (await plane.connector(identity).Renew(request, timeout=PATIENCE)).identity
    if call == "Recover":
        recover = RecoverRequest(certificate_pem=first.certificate_chain_pem, csr=greedy_csr(key))

        async def recovered() -> IssuedIdentity | None:
            try:
                return (await newcomer.Recover(recover, timeout=PATIENCE)).identity
            except grpc.aio.AioRpcError:
                return None

        return await eventually("it has expired and is recovered", recovered)
    return first


def leaf_of(identity: IssuedIdentity) -> x509.Certificate:
    return x509.load_pem_x509_certificates(identity.certificate_chain_pem.encode())[0]


def openssl_text(identity: IssuedIdentity, folder: Path) -> str:
    """The leaf as OpenSSL reads it."""
    leaf = folder / "leaf.pem"
    leaf.write_bytes(leaf_of(identity).public_bytes(Encoding.PEM))
    return openssl("x509", "-in", leaf, "-noout", "-text").stdout


def extensions(told: str) -> set[tuple[str, str]]:
    """Each extension's head and value, of the text that OpenSSL makes of a certificate."""
    lines = [line.strip() for line in told[told.index("X509v3 extensions:") :].splitlines()[1:]]
    lines = lines[: next(number for number, line in enumerate(lines) if line.startswith("Signature Algorithm"))]
    return set(zip(lines[::2], lines[1::2], strict=True))


def _colons(certificate: x509.Certificate) -> str:
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    return identifier.hex(":").upper()


def _point(public_key: object) -> bytes:
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    return public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
