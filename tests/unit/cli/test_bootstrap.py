"""The embedded plane's own authorities and identities."""

import shutil
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority, certificates_to_pem
from certs.check import verify_chain
from certs.identity import Identity
from certs.issue import issue
from certs.keys import key_to_pem, new_key
from certs.spiffe import SpiffeId
from cli.plane.bootstrap import PlaneIdentities, open_authority, read_passphrase
from cli.plane.home import Home
from mesh.exits import Exit, Stopped

LOOPBACK = ip_address("127.0.0.1")
NAMES = ["director", "connector", "provisioner", "admin"]


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.prepare()
    return home


def identities(home: Home, clock: Hand, listen: str = "127.0.0.1") -> PlaneIdentities:
    return PlaneIdentities(home, open_authority(home, None, None, clock), ip_address(listen), clock)


def names_of(home: Home, name: str) -> x509.SubjectAlternativeName:
    leaf = x509.load_pem_x509_certificate(Identity(home.identity(name)).load().chain_pem)
    return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_the_first_start_gives_everybody_an_identity_that_the_root_certifies(home: Home, clock: Hand) -> None:
    assert identities(home, clock).sign_missing() == NAMES
    for name in NAMES:
        held = Identity(home.identity(name)).load()
        leaf, *chain = x509.load_pem_x509_certificates(held.chain_pem)
        verify_chain(leaf, chain, x509.load_pem_x509_certificates(held.bundle_pem), clock())


def test_the_administrator_and_the_services_are_named_as_the_design_says(home: Home, clock: Hand) -> None:
    identities(home, clock).sign_missing()
    assert [Identity(home.identity(name)).load().spiffe_id for name in NAMES] == [
        SpiffeId.service("moorage.internal", "director"),
        SpiffeId.service("moorage.internal", "connector"),
        SpiffeId.service("moorage.internal", "provisioner"),
        SpiffeId.admin("moorage.internal", "admin"),
    ]


def test_services_answer_to_localhost_and_to_the_address_they_listen_on(home: Home, clock: Hand) -> None:
    identities(home, clock).sign_missing()
    names = names_of(home, "connector")
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [LOOPBACK]


def test_a_later_start_keeps_the_authorities_and_fresh_identities(home: Home, clock: Hand) -> None:
    first = identities(home, clock)
    first.sign_missing()
    clock.now += timedelta(hours=7)
    second = identities(home, clock)
    assert second.root_sha256 == first.root_sha256
    assert second.sign_missing() == []


def test_identities_that_nobody_renewed_in_nine_tenths_of_their_life_are_signed_anew(home: Home, clock: Hand) -> None:
    identities(home, clock).sign_missing()
    clock.now += timedelta(hours=21)
    assert identities(home, clock).sign_missing() == []
    clock.now += timedelta(hours=1)
    assert identities(home, clock).sign_missing() == ["director", "connector", "provisioner"]
    clock.now += timedelta(days=27)
    assert identities(home, clock).sign_missing() == NAMES


def test_an_identity_that_was_renewed_through_the_connector_is_kept(home: Home, clock: Hand) -> None:
    plane = identities(home, clock)
    plane.sign_missing()
    clock.now += timedelta(hours=22)
    key = new_key()
    renewed = issue(
        plane.authority,
        key.public_key(),
        SpiffeId.service("moorage.internal", "director"),
        timedelta(days=30),
        clock,
        dns_names=["localhost"],
        ip_addresses=[LOOPBACK],
        server=True,
    )
    bundle = certificates_to_pem((plane.authority.root,))
    Identity(home.identity("director")).write(key_to_pem(key), renewed.chain_pem, bundle)
    assert plane.sign_missing() == ["connector", "provisioner"]


def test_a_new_listen_address_gives_the_services_new_identities(home: Home, clock: Hand) -> None:
    identities(home, clock).sign_missing()
    assert identities(home, clock, listen="::1").sign_missing() == ["director", "connector", "provisioner"]
    assert names_of(home, "director").get_values_for_type(x509.IPAddress) == [ip_address("::1")]


def test_an_identity_that_was_damaged_is_signed_anew(home: Home, clock: Hand) -> None:
    plane = identities(home, clock)
    plane.sign_missing()
    (home.identity("director") / "tls.key").write_text("nonsense")
    assert plane.sign_missing() == ["director"]


