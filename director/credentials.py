"""Credentials of APIs and bundles: they go in, sealed, and come out only to the Runtimes that must use them."""

from typing import Any, TypeVar

from google.protobuf.message import Message
from moorage.director.v1.credential_pb2 import (
    CertificateCredential,
    Credential,
    CredentialType,
    DeleteCredentialRequest,
    DeleteCredentialResponse,
    FetchCredentialsRequest,
    FetchCredentialsResponse,
    ListCredentialsRequest,
    ListCredentialsResponse,
    UpdateCredentialRequest,
    UpdateCredentialResponse,
)
from moorage.errors.v1.errors_pb2 import Reason

from director import holdings, resource
from director.certificates import check_certificate
from director.changes import Action, Mutation, read_plane
from director.kinds import API, APPLICATION, BUNDLE, RUNTIME
from director.store import Transaction
from director.store import credentials as store
from director.store.keys import owner_of
from director.store.registry import Values
from director.targets import credential_changed
from director.times import to_timestamp
from mesh.errors import Refusal
from mesh.paging import read_page
from mesh.sealing import Seal

SECRETS = {
    "basic": CredentialType.CREDENTIAL_TYPE_BASIC,
    "bearer": CredentialType.CREDENTIAL_TYPE_BEARER,
    "api_key": CredentialType.CREDENTIAL_TYPE_API_KEY,
    "oauth2_client": CredentialType.CREDENTIAL_TYPE_OAUTH2_CLIENT,
    "certificate": CredentialType.CREDENTIAL_TYPE_CERTIFICATE,
}
"""The fields that hold a secret, and what each is."""

_TARGETS = {"api_id": (store.API, API), "bundle_id": (store.BUNDLE, BUNDLE)}

MessageT = TypeVar("MessageT", bound=Message)


def update_credential(
    tx: Transaction, mutation: Mutation, request: UpdateCredentialRequest, seal: Seal
) -> UpdateCredentialResponse:
    """Set the credential of a target, shared or for one Runtime.

    Raises `Refusal` (APPLICATION_NOT_FOUND, API_NOT_FOUND, BUNDLE_NOT_FOUND, RUNTIME_NOT_FOUND, and FIELD_INVALID for a
    certificate that is none).
    """
    sent = request.credential
    resource.get(tx, APPLICATION, sent.application_id)
    target_kind, target_id = require_target(tx, sent.application_id, sent, "credential")
    if sent.runtime_id and RUNTIME.registry.find(tx, sent.runtime_id) is None:
        raise resource.not_found(RUNTIME, sent.runtime_id, "credential.runtime_id")
    row = keep(tx, mutation, seal, (sent.application_id, target_kind, target_id, sent.runtime_id), sent, "credential")
    return UpdateCredentialResponse(credential=_message(row))


def delete_credential(
    tx: Transaction, mutation: Mutation, request: DeleteCredentialRequest
) -> DeleteCredentialResponse:
    """Remove the credential of a target; raises `Refusal` (CREDENTIAL_NOT_FOUND)."""
    if not forget(tx, mutation, request.application_id, _target_of(request)[1], request.runtime_id):
        raise Refusal(Reason.REASON_CREDENTIAL_NOT_FOUND, "there is no such credential")
    return DeleteCredentialResponse()


def list_credentials(tx: Transaction, request: ListCredentialsRequest) -> ListCredentialsResponse:
    """Read a page of an Application's credentials, without their secrets.

    Raises `Refusal` (APPLICATION_NOT_FOUND, PAGE_TOKEN_INVALID).
    """
    resource.get(tx, APPLICATION, request.application_id)
    page = read_page(
        request,
        lambda after, limit: store.page(tx, request.application_id, after, limit),
        lambda row: (row["runtime_id"], row["target_id"]),
        types=(str, str),
    )
    return ListCredentialsResponse(
        credentials=[_message(row) for row in page.rows], next_page_token=page.next_page_token
    )


