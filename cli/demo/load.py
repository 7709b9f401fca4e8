"""The agent's certificate is renewed while changes keep coming, and nobody notices."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from moorage.director.v1.api_pb2 import Api, UpdateApiRequest

from cli.demo.report import StepFailed
from cli.demo.runtime import AgentStatus, Counts, wait_for_status
from cli.demo.stage import Stage

CHANGES_A_SECOND = 20.0

_CHANGES_AFTER = 10
_APPLIED_DEADLINE = 60.0


async def renewed_under_load(stage: Stage) -> str:
    """Change the API all the while, until the agent shows another certificate and has applied changes with it."""
    before = await _status(stage, "a first status", lambda status: status.certificate is not None)
    changes = Changes()
    changing = asyncio.ensure_future(_keep_changing(stage, changes))
    try:
        await _unless_failed(changing, _renewed(stage, before))
        await _unless_failed(changing, _applied(stage, changes.revision + _CHANGES_AFTER))
    finally:
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)
    return judged(before, await _applied(stage, changes.revision), changes)


@dataclass
class Changes:
    """What the Application has done to its API."""

    made: int = 0
    revision: int = 0
    """Of the last change."""
    attempts_failed: int = 0
    """Attempts that had to be made again."""


def judged(before: AgentStatus, after: AgentStatus, changes: Changes) -> str:
    """Whether the agent's own counts say that nobody noticed; raises `StepFailed` where they do not.

    Counts begin anew with the agent's process: one that was killed meanwhile is judged by what it did since.
    """
    then, now = before.counts, after.counts
    restarted = after.started_at != before.started_at
    if restarted:
        then = Counts()
    elif now.renewals == then.renewals:
        raise StepFailed("the agent shows another certificate, but counts no renewal")
    if failed := now.calls_failed - then.calls_failed:
        raise StepFailed(f"{failed} calls of the agent failed")
    if snapshots := now.snapshots - then.snapshots:
        raise StepFailed(f"the agent was sent {snapshots} snapshots, where it should have resumed")
    repeated = changes.attempts_failed + now.attempts_failed - then.attempts_failed
    return (
        f"certificate {_serial(before)[:8]} gave way to {_serial(after)[:8]} during {changes.made} changes: "
        "no failed call, no snapshot"
        + (f", {repeated} attempts made again" if repeated else "")
        + (", the agent was started again" if restarted else "")
    )


async def _keep_changing(stage: Stage, changes: Changes) -> None:
    application = stage.application
    attempts_failed_before = application.attempts_failed
    while True:
        description = f"Change number {changes.made + 1} under load"
        api = Api(application_id=stage.application_id, api_id=stage.api_id, description=description)
        request = UpdateApiRequest(api=api, update_mask=FieldMask(paths=["description"]))
        stored = await application.call(lambda party: party.director.UpdateApi, request)
        changes.made += 1
        changes.revision = stored.api.revision
        changes.attempts_failed = application.attempts_failed - attempts_failed_before
        await asyncio.sleep(1 / CHANGES_A_SECOND)


async def _renewed(stage: Stage, before: AgentStatus) -> None:
    await _status(
        stage,
        "a new certificate",
        # An agent that was killed meanwhile counts anew, and may hold a certificate that its predecessor got.
        lambda status: _serial(status) not in ("", _serial(before)) and status.counts.renewals > 0,
        deadline=stage.runtime_lifetime * 3,
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
    return status.certificate.serial if status.certificate else ""
