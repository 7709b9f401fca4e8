"""Any bytes as request, token or certificate: the Connector refuses them by its catalogue, and keeps what it has."""

import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import EnrollRequest
from moorage.connector.v1.token_pb2 import IssueTokenRequest

from certs.identity import Identity
from certs.keys import key_to_pem, new_key
from certs.request import MAX_CSR_BYTES, make_csr
from certs.token import OneTimeToken, TokenMalformed
from mesh.errors import Problem
from tests.integration.connector.plane import RUNTIME_ID, Plane
from tests.support.lenient import lenient_plane, newcomers_channel, state
from tests.support.wait import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

PATIENCE = 20.0
METHODS = "/moorage.connector.v1.Connector/"

INVALID, UNAUTHENTICATED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAUTHENTICATED
BAD_FIELD = (INVALID, "FIELD_INVALID")
NO_MESSAGE = (INVALID, "MESSAGE_MALFORMED")
BAD_CSR = (INVALID, "CSR_REFUSED")
RECOVERY_REFUSED = (UNAUTHENTICATED, "RECOVERY_REFUSED")

RawCall = Callable[[bytes], Awaitable[bytes]]

thorough = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@dataclass(frozen=True)
class Field:
    """The Connector, and what is sent to it as bytes: the parties' keys and certificates are there already."""

    plane: Plane
    enroll: RawCall
    renew: RawCall
    recover: RawCall
    token: OneTimeToken
    """Not used yet."""
    key: ec.EllipticCurvePrivateKey
    expired: x509.Certificate
    """Of that key, and it can be recovered."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def field(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Field]:
    folder = tmp_path_factory.mktemp("bytes")
    async with lenient_plane(folder) as plane, newcomers_channel(plane) as outside:
        newcomer: ConnectorStub = ConnectorStub(outside)
        key = new_key()
        expired = await enrolled(plane, newcomer, IssueTokenRequest(viewer="val"), key)
        runtime_key, runtime = new_key(), Identity(folder / "runtime")
        leaf = await enrolled(plane, newcomer, IssueTokenRequest(runtime_id=RUNTIME_ID), runtime_key)
        chain = leaf.public_bytes(Encoding.PEM) + plane.mint.issuing.chain_pem
        runtime.write(key_to_pem(runtime_key), chain, plane.mint.root.chain_pem)
        held = runtime.load()
        credentials = grpc.ssl_channel_credentials(held.bundle_pem, held.key_pem, held.chain_pem)
        async with grpc.aio.secure_channel(plane.settings["connector_address"], credentials) as inside:
            renew = raw(inside, "Renew")
            with pytest.raises(grpc.aio.AioRpcError):
                await renew(b"")

            async def seen() -> bool:
                used = plane.rows("SELECT count(*) FROM certificates WHERE first_use_time IS NOT NULL")
                return bool(used[0][0])

            await eventually("the Runtime's certificate has been seen", seen)
            yield Field(
                plane, raw(outside, "Enroll"), renew, raw(outside, "Recover"), await plane.token(), key, expired
            )


async def enrolled(
    plane: Plane, newcomer: ConnectorStub, asked: IssueTokenRequest, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    token = (await plane.connector().IssueToken(asked, timeout=PATIENCE)).token
    answer = await newcomer.Enroll(EnrollRequest(token=token, csr=make_csr(key)), timeout=PATIENCE)
    return x509.load_pem_x509_certificates(answer.identity.certificate_chain_pem.encode())[0]


def raw(channel: grpc.aio.Channel, method: str) -> RawCall:
    """The method, with bytes in and out."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHODS + method)

    async def called(request: bytes) -> bytes:
        return await call(request, timeout=PATIENCE)

    return called


def message(fields: Mapping[int, bytes]) -> bytes:
    """A message with these bytes as its fields, whatever they say: as a string also what is no UTF-8."""
    return b"".join(bytes([number << 3 | 2]) + varint(len(content)) + content for number, content in fields.items())


def varint(number: int) -> bytes:
    low = number & 0x7F
    return bytes([low | 0x80]) + varint(number >> 7) if number > low else bytes([low])


