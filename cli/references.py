"""How a command names a resource: by its id, or by its name, which is unique."""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import click

from cli.connection import Connection, Page, Peer
from cli.search import SearchRequest
from mesh.exits import Exit, Stopped

if TYPE_CHECKING:
    import grpc

RequestT = TypeVar("RequestT", bound=SearchRequest)
PageT = TypeVar("PageT", bound=Page)
Stub = TypeVar("Stub")
Names: TypeAlias = Mapping[str, str]
"""The ids on a page, by name."""


async def application_id(plane: Connection, reference: str) -> str:
    """The id of the Application; this and those below raise `Stopped` (NOT_FOUND) for a name that nothing has."""
    from moorage.director.v1.application_pb2 import ListApplicationsRequest, ListApplicationsResponse

    def ids(page: ListApplicationsResponse) -> Names:
        return {each.name: each.application_id for each in page.applications}

    method = plane.director.stub.ListApplications
    return await _id(plane.director, method, ListApplicationsRequest(), ids, "application", reference)


async def own_application_id(plane: Connection, reference: str | None) -> str:
    """The id of the Application that was named or, where none was, of the one that calls."""
    return await application_id(plane, reference) if reference is not None else _own(plane, "application")


async def application_to_list(plane: Connection, reference: str | None) -> str:
    """The same for lists; empty, which means all, where none was named and no Application calls."""
    if reference is None and not _is_own(plane, "application"):
        return ""
    return await own_application_id(plane, reference)


async def runtime_id(plane: Connection, reference: str) -> str:
    """The id of the Runtime."""
    from moorage.director.v1.runtime_pb2 import ListRuntimesRequest, ListRuntimesResponse

    def ids(page: ListRuntimesResponse) -> Names:
        return {each.name: each.runtime_id for each in page.runtimes}

    method = plane.director.stub.ListRuntimes
    return await _id(plane.director, method, ListRuntimesRequest(), ids, "runtime", reference)


async def own_runtime_id(plane: Connection, reference: str | None) -> str:
    """The id of the Runtime that was named or, where none was, of the one that calls."""
    return await runtime_id(plane, reference) if reference is not None else _own(plane, "runtime")


async def runtime_to_list(plane: Connection, reference: str | None) -> str:
    """The same for lists; empty, which means all, where none was named and no Runtime calls."""
    if reference is None and not _is_own(plane, "runtime"):
        return ""
    return await own_runtime_id(plane, reference)


async def group_id(plane: Connection, reference: str) -> str:
    """The id of the group."""
    from moorage.director.v1.group_pb2 import ListGroupsRequest, ListGroupsResponse

    def ids(page: ListGroupsResponse) -> Names:
        return {each.name: each.group_id for each in page.groups}

    return await _id(plane.director, plane.director.stub.ListGroups, ListGroupsRequest(), ids, "group", reference)


async def api_id(plane: Connection, application: str, reference: str) -> str:
    """The id of the API of the Application with the id `application`."""
    from moorage.director.v1.api_pb2 import ListApisRequest, ListApisResponse

    def ids(page: ListApisResponse) -> Names:
        return {each.name: each.api_id for each in page.apis}

    request = ListApisRequest(application_id=application)
    return await _id(plane.director, plane.director.stub.ListApis, request, ids, "api", reference)


async def event_api_id(plane: Connection, application: str, reference: str) -> str:
    """The id of the Event API of the Application with the id `application`."""
    from moorage.director.v1.event_api_pb2 import ListEventApisRequest, ListEventApisResponse

    def ids(page: ListEventApisResponse) -> Names:
        return {each.name: each.event_api_id for each in page.event_apis}

    request = ListEventApisRequest(application_id=application)
    return await _id(plane.director, plane.director.stub.ListEventApis, request, ids, "event-api", reference)


async def bundle_id(plane: Connection, application: str, reference: str) -> str:
    """The id of the bundle of the Application with the id `application`."""
    from moorage.director.v1.bundle_pb2 import ListBundlesRequest, ListBundlesResponse

    def ids(page: ListBundlesResponse) -> Names:
        return {each.name: each.bundle_id for each in page.bundles}

    request = ListBundlesRequest(application_id=application)
    return await _id(plane.director, plane.director.stub.ListBundles, request, ids, "bundle", reference)


async def document_id(plane: Connection, application: str, reference: str) -> str:
    """The id of the document of the Application with the id `application`."""
    from moorage.director.v1.document_pb2 import ListDocumentsRequest, ListDocumentsResponse

    def ids(page: ListDocumentsResponse) -> Names:
        return {each.name: each.document_id for each in page.documents}

    request = ListDocumentsRequest(application_id=application)
    return await _id(plane.director, plane.director.stub.ListDocuments, request, ids, "document", reference)


async def spiffe_id(plane: Connection, reference: str) -> str:
    """The SPIFFE ID: as it was given or, for KIND/NAME, of that party in the caller's trust domain.

    Raises `SpiffeIdRefused` for what is none.
    """
    from certs.spiffe import SpiffeId

    if reference.startswith("spiffe://"):
        return str(SpiffeId.parse(reference))
    kind, _, name = reference.partition("/")
    find = {"application": application_id, "runtime": runtime_id}.get(kind)
    found = SpiffeId(plane.identity.spiffe_id.trust_domain, f"/{kind}/{await find(plane, name) if find else name}")
    return f"spiffe://{found.trust_domain}/{found.kind}/{found.name}"


async def optional(
    plane: Connection, find: Callable[[Connection, str], Coroutine[object, object, str]], reference: str | None
) -> str:
    """The id that `find` finds; empty where nothing was named, or an empty text, which stands for none."""
    return await find(plane, reference) if reference else ""


async def optional_bundle_id(plane: Connection, application: str, reference: str | None) -> str:
    """The same for a bundle of the Application with the id `application`."""
    return await bundle_id(plane, application, reference) if reference else ""


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
    ids: Callable[[PageT], Names],
    kind: str,
    reference: str,
) -> str:
    if _UUID.fullmatch(reference):
        return reference.lower()
    escaped = re.sub(r'(["\\*])', r"\\\1", reference)
    request.filter = f'name = "{escaped}"'
    async for page in peer.pages(method, request):
        if found := ids(page).get(reference):
            return found
    raise Stopped(Exit.NOT_FOUND, f"no {kind} is named '{reference}': `moorage {kind} list` shows what there is")


def _is_own(plane: Connection, kind: str) -> bool:
    from certs.spiffe import Kind

    return plane.identity.spiffe_id.kind is Kind(kind)


def _own(plane: Connection, kind: str) -> str:
    caller = plane.identity.spiffe_id
    if not _is_own(plane, kind):
        raise click.UsageError(f"Missing option '--{kind}': {caller} is no {kind}.", click.get_current_context())
    return caller.name
