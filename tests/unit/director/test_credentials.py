"""Credentials: who gets which, and that nobody else gets any."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from moorage.director.v1.credential_pb2 import (
    ApiKeyCredential,
    ApiKeyLocation,
    BasicCredential,
    CertificateCredential,
    Credential,
    CredentialType,
    OAuth2ClientCredential,
)
from moorage.director.v1.group_pb2 import RemoveGroupMembersRequest
from moorage.director.v1.runtime_pb2 import DeleteRuntimeRequest

from certs.authority import create_root
from director.changes import Action, Kind
from director.group_members import remove_group_members
from director.runtimes import delete_runtime
from director.store import tables
from tests.support.sealing import sealing
from tests.unit.certs.forge import of_version_9
from tests.unit.director.plane import BEGIN, Plane, new_id
from tests.unit.director.refused import refused
from tests.unit.director.vault import Vault

SECRET = "the-token-nobody-may-see"


@pytest.fixture
def vault(plane: Plane, tmp_path: Path) -> Vault:
    return Vault(plane, sealing(plane, tmp_path / "sealing.key"))


def test_a_shared_credential_comes_to_each_runtime_that_is_served(vault: Vault) -> None:
    vault.set(SECRET)
    assert vault.tokens(vault.runtime) == vault.tokens(vault.neighbour) == [SECRET]


def test_a_runtime_that_is_not_served_gets_none(vault: Vault) -> None:
    vault.set(SECRET)
    vault.set("its-own", runtime=vault.stranger)
    assert vault.fetched(vault.stranger) == []
    request = RemoveGroupMembersRequest(group_id=vault.group, runtime_ids=[vault.runtime])
    vault.plane.change(remove_group_members, request)
    assert vault.fetched(vault.runtime) == []


def test_a_runtimes_own_credential_takes_the_place_of_the_shared_one(vault: Vault) -> None:
    vault.set("shared")
    vault.set("for-the-bundle", bundle_id=vault.bundle)
    vault.set("own", runtime=vault.runtime)
    assert vault.tokens(vault.runtime) == ["for-the-bundle", "own"]
    assert vault.tokens(vault.neighbour) == ["for-the-bundle", "shared"]
    vault.delete(runtime=vault.runtime)
    assert vault.tokens(vault.runtime) == ["for-the-bundle", "shared"]


def test_what_is_fetched_can_be_narrowed_to_one_application_and_comes_in_pages(vault: Vault) -> None:
    vault.set("one")
    vault.set("two", bundle_id=vault.bundle)
    assert vault.fetched(vault.runtime, application_id=new_id()) == []
    assert len(vault.fetched(vault.runtime, application_id=vault.application)) == 2
    assert len(vault.fetched(vault.runtime, page_size=1)) == 1


def test_no_answer_to_anybody_else_holds_a_secret(vault: Vault) -> None:
    told = [vault.set(SECRET), vault.set(SECRET, runtime=vault.runtime), *vault.listed()]
    assert all(each.WhichOneof("secret") is None for each in told)
    assert [each.type for each in told] == [CredentialType.CREDENTIAL_TYPE_BEARER] * 4


def test_the_database_holds_no_secret(vault: Vault) -> None:
    vault.set(SECRET)
    vault.set(basic=BasicCredential(username="user", password=SECRET), runtime=vault.runtime)
    for table in tables.metadata.sorted_tables:
        assert SECRET not in repr(vault.plane.rows(table))


@pytest.mark.parametrize(
    ("secret", "type"),
    [
        ({"basic": BasicCredential(username="u", password="p")}, CredentialType.CREDENTIAL_TYPE_BASIC),
        (
            {"api_key": ApiKeyCredential(name="X-Key", key="k", location=ApiKeyLocation.API_KEY_LOCATION_HEADER)},
            CredentialType.CREDENTIAL_TYPE_API_KEY,
        ),
        (
            {"oauth2_client": OAuth2ClientCredential(client_id="c", client_secret="s", token_url="https://t.test")},
            CredentialType.CREDENTIAL_TYPE_OAUTH2_CLIENT,
        ),
    ],
)
def test_each_kind_of_secret_comes_out_as_it_went_in(
    vault: Vault, secret: dict[str, Any], type: CredentialType.ValueType
) -> None:
    assert vault.set(**secret).type == type
    [fetched] = vault.fetched(vault.runtime)
    assert getattr(fetched, next(iter(secret))) == next(iter(secret.values()))


def test_a_shared_credential_is_a_change_of_the_applications_configuration(vault: Vault) -> None:
    before = vault.plane.revision
    vault.set(SECRET)
    assert vault.revisions(vault.runtime) == (before + 1, before + 1, 0)
    [change] = vault.plane.changes_since(before)
    assert (change.action, change.kind, change.runtime_id) == (Action.CREATE, Kind.CREDENTIAL, None)
    vault.set("another")
    assert vault.plane.changes_since(before)[-1].action is Action.UPDATE


def test_a_runtimes_own_credential_is_a_change_for_that_runtime_alone(vault: Vault) -> None:
    _, configured, _ = vault.revisions(vault.runtime)
    before = vault.plane.revision
    vault.set(SECRET, runtime=vault.runtime)
    assert vault.revisions(vault.runtime) == (0, configured, before + 1)
    assert vault.revisions(vault.neighbour) == (0, configured, 0)


def test_what_is_only_asked_about_is_not_kept(vault: Vault) -> None:
    before = vault.plane.revision
    vault.set(SECRET, validate_only=True)
    assert vault.listed() == []
    assert vault.plane.revision == before


def test_a_target_must_be_the_applications_own(vault: Vault) -> None:
    other = vault.plane.application().application_id
    with refused("API_NOT_FOUND", "credential.api_id"):
        vault.set(SECRET, application_id=other)
    with refused("BUNDLE_NOT_FOUND", "credential.bundle_id"):
        vault.set(SECRET, bundle_id=new_id())
    with refused("APPLICATION_NOT_FOUND"):
        vault.set(SECRET, application_id=new_id())
    with refused("RUNTIME_NOT_FOUND", "credential.runtime_id"):
        vault.set(SECRET, runtime=new_id())


def test_what_is_not_there_cannot_be_deleted(vault: Vault) -> None:
    with refused("CREDENTIAL_NOT_FOUND"):
        vault.delete()


def test_a_runtime_that_is_deleted_takes_its_own_credentials_along(vault: Vault) -> None:
    vault.set(SECRET, runtime=vault.runtime)
    vault.set("shared")
    vault.plane.change(delete_runtime, DeleteRuntimeRequest(runtime_id=vault.runtime, force=True))
    assert [each.runtime_id for each in vault.listed()] == [""]
    with refused("RUNTIME_NOT_FOUND"):
        vault.fetched(vault.runtime)


def pem_of(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> str:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def test_a_certificate_comes_with_the_key_of_its_own(vault: Vault) -> None:
    root = create_root("plane.test", lambda: BEGIN)
    chain = root.certificate.public_bytes(Encoding.PEM).decode()
    good = CertificateCredential(certificate_chain=chain, private_key=pem_of(root.key))
    assert vault.set(certificate=good).type == CredentialType.CREDENTIAL_TYPE_CERTIFICATE
    assert vault.fetched(vault.runtime)[0].certificate == good


def test_a_certificate_that_cannot_be_used_is_refused_without_a_word_of_its_key(vault: Vault) -> None:
    root = create_root("plane.test", lambda: BEGIN)
    chain = root.certificate.public_bytes(Encoding.PEM).decode()
    foreign, unheard = pem_of(ec.generate_private_key(ec.SECP256R1())), of_version_9(root.certificate).decode()
    for sent, field in (
        (CertificateCredential(certificate_chain=unheard, private_key=pem_of(root.key)), "certificate_chain"),
        (CertificateCredential(certificate_chain="none", private_key=pem_of(root.key)), "certificate_chain"),
        (CertificateCredential(certificate_chain=chain, private_key="none"), "private_key"),
        (CertificateCredential(certificate_chain=chain, private_key=pem_of(root.key, b"pass")), "private_key"),
        (CertificateCredential(certificate_chain=chain, private_key=foreign), "private_key"),
    ):
        with refused("FIELD_INVALID", f"credential.certificate.{field}") as refusal:
            vault.set(certificate=sent)
        assert "PRIVATE KEY" not in str(refusal.message)


def test_a_credential_is_bound_to_its_place(vault: Vault) -> None:
    """One that is moved to another Runtime in the database cannot be opened there."""
    vault.set(SECRET, runtime=vault.runtime)
    with vault.plane.transaction() as tx:
        tx.execute(tables.credentials.update().values(runtime_id=vault.neighbour))
    with pytest.raises(Exception, match="not what was sealed"):
        vault.fetched(vault.neighbour)


def test_a_message_that_is_printed_shows_no_secret() -> None:
    credential = Credential(basic=BasicCredential(username="user", password=SECRET))
    assert "password" in credential.basic.DESCRIPTOR.fields_by_name
    assert credential.basic.DESCRIPTOR.fields_by_name["password"].GetOptions().debug_redact
