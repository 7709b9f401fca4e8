"""How a command names a resource: by its id, or by its name, which is unique."""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from cli.connection import Connection, Page, PagedRequest, Peer
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    import grpc

RequestT = TypeVar("RequestT", bound=PagedRequest)
PageT = TypeVar("PageT", bound=Page)
Stub = TypeVar("Stub")


async def application_id(plane: Connection, reference: str) -> str:
    """The id of the Application; this and those below raise `Stopped` (NOT_FOUND) for a name that nothing has."""
    from moorage.director.v1.application_pb2 import ListApplicationsRequest, ListApplicationsResponse

    def names(page: ListApplicationsResponse) -> Mapping[str, str]:
        return {each.name: each.application_id for each in page.applications}

    director = plane.director
    return await _id(
        director, director.stub.ListApplications, ListApplicationsRequest(), names, "application", reference
    )


async def own_application_id(plane: Connection, reference: str | None) -> str:
    """The id of the Application that was named or, where none was, of the one that calls."""
    if reference is not None:
        return await application_id(plane, reference)
    from certs.spiffe import Kind

    caller = plane.identity.spiffe_id
    if caller.kind is not Kind.APPLICATION:
        raise click.UsageError(
            f"Missing option '--application': {caller} is no application.", click.get_current_context()
        )
    return caller.name


async def application_to_list(plane: Connection, reference: str | None) -> str:
    """The same for lists; empty, which means all, where none was named and a person calls."""
    from certs.spiffe import Kind

    if reference is None and plane.identity.spiffe_id.kind is not Kind.APPLICATION:
        return ""
    return await own_application_id(plane, reference)


async def group_id(plane: Connection, reference: str) -> str:
    """The id of the group."""
    from moorage.director.v1.group_pb2 import ListGroupsRequest, ListGroupsResponse

    def names(page: ListGroupsResponse) -> Mapping[str, str]:
        return {each.name: each.group_id for each in page.groups}

    director = plane.director
    return await _id(director, director.stub.ListGroups, ListGroupsRequest(), names, "group", reference)


async def runtime_id(plane: Connection, reference: str) -> str:
    """The id of the Runtime."""
    from moorage.director.v1.runtime_pb2 import ListRuntimesRequest, ListRuntimesResponse

    def names(page: ListRuntimesResponse) -> Mapping[str, str]:
        return {each.name: each.runtime_id for each in page.runtimes}

    director = plane.director
    return await _id(director, director.stub.ListRuntimes, ListRuntimesRequest(), names, "runtime", reference)


async def api_id(plane: Connection, application: str, reference: str) -> str:
    """The id of the API of the Application with the id `application`."""
    from moorage.director.v1.api_pb2 import ListApisRequest, ListApisResponse

    def names(page: ListApisResponse) -> Mapping[str, str]:
        return {each.name: each.api_id for each in page.apis}

    director, request = plane.director, ListApisRequest(application_id=application)
    return await _id(director, director.stub.ListApis, request, names, "api", reference)


async def event_api_id(plane: Connection, application: str, reference: str) -> str:
    """The id of the Event API of the Application with the id `application`."""
    from moorage.director.v1.event_api_pb2 import ListEventApisRequest, ListEventApisResponse

    def names(page: ListEventApisResponse) -> Mapping[str, str]:
        return {each.name: each.event_api_id for each in page.event_apis}

    director, request = plane.director, ListEventApisRequest(application_id=application)
    return await _id(director, director.stub.ListEventApis, request, names, "event-api", reference)


async def every(
    plane: Connection, find: Callable[[Connection, str], Coroutine[object, object, str]], references: Sequence[str]
) -> list[str]:
    """The ids of several that `find` finds, each once, in the order they were named."""
    return list(dict.fromkeys([await find(plane, reference) for reference in references]))


_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


async def _id(
    peer: Peer[Stub],
    method: "grpc.aio.UnaryUnaryMultiCallable[RequestT, PageT]",
    request: RequestT,
    names: Callable[[PageT], Mapping[str, str]],
    kind: str,
    reference: str,
) -> str:
    if _UUID.fullmatch(reference):
        return reference.lower()
    async for page in peer.pages(method, request):
        if found := names(page).get(reference):
            return found
    raise Stopped(Exit.NOT_FOUND, f"no {kind} is named '{reference}': `moorage {kind} list` shows what there is")
