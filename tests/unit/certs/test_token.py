import base64
import contextlib
import hashlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from certs.token import MAX_PINS, OneTimeToken, TokenMalformed, TokenReason

SECRET = bytes(range(100, 132))
PIN = bytes(range(32))
OTHER_PIN = bytes(range(32, 64))
TOKEN = OneTimeToken("plane.example:7444", (PIN,), SECRET)
TEXT = TOKEN.encode()

addresses = st.builds(
    "{}:{}".format,
    st.sampled_from(["localhost", "127.0.0.1", "[::1]", "plane.example", "häfen.example"]),
    st.integers(1, 65535),
)
tokens = st.builds(
    OneTimeToken,
    addresses,
    st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=MAX_PINS).map(tuple),
    st.binary(min_size=32, max_size=32),
)


@settings(deadline=None)
@given(tokens)
def test_a_token_comes_back_from_its_line(token: OneTimeToken) -> None:
    assert _parts(OneTimeToken.decode(token.encode())) == _parts(token)


def test_a_token_is_one_lowercase_line_with_its_prefix() -> None:
    assert TEXT.startswith("moor_")
    assert set(TEXT.removeprefix("moor_")) <= set("abcdefghijklmnopqrstuvwxyz234567")


@pytest.mark.check("trust-09")
def test_a_token_holds_two_pins_during_a_change_of_roots() -> None:
    token = OneTimeToken("plane.example:7444", (PIN, OTHER_PIN), SECRET)
    assert OneTimeToken.decode(token.encode()).root_pins == (PIN, OTHER_PIN)


def test_white_space_around_a_token_is_ignored() -> None:
    assert _parts(OneTimeToken.decode(f"\n  {TEXT}\r\n")) == _parts(TOKEN)


@pytest.mark.parametrize(
    "text",
    ["", "moor_"[:4], TEXT.removeprefix("moor_"), "Moor_" + TEXT[5:], "ghp_" + TEXT[5:], "moor_" + "a" * 10_000],
)
def test_a_text_without_the_prefix_or_far_too_long_is_not_a_token(text: str) -> None:
    assert _refusal(text).reason is TokenReason.NOT_A_TOKEN


@pytest.mark.parametrize("kept", [5, 6, 8, 50, 100, 115])
def test_a_token_cut_short_is_truncated(kept: int) -> None:
    assert _refusal(TEXT[:kept]).reason is TokenReason.TRUNCATED


def test_a_token_that_lost_only_some_of_its_address_is_refused_too() -> None:
    for cut in range(1, 20):
        assert _refusal(TEXT[:-cut]).reason in {TokenReason.TRUNCATED, TokenReason.CHECKSUM}


@settings(deadline=None)
@given(position=st.integers(7, len(TEXT) - 1), letter=st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
@example(position=len(TEXT) - 1, letter="b")
def test_a_token_with_one_letter_mistyped_is_refused(position: int, letter: str) -> None:
    mistyped = TEXT[:position] + letter + TEXT[position + 1 :]
    if mistyped != TEXT:
        assert _refusal(mistyped).reason in {TokenReason.CHECKSUM, TokenReason.TRUNCATED}


@pytest.mark.parametrize("host", ["a", "aa", "aaa", "aaaa", "aaaaa"])
def test_the_last_letter_of_a_token_has_one_spelling(host: str) -> None:
    text = OneTimeToken(f"{host}:7444", (PIN,), SECRET).encode()
    accepted = []
    for letter in "abcdefghijklmnopqrstuvwxyz234567":
        with contextlib.suppress(TokenMalformed):
            accepted.append(OneTimeToken.decode(text[:-1] + letter).encode())
    assert accepted == [text]


@pytest.mark.parametrize("letter", ["0", "1", "A", "=", "-", " ", "\n", "ß"])
def test_a_letter_that_no_token_has_is_a_slip_of_the_hand(letter: str) -> None:
    assert _refusal(TEXT[:40] + letter + TEXT[41:]).reason is TokenReason.CHECKSUM


def test_a_token_of_another_version_is_told_from_a_mistyped_one() -> None:
    refusal = _refusal(_text(b"\x02" + b"whatever comes with that version"))
    assert refusal.reason is TokenReason.UNKNOWN_VERSION
    assert "version 2" in str(refusal)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x01\x00" + SECRET + b"a.example:1", TokenReason.BAD_PINS),
        (b"\x01\x01" + PIN + SECRET + b"no-port", TokenReason.BAD_ADDRESS),
        (b"\x01\x01" + PIN + SECRET + b"\xff\xfe:7444", TokenReason.BAD_ADDRESS),
    ],
)
def test_a_token_that_nobody_should_have_made_is_refused(content: bytes, reason: TokenReason) -> None:
    assert _refusal(_text(content)).reason is reason


