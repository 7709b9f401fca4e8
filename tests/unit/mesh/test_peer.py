"""Whom a connection's certificate is taken for, whatever is in it."""

import ssl
import warnings
from datetime import timedelta
from typing import Any, cast

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given, settings
from hypothesis import strategies as st
from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import Refusal
from mesh.peer import Peers
from tests.unit.certs.forge import LEAF, LEAF_ID, TRUST_DOMAIN, StoppedClock, authorities

_, ISSUING = authorities(StoppedClock())
DER = LEAF.signed_by(ISSUING.certificate, ISSUING.key).public_bytes(Encoding.DER)
V2, SERIAL = DER.index(b"\xa0\x03\x02\x01\x02") + 4, DER.index(b"\x02\x14") + 2


def caller(content: bytes, clock: StoppedClock | None = None) -> str:
    """The SPIFFE ID of the caller that shows this certificate; raises `Refusal`."""
    peers = Peers(TRUST_DOMAIN, clock or StoppedClock())
    found = peers.caller(cast("grpc.aio.ServicerContext[Any, Any]", Connection({"x509_pem_cert": [content]})))
    assert found is not None
    return found.uri


class Connection:
    """What a servicer's context tells of the connection."""

    def __init__(self, told: dict[str, list[bytes]]) -> None:
        self._told = told

    def auth_context(self) -> dict[str, list[bytes]]:
        return self._told


def pem(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode()


def test_a_caller_is_whom_its_certificate_names() -> None:
    assert caller(pem(DER)) == LEAF_ID


def test_nobody_is_at_the_end_of_a_connection_without_a_certificate() -> None:
    context = cast("grpc.aio.ServicerContext[Any, Any]", Connection({}))
    assert Peers(TRUST_DOMAIN, StoppedClock()).caller(context) is None


@pytest.mark.parametrize("uri", ["spiffe://other.test/admin/ada", f"spiffe://{TRUST_DOMAIN}/guest/ada"])
def test_a_certificate_for_nobody_of_this_plane_is_foreign(uri: str) -> None:
    leaf = LEAF.but(uris=(uri,)).signed_by(ISSUING.certificate, ISSUING.key)
    with pytest.raises(Refusal) as refusal:
        caller(leaf.public_bytes(Encoding.PEM))
    assert refusal.value.reason == Reason.REASON_CERTIFICATE_FOREIGN


def test_a_certificate_that_ends_while_the_connection_lives_is_refused_from_then_on() -> None:
    clock = StoppedClock(LEAF.not_after - timedelta(seconds=1))
    assert caller(pem(DER), clock) == LEAF_ID
    clock.now = LEAF.not_after
    with pytest.raises(Refusal) as refusal:
        caller(pem(DER), clock)
    assert refusal.value.reason == Reason.REASON_CERTIFICATE_EXPIRED


@settings(deadline=None)
@given(position=st.integers(0, len(DER)), removed=st.integers(0, 8), put=st.binary(max_size=8), in_pem=st.booleans())
@example(position=V2, removed=1, put=b"\x01", in_pem=True)
@example(position=V2, removed=1, put=b"\x09", in_pem=True)
@example(position=SERIAL, removed=1, put=b"\xff", in_pem=True)
@example(position=0, removed=len(DER), put=b"", in_pem=False)
def test_any_bytes_as_a_certificate_are_taken_for_whom_they_name_or_are_refused(
    position: int, removed: int, put: bytes, in_pem: bool
) -> None:
    content = DER if in_pem else pem(DER)
    changed = content[:position] + put + content[position + removed :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of serial numbers that are not positive
        taken = outcome(pem(changed) if in_pem else changed)
    assert taken in {Reason.REASON_CERTIFICATE_FOREIGN, Reason.REASON_CERTIFICATE_EXPIRED} or str(taken).startswith(
        f"spiffe://{TRUST_DOMAIN}/"
    )


def outcome(content: bytes) -> str | Reason.ValueType:
    try:
        return caller(content)
    except Refusal as refusal:
        return refusal.reason
