"""The whole story of a plane, told with every kind of secret that there is: who gives which to whom."""

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.longrunning.operations_pb2 import WaitOperationRequest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from moorage.connector.v1.certificate_pb2 import (
    CertificateOrigin,
    GetCertificateRequest,
    ListCertificatesRequest,
    RevokeCertificateRequest,
)
from moorage.connector.v1.connector_pb2_grpc import ConnectorStub
from moorage.connector.v1.enrolment_pb2 import RecoverRequest
from moorage.connector.v1.identity_pb2 import (
    GetIdentityRequest,
    ListIdentitiesRequest,
    RevocationAction,
    RevokeIdentityRequest,
)
from moorage.connector.v1.revocation_pb2 import GetRevocationListRequest, RevocationReason
from moorage.connector.v1.token_pb2 import GetTokenRequest, IssueTokenRequest, ListTokensRequest, TokenState
from moorage.director.v1.access_request_pb2 import (
    AccessRequest,
    AnswerAccessRequestRequest,
    CreateAccessRequestRequest,
    SuppliedCredential,
)
from moorage.director.v1.api_pb2 import Api, CreateApiRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.bundle_pb2 import Bundle, CreateBundleRequest
from moorage.director.v1.configuration_pb2 import WatchConfigurationRequest
from moorage.director.v1.credential_pb2 import (
    ApiKeyCredential,
    ApiKeyLocation,
    BasicCredential,
    BearerCredential,
    CertificateCredential,
    Credential,
    ListCredentialsRequest,
    OAuth2ClientCredential,
    UpdateCredentialRequest,
)
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group
from moorage.director.v1.webhook_pb2 import UpdateWebhookRequest, Webhook
from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest, RuntimeOperationMetadata

from certs.clock import system_clock
from certs.identity import Identity
from certs.keys import load_key
from certs.request import make_csr
from certs.token import OneTimeToken
from cli.demo.party import Party
from cli.demo.receiver import WebhookReceiver
from mesh.channel import open_pinned_channel
from mesh.enrolment import enrol
from tests.support.plane import Up
from tests.support.registry import everything, refused
from tests.support.secrets import Secrets
from tests.support.wait import eventually, wait_for

LOOPBACK = "127.0.0.1"
IN_HEADER = ApiKeyLocation.API_KEY_LOCATION_HEADER


@dataclass
class Story:
    """What was secret in it, and what can be read after it, by place."""

    secrets: Secrets = field(default_factory=Secrets)
    files: dict[str, bytes] = field(default_factory=dict)
    processes: dict[str, bytes] = field(default_factory=dict)
    metrics: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    credentials: Secrets = field(default_factory=Secrets)
    kept: dict[str, bytes] = field(default_factory=dict)
    """What agents keep of the credentials, for what runs beside them."""


async def tell(up: Up, folder: Path, story: Story) -> None:
    """Have everybody come, give and use their secrets; what was answered is in the story."""
    secrets = story.secrets
    async with up.party() as admin, _webhooks() as receiver:
        used, unused = [await _application(admin, name) for name in ("orders", "payments")]
        tokens = [await _token(admin, application_id) for application_id in (used, unused)]
        secrets.add_token("the used token", tokens[0])
        secrets.add_token("the unused token", tokens[1])
        identity = Identity(folder / "orders")
        await enrol(OneTimeToken.decode(tokens[0]), identity)
        secrets.add_key("the Application's key", load_key(folder / "orders" / "tls.key"))
        await refused(enrol(OneTimeToken.decode(tokens[0]), Identity(folder / "thief")))

        people = People(admin, up.plane.enrolment, folder, secrets)
        await people.come_and_go()
        async with up.party(folder / "orders") as application:
            await _set_webhook(application, used, receiver.url, receiver.secret)
            api = Api(application_id=used, name="orders", target_url="https://orders.example")
            api_id = (await application.director.CreateApi(CreateApiRequest(api=api))).api.api_id
            given = GivenCredentials(story, application, used, api_id)
            await given.share(folder / "orders")
            await given.be_refused()
        another = WebhookReceiver()
        await _set_webhook(admin, unused, f"http://{LOOPBACK}:9/nobody-listens", another.secret)
        for name, secret in (("the webhook's secret", receiver.secret), ("another webhook's", another.secret)):
            secrets.add(name, secret.encode(), base64.b64decode(secret.removeprefix("whsec_")))

        runtime_id = await _runtime(up, admin, [used, unused], secrets)
        await receiver.wait_for("RUNTIME_READY", lambda notice: notice.type == "RUNTIME_READY", deadline=20)
        agent = up.agent(runtime_id)
        async with up.party(folder / "orders") as application, up.party(agent.folder / "identity") as runtime:
            await GivenCredentials(story, application, used, api_id).supply(runtime, runtime_id)
        wait_for("the agent keeps what was supplied", lambda: _keeps(agent.folder, story, "the supplied client's"))
        await _handed_over(admin, used, receiver, Identity(folder / "orders again"), secrets)
        for number, answer in enumerate([*await everything(admin), *await people.told()]):
            story.answers[f"{type(answer).__name__} {number}"] = answer.SerializeToString()
        listed = await admin.director.ListCredentials(ListCredentialsRequest(application_id=used))
        story.answers["ListCredentialsResponse"] = listed.SerializeToString()
        stream = admin.director.WatchConfiguration(WatchConfigurationRequest(runtime_id=runtime_id))
        story.answers["WatchConfigurationResponse"] = (await anext(aiter(stream))).SerializeToString()
        stream.cancel()


