"""Applies configurations, one at a time and always the latest: credentials, files, the hook, then for good."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import NoReturn, ParamSpec, TypeVar

from moorage.director.v1.configuration_pb2 import (
    REPORT_STATE_APPLIED,
    REPORT_STATE_APPLYING,
    REPORT_STATE_FAILED,
    ReportState,
    ResourceFailure,
)

from agent.cache import ApplicationFailed, Applied, Cache
from agent.configuration import Configuration
from agent.credentials import Credentials, CredentialsFailed
from agent.hook import Hook, HookFailed
from agent.outcome import Outcome
from certs.clock import Clock
from mesh import telemetry
from mesh.backoff import Backoff

FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(minutes=5)

P = ParamSpec("P")
T = TypeVar("T")

_log = telemetry.logger("applier")


class Applier:
    """Holds one slot: a configuration that is offered replaces one that still waits there.

    What a hook refuses is not tried again: it would be refused again. What the disk could not take is, after waits that
    `retries` gives, for the disk may be full today and not tomorrow; and so is what lacks its credentials.

    `applied` is what `cache` was opened with; `credentials` are open, too. `on_outcome` is called on the event loop.
    """

    def __init__(
        self,
        cache: Cache,
        applied: Applied | None,
        credentials: Credentials,
        hook: Hook,
        clock: Clock,
        on_outcome: Callable[[Outcome], None],
        retries: Backoff | None = None,
    ) -> None:
        self._cache = cache
        self._applied = applied
        self._credentials = credentials
        self._hook = hook
        self._clock = clock
        self._on_outcome = on_outcome
        self._retries = retries or Backoff(FIRST_RETRY, LONGEST_RETRY)
        self._retry_at: float | None = None
        self._failed: Configuration | None = None
        self._slot: Configuration | None = None
        self._filled = asyncio.Event()
        # One thread: what is done to the disk is done in order, and the event loop goes on meanwhile.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")

    @property
    def applied(self) -> Applied | None:
        """What the Runtime runs."""
        return self._applied

    def offer(self, configuration: Configuration) -> None:
        """Have `configuration` applied next."""
        self._slot = configuration
        self._filled.set()

    async def run(self) -> NoReturn:
        """Apply what is offered until cancelled; what was not confirmed by then is taken back."""
        if self._applied and self._slot is None and not self._credentials.hold(self._applied.configuration):
            self.offer(self._applied.configuration)
        try:
            while True:
                if not await self._offered() and self._failed is not None:
                    await self._apply(self._failed)
                configuration, self._slot = self._slot, None
                if configuration is not None:
                    await self._take(configuration)
        finally:
            self._thread.submit(self._take_back)
            self._thread.shutdown(wait=True)

    async def _offered(self) -> bool:
        """Wait until something is offered; False where it is time to try what failed again."""
        try:
            async with asyncio.timeout_at(self._retry_at):
                await self._filled.wait()
        except TimeoutError:
            return False
        self._filled.clear()
        return True

    async def _take(self, configuration: Configuration) -> None:
        failed = self._failed
        if failed and _same_change(failed, configuration):
            self._failed = configuration  # only a bookmark moved: trying the same again would fail the same way
            return
        applied = self._applied
        if failed is None and applied and self._is_in_place(applied.configuration, configuration):
            await self._move(applied, configuration)
        else:
            await self._apply(configuration)

    def _is_in_place(self, applied: Configuration, configuration: Configuration) -> bool:
        return _content(applied) == _content(configuration) and self._credentials.hold(configuration)

    async def _move(self, applied: Applied, configuration: Configuration) -> None:
        try:
            self._applied = await self._on_disk(
                self._cache.confirm, applied.generation, configuration, applied.applied_at
            )
        except OSError as error:
            _log.warning("the resume point cannot be written", revision=configuration.revision, error=str(error))
            return
        if configuration.changed_at != applied.configuration.changed_at:
            self._tell(REPORT_STATE_APPLIED, configuration)

    async def _apply(self, configuration: Configuration) -> None:
        try:
            await self._bring_credentials(configuration)
            generation = await self._on_disk(self._cache.build, configuration)
            await self._on_disk(self._cache.show, generation)
            if self._hook.is_set:
                # A hook may take long. Files do not: word of them would only hold up the word that counts.
                self._tell(REPORT_STATE_APPLYING, configuration)
            await self._hook.run(configuration.revision, self._cache.current)
            self._applied = await self._on_disk(self._cache.confirm, generation, configuration, self._clock())
        except ApplicationFailed as error:
            await self._fail(configuration, str(error), error.application_id, retry=True)
        except OSError as error:
            why = f"its files cannot be written: {error.strerror or type(error).__name__}"
            await self._fail(configuration, why, retry=True)
        except CredentialsFailed as error:
            await self._fail(configuration, str(error), retry=True)
        except HookFailed as error:
            await self._fail(configuration, str(error))
        else:
            self._failed = self._retry_at = None
            self._retries.reset()
            self._tell(REPORT_STATE_APPLIED, configuration)
            await self._on_disk(self._prune)

    async def _bring_credentials(self, configuration: Configuration) -> None:
        await self._on_disk(self._credentials.forget, configuration)
        if not self._credentials.hold(configuration):
            await self._on_disk(self._credentials.keep, configuration, await self._credentials.fetch())

    async def _fail(
        self, configuration: Configuration, message: str, application_id: str = "", *, retry: bool = False
    ) -> None:
        _log.error(
            "the configuration could not be applied; the one before stays",
            revision=configuration.revision,
            application_id=application_id,
            reason=message,
        )
        await self._on_disk(self._take_back)
        self._failed = configuration
        self._retry_at = asyncio.get_running_loop().time() + self._retries.next() if retry else None
        self._tell(REPORT_STATE_FAILED, configuration, ResourceFailure(application_id=application_id, message=message))

    def _tell(self, state: ReportState.ValueType, configuration: Configuration, *failures: ResourceFailure) -> None:
        runs = self._applied.configuration.content_sha256 if self._applied else ""
        self._on_outcome(Outcome(state, configuration.revision, runs, failures))

    def _take_back(self) -> None:
        try:
            self._cache.restore()
        except OSError as error:
            _log.error("readers cannot be led back to the last good configuration", error=str(error))
        self._prune()

    def _prune(self) -> None:
        try:
            self._cache.prune()
        except OSError as error:
            _log.warning("old generations cannot be removed", error=str(error))

    async def _on_disk(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))


def _content(of: Configuration) -> tuple[str, str, int]:
    return of.plane_id, of.content_sha256, of.credentials_revision


def _same_change(one: Configuration, other: Configuration) -> bool:
    """Whether one is the other, perhaps moved on by a bookmark."""
    return (*_content(one), one.changed_at) == (*_content(other), other.changed_at)
