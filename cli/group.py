"""`moorage group`: which Applications serve which Runtimes."""

from pathlib import Path

import click

from cli import batch, references, selector
from cli.connection import Connection
from cli.options import (
    FILE,
    changed,
    connected,
    description_option,
    etag_option,
    force_option,
    new_request_id,
    request_id_option,
)
from cli.output import as_dict, tell
from cli.search import Search, page_size_option, search_options
from cli.selector import Requirement, Selector

COLUMNS = {
    "NAME": "name",
    "GROUP_ID": "group_id",
    "UPDATED": "update_time",
    "DESCRIPTION": "description",
}
WIDE = {
    "APPLICATION_SELECTOR": "application_selector",
    "RUNTIME_SELECTOR": "runtime_selector",
}

MEMBER_COLUMNS = {
    "NAME": "name",
    "APPLICATION_ID": "application_id",
    "RUNTIME_ID": "runtime_id",
    "ADDED": "added",
    "SELECTED": "selected",
}


@click.group()
def group() -> None:
    """Groups: every Runtime in one sees every Application in it."""


_GROUP = click.argument("group")
_applications_option = click.option(
    "--application", "applications", multiple=True, help="Id or name of an Application; may be given again."
)
_runtimes_option = click.option(
    "--runtime", "runtimes", multiple=True, help="Id or name of a Runtime; may be given again."
)


_application_selector_option = click.option(
    "--application-selector",
    type=Selector(),
    help="Applications with such labels are in it, as in 'env=prod,tier in (a,b),!legacy,owner'; '' for none.",
)
_runtime_selector_option = click.option(
    "--runtime-selector", type=Selector(), help="Runtimes with such labels are in it; '' for none."
)


@group.command(short_help="Create a group, with its first members.")
@click.argument("name")
@_applications_option
@_runtimes_option
@_application_selector_option
@_runtime_selector_option
@description_option
@request_id_option
@connected
async def create(
    plane: Connection,
    name: str,
    applications: tuple[str, ...],
    runtimes: tuple[str, ...],
    application_selector: tuple[Requirement, ...] | None,
    runtime_selector: tuple[Requirement, ...] | None,
    description: str | None,
    request_id: str | None,
) -> None:
    """Create a group, with its first members where they are named. NAME is a DNS label.

    Selectors are those of Kubernetes. Who is added stays until it is removed; whom a selector pulls in, present or
    future, stays while its labels fit.
    """
    from moorage.director.v1.group_pb2 import CreateGroupRequest, Group

    request = CreateGroupRequest(
        group=Group(
            name=name,
            description=description or "",
            application_selector=selector.message(application_selector or ()),
            runtime_selector=selector.message(runtime_selector or ()),
        ),
        application_ids=await references.every(plane, references.application_id, applications),
        runtime_ids=await references.every(plane, references.runtime_id, runtimes),
        request_id=new_request_id(request_id),
    )
    response = await plane.director.call(plane.director.stub.CreateGroup, request)
    plane.output.one(response.group)


@group.command()
@_GROUP
@connected
async def get(plane: Connection, group: str) -> None:
    """Show one group, named by id or name."""
    from moorage.director.v1.group_pb2 import GetGroupRequest

    request = GetGroupRequest(group_id=await references.group_id(plane, group))
    response = await plane.director.call(plane.director.stub.GetGroup, request)
    plane.output.one(response.group)


@group.command("list")
@click.option("--application", help="Only the groups that this Application is in.")
@click.option("--runtime", help="Only the groups that this Runtime is in.")
@search_options
@connected
async def list_(plane: Connection, application: str | None, runtime: str | None, search: Search) -> None:
    """Show every group, or those of an Application or a Runtime."""
    from moorage.director.v1.group_pb2 import ListGroupsRequest

    request = ListGroupsRequest(
        application_id=await references.application_id(plane, application) if application else "",
        runtime_id=await references.runtime_id(plane, runtime) if runtime else "",
    )
    search.put(request)
    pages = plane.director.pages(plane.director.stub.ListGroups, request)
    plane.output.many([each async for page in pages for each in page.groups], "groups", COLUMNS, WIDE)