@settings(deadline=None)
@given(st.text() | st.text().map("moor_".__add__) | st.text(alphabet="az27").map("moor_".__add__))
def test_any_text_that_is_no_token_is_refused(text: str) -> None:
    assert isinstance(_refusal(text).reason, TokenReason)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_with_a_right_checksum_are_a_token_or_are_refused(content: bytes) -> None:
    text = _text(b"\x01" + content)
    with contextlib.suppress(TokenMalformed):
        assert OneTimeToken.decode(text).encode() == text


@pytest.mark.parametrize(
    ("address", "pins", "secret", "reason"),
    [
        ("plane.example", (PIN,), SECRET, TokenReason.BAD_ADDRESS),
        (":7444", (PIN,), SECRET, TokenReason.BAD_ADDRESS),
        ("plane.example:", (PIN,), SECRET, TokenReason.BAD_ADDRESS),
        ("plane.example:0", (PIN,), SECRET, TokenReason.BAD_ADDRESS),
        ("plane.example:65536", (PIN,), SECRET, TokenReason.BAD_ADDRESS),
        ("plane.example:7444\n", (PIN,), SECRET, TokenReason.BAD_ADDRESS),
        ("a b:7444", (PIN,), SECRET, TokenReason.BAD_ADDRESS),
        ("https://plane.example:7444", (PIN,), SECRET, TokenReason.BAD_ADDRESS),
        ("::1:7444", (PIN,), SECRET, TokenReason.BAD_ADDRESS),
        ("\ud800:7444", (PIN,), SECRET, TokenReason.BAD_ADDRESS),
        ("a" * 300 + ":7444", (PIN,), SECRET, TokenReason.BAD_ADDRESS),
        ("plane.example:7444", (), SECRET, TokenReason.BAD_PINS),
        ("plane.example:7444", (PIN,) * (MAX_PINS + 1), SECRET, TokenReason.BAD_PINS),
        ("plane.example:7444", (PIN[1:],), SECRET, TokenReason.BAD_PINS),
        ("plane.example:7444", (PIN,), SECRET[1:], TokenReason.BAD_SECRET),
    ],
)
def test_no_token_is_made_of_a_wrong_part(
    address: str, pins: tuple[bytes, ...], secret: bytes, reason: TokenReason
) -> None:
    with pytest.raises(TokenMalformed) as refusal:
        OneTimeToken(address, pins, secret)
    assert refusal.value.reason is reason


def test_a_token_shown_or_formatted_does_not_show_its_secret() -> None:
    for shown in (repr(TOKEN), str(TOKEN), f"{TOKEN}", repr([TOKEN])):
        assert "plane.example:7444" in shown
        assert repr(SECRET) not in shown
        assert SECRET.hex() not in shown
        assert TEXT not in shown


def test_a_refusal_repeats_nothing_of_the_text() -> None:
    message = str(_refusal(TEXT[:-3] + "zzz"))
    assert not any(TEXT[start : start + 8] in message for start in range(5, len(TEXT) - 8))


def test_the_plane_knows_a_token_by_the_sha256_of_its_secret() -> None:
    assert TOKEN.secret_sha256() == hashlib.sha256(SECRET).digest()


def _parts(token: OneTimeToken) -> tuple[str, tuple[bytes, ...], bytes]:
    return token.address, token.root_pins, token.secret


def _text(body: bytes) -> str:
    content = body + hashlib.sha256(body).digest()[:4]
    return "moor_" + base64.b32encode(content).decode().rstrip("=").lower()


def _refusal(text: str) -> TokenMalformed:
    with pytest.raises(TokenMalformed) as refusal:
        OneTimeToken.decode(text)
    return refusal.value