async def refusal(call: RawCall, fields: Mapping[int, bytes]) -> tuple[grpc.StatusCode, str]:
    """The code and the reason with which the call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(message(fields))
    problem = Problem.of(caught.value)
    return problem.code, problem.reason


@dataclass(frozen=True)
class Instead:
    """Something else altogether."""

    content: bytes

    def __call__(self, _: bytes) -> bytes:
        return self.content


@dataclass(frozen=True)
class Edit:
    """The same, but for a few bytes at one place."""

    position: int
    removed: int
    put: bytes

    def __call__(self, content: bytes) -> bytes:
        position = self.position % (len(content) + 1)
        return content[:position] + self.put + content[position + self.removed :]


ANY_BYTES = st.builds(Instead, st.binary(max_size=600)) | st.builds(
    Edit, st.integers(0, 2**16), st.integers(0, 8), st.binary(max_size=8)
)
Change = Instead | Edit


@pytest.mark.check("trust-06")
@thorough
@given(change=ANY_BYTES)
@example(change=Instead(b"0" * (MAX_CSR_BYTES + 1)))
async def test_any_bytes_as_a_csr_are_refused_and_change_nothing(field: Field, change: Change) -> None:
    good = make_csr(field.key)
    csr = change(good)
    assume(csr != good)
    token, pem = field.token.encode().encode(), field.expired.public_bytes(Encoding.PEM)
    before = state(field.plane)

    answers = {
        await refusal(field.enroll, {1: token, 2: csr}),
        await refusal(field.renew, {1: csr}),
        await refusal(field.recover, {1: pem, 2: csr}),
    }

    assert answers == {BAD_CSR if csr else BAD_FIELD}
    assert state(field.plane) == before


@thorough
@given(change=ANY_BYTES)
async def test_any_bytes_as_a_token_are_refused_and_change_nothing(field: Field, change: Change) -> None:
    text = change(field.token.encode().encode())
    assume(not _is(field.token, text))
    before = state(field.plane)

    answer = await refusal(field.enroll, {1: text, 2: make_csr(new_key())})

    assert answer in {(INVALID, "TOKEN_MALFORMED"), BAD_FIELD, NO_MESSAGE}
    assert state(field.plane) == before


@thorough
@given(secret=st.binary(min_size=32, max_size=32))
async def test_any_secret_as_a_token_is_refused_as_unknown_and_changes_nothing(field: Field, secret: bytes) -> None:
    assume(secret != field.token.secret)
    unknown = OneTimeToken(field.token.address, field.token.root_pins, secret).encode()
    before = state(field.plane)

    answer = await refusal(field.enroll, {1: unknown.encode(), 2: make_csr(new_key())})

    assert answer == (UNAUTHENTICATED, "TOKEN_REFUSED")
    assert state(field.plane) == before


@thorough
@given(change=ANY_BYTES, in_pem=st.booleans())
async def test_any_bytes_as_a_certificate_are_refused_and_change_nothing(
    field: Field, change: Change, in_pem: bool
) -> None:
    pem = change(field.expired.public_bytes(Encoding.PEM)) if not in_pem else _pem(change(_der(field.expired)))
    assume(not _is_certificate(field.expired, pem))
    before = state(field.plane)

    answer = await refusal(field.recover, {1: pem, 2: make_csr(field.key)})

    assert answer in {RECOVERY_REFUSED, BAD_CSR, BAD_FIELD, NO_MESSAGE}
    assert state(field.plane) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01", id="version 2"),
        pytest.param(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09", id="a version that there is not"),
        pytest.param(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030101"), id="another curve"),
        pytest.param(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209"), id="no known kind of key"),
    ],
)
async def test_a_certificate_with_a_part_that_nobody_reads_is_refused_and_changes_nothing(
    field: Field, old: bytes, new: bytes
) -> None:
    changed = _der(field.expired).replace(old, new)
    assert changed != _der(field.expired)
    before = state(field.plane)

    answer = await refusal(field.recover, {1: _pem(changed), 2: make_csr(field.key)})

    assert answer == RECOVERY_REFUSED
    assert state(field.plane) == before


async def test_a_certificate_with_a_negative_serial_number_is_refused_and_changes_nothing(field: Field) -> None:
    der, serial = _der(field.expired), field.expired.serial_number
    octets = serial.to_bytes((serial.bit_length() + 8) // 8, "big")
    changed = der.replace(octets, bytes([octets[0] | 0x80]) + octets[1:])
    before = state(field.plane)

    answer = await refusal(field.recover, {1: _pem(changed), 2: make_csr(field.key)})

    assert changed != der
    assert answer == RECOVERY_REFUSED
    assert state(field.plane) == before


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _pem(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode()


def _is(token: OneTimeToken, text: bytes) -> bool:
    """Whether the text is that token, however it is written and whatever else it says."""
    try:
        return OneTimeToken.decode(text.decode()).secret == token.secret
    except (TokenMalformed, UnicodeDecodeError):
        return False


def _is_certificate(certificate: x509.Certificate, pem: bytes) -> bool:
    """Whether the first certificate there is that one, whatever else there is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return x509.load_pem_x509_certificates(pem)[0] == certificate
        except (ValueError, x509.InvalidVersion):
            return False
