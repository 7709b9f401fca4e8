"""Trust: every rule of the X.509-SVID and SPIFFE-ID standards, one by one, on what is issued and on whoever calls.

Numbers are sections of the two standards: "SVID 4.1" and "ID 2.2".
"""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest, GetTrustBundleRequest
from moorage.connector.v1.token_pb2 import IssueTokenRequest

from certs.clock import system_clock
from certs.keys import key_to_pem
from certs.request import make_csr
from tests.integration.connector.plane import APPLICATION_ID, RUNTIME_ID, Plane, problem_of
from tests.support.identities import TRUST_DOMAIN
from tests.support.lenient import lenient_plane, newcomers_channel, state
from tests.unit.certs.forge import LEAF, UUID, Forgery, common_name, key_usage

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.check("trust-08")]

PATIENCE = 20.0

ASKED: Mapping[str, IssueTokenRequest] = {
    "application": IssueTokenRequest(application_id=APPLICATION_ID),
    "runtime": IssueTokenRequest(runtime_id=RUNTIME_ID),
    "admin": IssueTokenRequest(admin="ada"),
    "viewer": IssueTokenRequest(viewer="vic"),
    "service": IssueTokenRequest(service="director", dns_names=["director.plane.example"]),
}


def names(certificate: x509.Certificate) -> x509.Extension[x509.SubjectAlternativeName]:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def uris(certificate: x509.Certificate) -> list[str]:
    return names(certificate).value.get_values_for_type(x509.UniformResourceIdentifier)


def usage(certificate: x509.Certificate) -> x509.Extension[x509.KeyUsage]:
    return certificate.extensions.get_extension_for_class(x509.KeyUsage)


def purposes(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def constraints(certificate: x509.Certificate) -> x509.Extension[x509.BasicConstraints]:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints)


Holds = Callable[[x509.Certificate], bool]

OF_LEAVES: Mapping[str, Holds] = {
    "SVID 2: exactly one URI SAN": lambda each: len(uris(each)) == 1,
    "SVID 3.1: the SPIFFE ID has a path": lambda each: uris(each)[0].count("/") > 2,
    "SVID 3.1: no other name where there is no subject, so the SAN is critical": lambda each: (
        not each.subject.rdns and names(each).critical
    ),
    "SVID 4.1: it is no authority": lambda each: not constraints(each).value.ca,
    "SVID 4.3: the key usage is there and critical": lambda each: usage(each).critical,
    "SVID 4.3: digitalSignature is set": lambda each: usage(each).value.digital_signature,
    "SVID 4.3: keyCertSign and cRLSign are not": lambda each: (
        not (usage(each).value.key_cert_sign or usage(each).value.crl_sign)
    ),
    "SVID 4.4: serverAuth and clientAuth are both set": lambda each: (
        purposes(each) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    ),
    "ID 2: the scheme is spiffe": lambda each: uris(each)[0].startswith("spiffe://"),
    "ID 2: at most 2048 bytes": lambda each: len(uris(each)[0].encode()) <= 2048,
    "ID 2.1: the trust domain is the plane's": lambda each: uris(each)[0].split("/")[2] == TRUST_DOMAIN,
    "ID 2.2: segments have letters, digits, dots, dashes and underscores alone": lambda each: all(
        segment and segment not in {".", ".."} and segment.replace("-", "").replace(".", "").replace("_", "").isalnum()
        for segment in uris(each)[0].split("/")[3:]
    ),
}

OF_AUTHORITIES: Mapping[str, Holds] = {
    "SVID 3.2: at most one URI SAN, the trust domain without a path": lambda each: (
        uris(each) == [f"spiffe://{TRUST_DOMAIN}"]
    ),
    "SVID 4.1: it is an authority": lambda each: constraints(each).value.ca and constraints(each).critical,
    "SVID 4.1: it has a path length": lambda each: constraints(each).value.path_length is not None,
    "SVID 4.3: keyCertSign is set, and critical": lambda each: usage(each).critical and usage(each).value.key_cert_sign,
    "SVID 4.3: digitalSignature is not": lambda each: not usage(each).value.digital_signature,
}

A_DAY_AGO = timedelta(days=-1)

