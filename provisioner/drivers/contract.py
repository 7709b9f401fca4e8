"""What every driver can do."""

from collections.abc import Collection
from typing import Protocol


class DriverFailed(Exception):
    """A driver could not do its work; the message goes to the administrator and holds no secret."""


class Driver(Protocol):
    """Runs workloads of one kind, each the agent of one Runtime.

    Every method can be called again after a crash and then ends what it had begun; stopping or removing what is not
    there succeeds. `prepare`, `start`, `stop` and `remove` raise `DriverFailed`.
    """

    async def prepare(self, runtime_id: str, token: str) -> None:
        """Make the workload's place and put its configuration and one-time token there, for nobody else to read."""

    async def start(self, runtime_id: str) -> None:
        """Run the workload from now on, whatever ends it, until `stop`."""

    async def stop(self, runtime_id: str) -> None:
        """End the workload and wait until it has ended."""

    async def remove(self, runtime_id: str) -> None:
        """Stop the workload and delete all that `prepare` and the workload itself have left."""

    def trouble(self, runtime_id: str) -> str:
        """What last ended the workload or kept it from running, in words, without secrets.

        Where nothing did, what it said last; empty where it said nothing.
        """

    async def resume(self, runtime_ids: Collection[str]) -> None:
        """After the Provisioner has started: run these workloads again, or take over those that still run."""

    async def close(self) -> None:
        """Before the Provisioner ends: let go of the workloads, or stop them where that is the driver's rule."""
