"""The operations as durable workflows.

Each step is remembered once it is done, and may run twice where a crash came in between, so each can. Why an operation
fails is noted in its record and not among what DBOS remembers. Nor does that hold a token: `prepare` issues one and
puts it in its place in a single step, and running it again issues another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc
from moorage.director.v1 import runtime_pb2 as at_director
from moorage.director.v1 import runtime_state_pb2
from moorage.director.v1.configuration_pb2 import REPORT_STATE_APPLYING
from moorage.errors.v1.errors_pb2 import Reason
from moorage.provisioner.v1.runtime_pb2 import (
    OPERATION_KIND_CREATE,
    OPERATION_KIND_DELETE,
    CreateRuntimeRequest,
    OperationKind,
)

from mesh import telemetry
from mesh.backoff import Backoff
from mesh.durable import Run, Workflow
from mesh.errors import Refusal
from provisioner import plan
from provisioner.drivers.contract import Driver, DriverFailed
from provisioner.operations import Operations
from provisioner.plane import Plane
from provisioner.store import Operation, Runtime

NAMES: Mapping[OperationKind.ValueType, str] = {
    OPERATION_KIND_CREATE: "create_runtime",
    OPERATION_KIND_DELETE: "delete_runtime",
}
"""Under which name each kind of operation is remembered. They stay as they are for good."""

_FIRST_RETRY = timedelta(seconds=0.2)
_LONGEST_RETRY = timedelta(seconds=5)
_LONGEST_UNDO_RETRY = timedelta(seconds=30)
_FIRST_POLL = timedelta(seconds=0.05)
_LONGEST_POLL = timedelta(seconds=0.25)
_log = telemetry.logger("operation")

Work = Callable[[Operation, Runtime], Awaitable[None]]


@dataclass(frozen=True)
class Workflows:
    """The workflows, and what they work with."""

    operations: Operations
    plane: Plane
    drivers: Mapping[str, Driver]

    retry_timeout: float
    """Seconds that a step goes on trying while another service is away."""

    ready_timeout: float
    """Seconds that an agent may take to report READY."""

    @property
    def by_name(self) -> Mapping[str, Workflow]:
        """What `Durable` is to run."""
        return {NAMES[OPERATION_KIND_CREATE]: self.create_runtime, NAMES[OPERATION_KIND_DELETE]: self.delete_runtime}

    async def create_runtime(self, run: Run, operation_id: str) -> None:
        """Create a Runtime: all of it or, in the end, nothing."""
        work = {"register": self._register, "prepare": self._prepare, "start": self._start, "ready": self._ready}
        if not await self._attempt_all(run, operation_id, plan.CREATE, work):
            undo = {"remove": self._remove, "deregister": self._deregister}
            for name in plan.UNDO:
                await run.step(name, partial(self._persist, operation_id, name, undo[name]))
        await run.step("finish", partial(self.operations.finish, operation_id))

    async def delete_runtime(self, run: Run, operation_id: str) -> None:
        """Delete a Runtime. Where a step fails the Runtime stays in the record, and can be deleted again."""
        work = {"stop": self._stop, "remove": self._remove, "deregister": self._deregister}
        await self._attempt_all(run, operation_id, plan.DELETE, work)
        await run.step("finish", partial(self.operations.finish, operation_id))

    async def _attempt_all(self, run: Run, operation_id: str, names: Sequence[str], work: Mapping[str, Work]) -> bool:
        for name in names:
            if not await run.step(name, partial(self._attempt, operation_id, name, work[name])):
                return False
        return True

    async def _attempt(self, operation_id: str, name: str, work: Work) -> bool:
        """Do one step; False where it or one before it failed, and then the record says why."""
        if (await self.operations.get(operation_id)).error is not None:
            return False
        operation, runtime = await self.operations.begin(operation_id, name)
        refusal = await _outcome(_retried(partial(work, operation, runtime), self.retry_timeout))
        if refusal is None:
            await self.operations.end_step(operation_id, name)
            _log.info("a step is done", operation_id=operation_id, step=name, runtime_id=runtime.runtime_id)
            return True
        _log.warning(
            "an operation fails", operation_id=operation_id, step=name, reason=refusal.name, why=refusal.message
        )
        await self.operations.fail(operation_id, refusal.to_status())
        return False

    async def _persist(self, operation_id: str, name: str, work: Work) -> None:
        """Do one step that undoes, however often it takes: an operation has not ended before it is undone."""
        operation, runtime = await self.operations.begin(operation_id, name)
        backoff = Backoff(_FIRST_RETRY, _LONGEST_UNDO_RETRY)
        while refusal := await _outcome(work(operation, runtime)):
            _log.warning("cannot be undone yet", operation_id=operation_id, step=name, why=refusal.message)
            await asyncio.sleep(backoff.next())
        await self.operations.end_step(operation_id, name)
        _log.info("a step is done", operation_id=operation_id, step=name, runtime_id=runtime.runtime_id)

    async def _register(self, operation: Operation, runtime: Runtime) -> None:
        request = CreateRuntimeRequest.FromString(operation.request)
        runtime_id = await self.plane.register(request, operation.operation_id)
        await self.operations.registered(operation.operation_id, runtime_id)

    async def _prepare(self, operation: Operation, runtime: Runtime) -> None:
        runtime_id = _id_of(runtime)
        token = await self.plane.issue_token(runtime_id)
        await self.drivers[runtime.driver].prepare(runtime_id, token)

    async def _start(self, operation: Operation, runtime: Runtime) -> None:
        await self.drivers[runtime.driver].start(_id_of(runtime))

    async def _ready(self, operation: Operation, runtime: Runtime) -> None:
        runtime_id = _id_of(runtime)
        last: at_director.Runtime | None = None
        backoff = Backoff(_FIRST_POLL, _LONGEST_POLL)
        try:
            async with asyncio.timeout(self.ready_timeout):
                while last is None or last.state != runtime_state_pb2.RUNTIME_STATE_READY:
                    await asyncio.sleep(backoff.next())
                    last = await self._look(runtime_id) or last
        except TimeoutError:
            why = _why_not_ready(last) or self.drivers[runtime.driver].trouble(runtime_id) or "it did not report"
            raise Refusal(
                Reason.REASON_RUNTIME_NOT_READY,
                f"the agent of {runtime.name} was not READY within {self.ready_timeout:.0f} s: {why}",
                metadata={"runtime_id": runtime_id},
            ) from None

    async def _look(self, runtime_id: str) -> at_director.Runtime | None:
        try:
            return await self.plane.runtime(runtime_id)
        except Refusal as refusal:
            if not _is_away(refusal):
                raise
            return None

    async def _stop(self, operation: Operation, runtime: Runtime) -> None:
        await self.drivers[runtime.driver].stop(_id_of(runtime))

    async def _remove(self, operation: Operation, runtime: Runtime) -> None:
        if runtime.runtime_id is not None:
            await self.drivers[runtime.driver].remove(runtime.runtime_id)

    async def _deregister(self, operation: Operation, runtime: Runtime) -> None:
        runtime_id = runtime.runtime_id or await self._registered_unheard(operation)
        if runtime_id is not None:
            await self.plane.deregister(runtime_id)

    async def _registered_unheard(self, operation: Operation) -> str | None:
        """The id of a Runtime that the Director may have registered without our having had its answer.

        To ask again by the same request id gives the first answer, or makes a Runtime that is then deleted as well.
        """
        try:
            return await self.plane.register(CreateRuntimeRequest.FromString(operation.request), operation.operation_id)
        except Refusal as refusal:
            if _is_away(refusal):
                raise
            return None


async def _outcome(work: Awaitable[None]) -> Refusal | None:
    """How work ended, as the record takes it: None where it ended well."""
    try:
        await work
    except Refusal as refusal:
        return refusal
    except DriverFailed as failure:
        return Refusal(Reason.REASON_DRIVER_FAILED, str(failure))
    except Exception:
        _log.exception("fault")
        return Refusal(Reason.REASON_INTERNAL, "a fault of the provisioner; its log has more")
    return None


async def _retried(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Do `work`, again and again for so long while what it needs is away."""
    loop = asyncio.get_running_loop()
    backoff, deadline = Backoff(_FIRST_RETRY, _LONGEST_RETRY), loop.time() + seconds
    while True:
        try:
            return await work()
        except Refusal as refusal:
            wait = backoff.next()
            if not _is_away(refusal) or loop.time() + wait > deadline:
                raise
        await asyncio.sleep(wait)


def _is_away(refusal: Refusal) -> bool:
    return refusal.code is grpc.StatusCode.UNAVAILABLE


def _id_of(runtime: Runtime) -> str:
    if runtime.runtime_id is None:
        raise LookupError(f"the runtime of operation {runtime.operation_id} has no id")
    return runtime.runtime_id


def _why_not_ready(runtime: at_director.Runtime | None) -> str:
    """What the agent has reported that it could not apply, or is about to; empty where it has not reported."""
    if runtime is None:
        return ""
    if runtime.status.state == REPORT_STATE_APPLYING:
        return f"it was still applying revision {runtime.status.revision}"
    return "; ".join(each.message for each in runtime.status.failures)
