"""All that a plane tells its administrator, and what callers are told that it refuses."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.longrunning.operations_pb2 import GetOperationRequest, ListOperationsRequest
from google.protobuf.message import Message
from moorage.connector.v1.enrolment_pb2 import GetTrustBundleRequest
from moorage.director.v1.api_pb2 import GetApiRequest, ListApisRequest
from moorage.director.v1.application_pb2 import GetApplicationRequest, ListApplicationsRequest
from moorage.director.v1.configuration_pb2 import GetApplicationConfigurationRequest
from moorage.director.v1.event_api_pb2 import GetEventApiRequest, ListEventApisRequest
from moorage.director.v1.group_pb2 import GetGroupRequest, ListGroupMembersRequest, ListGroupsRequest
from moorage.director.v1.runtime_pb2 import GetRuntimeRequest, ListRuntimesRequest
from moorage.director.v1.webhook_pb2 import GetWebhookRequest
from moorage.provisioner.v1.runtime_pb2 import GetRuntimeRequest as GetProvisionedRequest
from moorage.provisioner.v1.runtime_pb2 import ListRuntimesRequest as ListProvisionedRequest

from cli.demo.party import Party
from mesh.errors import Problem

Method = Callable[[Any], Awaitable[Any]]
"""A method of a stub, which takes its request."""


async def refused(call: Awaitable[object]) -> Problem:
    """Make a call that must be refused; what its caller is told."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return Problem.of(caught.value)


async def everything(admin: Party) -> list[Message]:
    """The answers of every Get and List method of the three services, for all that there is, in a fixed order."""
    answers: list[Message] = []

    async def ask(method: Method, request: Message) -> Any:
        answer = await method(request)
        answers.append(answer)
        return answer

    director, provisioner = admin.director, admin.provisioner
    await ask(admin.connector.GetTrustBundle, GetTrustBundleRequest())
    for application in (await ask(director.ListApplications, ListApplicationsRequest())).applications:
        of_it = {"application_id": application.application_id}
        await ask(director.GetApplication, GetApplicationRequest(**of_it))
        await ask(director.GetApplicationConfiguration, GetApplicationConfigurationRequest(**of_it))
        answers += await _webhook(admin, of_it)
        for api in (await ask(director.ListApis, ListApisRequest(**of_it))).apis:
            await ask(director.GetApi, GetApiRequest(**of_it, api_id=api.api_id))
        for event_api in (await ask(director.ListEventApis, ListEventApisRequest(**of_it))).event_apis:
            await ask(director.GetEventApi, GetEventApiRequest(**of_it, event_api_id=event_api.event_api_id))
    for group in (await ask(director.ListGroups, ListGroupsRequest())).groups:
        await ask(director.GetGroup, GetGroupRequest(group_id=group.group_id))
        await ask(director.ListGroupMembers, ListGroupMembersRequest(group_id=group.group_id))
    for runtime in (await ask(director.ListRuntimes, ListRuntimesRequest())).runtimes:
        await ask(director.GetRuntime, GetRuntimeRequest(runtime_id=runtime.runtime_id))
    for provisioned in (await ask(provisioner.ListRuntimes, ListProvisionedRequest())).runtimes:
        await ask(provisioner.GetRuntime, GetProvisionedRequest(runtime_id=provisioned.runtime_id))
    for operation in (await ask(admin.operations.ListOperations, ListOperationsRequest())).operations:
        await ask(admin.operations.GetOperation, GetOperationRequest(name=operation.name))
    return answers


async def _webhook(admin: Party, of_it: dict[str, str]) -> list[Message]:
    try:
        return [await admin.director.GetWebhook(GetWebhookRequest(**of_it))]
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return []
