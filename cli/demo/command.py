"""`moorage demo`: tells the story, shows each step, writes the report, and leaves nothing running."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click

from cli.demo.display import Display, display
from cli.demo.report import Outcome, write_report
from cli.plane.home import Home
from mesh.exits import Exit, Stopped

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--home", type=_FILE, help="Folder for the demo's plane, new or empty.  [default: one of its own]")
@click.option("--keep", is_flag=True, help="Leave the folder, with its logs, where it is.")
@click.option("--report", type=_FILE, default=Path("build/demo.json"), show_default=True, help="Where the report goes.")
@click.option(
    "--runtime-lifetime",
    type=click.FloatRange(min=5),
    default=15.0,
    show_default=True,
    help="Seconds that the Runtime's certificate lives; it is renewed after two thirds.",
)
@click.option(
    "--step-by-step",
    is_flag=True,
    help="Announce each step as a line of JSON on standard output, and wait for a line on standard input before it.",
)
def demo(home: Path | None, keep: bool, report: Path, runtime_lifetime: float, step_by_step: bool) -> None:
    """Run the whole story on a plane of its own: from one token to a running configuration.

    httpbin becomes an Application, a Runtime is created for it, a change reaches the Runtime in milliseconds, and a
    certificate is renewed on the way. Ends with 0 when every step came out as it must, else with 20.
    """
    chosen = Home(home.absolute() if home else Path(tempfile.mkdtemp(prefix="moorage-demo-")))
    _check_empty(chosen)
    outcomes: list[Outcome] = []
    failure: str | None = None
    try:
        failure = asyncio.run(_tell(chosen, runtime_lifetime, outcomes, step_by_step=step_by_step))
    except asyncio.CancelledError as error:
        raise click.Abort from error
    finally:
        write_report(report, outcomes, ok=failure is None and bool(outcomes))
        if not (keep or failure):
            shutil.rmtree(chosen.root, ignore_errors=True)
    if failure:
        raise Stopped(Exit.DEMO_FAILED, f"{failure} (its logs are in {chosen.root})")
    total = sum(outcome.ms for outcome in outcomes) / 1000
    click.echo(f"The whole story took {total:.1f} s; the report is in {report}.", err=True)


async def _tell(home: Home, runtime_lifetime: float, outcomes: list[Outcome], *, step_by_step: bool) -> str | None:
    """Take the steps until one fails; returns which and why, or None."""
    # What the parties need is slow to load, and not needed to say what is wrong with the command line.
    from cli.demo.stage import Stage
    from cli.demo.steps import STEPS, Step, why
    from mesh import telemetry

    async def take(step: Step, shown: Display) -> str | None:
        shown.begin(step.title)
        began = time.monotonic()
        failure: str | None = None
        try:
            detail = await step.act(stage)
        except Exception as error:  # whatever it was, the step failed of it; it is shown and reported
            detail = failure = why(error)
        outcome = Outcome(step.name, round((time.monotonic() - began) * 1000, 1), detail)
        outcomes.append(outcome)
        shown.end(outcome, ok=failure is None)
        return failure and f"step {step.name} failed: {failure}"

    telemetry.configure_logging("demo", "error")  # the list of steps tells it better
    stage = Stage(home, os.environ, runtime_lifetime)
    task = asyncio.current_task()
    if task is not None:
        # SIGINT too: a shell that puts the demo into the background has it ignored otherwise.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        with display([step.title for step in STEPS]) as shown:
            async with AsyncExitStack() as stack:
                lines = await stack.enter_async_context(_standard_input()) if step_by_step else None
                for step in STEPS:
                    await _wait_for_turn(step.name, home, lines)
                    if failure := await take(step, shown):
                        return failure
        return None
    finally:
        await stage.close()


def _check_empty(home: Home) -> None:
    try:
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        empty = not any(home.root.iterdir())
    except OSError as error:
        raise Stopped(
            Exit.HOME_NOT_WRITABLE, f"{home.root} cannot be used ({error.strerror}): choose another --home"
        ) from error
    if not empty:
        raise Stopped(Exit.USAGE, f"{home.root} is not empty: the demo wants a --home of its own")


@asynccontextmanager
async def _standard_input() -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        yield reader
    finally:
        transport.close()


async def _wait_for_turn(step: str, home: Home, lines: asyncio.StreamReader | None) -> None:
    """Announce the step and wait for a line, where that was asked for. The end of the input ends the story."""
    if lines is None:
        return
    sys.stdout.write(json.dumps({"step": step, "home": str(home.root)}) + "\n")
    sys.stdout.flush()
    if not await lines.readline():
        raise asyncio.CancelledError
