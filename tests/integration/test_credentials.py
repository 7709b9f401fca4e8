"""Credentials on their way from the Application to the files beside the agent: real services and a real agent."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from google.longrunning.operations_pb2 import WaitOperationRequest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from moorage.connector.v1.token_pb2 import IssueTokenRequest
from moorage.director.v1.access_request_pb2 import (
    AccessRequest,
    AccessRequestState,
    AnswerAccessRequestRequest,
    CreateAccessRequestRequest,
    DeleteAccessRequestRequest,
    ListAccessRequestsRequest,
    SuppliedCredential,
)
from moorage.director.v1.api_pb2 import Api, CreateApiRequest
from moorage.director.v1.application_pb2 import Application, CreateApplicationRequest
from moorage.director.v1.credential_pb2 import (
    BearerCredential,
    Credential,
    DeleteCredentialRequest,
    FetchCredentialsRequest,
    FetchCredentialsResponse,
    ListCredentialsRequest,
    UpdateCredentialRequest,
)
from moorage.director.v1.group_pb2 import CreateGroupRequest, Group, RemoveGroupMembersRequest
from moorage.director.v1.webhook_pb2 import UpdateWebhookRequest, Webhook
from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest, RuntimeOperationMetadata

from certs.identity import Identity
from certs.token import OneTimeToken
from cli.demo.party import Party
from cli.demo.receiver import WebhookReceiver
from mesh.enrolment import enrol
from tests.support.plane import AgentProcess, Up
from tests.support.registry import refused
from tests.support.wait import wait_for

SUPPLIED = AccessRequestState.ACCESS_REQUEST_STATE_SUPPLIED


@dataclass
class Scene:
    """An Application with an API, a Runtime that it serves, the Runtime's agent, and all who call."""

    up: Up
    admin: Party
    application: Party
    runtime: Party
    agent: AgentProcess
    group_id: str
    application_id: str
    api_id: str
    runtime_id: str

    async def share(self, token: str) -> None:
        await self._set(token, "")

    async def give(self, token: str) -> None:
        """For the Runtime alone."""
        await self._set(token, self.runtime_id)

    async def _set(self, token: str, runtime_id: str) -> None:
        credential = Credential(
            application_id=self.application_id,
            api_id=self.api_id,
            runtime_id=runtime_id,
            bearer=BearerCredential(token=token),
        )
        await self.application.director.UpdateCredential(UpdateCredentialRequest(credential=credential))

    def tokens(self) -> list[str]:
        """The tokens that the agent keeps."""
        path = self.agent.folder / "credentials" / f"{self.application_id}.json"
        if not path.exists():
            return []
        kept = json_format.Parse(path.read_text(), FetchCredentialsResponse())
        return [each.bearer.token for each in kept.credentials]

    def wait_for_tokens(self, *tokens: str) -> None:
        wait_for(f"the agent keeps {tokens}", lambda: self.tokens() == list(tokens))


@asynccontextmanager
async def scene(up: Up, folder: Path) -> AsyncIterator[Scene]:
    name = f"n-{uuid.uuid4().hex[:12]}"
    async with up.party() as admin:
        created = await admin.director.CreateApplication(CreateApplicationRequest(application=Application(name=name)))
        application_id = created.application.application_id
        issued = await admin.connector.IssueToken(IssueTokenRequest(application_id=application_id))
        await enrol(OneTimeToken.decode(issued.token), Identity(folder / "orders"))
        request = CreateGroupRequest(group=Group(name=name), application_ids=[application_id])
        group_id = (await admin.director.CreateGroup(request)).group.group_id
        runtime_id = await created_runtime(admin, name, group_id)
        agent = up.agent(runtime_id)
        async with up.party(folder / "orders") as application, up.party(agent.folder / "identity") as runtime:
            api = Api(application_id=application_id, name="orders", target_url="https://orders.example")
            api_id = (await application.director.CreateApi(CreateApiRequest(api=api))).api.api_id
            yield Scene(up, admin, application, runtime, agent, group_id, application_id, api_id, runtime_id)


