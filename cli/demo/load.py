"""The agent's certificate is renewed while changes keep coming, and nobody notices."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.api_pb2 import Api, UpdateApiRequest

from cli.demo.report import StepFailed
from cli.demo.runtime import AgentStatus, Counts, wait_for_status
from cli.demo.stage import Stage

CHANGES_A_SECOND = 20.0

_CHANGES_AFTER = 10
_APPLIED_DEADLINE = 60.0
_NO_COUNTS = Counts(renewals=0, calls_failed=0, attempts_failed=0, streams_opened=0, snapshots=0)


async def renewed_under_load(stage: Stage) -> str:
    """Change the API all the while, until the agent shows another certificate and has applied changes with it."""
    before = await _status(stage, "a first status", lambda status: status.certificate is not None)
    load = _Load(stage)
    changing = asyncio.ensure_future(load.run())
    try:
        await _unless_failed(changing, _renewed(stage, before))
        await _unless_failed(changing, _applied(stage, load.revision + _CHANGES_AFTER))
    finally:
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)
    return _judged(before, await _applied(stage, load.revision), load)


class _Load:
    """The Application changes its API again and again."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.changes = 0
        self.revision = 0
        """Of the last change."""
        self.repeated = 0
        """Attempts that had to be made again."""

    async def run(self) -> None:
        application = self._stage.application
        already = application.attempts_failed
        while True:
            api = Api(
                application_id=self._stage.application_id,
                api_id=self._stage.api_id,
                description=f"Change number {self.changes + 1} under load",
            )
            request = UpdateApiRequest(api=api, update_mask=FieldMask(paths=["description"]))
            stored = await application.call(lambda party: party.director.UpdateApi, request)
            self.changes += 1
            self.revision = stored.api.revision
            self.repeated = application.attempts_failed - already
            await asyncio.sleep(1 / CHANGES_A_SECOND)


def _judged(before: AgentStatus, after: AgentStatus, load: _Load) -> str:
    # Counts begin anew with the agent's process; one that was killed meanwhile is judged by what it did since.
    then, now = before.counts, after.counts
    restarted = any(getattr(now, name) < getattr(then, name) for name in ("renewals", "streams_opened", "snapshots"))
    if restarted:
        then = _NO_COUNTS
    elif now.renewals == then.renewals:
        raise StepFailed("the agent shows another certificate, but counts no renewal")
    if failed := now.calls_failed - then.calls_failed:
        raise StepFailed(f"{failed} calls of the agent failed")
    if snapshots := now.snapshots - then.snapshots:
        raise StepFailed(f"the agent was sent {snapshots} snapshots, where it should have resumed")
    repeated = load.repeated + now.attempts_failed - then.attempts_failed
    return (
        f"{_serial(before)} gave way to {_serial(after)} during {load.changes} changes: no failed call, no snapshot"
        + (f", {repeated} attempts made again" if repeated else "")
        + (", the agent was started again" if restarted else "")
    )


async def _renewed(stage: Stage, before: AgentStatus) -> None:
    serial = before.certificate.serial if before.certificate else ""
    await _status(
        stage,
        "a new certificate",
        lambda status: status.certificate is not None and status.certificate.serial != serial,
        deadline=stage.runtime_lifetime * 2,
    )


async def _status(
    stage: Stage, what: str, fits: Callable[[AgentStatus], bool], *, deadline: float = _APPLIED_DEADLINE
) -> AgentStatus:
    return await wait_for_status(stage.agent_folder, what, fits, deadline=deadline)


async def _applied(stage: Stage, revision: int) -> AgentStatus:
    return await _status(stage, f"revision {revision}", lambda status: (status.revision or 0) >= revision)


async def _unless_failed(changing: "asyncio.Future[None]", work: Coroutine[Any, Any, Any]) -> None:
    """Await `work`; raises what `changing` raised, where that happens first."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({changing, task}, return_when=asyncio.FIRST_COMPLETED)
        if changing.done():
            changing.result()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _serial(status: AgentStatus) -> str:
    return f"certificate {status.certificate.serial[:8]}" if status.certificate else "no certificate"