@pytest.mark.parametrize("file", ["tls.crt", "ca.crt"])
def test_an_identity_without_its_issuer_or_with_another_root_is_signed_anew(home: Home, clock: Hand, file: str) -> None:
    plane = identities(home, clock)
    plane.sign_missing()
    leaf = x509.load_pem_x509_certificate(Identity(home.identity("director")).load().chain_pem)
    (home.identity("director") / file).write_bytes(leaf.public_bytes(Encoding.PEM))
    assert plane.sign_missing() == ["director"]
    assert plane.sign_missing() == []


def test_an_identity_that_is_gone_is_signed_anew(home: Home, clock: Hand) -> None:
    plane = identities(home, clock)
    plane.sign_missing()
    shutil.rmtree(home.identity("admin"))
    assert plane.sign_missing() == ["admin"]


def test_identities_from_a_clock_that_was_ahead_are_signed_anew(home: Home, clock: Hand) -> None:
    plane = identities(home, clock)
    clock.now += timedelta(days=1)
    plane.sign_missing()
    clock.now -= timedelta(hours=23)
    assert plane.sign_missing() == NAMES


def test_a_start_that_was_cut_short_goes_on_with_the_root_it_made(home: Home, clock: Hand) -> None:
    open_authority(home, None, None, clock)
    root = Authority.load(home.root_authority)
    for file in home.issuing_authority.iterdir():
        file.unlink()
    home.issuing_authority.rmdir()
    assert open_authority(home, None, None, clock).root == root.certificate


def test_the_trust_domain_is_chosen_once(home: Home, clock: Hand) -> None:
    open_authority(home, "harbour.example", None, clock)
    assert open_authority(home, None, None, clock).trust_domain == "harbour.example"
    with pytest.raises(Stopped, match=r"has the trust domain harbour\.example for good") as refused:
        open_authority(home, "other.example", None, clock)
    assert refused.value.code is Exit.USAGE


def test_a_trust_domain_that_is_none_makes_no_authority(home: Home, clock: Hand) -> None:
    with pytest.raises(Stopped, match="--trust-domain Harbour!") as refused:
        open_authority(home, "Harbour!", None, clock)
    assert refused.value.code is Exit.USAGE
    assert not home.root_authority.exists()


def test_authorities_that_are_damaged_are_named(home: Home, clock: Hand) -> None:
    open_authority(home, None, None, clock)
    (home.issuing_authority / "ca.key").unlink()
    with pytest.raises(Stopped, match=r"cannot be used: .*ca\.key is missing; bring them back") as refused:
        open_authority(home, None, None, clock)
    assert refused.value.code is Exit.SERVICE_FAILED


def test_authorities_under_a_passphrase_open_with_it_alone(home: Home, clock: Hand) -> None:
    open_authority(home, None, b"low tide", clock)
    assert b"ENCRYPTED" in (home.root_authority / "ca.key").read_bytes()
    assert b"ENCRYPTED" in (home.issuing_authority / "ca.key").read_bytes()
    open_authority(home, None, b"low tide", clock)
    for wrong in (None, b"high tide"):
        with pytest.raises(Stopped, match="passphrase") as refused:
            open_authority(home, None, wrong, clock)
        assert refused.value.code is Exit.PASSPHRASE


def test_a_passphrase_for_authorities_that_have_none_is_refused(home: Home, clock: Hand) -> None:
    open_authority(home, None, None, clock)
    with pytest.raises(Stopped, match="passphrase") as refused:
        open_authority(home, None, b"low tide", clock)
    assert refused.value.code is Exit.PASSPHRASE


@pytest.mark.parametrize("content", [b"low tide", b"low tide\n", b"low tide\r\n", b"low tide\nsecond line\n"])
def test_the_passphrase_is_the_first_line_of_its_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_bytes(content)
    assert read_passphrase(tmp_path / "passphrase") == b"low tide"


def test_a_passphrase_file_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("missing", "empty"):
        with pytest.raises(Stopped, match=name) as refused:
            read_passphrase(tmp_path / name)
        assert refused.value.code is Exit.PASSPHRASE


def test_of_several_directors_each_has_an_identity_of_its_own_by_the_same_names(home: Home, clock: Hand) -> None:
    identities(home, clock).sign_missing()
    several = PlaneIdentities(home, open_authority(home, None, None, clock), LOOPBACK, clock, directors=3)
    assert several.sign_missing() == ["director-2", "director-3"]
    held = [Identity(home.identity(name)).load() for name in ("director", "director-2", "director-3")]
    assert {each.spiffe_id.name for each in held} == {"director"}
    assert len({each.serial for each in held}) == 3
    assert names_of(home, "director-3").get_values_for_type(x509.IPAddress) == [LOOPBACK]
    assert several.sign_missing() == []
