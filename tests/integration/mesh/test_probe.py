"""Reading a listener's chain, whoever listens there."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certs.keys import key_to_pem
from mesh.probe import ListenerUnreachable, PinMismatch, pinned_root, read_chain
from tests.support.identities import Mint

SOON = timedelta(seconds=10)


async def test_a_listener_whose_certificate_cannot_be_read_is_not_the_plane(tmp_path: Path) -> None:
    mint = Mint(tmp_path)
    der = bytearray(mint.root.certificate.public_bytes(Encoding.DER))
    version = bytes.fromhex("a003020102")  # X.509 version 3, as [0] EXPLICIT INTEGER
    der[der.index(version) + len(version) - 1] = 9
    pem = ssl.DER_cert_to_PEM_cert(bytes(der)).encode()
    chain = await _chain_of(tmp_path, pem, key_to_pem(mint.root.key))
    with pytest.raises(PinMismatch):
        pinned_root(chain, [mint.root.certificate.fingerprint(hashes.SHA256())])


async def test_a_listener_that_hangs_up_cannot_be_reached() -> None:
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    async with listener:
        with pytest.raises(ListenerUnreachable):
            await read_chain(f"{host}:{port}", SOON)


async def test_a_listener_that_says_nothing_cannot_be_reached() -> None:
    kept: list[object] = []
    keep: Callable[..., None] = lambda *streams: kept.extend(streams)  # noqa: E731
    listener = await asyncio.start_server(keep, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    async with listener:
        with pytest.raises(ListenerUnreachable, match="did not answer within"):
            await read_chain(f"{host}:{port}", timedelta(seconds=0.2))


async def _chain_of(folder: Path, certificate_pem: bytes, key_pem: bytes) -> tuple[x509.Certificate, ...]:
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(certificate_pem)
    key.write_bytes(key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    host, port = listener.sockets[0].getsockname()
    async with listener:
        return await read_chain(f"{host}:{port}", SOON)