@dataclass
class People:
    """People and a service that enrol, or do not; one is back after its certificate expired, and one is revoked."""

    admin: Party
    enrolment: str
    folder: Path
    secrets: Secrets

    async def come_and_go(self) -> None:
        """A viewer enrols, recovers and is banned; tokens for an administrator and for a service stay unused."""
        viewer = Identity(self.folder / "viewer")
        await enrol(OneTimeToken.decode(await self._token("the viewer's", viewer="vic")), viewer)
        await self._token("an administrator's", admin="bob")
        await self._token("a service's", service="director", dns_names=["director.example"])
        loaded = viewer.load()
        key = load_key(viewer.folder / "tls.key")
        self.secrets.add_key("the viewer's key", key)
        request = RecoverRequest(certificate_pem=loaded.chain_pem.decode(), csr=make_csr(key))

        async def is_over() -> bool:
            return system_clock() > loaded.not_after

        await eventually("the end of the viewer's certificate", is_over)
        async with open_pinned_channel(self.enrolment, loaded.bundle_pem) as channel:
            recovered = await ConnectorStub(channel).Recover(request, timeout=10)
        serial = recovered.identity.serial_number
        revoked = RevokeCertificateRequest(
            serial_number=serial, reason=RevocationReason.REVOCATION_REASON_KEY_COMPROMISE, note="a laptop was lost"
        )
        await self.admin.connector.RevokeCertificate(revoked)
        await self.admin.connector.RevokeIdentity(
            RevokeIdentityRequest(
                spiffe_id=str(loaded.spiffe_id),
                action=RevocationAction.REVOCATION_ACTION_BAN,
                reason=RevocationReason.REVOCATION_REASON_KEY_COMPROMISE,
            )
        )

    async def told(self) -> list[Message]:
        """All that the Connector says of tokens, certificates and identities."""
        connector = self.admin.connector
        tokens = await connector.ListTokens(ListTokensRequest())
        certificates = await connector.ListCertificates(ListCertificatesRequest())
        identities = await connector.ListIdentities(ListIdentitiesRequest())
        assert {each.state for each in tokens.tokens} >= {TokenState.TOKEN_STATE_USED, TokenState.TOKEN_STATE_ACTIVE}
        assert any(each.HasField("delivery") for each in tokens.tokens)
        origins = {each.origin for each in certificates.certificates}
        assert CertificateOrigin.CERTIFICATE_ORIGIN_RECOVERED in origins
        return [
            tokens,
            certificates,
            identities,
            await connector.GetRevocationList(GetRevocationListRequest()),
            *[await connector.GetToken(GetTokenRequest(token_id=each.token_id)) for each in tokens.tokens],
            *[
                await connector.GetCertificate(GetCertificateRequest(serial_number=each.serial_number))
                for each in certificates.certificates
            ],
            *[
                await connector.GetIdentity(GetIdentityRequest(spiffe_id=each.spiffe_id))
                for each in identities.identities
            ],
        ]

    async def _token(self, whose: str, **party: Any) -> str:
        token = (await self.admin.connector.IssueToken(IssueTokenRequest(**party))).token
        self.secrets.add_token(f"{whose} token", token)
        return token


