"""The agent's settings: `[agent]` in its TOML file, or `MOORAGE_AGENT_*` variables."""

from dataclasses import dataclass
from pathlib import Path

from mesh.address import check_addresses


@dataclass(frozen=True)
class AgentSettings:
    """How one Runtime's agent runs."""

    home: Path
    """Folder that belongs to this agent alone: its identity, the configuration, `status.json`."""

    runtime_id: str = ""
    """UUID of the Runtime. Left out, the agent speaks for the Runtime that its token or its identity names."""

    token_file: Path | None = None
    """File with the one-time token, readable by its owner only; it is removed once the agent has enrolled. The token
    may also be in the environment, as MOORAGE_TOKEN, or come on standard input (`--token-stdin`)."""

    director: str = ""
    """Where the Director is: `host:port`, `dns:///name:port` or `IP:port,IP:port`. Left out, the plane says it."""

    connector: str = ""
    """Where the Connector is. Left out, the plane says it."""

    hook: tuple[str, ...] = ()
    """Command, in words, that takes each new configuration into use; empty for none. See docs/operating.md."""

    hook_timeout: float = 60.0
    """Seconds that the command may take before it is killed and the configuration counts as failed."""

    log_level: str = "info"
    """debug, info, warning or error."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for an address that is none."""
        check_addresses(director=self.director, connector=self.connector)
