"""Doubles of what the Provisioner works with. What they hold is in files, to outlive a process that a test kills."""

import json
import uuid
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

from moorage.director.v1 import runtime_pb2 as at_director
from moorage.director.v1 import runtime_state_pb2
from moorage.director.v1.configuration_pb2 import REPORT_STATE_APPLYING, ResourceFailure
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.runtime_pb2 import CreateRuntimeRequest

from mesh.errors import Refusal
from provisioner.drivers.contract import DriverFailed

TOKEN = "moor_secret"
"""Every token that the double issues starts with this."""

At = Callable[[str], Awaitable[None]]
"""Called with the name of what a double has just done, before it answers."""


async def go_on(point: str) -> None:
    """Stops nowhere."""


class File:
    """A JSON object on disk."""

    def __init__(self, path: Path, empty: dict[str, Any]) -> None:
        self._path = path
        if not path.exists():
            self.save(empty)

    def load(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._path.read_text())
        return content

    def save(self, content: dict[str, Any]) -> None:
        self._path.write_text(json.dumps(content))


class PlaneDouble:
    """Stands for the Director and the Connector. A runtime becomes READY once its workload is started."""

    def __init__(self, home: Path, at: At = go_on) -> None:
        self._file = File(home / "plane.json", {"runtimes": {}, "created": 0, "tokens": 0})
        self._driver = File(home / "driver.json", {"workloads": {}, "calls": []})
        self._at = at
        self.refusals: dict[str, list[Refusal]] = {}
        """By method: how its next calls are refused, in order."""
        self.failures: list[str] = []
        """What agents report that they could not apply; while there is any, none is READY."""
        self.applying: int | None = None
        """The revision that agents report to be at for ever, where it is set."""
        self.unheard = 0
        """How many of the next registrations take place, though their answer is lost."""

    @property
    def runtimes(self) -> list[str]:
        """Ids of the runtimes that the Director has."""
        return sorted(self._file.load()["runtimes"])

    @property
    def created(self) -> int:
        """How many runtimes the Director has ever made."""
        count: int = self._file.load()["created"]
        return count

    def forget(self, runtime_id: str) -> None:
        """Have an administrator delete the runtime behind our back."""
        content = self._file.load()
        del content["runtimes"][runtime_id]
        self._file.save(content)

    async def check(self, request: CreateRuntimeRequest) -> None:
        self._refuse("check")

    async def register(self, request: CreateRuntimeRequest, request_id: str) -> str:
        self._refuse("register")
        content = self._file.load()
        known = [each for each, runtime in content["runtimes"].items() if runtime["request_id"] == request_id]
        runtime_id: str = known[0] if known else str(uuid.uuid4())
        if not known:
            content["runtimes"][runtime_id] = {"request_id": request_id, "name": request.name}
            content["created"] += 1
            self._file.save(content)
        if self.unheard:
            self.unheard -= 1
            raise away("director")
        await self._at("register")
        return runtime_id

    async def runtime(self, runtime_id: str) -> at_director.Runtime:
        self._refuse("runtime")
        if runtime_id not in self.runtimes:
            raise Refusal(Reason.REASON_RUNTIME_NOT_FOUND, "no such runtime")
        state = runtime_state_pb2.RUNTIME_STATE_PENDING
        if self._driver.load()["workloads"].get(runtime_id) == "running":
            state = runtime_state_pb2.RUNTIME_STATE_FAILED if self.failures else runtime_state_pb2.RUNTIME_STATE_READY
        status = at_director.RuntimeStatus(failures=[ResourceFailure(message=each) for each in self.failures])
        if self.applying is not None:
            state = runtime_state_pb2.RUNTIME_STATE_PENDING
            status.revision, status.state = self.applying, REPORT_STATE_APPLYING
        await self._at("ready")
        return at_director.Runtime(runtime_id=runtime_id, state=state, status=status)

    async def deregister(self, runtime_id: str) -> None:
        self._refuse("deregister")
        content = self._file.load()
        content["runtimes"].pop(runtime_id, None)
        self._file.save(content)
        await self._at("deregister")

    async def issue_token(self, runtime_id: str) -> str:
        self._refuse("issue_token")
        content = self._file.load()
        content["tokens"] += 1
        self._file.save(content)
        return f"{TOKEN}_{content['tokens']}"

    def _refuse(self, method: str) -> None:
        if self.refusals.get(method):
            raise self.refusals[method].pop(0)


class DriverDouble:
    """A driver whose workloads are words in a file: `prepared`, `running`, `stopped`."""

    def __init__(self, home: Path, at: At = go_on) -> None:
        self._file = File(home / "driver.json", {"workloads": {}, "calls": []})
        self._at = at
        self.failures: dict[str, int] = {}
        """By method: how many of its next calls fail."""
        self.deaf = False
        """Whether workloads that are started do not run."""

    @property
    def workloads(self) -> dict[str, str]:
        """What there is, by runtime."""
        workloads: dict[str, str] = self._file.load()["workloads"]
        return workloads

    @property
    def calls(self) -> list[str]:
        """The methods called so far."""
        calls: list[str] = self._file.load()["calls"]
        return calls

    async def prepare(self, runtime_id: str, token: str) -> None:
        assert token.startswith(TOKEN)
        await self._done("prepare", runtime_id, "prepared")

    async def start(self, runtime_id: str) -> None:
        await self._done("start", runtime_id, "prepared" if self.deaf else "running")

    async def stop(self, runtime_id: str) -> None:
        await self._done("stop", runtime_id, "stopped")

    async def remove(self, runtime_id: str) -> None:
        await self._done("remove", runtime_id, None)

    def trouble(self, runtime_id: str) -> str:
        return "it ended once, the last time with status 14"

    async def resume(self, runtime_ids: Collection[str]) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def _done(self, method: str, runtime_id: str, state: str | None) -> None:
        content = self._file.load()
        content["calls"].append(method)
        if self.failures.get(method):
            self.failures[method] -= 1
            self._file.save(content)
            raise DriverFailed("the disk is full")
        if state is None:
            content["workloads"].pop(runtime_id, None)
        else:
            content["workloads"][runtime_id] = state
        self._file.save(content)
        await self._at(method)


def away(service: str) -> Refusal:
    """How a service that does not answer is told of."""
    return Refusal(Reason.REASON_DEPENDENCY_UNAVAILABLE, f"the {service} did not answer", metadata={"service": service})
