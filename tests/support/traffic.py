"""Writers that change a registry all the time, and know what must be in it for all that was acknowledged."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from moorage.director.v1.api_pb2 import Api, CreateApiRequest, DeleteApiRequest, UpdateApiRequest
from moorage.director.v1.application_pb2 import (
    Application,
    CreateApplicationRequest,
    DeleteApplicationRequest,
    UpdateApplicationRequest,
)
from moorage.director.v1.group_pb2 import (
    AddGroupMembersRequest,
    CreateGroupRequest,
    DeleteGroupRequest,
    Group,
    RemoveGroupMembersRequest,
    UpdateGroupRequest,
)
from moorage.director.v1.runtime_pb2 import (
    CreateRuntimeRequest,
    DeleteRuntimeRequest,
    Runtime,
    UpdateRuntimeRequest,
)

from tests.support.directors import Client

MOST = 12
"""Of each kind that one writer keeps."""


@dataclass(frozen=True)
class Write:
    """A write that was acknowledged. Times are the event loop's."""

    begun: float
    ended: float
    revision: int
    resource_id: str


class Writer:
    """Writes one thing after the other, each upon what is its own; several writers share the groups of `watched`."""

    def __init__(self, client: Client, watched: Sequence[str], interval: float) -> None:
        """`interval`: seconds from the begin of one write to the next, where the Directors are as fast."""
        self._client = client
        self._watched = watched
        self._interval = interval
        self._random = random.Random(random.random())
        self.count = 0
        """How many writes were acknowledged."""
        self.writes: list[Write] = []
        """Those of them that tell a revision."""
        self.applications: dict[str, Application] = {}
        self.apis: dict[str, Api] = {}
        self.groups: dict[str, Group] = {}
        self.runtimes: dict[str, Runtime] = {}
        self.members: set[tuple[str, str]] = set()
        """Which of the applications are in which of the watched groups: (group, application)."""

    async def run(self, ended: asyncio.Event) -> None:
        """Write until `ended`; what was begun is acknowledged by then."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        kinds: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self._application, 8),
            (self._api, 8),
            (self._member, 4),
            (self._group, 1),
            (self._runtime, 1),
        ]
        writes, weights = zip(*kinds, strict=True)
        while not ended.is_set():
            write: Callable[[], Awaitable[None]] = self._random.choices(writes, weights)[0]
            await write()
            self.count += 1
            due = max(due + self._interval, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _application(self) -> None:
        one = self._one_or_new(self.applications)
        if one is None:
            new = Application(name=_name(), description="new")
            request = CreateApplicationRequest(application=new, request_id=_id())
            made = (await self._write("CreateApplication", request, "application")).application
            self.applications[made.application_id] = made
        elif self._random.random() < 0.2:
            await self._client.call("DeleteApplication", DeleteApplicationRequest(application_id=one, force=True))
            del self.applications[one]
            self.apis = {key: each for key, each in self.apis.items() if each.application_id != one}
            self.members = {each for each in self.members if each[1] != one}
        else:
            changed = Application(application_id=one, description=_id())
            answer = await self._write(
                "UpdateApplication", UpdateApplicationRequest(application=changed), "application"
            )
            self.applications[one] = answer.application

    async def _api(self) -> None:
        one = self._one_or_new(self.apis)
        if one is None:
            if self.applications:
                new = Api(application_id=self._any(self.applications), name=_name(), target_url="https://api.test/")
                answer = await self._write("CreateApi", CreateApiRequest(api=new, request_id=_id()), "api")
                self.apis[answer.api.api_id] = answer.api
            return
        application_id = self.apis[one].application_id
        if self._random.random() < 0.2:
            await self._client.call("DeleteApi", DeleteApiRequest(application_id=application_id, api_id=one))
            del self.apis[one]
        else:
            changed = Api(application_id=application_id, api_id=one, description=_id())
            self.apis[one] = (await self._write("UpdateApi", UpdateApiRequest(api=changed), "api")).api

    async def _member(self) -> None:
        if not self.applications:
            return
        member = self._random.choice(self._watched), self._any(self.applications)
        group_id, application_id = member
        if member in self.members:
            remove = RemoveGroupMembersRequest(group_id=group_id, application_ids=[application_id])
            await self._client.call("RemoveGroupMembers", remove)
        else:
            add = AddGroupMembersRequest(group_id=group_id, application_ids=[application_id])
            await self._client.call("AddGroupMembers", add)
        self.members ^= {member}

    async def _group(self) -> None:
        one = self._one_or_new(self.groups)
        if one is None:
            request = CreateGroupRequest(group=Group(name=_name()), request_id=_id())
            made = (await self._write("CreateGroup", request, "group")).group
            self.groups[made.group_id] = made
        elif self._random.random() < 0.2:
            await self._client.call("DeleteGroup", DeleteGroupRequest(group_id=one, force=True))
            del self.groups[one]
        else:
            update = UpdateGroupRequest(group=Group(group_id=one, description=_id()))
            self.groups[one] = (await self._write("UpdateGroup", update, "group")).group

    async def _runtime(self) -> None:
        one = self._one_or_new(self.runtimes)
        if one is None:
            request = CreateRuntimeRequest(runtime=Runtime(name=_name()), request_id=_id())
            request.group_ids.append(self._random.choice(self._watched))
            made = (await self._write("CreateRuntime", request, "runtime")).runtime
            self.runtimes[made.runtime_id] = made
        elif self._random.random() < 0.2:
            await self._client.call("DeleteRuntime", DeleteRuntimeRequest(runtime_id=one, force=True))
            del self.runtimes[one]
        else:
            update = UpdateRuntimeRequest(runtime=Runtime(runtime_id=one, description=_id()))
            self.runtimes[one] = (await self._write("UpdateRuntime", update, "runtime")).runtime

    async def _write(self, method: str, request: Message, kind: str) -> Any:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        answer = await self._client.call(method, request)
        resource = getattr(answer, kind)
        self.writes.append(Write(begun, loop.time(), resource.revision, getattr(resource, f"{kind}_id")))
        return answer

    def _one_or_new(self, among: Mapping[str, Message]) -> str | None:
        """One of those that there are, or None where a new one is to be made."""
        if not among or (len(among) < MOST and self._random.random() < 0.4):
            return None
        return self._any(among)

    def _any(self, among: Mapping[str, Message]) -> str:
        return self._random.choice(list(among))


def _id() -> str:
    return str(uuid.uuid4())


def _name() -> str:
    return f"n-{_id()}"