BROKEN: Mapping[str, Forgery] = {
    "SVID 2: no URI SAN": LEAF.but(uris=(), dns_names=("a.example",)),
    "SVID 2: no SAN": LEAF.but(uris=()),
    "SVID 2: two URI SANs": LEAF.but(uris=(f"spiffe://{TRUST_DOMAIN}/admin/ada", f"spiffe://{TRUST_DOMAIN}/admin/eve")),
    "SVID 2: a URI SAN beside the SPIFFE ID": LEAF.but(
        uris=(f"spiffe://{TRUST_DOMAIN}/admin/ada", "https://plane.example")
    ),
    "SVID 3.1: no path": LEAF.but(uris=(f"spiffe://{TRUST_DOMAIN}",)),
    "SVID 3.1: no subject, and a SAN that is not critical": LEAF.but(san_critical=False),
    "SVID 4.1: an authority": LEAF.but(
        constraints=x509.BasicConstraints(ca=True, path_length=None),
        usage=key_usage("digital_signature", "key_cert_sign"),
    ),
    "SVID 4.3: no key usage": LEAF.but(usage=None),
    "SVID 4.3: a key usage that is not critical": LEAF.but(usage_critical=False),
    "SVID 4.3: no digitalSignature": LEAF.but(usage=key_usage("key_agreement")),
    "SVID 4.3: keyCertSign": LEAF.but(usage=key_usage("digital_signature", "key_cert_sign")),
    "SVID 4.3: cRLSign": LEAF.but(usage=key_usage("digital_signature", "crl_sign")),
    "SVID 4.4: serverAuth alone": LEAF.but(extended_usage=(ExtendedKeyUsageOID.SERVER_AUTH,)),
    "SVID 4.4: clientAuth alone": LEAF.but(extended_usage=(ExtendedKeyUsageOID.CLIENT_AUTH,)),
    "SVID 5: expired": LEAF.but(not_before=system_clock() + 2 * A_DAY_AGO, not_after=system_clock() + A_DAY_AGO),
    "SVID 5: not valid yet": LEAF.but(not_before=system_clock() - A_DAY_AGO, not_after=system_clock() - 2 * A_DAY_AGO),
    **{
        f"ID 2: {what}": LEAF.but(uris=(uri,))
        for what, uri in {
            "another scheme": f"https://{TRUST_DOMAIN}/admin/ada",
            "the scheme in uppercase": f"SPIFFE://{TRUST_DOMAIN}/admin/ada",
            "a query": f"spiffe://{TRUST_DOMAIN}/admin/ada?role=admin",
            "a fragment": f"spiffe://{TRUST_DOMAIN}/admin/ada#admin",
            "more than 2048 bytes": f"spiffe://{TRUST_DOMAIN}/admin/" + "a" * 2048,
        }.items()
    },
    **{
        f"ID 2.1: {what}": LEAF.but(uris=(uri,))
        for what, uri in {
            "another trust domain": "spiffe://other.test/admin/ada",
            "the trust domain in uppercase": f"spiffe://{TRUST_DOMAIN.upper()}/admin/ada",
            "no trust domain": "spiffe:///admin/ada",
            "a port": f"spiffe://{TRUST_DOMAIN}:443/admin/ada",
            "a user": f"spiffe://ada@{TRUST_DOMAIN}/admin/ada",
            "a percent sign": "spiffe://moorage%2etest/admin/ada",
            "a subdomain": f"spiffe://sub.{TRUST_DOMAIN}/admin/ada",
        }.items()
    },
    **{
        f"ID 2.2: {what}": LEAF.but(uris=(uri,))
        for what, uri in {
            "a slash at the end": f"spiffe://{TRUST_DOMAIN}/admin/ada/",
            "an empty segment": f"spiffe://{TRUST_DOMAIN}/admin//ada",
            "a dot as segment": f"spiffe://{TRUST_DOMAIN}/admin/.",
            "two dots as segment": f"spiffe://{TRUST_DOMAIN}/viewer/../admin/ada",
            "a percent sign": f"spiffe://{TRUST_DOMAIN}/admin/%61da",
            "a space": f"spiffe://{TRUST_DOMAIN}/admin/ada lovelace",
        }.items()
    },
    **{
        f"no identity of a plane: {what}": LEAF.but(uris=(uri,))
        for what, uri in {
            "no kind": f"spiffe://{TRUST_DOMAIN}/ada",
            "a kind that there is not": f"spiffe://{TRUST_DOMAIN}/guest/ada",
            "a segment more": f"spiffe://{TRUST_DOMAIN}/admin/ada/more",
            "a UUID in uppercase": f"spiffe://{TRUST_DOMAIN}/application/{UUID.upper()}",
            "a service that there is not": f"spiffe://{TRUST_DOMAIN}/service/other",
        }.items()
    },
}

