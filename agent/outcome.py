"""What became of a revision: what the reporter tells the Director and the status file tells the host."""

from dataclasses import dataclass

from moorage.director.v1.configuration_pb2 import ReportState, ResourceFailure


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of `revision`; `content_sha256` is of what the agent runs, empty where it runs nothing yet."""

    state: ReportState.ValueType
    revision: int
    content_sha256: str
    failures: tuple[ResourceFailure, ...] = ()

    @property
    def state_name(self) -> str:
        """APPLYING, APPLIED or FAILED."""
        return ReportState.Name(self.state).removeprefix("REPORT_STATE_")
