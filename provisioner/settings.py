"""What the operator sets for the Provisioner: section `[provisioner]` of the TOML file, or `MOORAGE_PROVISIONER_*`."""

from dataclasses import dataclass
from pathlib import Path

from mesh.address import check_addresses


@dataclass(frozen=True)
class ProvisionerSettings:
    """Times are in seconds, addresses are `host:port` where nothing else is said."""

    identity: Path
    """Folder with the Provisioner's own certificate (`tls.crt`, `tls.key`, `ca.crt`), which has DNS or IP names."""

    database: str
    """URL of the Provisioner's own database, such as `sqlite:////var/lib/moorage/provisioner.sqlite`."""

    dbos_database: str
    """URL of the database in which DBOS remembers the steps of operations, apart from the one above."""

    runtimes: Path
    """Folder in which the `process` driver gives each Runtime one of its own."""

    listen: str = "127.0.0.1:7446"
    """Where parties with a certificate are served (mTLS)."""

    metrics_listen: str = ""
    """Where Prometheus may scrape, over plain HTTP; empty for nowhere."""

    director_address: str = "127.0.0.1:7443"
    """The Director, as the Provisioner and the agents that it starts reach it: `host:port`, `dns:///name:port` for all
    addresses of a name, or `IP:port,IP:port` for those of a list."""

    connector_address: str = "127.0.0.1:7444"
    """The Connector's mTLS listener, as the Provisioner and the agents that it starts reach it, in the same forms."""

    connection_age: float = 3600.0
    """After how long, more or less a tenth, a connection with a certificate is ended, for its party to make a new one,
    and a stream is, for its reader to resume it."""

    revocations_max_age: float = 0.0
    """How old the list of what was revoked may be for calls to be answered at all; 0 for as old as it is."""

    revocations_cache: Path | None = None
    """File in which the list is kept, so that it holds from the start on, also without the Connector; none where not
    set."""

    call_timeout: float = 5.0
    """How long one call to the Director or the Connector may take."""

    retry_timeout: float = 60.0
    """How long a step goes on trying while the Director or the Connector is away; then the operation fails."""

    ready_timeout: float = 60.0
    """How long a new Runtime's agent may take to report READY; then the operation fails and is undone."""

    token_ttl: float = 3600.0
    """How long the one-time token that a new Runtime is given works."""

    stop_agents_on_exit: bool = False
    """Whether agents of the `process` driver stop with the Provisioner, to be started again when it is."""

    agent_stop_grace: float = 5.0
    """How long an agent may take to stop before it is killed."""

    agent_hook: tuple[str, ...] = ()
    """The command, with its arguments, that agents run after they have applied a configuration; empty for none."""

    agent_log_level: str = "info"
    """What agents of the `process` driver log: debug, info, warning or error."""

    log_level: str = "info"
    """debug, info, warning or error."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for an address that is none."""
        check_addresses(director_address=self.director_address, connector_address=self.connector_address)