KEPT: Mapping[str, Forgery] = {
    "with nothing but what must be": LEAF.but(constraints=None),
    "with a subject": LEAF.but(subject=common_name("anything")),
    "with a subject, and a SAN that is not critical": LEAF.but(subject=common_name("anything"), san_critical=False),
    "with DNS names": LEAF.but(dns_names=("a.example", "b.example")),
    "with other key usages": LEAF.but(usage=key_usage("digital_signature", "key_encipherment", "key_agreement")),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plane]:
    async with lenient_plane(tmp_path_factory.mktemp("svids")) as plane:
        yield plane


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def leaves(plane: Plane) -> Mapping[str, x509.Certificate]:
    """One of each kind, for keys on either curve, as the Connector issued it."""
    issued = {}
    async with newcomers_channel(plane) as channel:
        newcomer: ConnectorStub = ConnectorStub(channel)
        for kind, asked in ASKED.items():
            for curve in (ec.SECP256R1(), ec.SECP384R1()):
                token = (await plane.connector().IssueToken(asked, timeout=PATIENCE)).token
                csr = make_csr(ec.generate_private_key(curve))
                answer = await newcomer.Enroll(EnrollRequest(token=token, csr=csr), timeout=PATIENCE)
                leaf = x509.load_pem_x509_certificates(answer.identity.certificate_chain_pem.encode())[0]
                issued[f"{kind} {curve.name}"] = leaf
    return issued


@pytest.mark.parametrize("rule", OF_LEAVES)
async def test_every_kind_of_certificate_that_is_issued_keeps_the_rule(
    leaves: Mapping[str, x509.Certificate], rule: str
) -> None:
    assert [kind for kind, leaf in leaves.items() if not OF_LEAVES[rule](leaf)] == []


@pytest.mark.parametrize("rule", OF_AUTHORITIES)
async def test_the_authorities_keep_the_rule(plane: Plane, rule: str) -> None:
    assert OF_AUTHORITIES[rule](plane.mint.root.certificate)
    assert OF_AUTHORITIES[rule](plane.mint.issuing.certificate)


@pytest.mark.parametrize("role", ["admin", "viewer"])
@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "ada/more", "ada/../eve", "%61da", "ada lovelace", "ada?", "ada#", "äda", "a" * 64, "-", "a\0"],
)
async def test_a_name_that_makes_no_spiffe_id_earns_no_token(plane: Plane, role: str, name: str) -> None:
    asked = IssueTokenRequest(admin=name) if role == "admin" else IssueTokenRequest(viewer=name)
    before = state(plane)

    problem = await problem_of(plane.connector().IssueToken(asked, timeout=PATIENCE))

    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert [each.field for each in problem.violations] == [role]
    assert state(plane) == before


@pytest.mark.parametrize("rule", BROKEN)
async def test_whoever_shows_a_certificate_that_breaks_the_rule_is_refused(plane: Plane, rule: str) -> None:
    before = state(plane)

    problem = await problem_of(ask(plane, BROKEN[rule]))

    # Some of it TLS refuses before anybody can say why.
    by_tls = problem.code == grpc.StatusCode.UNAVAILABLE and problem.reason == ""
    by_plane = (problem.code, problem.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CERTIFICATE_FOREIGN")
    assert by_tls or by_plane, problem
    assert state(plane) == before


@pytest.mark.parametrize("how", KEPT)
async def test_whoever_shows_a_certificate_that_keeps_every_rule_is_answered(plane: Plane, how: str) -> None:
    await ask(plane, KEPT[how])


async def ask(plane: Plane, forgery: Forgery) -> None:
    """Ask what any party may ask, with a certificate that the plane's own authority signed as it stands there."""
    if forgery.not_before == LEAF.not_before:
        now = system_clock()
        forgery = forgery.but(not_before=now - timedelta(minutes=1), not_after=now + timedelta(hours=1))
    leaf = forgery.signed_by(plane.mint.issuing.certificate, plane.mint.issuing.key)
    chain = leaf.public_bytes(Encoding.PEM) + plane.mint.issuing.chain_pem
    credentials = grpc.ssl_channel_credentials(plane.mint.root.chain_pem, key_to_pem(forgery.key), chain)
    async with grpc.aio.secure_channel(plane.settings["connector_address"], credentials) as channel:
        party: ConnectorStub = ConnectorStub(channel)
        await party.GetTrustBundle(GetTrustBundleRequest(), timeout=PATIENCE)
