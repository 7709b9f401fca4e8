"""Who is at the other end of a connection: the identity in its client certificate."""

from datetime import UTC
from typing import Any

import grpc
from cryptography import x509
from moorage.errors.v1.errors_pb2 import Reason

from certs.check import SvidRefused, check_svid, serial_hex
from certs.clock import Clock
from certs.spiffe import SpiffeIdRefused
from mesh.call import Caller
from mesh.errors import Refusal
from mesh.uses import Uses

_REMEMBERED = 20_000
"""Certificates whose reading is remembered: more than one process has connections, at some 1 KiB each."""


class Peers:
    """Reads callers from connections; a certificate is parsed and checked once, its time on every call."""

    def __init__(self, trust_domain: str, clock: Clock, uses: Uses | None = None) -> None:
        """`uses` is told of each certificate that is read, which is when it is first seen."""
        self._trust_domain = trust_domain
        self._clock = clock
        self._uses = uses
        self._callers: dict[bytes, Caller] = {}

    def caller(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller | None:
        """Who calls; None where no client certificate was shown.

        The TLS handshake has verified the chain. Raises `Refusal`: CERTIFICATE_FOREIGN for a certificate that is no
        X.509-SVID of this plane, CERTIFICATE_EXPIRED where it ended while the connection stayed open.
        """
        pem = next(iter(context.auth_context().get("x509_pem_cert", ())), None)
        if pem is None:
            return None
        caller = self._callers.get(pem)
        if caller is None:
            caller = self._read(pem)
            if len(self._callers) >= _REMEMBERED:
                self._callers.pop(next(iter(self._callers)))
            self._callers[pem] = caller
            if self._uses is not None:
                self._uses.saw(caller.serial)
        if caller.not_after <= self._clock():
            raise Refusal(
                Reason.REASON_CERTIFICATE_EXPIRED, f"the certificate of {caller.spiffe_id} ended at {caller.not_after}"
            )
        return caller

    def _read(self, pem: bytes) -> Caller:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            spiffe_id = check_svid(certificate)
            known = spiffe_id.trust_domain == self._trust_domain and bool(spiffe_id.kind)
        except (ValueError, x509.InvalidVersion, SvidRefused, SpiffeIdRefused) as error:
            raise Refusal(Reason.REASON_CERTIFICATE_FOREIGN, f"not an identity of this plane: {error}") from error
        if not known:
            raise Refusal(Reason.REASON_CERTIFICATE_FOREIGN, f"{spiffe_id} is not of {self._trust_domain}")
        not_after = certificate.not_valid_after_utc.astimezone(UTC)
        return Caller(spiffe_id, serial_hex(certificate), not_after, _authority_key(certificate))


def _authority_key(certificate: x509.Certificate) -> str:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return ""
    return (extension.value.key_identifier or b"").hex()