@dataclass
class GivenCredentials:
    """The Application gives credentials of each kind, for bundles and in the end for an API."""

    story: Story
    application: Party
    application_id: str
    api_id: str

    async def share(self, identity: Path) -> None:
        """One of each kind, each for a bundle, and one for the API that is to be replaced."""
        key, chain = (identity / "tls.key").read_text(), (identity / "tls.crt").read_text()
        self.story.credentials.add_key("the certificate's", load_key(identity / "tls.key"))
        kinds: dict[str, dict[str, Message]] = {
            "password": {"basic": BasicCredential(username="edge", password=self._new("the password"))},
            "bearer": {"bearer": BearerCredential(token=self._new("the bearer token"))},
            "key": {"api_key": ApiKeyCredential(name="X-Key", key=self._new("the API key"), location=IN_HEADER)},
            "certificate": {"certificate": CertificateCredential(certificate_chain=chain, private_key=key)},
        }
        for name, secret in kinds.items():
            bundle = Bundle(application_id=self.application_id, name=name)
            created = await self.application.director.CreateBundle(CreateBundleRequest(bundle=bundle))
            await self._set(bundle_id=created.bundle.bundle_id, **secret)
        await self._set(api_id=self.api_id, bearer=BearerCredential(token=self._new("the replaced token")))

    async def be_refused(self) -> None:
        """Each of these breaks a rule of the contract, or is no certificate."""
        long = self._new("the refused secret") + 16384 * "x"
        short = long[:64]
        wrong: list[dict[str, Message]] = [
            {"basic": BasicCredential(username="a:b", password=long)},
            {"bearer": BearerCredential(token=long)},
            {"api_key": ApiKeyCredential(name="not a name", key=short, location=IN_HEADER)},
            {"oauth2_client": OAuth2ClientCredential(client_id="edge", client_secret=short, token_url="no")},
            {"certificate": CertificateCredential(certificate_chain=short, private_key=short)},
            {"certificate": CertificateCredential(certificate_chain=short, private_key=long)},
        ]
        for number, secret in enumerate(wrong):
            problem = await refused(self._set(api_id=self.api_id, **secret))
            assert problem.reason == "FIELD_INVALID"
            said = f"{problem.message} {problem.violations} {problem.metadata}"
            self.story.answers[f"refusal {number}"] = said.encode()

    async def supply(self, runtime: Party, runtime_id: str) -> None:
        """The Runtime asks for one of its own, and gets it."""
        asked = AccessRequest(runtime_id=runtime_id, application_id=self.application_id, api_id=self.api_id)
        created = await runtime.director.CreateAccessRequest(CreateAccessRequestRequest(access_request=asked))
        client = OAuth2ClientCredential(
            client_id="edge", client_secret=self._new("the supplied client's"), token_url="https://login.example/token"
        )
        answer = AnswerAccessRequestRequest(
            application_id=self.application_id,
            access_request_id=created.access_request.access_request_id,
            supplied=SuppliedCredential(oauth2_client=client),
        )
        answered = await self.application.director.AnswerAccessRequest(answer)
        self.story.answers["AnswerAccessRequestResponse"] = answered.SerializeToString()

    async def _set(self, **fields: Any) -> None:
        credential = Credential(application_id=self.application_id, **fields)
        answer = await self.application.director.UpdateCredential(UpdateCredentialRequest(credential=credential))
        self.story.answers[f"UpdateCredentialResponse {len(self.story.answers)}"] = answer.SerializeToString()

    def _new(self, name: str) -> str:
        secret = os.urandom(24).hex()
        for secrets in (self.story.secrets, self.story.credentials):
            secrets.add(name, secret.encode())
        return secret


def _keeps(home: Path, story: Story, name: str) -> bool:
    kept = {path.name: path.read_bytes() for path in (home / "credentials").iterdir()}
    return any(each.startswith(name) for each in story.credentials.found_in(kept))


@asynccontextmanager
async def _webhooks() -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    receiver.open()
    try:
        yield receiver
    finally:
        await receiver.close()


async def _application(admin: Party, name: str) -> str:
    request = CreateApplicationRequest(application=Application(name=name))
    return (await admin.director.CreateApplication(request)).application.application_id


async def _token(admin: Party, application_id: str) -> str:
    return (await admin.connector.IssueToken(IssueTokenRequest(application_id=application_id))).token


async def _handed_over(
    admin: Party, application_id: str, receiver: WebhookReceiver, identity: Identity, secrets: Secrets
) -> None:
    """The Application is handed a token by its webhook, and pairs once more."""
    await admin.connector.IssueToken(IssueTokenRequest(application_id=application_id, deliver=True))
    notice = await receiver.wait_for("PAIRING_TOKEN", lambda notice: notice.type == "PAIRING_TOKEN", deadline=20)
    token = notice.body["data"]["token"]
    secrets.add_token("the token that was handed over", token)
    await enrol(OneTimeToken.decode(token), identity)
    secrets.add_key("the Application's second key", load_key(identity.folder / "tls.key"))


async def _set_webhook(party: Party, application_id: str, url: str, secret: str) -> None:
    webhook = Webhook(application_id=application_id, url=url, secret=secret, pairing_url=url)
    await party.director.UpdateWebhook(UpdateWebhookRequest(webhook=webhook))


async def _runtime(up: Up, admin: Party, application_ids: list[str], secrets: Secrets) -> str:
    """Create a Runtime that those Applications serve, and look at its token on its way to the agent; its id."""
    group = (
        await admin.director.CreateGroup(CreateGroupRequest(group=Group(name="shop"), application_ids=application_ids))
    ).group
    operation = await admin.provisioner.CreateRuntime(CreateRuntimeRequest(name="edge", group_ids=[group.group_id]))

    async def token() -> str:
        return "".join(file.read_text() for file in up.home.glob("provisioner/runtimes/*/token"))

    secrets.add_token("the Runtime's token", await eventually("the Runtime's token", token))
    request = WaitOperationRequest(name=operation.name, timeout=Duration(seconds=30))
    done = await admin.operations.WaitOperation(request, timeout=40)
    assert done.HasField("response"), done
    metadata = RuntimeOperationMetadata()
    done.metadata.Unpack(metadata)
    return metadata.runtime_id
