"""Reading the certificates of a TLS listener before there is anything to trust them by.

A newcomer knows the root only by the SHA-256 pin in its token. It reads the chain that the listener sends, which
includes the root, without trusting any of it, picks the certificate whose sum is the pin, and opens the real
connection with that one as its only root. `ssl` cannot read an unverified chain before Python 3.13; pyOpenSSL can.
"""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

_READ_BYTES = 64 * 1024


class ListenerUnreachable(Exception):
    """Nothing at the address answered as a TLS listener does, or not in time; trying again may mend it."""


class PinMismatch(Exception):
    """The listener's chain holds no certificate with a pinned sum: it is not the plane that the token is for."""


async def read_chain(address: str, timeout: timedelta) -> tuple[x509.Certificate, ...]:
    """The certificates that the TLS listener at `host:port` sends, leaf first, all of them unverified.

    Nothing but the handshake is sent. Raises `ListenerUnreachable`.
    """
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                return await _handshake(_connection(host.strip("[]")), reader, writer)
            finally:
                writer.close()
    except TimeoutError as error:
        raise ListenerUnreachable(f"{address} did not answer within {timeout.total_seconds():g} s") from error
    except SSL.Error as error:
        raise ListenerUnreachable(f"{address} does not speak TLS 1.3") from error
    except (OSError, UnicodeError) as error:  # the latter for names that no DNS name can be
        raise ListenerUnreachable(f"{address} cannot be reached: {error}") from error


def pinned_root(chain: Iterable[x509.Certificate], pins: Iterable[bytes]) -> x509.Certificate:
    """The certificate of the chain whose DER has one of the pins as SHA-256; raises `PinMismatch`."""
    wanted = set(pins)
    for certificate in chain:
        if certificate.fingerprint(hashes.SHA256()) in wanted:
            return certificate
    raise PinMismatch(
        "the listener at the token's address does not show the root that the token pins, and nothing secret was sent "
        "to it: find out who listens there, or ask for a new token if the plane has moved"
    )


def _connection(host: str) -> SSL.Connection:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_alpn_protos([b"h2"])
    connection = SSL.Connection(context, None)
    if not _is_ip_address(host):
        connection.set_tlsext_host_name(host.encode("idna"))
    connection.set_connect_state()
    return connection


async def _handshake(
    connection: SSL.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[x509.Certificate, ...]:
    while True:
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            await _send_pending(connection, writer)
            received = await reader.read(_READ_BYTES)
            if not received:
                raise ConnectionResetError("it closed the connection") from None
            connection.bio_write(received)
        else:
            return _chain(connection)


def _chain(connection: SSL.Connection) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(connection.get_peer_cert_chain(as_cryptography=True) or ())
    except (ValueError, x509.InvalidVersion):  # OpenSSL minds less what it is shown
        return ()


async def _send_pending(connection: SSL.Connection, writer: asyncio.StreamWriter) -> None:
    try:
        writer.write(connection.bio_read(_READ_BYTES))
    except SSL.WantReadError:
        return  # there was nothing to send
    await writer.drain()


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