async def created_runtime(admin: Party, name: str, group_id: str) -> str:
    operation = await admin.provisioner.CreateRuntime(CreateRuntimeRequest(name=name, group_ids=[group_id]))
    done = await admin.operations.WaitOperation(
        WaitOperationRequest(name=operation.name, timeout=Duration(seconds=30)), timeout=40
    )
    assert done.HasField("response"), done
    metadata = RuntimeOperationMetadata()
    done.metadata.Unpack(metadata)
    return metadata.runtime_id


async def test_the_agent_keeps_what_its_runtime_is_to_use_and_nothing_else(up: Up, tmp_path: Path) -> None:
    async with scene(up, tmp_path) as at:
        await at.share("shared by all of them")
        at.wait_for_tokens("shared by all of them")
        folder = at.agent.folder / "credentials"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert modes_in(folder) == {0o600}
        await at.give("for this one alone")
        at.wait_for_tokens("for this one alone")
        await at.application.director.DeleteCredential(
            DeleteCredentialRequest(application_id=at.application_id, api_id=at.api_id, runtime_id=at.runtime_id)
        )
        at.wait_for_tokens("shared by all of them")
        leave = RemoveGroupMembersRequest(group_id=at.group_id, application_ids=[at.application_id])
        await at.admin.director.RemoveGroupMembers(leave)
        at.wait_for_tokens()


def modes_in(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_what_changed_while_the_agent_was_dead_is_there_when_it_is_back(up: Up, tmp_path: Path) -> None:
    async with scene(up, tmp_path) as at:
        await at.give("before")
        at.wait_for_tokens("before")
        killed = at.agent.kill()
        await at.give("while it was dead")
        at.agent.wait_for_pid(other_than=killed)
        at.wait_for_tokens("while it was dead")


async def test_a_runtime_asks_and_the_application_supplies_until_the_runtime_withdraws(up: Up, tmp_path: Path) -> None:
    receiver = WebhookReceiver()
    receiver.open()
    try:
        async with scene(up, tmp_path) as at:
            webhook = Webhook(application_id=at.application_id, url=receiver.url, secret=receiver.secret)
            await at.application.director.UpdateWebhook(UpdateWebhookRequest(webhook=webhook))
            asked = AccessRequest(
                runtime_id=at.runtime_id, application_id=at.application_id, api_id=at.api_id, purpose="to order"
            )
            response = await at.runtime.director.CreateAccessRequest(CreateAccessRequestRequest(access_request=asked))
            id = response.access_request.access_request_id
            notice = await receiver.wait_for("notice", lambda each: each.type == "ACCESS_REQUESTED", deadline=20)
            assert notice.body["data"]["access_request"]["access_request_id"] == id

            supplied = SuppliedCredential(bearer=BearerCredential(token="as it was asked for"))
            answer = AnswerAccessRequestRequest(
                application_id=at.application_id, access_request_id=id, supplied=supplied
            )
            await at.application.director.AnswerAccessRequest(answer)
            at.wait_for_tokens("as it was asked for")
            for party, whose in (
                (at.application, ListAccessRequestsRequest(application_id=at.application_id)),
                (at.runtime, ListAccessRequestsRequest(runtime_id=at.runtime_id)),
            ):
                [seen] = (await party.director.ListAccessRequests(whose)).access_requests
                assert (seen.access_request_id, seen.state) == (id, SUPPLIED)

            withdraw = DeleteAccessRequestRequest(runtime_id=at.runtime_id, access_request_id=id)
            await at.runtime.director.DeleteAccessRequest(withdraw)
            at.wait_for_tokens()
    finally:
        await receiver.close()


async def test_secrets_are_for_the_runtime_alone(up: Up, tmp_path: Path) -> None:
    async with scene(up, tmp_path) as at:
        await at.share("shared by all of them")
        fetch = FetchCredentialsRequest(runtime_id=at.runtime_id)
        for party in (at.admin, at.application):
            problem = await refused(party.director.FetchCredentials(fetch))
            assert problem.code.name == "PERMISSION_DENIED"
        mine = await at.runtime.director.FetchCredentials(fetch)
        assert [each.bearer.token for each in mine.credentials] == ["shared by all of them"]
        listed = await at.application.director.ListCredentials(ListCredentialsRequest(application_id=at.application_id))
        assert [each.WhichOneof("secret") for each in listed.credentials] == [None]
