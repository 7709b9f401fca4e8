"""Certificates, identities and the revocation list: what each command asks of the Connector, and what it shows."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf.message import Message
from moorage.connector.v1 import certificate_pb2, identity_pb2, revocation_pb2
from moorage.director.v1 import runtime_pb2
from moorage.errors.v1.errors_pb2 import Reason

from mesh.errors import Refusal
from mesh.exits import Exit
from tests.unit.cli_nouns.conftest import Run
from tests.unit.cli_nouns.plane import ScriptedPlane

RUNTIME = "2d9fbd5e-3f0c-4a57-8d43-5a1f2f6ad333"
ADA = "spiffe://moorage.test/admin/ada"
VERA = "spiffe://moorage.test/viewer/vera"
PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
LEAF = certificate_pb2.Certificate(
    serial_number="0abc",
    spiffe_id=VERA,
    state=certificate_pb2.CERTIFICATE_STATE_ACTIVE,
    certificate_pem=PEM,
    token_id=RUNTIME,
)


def always(plane: ScriptedPlane, method: str, response: Message) -> None:
    plane.answers[method] = lambda _: response


@pytest.fixture(autouse=True)
def answers(plane: ScriptedPlane) -> None:
    always(plane, "ListCertificates", certificate_pb2.ListCertificatesResponse(certificates=[LEAF]))
    always(plane, "GetCertificate", certificate_pb2.GetCertificateResponse(certificate=LEAF))
    always(plane, "RevokeCertificate", certificate_pb2.RevokeCertificateResponse(certificate=LEAF))
    vera = identity_pb2.Identity(spiffe_id=VERA, state=identity_pb2.IDENTITY_STATE_BANNED)
    always(plane, "ListIdentities", identity_pb2.ListIdentitiesResponse(identities=[vera]))
    always(plane, "GetIdentity", identity_pb2.GetIdentityResponse(identity=vera))
    always(plane, "RestoreIdentity", identity_pb2.RestoreIdentityResponse(identity=vera))
    revoked = identity_pb2.RevokeIdentityResponse(identity=vera, revoked_certificates=2, revoked_tokens=1)
    always(plane, "RevokeIdentity", revoked)
    quay = runtime_pb2.Runtime(name="quay", runtime_id=RUNTIME)
    always(plane, "ListRuntimes", runtime_pb2.ListRuntimesResponse(runtimes=[quay]))


def test_certificates_are_asked_for_by_party_state_and_end(plane: ScriptedPlane, run: Run) -> None:
    options = ("--of", "runtime/quay", "--state", "active", "--state", "revoked", "--state", "active")
    times = ("--expire-after", "2030-01-31", "--expire-before", "2030-02-01T12:00:00Z", "--page-size", "7")
    assert run("certificate", "list", *options, *times).returncode == Exit.OK
    [request] = plane.asked("ListCertificates")
    assert request.spiffe_id == f"spiffe://moorage.test/runtime/{RUNTIME}"
    assert list(request.states) == [
        certificate_pb2.CERTIFICATE_STATE_ACTIVE,
        certificate_pb2.CERTIFICATE_STATE_REVOKED,
    ]
    assert request.expire_after.ToDatetime(UTC) == datetime(2030, 1, 31, tzinfo=UTC)
    assert request.expire_before.ToDatetime(UTC) == datetime(2030, 2, 1, 12, tzinfo=UTC)
    assert request.page_size == 7


def test_all_certificates_are_asked_for_where_nothing_is_said(plane: ScriptedPlane, run: Run) -> None:
    titles, row = run("certificate", "list").stdout.splitlines()
    assert titles.split()[:3] == ["SERIAL_NUMBER", "STATE", "SPIFFE_ID"]
    assert row.split()[:3] == ["0abc", "ACTIVE", VERA]
    [request] = plane.asked("ListCertificates")
    assert not request.spiffe_id
    assert not request.states
    assert not request.HasField("expire_after")


@pytest.mark.parametrize("named", ["0abc", "ABC", "0A:BC", "serial=0ABC"])
def test_a_serial_number_is_read_as_openssl_and_browsers_write_it(plane: ScriptedPlane, run: Run, named: str) -> None:
    assert run("certificate", "get", named).returncode == Exit.OK
    assert run("certificate", "revoke", named).returncode == Exit.OK
    assert plane.asked("GetCertificate")[0].serial_number == "0abc"
    assert plane.asked("RevokeCertificate")[0].serial_number == "0abc"


def test_the_certificate_itself_is_in_json_and_written_alone_when_asked(run: Run) -> None:
    assert "CERTIFICATE-----" not in run("certificate", "get", "0abc").stdout
    assert json.loads(run("certificate", "get", "0abc", "-o", "json").stdout)["certificate_pem"] == PEM
    assert run("certificate", "get", "0abc", "--pem").stdout == PEM


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("certificate", "get", "0abc"), "0abc"),
        (("certificate", "list"), "0abc"),
        (("identity", "get", VERA), VERA),
        (("identity", "list"), VERA),
    ],
)
def test_a_certificate_goes_by_its_serial_number_and_an_identity_by_its_spiffe_id(
    run: Run, command: tuple[str, ...], name: str
) -> None:
    assert run(*command, "-o", "name").stdout == f"{name}\n"


def test_why_a_certificate_is_revoked_goes_with_it(plane: ScriptedPlane, run: Run) -> None:
    ended = run("certificate", "revoke", "0abc", "--reason", "key-compromise", "--note", "laptop lost")
    assert ended.returncode == Exit.OK
    assert "counts no longer" in ended.stderr
    [request] = plane.asked("RevokeCertificate")
    assert request.reason == revocation_pb2.REVOCATION_REASON_KEY_COMPROMISE
    assert request.note == "laptop lost"


@pytest.mark.parametrize("reason", ["superseded", "tide"])
def test_a_reason_that_is_not_an_administrators_to_give_is_no_choice(
    plane: ScriptedPlane, run: Run, reason: str
) -> None:
    assert run("certificate", "revoke", "0abc", "--reason", reason).returncode == Exit.USAGE
    assert plane.requests == []


@pytest.mark.parametrize(
    ("named", "spiffe_id"),
    [
        (VERA, VERA),
        ("viewer/vera", VERA),
        ("service/director", "spiffe://moorage.test/service/director"),
        ("runtime/quay", f"spiffe://moorage.test/runtime/{RUNTIME}"),
        (f"runtime/{RUNTIME.upper()}", f"spiffe://moorage.test/runtime/{RUNTIME}"),
        (f"application/{RUNTIME}", f"spiffe://moorage.test/application/{RUNTIME}"),
    ],
)
def test_an_identity_is_named_by_its_spiffe_id_or_by_kind_and_name(
    plane: ScriptedPlane, run: Run, named: str, spiffe_id: str
) -> None:
    assert run("identity", "get", named).returncode == Exit.OK
    assert run("identity", "restore", named, "--note", "found").returncode == Exit.OK
    assert plane.asked("GetIdentity")[0].spiffe_id == spiffe_id
    restored = identity_pb2.RestoreIdentityRequest(spiffe_id=spiffe_id, note="found")
    assert plane.asked("RestoreIdentity") == [restored]


@pytest.mark.parametrize("named", ["vera", "boat/vera", "viewer/", "service/harbour", "spiffe://Moorage/admin/ada"])
def test_what_names_no_identity_is_bad_input(plane: ScriptedPlane, run: Run, named: str) -> None:
    assert run("identity", "get", named).returncode == Exit.BAD_INPUT
    assert plane.requests == []


def test_identities_are_asked_for_by_state(plane: ScriptedPlane, run: Run) -> None:
    assert run("identity", "list", "--state", "banned", "--state", "inactive").returncode == Exit.OK
    states = [identity_pb2.IDENTITY_STATE_BANNED, identity_pb2.IDENTITY_STATE_INACTIVE]
    assert list(plane.asked("ListIdentities")[0].states) == states


@pytest.mark.parametrize(
    ("option", "action"),
    [("--ban", identity_pb2.REVOCATION_ACTION_BAN), ("--evict", identity_pb2.REVOCATION_ACTION_EVICT)],
)
def test_an_identity_is_banned_or_evicted(
    plane: ScriptedPlane, run: Run, option: str, action: identity_pb2.RevocationAction.ValueType
) -> None:
    ended = run("identity", "revoke", "viewer/vera", option, "--reason", "privilege-withdrawn", "--note", "left")
    assert ended.returncode == Exit.OK
    assert ended.stderr == "moorage: revoked: certificates 2, unused tokens 1\n"
    assert plane.asked("RevokeIdentity") == [
        identity_pb2.RevokeIdentityRequest(
            spiffe_id=VERA,
            action=action,
            reason=revocation_pb2.REVOCATION_REASON_PRIVILEGE_WITHDRAWN,
            note="left",
        )
    ]


@pytest.mark.parametrize("options", [(), ("--ban", "--evict")])
def test_what_becomes_of_a_revoked_identity_has_to_be_said(
    plane: ScriptedPlane, run: Run, options: tuple[str, ...]
) -> None:
    ended = run("identity", "revoke", "viewer/vera", *options)
    assert ended.returncode == Exit.USAGE
    assert "either --evict or --ban" in ended.stderr
    assert plane.requests == []


def test_one_does_not_revoke_oneself(plane: ScriptedPlane, run: Run) -> None:
    def refuse(_: object) -> Message:
        raise Refusal(Reason.REASON_OWN_IDENTITY, "it is your own")

    plane.answers["RevokeIdentity"] = refuse
    ended = run("identity", "revoke", "admin/ada", "--ban")
    assert ended.returncode == Exit.CONFLICT
    assert "OWN_IDENTITY" in ended.stderr
    assert plane.asked("RevokeIdentity")[0].spiffe_id == ADA


def crl(number: int, der: bytes = b"0\x00") -> revocation_pb2.GetRevocationListResponse:
    return revocation_pb2.GetRevocationListResponse(crl_der=der, crl_number=number, authority_sha256="ab" * 32)


def test_the_revocation_list_is_written_to_a_file(plane: ScriptedPlane, run: Run, tmp_path: Path) -> None:
    always(plane, "GetRevocationList", crl(7, b"0\x01\xff"))
    out = tmp_path / "crl.der"
    ended = run("revocations", "fetch", "--out", str(out), "--authority", ":".join(["AB"] * 32))
    assert ended.returncode == Exit.OK
    assert out.read_bytes() == b"0\x01\xff"
    assert ended.stdout.splitlines() == [f"authority_sha256:  {'ab' * 32}", "crl_number:        7"]
    assert plane.asked("GetRevocationList")[0].authority_sha256 == "ab" * 32


def test_the_revocation_list_goes_to_standard_output_as_it_is(plane: ScriptedPlane, run: Run) -> None:
    always(plane, "GetRevocationList", crl(7, b"0\x01"))
    assert run("revocations", "fetch", "--out", "-").stdout == "0\x01"
    assert run("revocations", "watch", "--out", "-").returncode == Exit.USAGE


def test_a_list_that_cannot_be_written_is_told(plane: ScriptedPlane, run: Run, tmp_path: Path) -> None:
    always(plane, "GetRevocationList", crl(7))
    ended = run("revocations", "fetch", "--out", str(tmp_path / "nowhere" / "crl.der"))
    assert ended.returncode == Exit.BAD_INPUT
    assert "cannot be written" in ended.stderr


def test_a_watched_list_is_written_each_time_that_it_has_changed(
    plane: ScriptedPlane, run: Run, tmp_path: Path
) -> None:
    lists = iter([crl(1, b"one"), crl(1, b"one"), crl(3, b"three")])

    def answer(_: object) -> Message:
        try:
            return next(lists)
        except StopIteration:
            raise Refusal(Reason.REASON_ACCESS_DENIED, "enough") from None

    plane.answers["GetRevocationList"] = answer
    ended = run("revocations", "watch", "--out", str(tmp_path / "crl.der"), "--every", "1ms")
    assert ended.returncode == Exit.REFUSED
    assert [json.loads(line)["crl_number"] for line in ended.stdout.splitlines()] == ["1", "3"]
    assert (tmp_path / "crl.der").read_bytes() == b"three"


def test_a_watched_list_stays_while_the_plane_is_away(plane: ScriptedPlane, run: Run, tmp_path: Path) -> None:
    answers = iter([crl(1, b"one"), None])

    def answer(_: object) -> Message:
        if found := next(answers, crl(0)):
            if found.crl_number:
                return found
            raise Refusal(Reason.REASON_ACCESS_DENIED, "enough")
        raise Refusal(Reason.REASON_NOT_READY, "not now")

    plane.answers["GetRevocationList"] = answer
    options = ("--every", "1ms", "--timeout", "50ms")
    ended = run("revocations", "watch", "--out", str(tmp_path / "crl.der"), *options)
    assert ended.returncode == Exit.REFUSED
    assert (tmp_path / "crl.der").read_bytes() == b"one"