@group.command()
@_GROUP
@click.option("--name", help="A new name.")
@_application_selector_option
@_runtime_selector_option
@description_option
@etag_option
@connected
async def update(
    plane: Connection,
    group: str,
    name: str | None,
    application_selector: tuple[Requirement, ...] | None,
    runtime_selector: tuple[Requirement, ...] | None,
    description: str | None,
    etag: str | None,
) -> None:
    """Change what the options name, and nothing else."""
    from google.protobuf.field_mask_pb2 import FieldMask
    from moorage.director.v1.group_pb2 import Group, UpdateGroupRequest

    mask = changed(
        name=name,
        application_selector=application_selector,
        runtime_selector=runtime_selector,
        description=description,
    )
    new = Group(
        group_id=await references.group_id(plane, group),
        name=name or "",
        application_selector=selector.message(application_selector or ()),
        runtime_selector=selector.message(runtime_selector or ()),
        description=description or "",
        etag=etag or "",
    )
    request = UpdateGroupRequest(group=new, update_mask=FieldMask(paths=mask))
    response = await plane.director.call(plane.director.stub.UpdateGroup, request)
    plane.output.one(response.group)


@group.command()
@_GROUP
@etag_option
@force_option
@connected
async def delete(plane: Connection, group: str, etag: str | None, force: bool) -> None:
    """Remove a group that has no members or, with --force, any. They stay; what they saw through it ends."""
    from moorage.director.v1.group_pb2 import DeleteGroupRequest

    group_id = await references.group_id(plane, group)
    request = DeleteGroupRequest(group_id=group_id, etag=etag or "", force=force)
    await plane.director.call(plane.director.stub.DeleteGroup, request)
    tell(f"group {group} is deleted")


@group.command()
@_GROUP
@_applications_option
@_runtimes_option
@etag_option
@connected
async def add(
    plane: Connection, group: str, applications: tuple[str, ...], runtimes: tuple[str, ...], etag: str | None
) -> None:
    """Add members, all in one step. Who is a member already stays one."""
    from moorage.director.v1.group_pb2 import AddGroupMembersRequest

    request = AddGroupMembersRequest(
        group_id=await references.group_id(plane, group),
        application_ids=await references.every(plane, references.application_id, applications),
        runtime_ids=await references.every(plane, references.runtime_id, runtimes),
        etag=etag or "",
    )
    response = await plane.director.call(plane.director.stub.AddGroupMembers, request)
    plane.output.one(response.group)


@group.command()
@_GROUP
@_applications_option
@_runtimes_option
@etag_option
@connected
async def remove(
    plane: Connection, group: str, applications: tuple[str, ...], runtimes: tuple[str, ...], etag: str | None
) -> None:
    """Remove members, all in one step. Who is no member is passed over."""
    from moorage.director.v1.group_pb2 import RemoveGroupMembersRequest

    request = RemoveGroupMembersRequest(
        group_id=await references.group_id(plane, group),
        application_ids=await references.every(plane, references.application_id, applications),
        runtime_ids=await references.every(plane, references.runtime_id, runtimes),
        etag=etag or "",
    )
    response = await plane.director.call(plane.director.stub.RemoveGroupMembers, request)
    plane.output.one(response.group)


@group.command(short_help="Show the members, and how each came in.")
@_GROUP
@page_size_option
@connected
async def members(plane: Connection, group: str, page_size: int | None) -> None:
    """Show the members: Applications first, then Runtimes.

    Those that were ADDED stay until they are removed; those that a selector SELECTED stay while their labels fit.
    """
    from moorage.director.v1.group_pb2 import ListGroupMembersRequest

    request = ListGroupMembersRequest(group_id=await references.group_id(plane, group), page_size=page_size or 0)
    pages = plane.director.pages(plane.director.stub.ListGroupMembers, request)
    plane.output.many([each async for page in pages for each in page.members], "members", MEMBER_COLUMNS)


@group.command("batch", short_help="Change the members of many groups in one revision.")
@click.option("-f", "--file", "file", type=FILE, required=True, help="The changes, in YAML or JSON; - is stdin.")
@request_id_option
@connected
async def batch_(plane: Connection, file: Path, request_id: str | None) -> None:
    r"""Change the members of up to 100 groups in one revision: all of it, or nothing.

    The file is a list; each entry names a group, once, and what is to be added and removed, by name or id:

    \b
    - group: checkout
      add_applications: [payments, orders]
      remove_runtimes: [edge-1]
      etag: '"7"'
    """
    from moorage.director.v1.group_pb2 import BatchUpdateGroupMembersRequest

    changes = await batch.resolved(plane, batch.read(file))
    request = BatchUpdateGroupMembersRequest(changes=changes, request_id=new_request_id(request_id))
    response = await plane.director.call(plane.director.stub.BatchUpdateGroupMembers, request)
    more = {"revision": as_dict(response)["revision"]} if response.revision else {}
    plane.output.many(response.groups, "groups", COLUMNS, WIDE, more)
    tell(f"revision {response.revision}: {len(changes)} groups are as the file says")
