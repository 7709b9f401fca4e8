"""Documents over real HTTP, and where none is fetched from."""

import gzip
import socket
import ssl
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from director.networks import NetworkRule
from director.specifications.fetch import (
    MOST_REDIRECTS,
    AnsweredOtherwise,
    DocumentTooLarge,
    FetchFailed,
    HttpFetch,
    NotReached,
    TargetDenied,
    TimedOut,
    UrlRefused,
)
from tests.integration.director_specifications.origin import Answer, Origin, serving

LOOPBACK = NetworkRule.public_and(["127.0.0.1/32"])
DOCUMENT = b"openapi: 3.1.0\n"
PACKED = gzip.compress(DOCUMENT, mtime=0)


def url(origin: Origin, path: str, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{origin.port}{path}"


class Names:
    """A resolver that says what it is told to, one answer after the other, the last one again and again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def test_a_document_comes_with_what_its_origin_says_of_it(origin: Origin) -> None:
    headers = {"Content-Type": "Application/YAML; charset=utf-8", "ETag": '"7"', "Last-Modified": "Mon, 01 Jan 2029"}
    origin.answers["/api?v=1"] = Answer(DOCUMENT, headers=headers)
    fetched = await HttpFetch(LOOPBACK)(url(origin, "/api?v=1#part"))
    assert (fetched.content, fetched.media_type) == (DOCUMENT, "application/yaml")
    assert (fetched.etag, fetched.last_modified) == ('"7"', "Mon, 01 Jan 2029")


async def test_a_document_that_nothing_is_said_of_comes_all_the_same(origin: Origin) -> None:
    origin.answers["/api"] = Answer(DOCUMENT, headers={"ETag": "x" * 5000})
    fetched = await HttpFetch(LOOPBACK)(url(origin, "/api"))
    assert (fetched.content, fetched.media_type, fetched.etag, fetched.last_modified) == (DOCUMENT, "", "", "")


async def test_a_document_without_a_declared_length_comes_whole(origin: Origin) -> None:
    origin.answers["/api"] = Answer(
        raw=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nopena\r\n2\r\npi\r\n0\r\n\r\n"
    )
    assert (await HttpFetch(LOOPBACK)(url(origin, "/api"))).content == b"openapi"


async def test_redirects_are_followed_also_where_they_are_relative(origin: Origin) -> None:
    origin.answers["/a/b"] = Answer(status=302, headers={"location": "../c"})
    origin.answers["/c"] = Answer(status=308, headers={"location": url(origin, "/d")})
    origin.answers["/d"] = Answer(DOCUMENT)
    assert (await HttpFetch(LOOPBACK)(url(origin, "/a/b"))).content == DOCUMENT
    assert origin.paths == ["/a/b", "/c", "/d"]


async def test_redirects_are_followed_only_so_often(origin: Origin) -> None:
    origin.answers["/again"] = Answer(status=301, headers={"location": "/again"})
    with pytest.raises(AnsweredOtherwise, match=f"more than {MOST_REDIRECTS} redirects") as failed:
        await HttpFetch(LOOPBACK)(url(origin, "/again"))
    assert failed.value.lasting
    assert len(origin.asked) == MOST_REDIRECTS + 1


async def test_a_redirect_to_a_denied_address_is_not_followed(origin: Origin) -> None:
    with serving("127.0.0.2") as inner:
        inner.answers["/secret"] = Answer(b"secret")
        for host in ("127.0.0.2", "[::ffff:127.0.0.2]", "127.2", "2130706434"):
            origin.answers["/api"] = Answer(status=302, headers={"location": url(inner, "/secret", host)})
            with pytest.raises(TargetDenied) as failed:
                await HttpFetch(LOOPBACK)(url(origin, "/api"))
            assert (str(failed.value), failed.value.lasting) == ("the target is in a network that is not allowed", True)
        assert inner.asked == []


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1", "http://me:pw@127.0.0.1/"],
)
async def test_a_redirect_to_what_is_no_url_for_it_is_not_followed(origin: Origin, location: str) -> None:
    origin.answers["/api"] = Answer(status=302, headers={"location": location})
    with pytest.raises(UrlRefused):
        await HttpFetch(LOOPBACK)(url(origin, "/api"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1", "0x7f000001", "0.0.0.0"])
async def test_loopback_is_denied_by_whatever_name_where_it_is_not_allowed(origin: Origin, host: str) -> None:
    with pytest.raises(TargetDenied):
        await HttpFetch(NetworkRule.public_and(()))(url(origin, "/api", host))
    assert origin.asked == []


async def test_a_name_with_one_denied_address_is_denied(origin: Origin) -> None:
    fetch = HttpFetch(LOOPBACK, resolve=Names(["127.0.0.1", "10.0.0.1"]))
    with pytest.raises(TargetDenied):
        await fetch(url(origin, "/api", "docs.test"))
    assert origin.asked == []


async def test_a_name_that_leads_elsewhere_after_the_check_is_not_asked_for_again(origin: Origin) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    origin.answers["/api"] = Answer(DOCUMENT)
    with serving("127.0.0.2", origin.port) as inner:
        await HttpFetch(LOOPBACK, resolve=names)(url(origin, "/api", "docs.test"))
        assert (names.asked, inner.asked) == (["docs.test"], [])


async def test_a_name_that_leads_elsewhere_at_a_redirect_is_checked_anew(origin: Origin) -> None:
    origin.answers["/api"] = Answer(status=302, headers={"location": "/secret"})
    with serving("127.0.0.2", origin.port) as inner:
        with pytest.raises(TargetDenied):
            await HttpFetch(LOOPBACK, resolve=Names(["127.0.0.1"], ["127.0.0.2"]))(url(origin, "/api", "docs.test"))
        assert (origin.paths, inner.asked) == (["/api"], [])


async def test_the_host_that_is_asked_for_is_the_one_of_the_url(origin: Origin) -> None:
    origin.answers["/api"] = Answer(DOCUMENT)
    await HttpFetch(LOOPBACK, resolve=Names(["127.0.0.1"]))(url(origin, "/api", "docs.test"))
    [(_, headers)] = origin.asked
    assert headers["host"] == f"docs.test:{origin.port}"


async def test_an_address_that_does_not_answer_leaves_room_for_the_next(origin: Origin) -> None:
    origin.answers["/api"] = Answer(DOCUMENT)
    both = NetworkRule.public_and(["127.0.0.0/30"])
    fetched = await HttpFetch(both, resolve=Names(["127.0.0.2", "127.0.0.1"]))(url(origin, "/api", "docs.test"))
    assert fetched.content == DOCUMENT


async def test_neither_cookies_nor_credentials_nor_proxies_are_used(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    headers = {"location": "/b", "set-cookie": "a=b; Path=/"}
    origin.answers["/a"] = Answer(status=302, headers=headers)
    origin.answers["/b"] = Answer(DOCUMENT)
    await HttpFetch(LOOPBACK)(url(origin, "/a"))
    assert all("cookie" not in headers and "authorization" not in headers for _, headers in origin.asked)
    assert origin.paths == ["/a", "/b"]


@pytest.mark.parametrize(
    ("status", "lasting"),
    [(400, True), (403, True), (410, True), (404, False), (429, False), (500, False), (503, False)],
)
async def test_a_status_that_is_no_document_fails_without_what_came_with_it(
    origin: Origin, status: int, lasting: bool
) -> None:
    origin.answers["/api"] = Answer(b"a secret of this network", status, {"x-secret": "secret"})
    with pytest.raises(AnsweredOtherwise) as failed:
        await HttpFetch(LOOPBACK)(url(origin, "/api"))
    assert (str(failed.value), failed.value.lasting) == (f"HTTP {status}", lasting)


@pytest.mark.parametrize("status", [204, 206, 304, 302])
async def test_a_success_that_is_no_whole_document_is_a_failure(origin: Origin, status: int) -> None:
    origin.answers["/api"] = Answer(b"", status)
    with pytest.raises(AnsweredOtherwise, match=f"HTTP {status}"):
        await HttpFetch(LOOPBACK)(url(origin, "/api"))


async def test_a_document_of_the_largest_size_is_taken_and_a_byte_more_is_not(origin: Origin) -> None:
    fetch = HttpFetch(LOOPBACK, max_bytes=1 << 20)
    origin.answers["/fits"] = Answer(b"x" * (1 << 20))
    origin.answers["/more"] = Answer(b"x" * ((1 << 20) + 1))
    assert len((await fetch(url(origin, "/fits"))).content) == 1 << 20
    with pytest.raises(DocumentTooLarge, match="it is larger than 1 MiB"):
        await fetch(url(origin, "/more"))


async def test_what_is_declared_too_large_is_not_read(origin: Origin) -> None:
    origin.answers["/api"] = Answer(b"xx", headers={"content-length": str(17 << 20)}, held=True)
    with pytest.raises(DocumentTooLarge, match="it is larger than 16 MiB"):
        await HttpFetch(LOOPBACK)(url(origin, "/api"))


async def test_what_grows_too_large_without_saying_so_is_not_read_on(origin: Origin) -> None:
    body = b"".join(b"10000\r\n" + b"x" * 0x10000 + b"\r\n" for _ in range(64))
    origin.answers["/api"] = Answer(raw=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body)
    with pytest.raises(DocumentTooLarge):
        await HttpFetch(LOOPBACK, max_bytes=1 << 20)(url(origin, "/api"))


async def test_a_document_that_is_packed_is_unpacked(origin: Origin) -> None:
    origin.answers["/api"] = Answer(PACKED, headers={"content-encoding": "gzip"})
    assert (await HttpFetch(LOOPBACK)(url(origin, "/api"))).content == DOCUMENT


async def test_what_unpacks_to_too_much_is_not_unpacked(origin: Origin) -> None:
    fetch = HttpFetch(LOOPBACK, max_bytes=1 << 20)
    with pytest.raises(AnsweredOtherwise):
        await fetch(url(origin, "/nothing"))  # loads what is loaded by the first request
    origin.answers["/api"] = Answer(gzip.compress(bytes(1 << 26)), headers={"content-encoding": "gzip"})
    tracemalloc.start()
    with pytest.raises(DocumentTooLarge):
        await fetch(url(origin, "/api"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    "body",
    [b"no gzip", PACKED[:-4], PACKED + b"more", gzip.compress(b"", mtime=0) * 2],
    ids=["not packed", "cut short", "and more", "packed twice"],
)
async def test_what_is_not_the_gzip_that_it_says_it_is_is_a_failure(origin: Origin, body: bytes) -> None:
    origin.answers["/api"] = Answer(body, headers={"content-encoding": "gzip"})
    with pytest.raises(NotReached, match="not the gzip"):
        await HttpFetch(LOOPBACK)(url(origin, "/api"))


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip"])
async def test_an_encoding_that_was_not_asked_for_is_a_failure(origin: Origin, encoding: str) -> None:
    origin.answers["/api"] = Answer(DOCUMENT, headers={"content-encoding": encoding})
    with pytest.raises(AnsweredOtherwise, match="was not asked for"):
        await HttpFetch(LOOPBACK)(url(origin, "/api"))
    assert origin.asked[0][1]["accept-encoding"] == "gzip"


async def test_a_body_that_does_not_end_is_given_up(origin: Origin) -> None:
    origin.answers["/api"] = Answer(DOCUMENT, held=True)
    with pytest.raises(TimedOut, match="it timed out") as failed:
        await HttpFetch(LOOPBACK, deadline=0.3)(url(origin, "/api"))
    assert not failed.value.lasting


async def test_redirects_have_one_deadline_together(origin: Origin) -> None:
    origin.answers["/a"] = Answer(b"to b", 302, {"location": "/b"})
    origin.answers["/b"] = Answer(DOCUMENT, held=True)
    with pytest.raises(TimedOut):
        await HttpFetch(LOOPBACK, deadline=0.5)(url(origin, "/a"))


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-secret\r\n",
        b"\x15\x03\x01\x00\x02",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this",
        b"HTTP/1.1 302 Found\r\nlocation: http://secret:secret/\r\ncontent-length: 0\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_http_or_not_whole_is_told_without_it(origin: Origin, raw: bytes) -> None:
    origin.answers["/api"] = Answer(raw=raw)
    with pytest.raises(NotReached) as failed:
        await HttpFetch(LOOPBACK)(url(origin, "/api"))
    assert str(failed.value) == "the answer is cut off, or is not HTTP"


@pytest.mark.parametrize("there", ["http://127.0.0.1:1/", "http://127.0.0.1:70000/", f"http://{'a' * 70}.test/"])
async def test_what_cannot_be_reached_is_told_without_saying_why(there: str) -> None:
    with pytest.raises(NotReached) as failed:
        await HttpFetch(LOOPBACK)(there)
    assert (str(failed.value), failed.value.lasting) == ("it cannot be reached", False)


async def test_a_name_that_has_no_address_is_told() -> None:
    async def nowhere(_host: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(NotReached, match="its name has no address"):
        await HttpFetch(LOOPBACK, resolve=nowhere)("http://docs.test/")


@pytest.mark.parametrize(
    "there",
    ["", "api.yaml", "/api", "http://", "http:///a", "ftp://127.0.0.1/", "file:///etc/passwd", "http://a:b/", "\0"],
)
async def test_what_is_no_url_to_fetch_from_is_refused(there: str) -> None:
    with pytest.raises(UrlRefused) as failed:
        await HttpFetch(LOOPBACK)(there)
    assert failed.value.lasting


def certificate(folder: Path, *names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for a server that has a certificate for the names, and for a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "docs")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_name(each) for each in names]), critical=False)
    )
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(pem + secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


async def test_tls_is_held_to_the_name_in_the_url_not_to_the_address(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "docs.test")
    asked: list[str] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    fetch = HttpFetch(LOOPBACK, resolve=Names(["127.0.0.1"]), ssl_context=client)
    with serving(tls=server) as origin:
        origin.answers["/api"] = Answer(DOCUMENT)
        assert (await fetch(f"https://docs.test:{origin.port}/api")).content == DOCUMENT
        with pytest.raises(NotReached, match="its certificate is not accepted: Hostname mismatch"):
            await fetch(f"https://other.test:{origin.port}/api")
    assert asked == ["docs.test", "other.test"]


async def test_an_authority_that_is_not_trusted_is_told(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path, "127.0.0.1")
    with serving(tls=server) as origin, pytest.raises(NotReached, match="its certificate is not accepted"):
        await HttpFetch(LOOPBACK)(f"https://127.0.0.1:{origin.port}/")


async def test_no_tls_where_tls_is_asked_for_is_told(origin: Origin) -> None:
    with pytest.raises(NotReached, match="it does not speak TLS"):
        await HttpFetch(LOOPBACK)(f"https://127.0.0.1:{origin.port}/")


def test_what_went_wrong_is_always_a_failure_to_fetch() -> None:
    for kind in (AnsweredOtherwise, DocumentTooLarge, NotReached, TargetDenied, TimedOut, UrlRefused):
        assert issubclass(kind, FetchFailed)
