import contextlib
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.spiffe import Kind, SpiffeId, SpiffeIdReason, SpiffeIdRefused

UUID = "4b0c6a0e-52c9-4d8b-9a4e-0f1d2c3b4a59"
LONGEST_DOMAIN = "d" * 255
LONGEST_PATH = "/" + "p" * (2048 - len("spiffe://td") - 1)

pytestmark = pytest.mark.check("trust-08")


@pytest.mark.parametrize(
    ("text", "trust_domain", "path"),
    [
        ("spiffe://td", "td", ""),
        ("spiffe://td/a", "td", "/a"),
        ("spiffe://td/A/b.c/d-e_f/9", "td", "/A/b.c/d-e_f/9"),
        ("spiffe://td/...", "td", "/..."),
        ("spiffe://td/.hidden/..both", "td", "/.hidden/..both"),
        ("spiffe://1.2.3.4/a", "1.2.3.4", "/a"),
        ("spiffe://a_b-c.example.com/a", "a_b-c.example.com", "/a"),
        (f"spiffe://{LONGEST_DOMAIN}/a", LONGEST_DOMAIN, "/a"),
        (f"spiffe://td{LONGEST_PATH}", "td", LONGEST_PATH),
    ],
)
def test_a_spiffe_id_is_read_and_written_unchanged(text: str, trust_domain: str, path: str) -> None:
    spiffe_id = SpiffeId.parse(text)
    assert (spiffe_id.trust_domain, spiffe_id.path) == (trust_domain, path)
    assert str(spiffe_id) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", SpiffeIdReason.SCHEME),
        ("td/a", SpiffeIdReason.SCHEME),
        ("spiffe:/td/a", SpiffeIdReason.SCHEME),
        ("SPIFFE://td/a", SpiffeIdReason.SCHEME),
        ("https://td/a", SpiffeIdReason.SCHEME),
        (" spiffe://td/a", SpiffeIdReason.SCHEME),
        ("spiffe://", SpiffeIdReason.TRUST_DOMAIN),
        ("spiffe:///a", SpiffeIdReason.TRUST_DOMAIN),
        ("spiffe://Td/a", SpiffeIdReason.TRUST_DOMAIN),
        ("spiffe://td:443/a", SpiffeIdReason.TRUST_DOMAIN),
        ("spiffe://user@td/a", SpiffeIdReason.TRUST_DOMAIN),
        ("spiffe://[::1]/a", SpiffeIdReason.TRUST_DOMAIN),
        ("spiffe://t%64/a", SpiffeIdReason.TRUST_DOMAIN),
        ("spiffe://td?q", SpiffeIdReason.TRUST_DOMAIN),
        ("spiffe://td#f", SpiffeIdReason.TRUST_DOMAIN),
        ("spiffe://tđ/a", SpiffeIdReason.TRUST_DOMAIN),
        ("spiffe://td\n/a", SpiffeIdReason.TRUST_DOMAIN),
        ("spiffe://t\u0665/a", SpiffeIdReason.TRUST_DOMAIN),
        (f"spiffe://{LONGEST_DOMAIN}d/a", SpiffeIdReason.TRUST_DOMAIN_TOO_LONG),
        ("spiffe://td/", SpiffeIdReason.PATH),
        ("spiffe://td/a/", SpiffeIdReason.PATH),
        ("spiffe://td//a", SpiffeIdReason.PATH),
        ("spiffe://td/.", SpiffeIdReason.PATH),
        ("spiffe://td/a/../b", SpiffeIdReason.PATH),
        ("spiffe://td/a?q=1", SpiffeIdReason.PATH),
        ("spiffe://td/a#f", SpiffeIdReason.PATH),
        ("spiffe://td/a%20b", SpiffeIdReason.PATH),
        ("spiffe://td/a b", SpiffeIdReason.PATH),
        ("spiffe://td/a\n", SpiffeIdReason.PATH),
        ("spiffe://td/ä", SpiffeIdReason.PATH),
        (f"spiffe://td{LONGEST_PATH}p", SpiffeIdReason.TOO_LONG),
    ],
)
def test_a_text_that_breaks_a_rule_of_spiffe_ids_is_refused(text: str, reason: SpiffeIdReason) -> None:
    with pytest.raises(SpiffeIdRefused) as refusal:
        SpiffeId.parse(text)
    assert refusal.value.reason is reason


@pytest.mark.parametrize(
    ("trust_domain", "path", "reason"),
    [
        ("TD", "", SpiffeIdReason.TRUST_DOMAIN),
        ("td", "a", SpiffeIdReason.PATH),
        ("td", "/", SpiffeIdReason.PATH),
        ("td", LONGEST_PATH + "p", SpiffeIdReason.TOO_LONG),
    ],
)
def test_the_constructor_refuses_what_parsing_refuses(trust_domain: str, path: str, reason: SpiffeIdReason) -> None:
    with pytest.raises(SpiffeIdRefused) as refusal:
        SpiffeId(trust_domain, path)
    assert refusal.value.reason is reason


@settings(deadline=None)
@given(st.text() | st.text().map("spiffe://td/".__add__) | st.text().map("spiffe://".__add__))
def test_any_text_is_a_spiffe_id_or_is_refused(text: str) -> None:
    with contextlib.suppress(SpiffeIdRefused):
        assert str(SpiffeId.parse(text)) == text


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/admin/ada", Kind.ADMIN, "ada"),
        ("/viewer/v.i_e-w", Kind.VIEWER, "v.i_e-w"),
        (f"/application/{UUID}", Kind.APPLICATION, UUID),
        (f"/runtime/{UUID}", Kind.RUNTIME, UUID),
        ("/service/director", Kind.SERVICE, "director"),
        ("/service/connector", Kind.SERVICE, "connector"),
        ("/service/provisioner", Kind.SERVICE, "provisioner"),
    ],
)
def test_an_identity_of_moorage_has_a_kind_and_a_name(path: str, kind: Kind, name: str) -> None:
    spiffe_id = SpiffeId("td", path)
    assert (spiffe_id.kind, spiffe_id.name) == (kind, name)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/admin",
        "/admin/ada/more",
        "/Admin/ada",
        "/application/shop",
        f"/application/{UUID.upper()}",
        f"/application/{UUID.replace('-', '')}",
        "/runtime/0",
        "/service/other",
        "/spire/agent",
    ],
)
def test_another_path_is_a_spiffe_id_but_has_no_kind_and_no_name(path: str) -> None:
    spiffe_id = SpiffeId("td", path)
    with pytest.raises(SpiffeIdRefused) as no_kind:
        _ = spiffe_id.kind
    with pytest.raises(SpiffeIdRefused) as no_name:
        _ = spiffe_id.name
    assert no_kind.value.reason is no_name.value.reason is SpiffeIdReason.UNKNOWN_KIND


def test_each_kind_of_identity_is_made_by_its_own_constructor() -> None:
    assert str(SpiffeId.authority("td")) == "spiffe://td"
    assert str(SpiffeId.admin("td", "ada")) == "spiffe://td/admin/ada"
    assert str(SpiffeId.viewer("td", "vic")) == "spiffe://td/viewer/vic"
    assert str(SpiffeId.application("td", uuid.UUID(UUID))) == f"spiffe://td/application/{UUID}"
    assert str(SpiffeId.runtime("td", UUID)) == f"spiffe://td/runtime/{UUID}"
    assert str(SpiffeId.service("td", "director")) == "spiffe://td/service/director"


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b"])
def test_a_name_that_is_not_one_path_segment_makes_no_identity(name: str) -> None:
    with pytest.raises(SpiffeIdRefused):
        SpiffeId.admin("td", name)
