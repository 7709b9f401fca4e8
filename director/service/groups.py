"""The Director's calls that concern Groups and their members."""

from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    AddGroupMembersResponse,
    BatchUpdateGroupMembersRequest,
    BatchUpdateGroupMembersResponse,
    CreateGroupRequest,
    CreateGroupResponse,
    DeleteGroupRequest,
    DeleteGroupResponse,
    GetGroupRequest,
    GetGroupResponse,
    ListGroupMembersRequest,
    ListGroupMembersResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    RemoveGroupMembersRequest,
    RemoveGroupMembersResponse,
    UpdateGroupRequest,
    UpdateGroupResponse,
)

from director import group_members, groups
from director.service.calls import Calls, Context


class GroupCalls(Calls):
    """Calls that concern Groups and their members."""

    async def CreateGroup(self, request: CreateGroupRequest, context: Context) -> CreateGroupResponse:
        """Create a Group."""
        return await self._change(groups.create_group, request)

    async def GetGroup(self, request: GetGroupRequest, context: Context) -> GetGroupResponse:
        """Read a Group."""
        return await self._database.glance(groups.get_group, request)

    async def ListGroups(self, request: ListGroupsRequest, context: Context) -> ListGroupsResponse:
        """Read a page of Groups."""
        return await self._database.read(groups.list_groups, request)

    async def UpdateGroup(self, request: UpdateGroupRequest, context: Context) -> UpdateGroupResponse:
        """Change a Group."""
        return await self._change(groups.update_group, request)

    async def DeleteGroup(self, request: DeleteGroupRequest, context: Context) -> DeleteGroupResponse:
        """Remove a Group."""
        return await self._change(groups.delete_group, request)

    async def AddGroupMembers(self, request: AddGroupMembersRequest, context: Context) -> AddGroupMembersResponse:
        """Add members to a Group."""
        return await self._change(group_members.add_group_members, request)

    async def RemoveGroupMembers(
        self, request: RemoveGroupMembersRequest, context: Context
    ) -> RemoveGroupMembersResponse:
        """Remove members from a Group."""
        return await self._change(group_members.remove_group_members, request)

    async def ListGroupMembers(self, request: ListGroupMembersRequest, context: Context) -> ListGroupMembersResponse:
        """Read a page of a Group's members."""
        return await self._database.read(group_members.list_group_members, request)

    async def BatchUpdateGroupMembers(
        self, request: BatchUpdateGroupMembersRequest, context: Context
    ) -> BatchUpdateGroupMembersResponse:
        """Change the members of many Groups at once."""
        return await self._change(group_members.batch_update_group_members, request)