def fetch_credentials(tx: Transaction, request: FetchCredentialsRequest, seal: Seal) -> FetchCredentialsResponse:
    """Read what a Runtime is to use, with the secrets; raises `Refusal` (RUNTIME_NOT_FOUND, PAGE_TOKEN_INVALID)."""
    resource.get(tx, RUNTIME, request.runtime_id)
    page = read_page(
        request,
        lambda after, limit: store.page_to_use(tx, request.runtime_id, request.application_id, after, limit),
        lambda row: (row.application_id, row.target_id),
        types=(str, str),
    )
    return FetchCredentialsResponse(
        credentials=[_opened(tx, seal, row._asdict()) for row in page.rows],
        next_page_token=page.next_page_token,
        revision=read_plane(tx).revision,
    )


def keep(
    tx: Transaction, mutation: Mutation, seal: Seal, where: tuple[str, str, str, str], sent: Message, field: str
) -> Values:
    """Seal and store the secret that `sent` holds, and have those who use it learn of it; returns its row.

    `where` is (application id, target kind, target id, runtime id); `field` is what the request calls `sent`.
    Raises `Refusal` (FIELD_INVALID) for a certificate that is none.
    """
    application_id, target_kind, target_id, runtime_id = where
    name: str = sent.WhichOneof("secret")
    secret: Message = getattr(sent, name)
    if isinstance(secret, CertificateCredential):
        check_certificate(secret, f"{field}.{name}")
    plain = Credential(**{name: secret}).SerializeToString()  # type: ignore[arg-type]  # a field of that type
    key = {"application_id": application_id, "target_id": target_id, "runtime_id": runtime_id}
    row = {
        **key,
        "target_kind": target_kind,
        "type": SECRETS[name],
        "sealed": seal.seal(tx, plain, owner_of(*key.values())),
        "update_time": mutation.micros,
        "revision": mutation.revision,
    }
    action = Action.CREATE if store.find(tx, **key) is None else Action.UPDATE
    store.store(tx, row)
    credential_changed(tx, mutation, action, application_id, target_id, runtime_id)
    return row


def forget(tx: Transaction, mutation: Mutation, application_id: str, target_id: str, runtime_id: str) -> bool:
    """Remove a credential, and have those who use it learn of it; says whether there was one."""
    dropped = store.drop(tx, application_id, target_id, runtime_id)
    if dropped:
        credential_changed(tx, mutation, Action.DELETE, application_id, target_id, runtime_id)
    return dropped


def require_target(tx: Transaction, application_id: str, sent: Message, field: str) -> tuple[str, str]:
    """The kind and the id of the target that `sent` names; raises `Refusal` where the Application has none such."""
    name, id = _target_of(sent)
    kind, resource_kind = _TARGETS[name]
    try:
        holdings.get(tx, resource_kind, application_id, id)
    except Refusal:
        raise resource.not_found(resource_kind, id, f"{field}.{name}") from None
    return kind, id


def target_field(kind: str) -> str:
    """The field that holds the id of a target of this kind."""
    return next(name for name, (each, _) in _TARGETS.items() if each == kind)


def _target_of(sent: Message) -> tuple[str, str]:
    name: str = sent.WhichOneof("target")
    return name, getattr(sent, name)


def _opened(tx: Transaction, seal: Seal, row: Values) -> Credential:
    owner = owner_of(row["application_id"], row["target_id"], row["runtime_id"])
    credential = Credential.FromString(seal.unseal(tx, row["sealed"], owner))
    credential.MergeFrom(_message(row))
    return credential


def _message(row: Values) -> Credential:
    target: dict[str, Any] = {target_field(row["target_kind"]): row["target_id"]}
    return Credential(
        application_id=row["application_id"],
        runtime_id=row["runtime_id"],
        type=row["type"],
        update_time=to_timestamp(row["update_time"]),
        revision=row["revision"],
        **target,
    )
