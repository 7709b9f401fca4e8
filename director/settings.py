"""What the operator sets for the Director: section `[director]` of the TOML file, or `MOORAGE_DIRECTOR_*`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mesh.address import check_addresses


@dataclass(frozen=True)
class DirectorSettings:
    """Times are in seconds, addresses are `host:port` where nothing else is said."""

    identity: Path
    """Folder with the Director's own certificate (`tls.crt`, `tls.key`, `ca.crt`), which has DNS or IP names."""

    database: str
    """URL of the Director's own database, such as `sqlite:////var/lib/moorage/director.sqlite` for one Director, or
    `postgresql://director@db.example.com/director?passfile=/etc/moorage/passfile` for any number of them."""

    dbos_database: str
    """URL of the database in which DBOS remembers how far each notice's delivery is, apart from the one above. All
    Directors on one database share this one, too."""

    sealing_key: Path
    """File with the 32 bytes that wrap the data keys under which credentials and webhook secrets are sealed; it is
    made where there is none. While it is being replaced, the one before it lies beside it as `NAME.previous`."""

    listen: str = "127.0.0.1:7443"
    """Where parties with a certificate are served (mTLS)."""

    metrics_listen: str = ""
    """Where Prometheus may scrape, over plain HTTP; empty for nowhere."""

    connector_address: str = "127.0.0.1:7444"
    """The Connector's mTLS listener, which says what is revoked and is told what was deleted: `host:port`,
    `dns:///name:port` for all addresses of a name, or `IP:port,IP:port` for those of a list."""

    connection_age: float = 3600.0
    """After how long, more or less a tenth, a connection with a certificate is ended, for its party to make a new one,
    and a stream is, for its reader to resume it."""

    revocations_max_age: float = 0.0
    """How old the list of what was revoked may be for calls to be answered at all; 0 for as old as it is."""

    revocations_cache: Path | None = None
    """File in which the list is kept, so that it holds from the start on, also without the Connector; none where not
    set."""

    instance_id: str = ""
    """Which of those on one PostgreSQL this Director is, the same after each restart. Unless set, the name of its host
    and where it listens."""

    database_connections: int = 12
    """How many connections to PostgreSQL one Director makes, at most; one more hears what the others commit."""

    database_wait: float = 60.0
    """How long a Director that starts waits for a PostgreSQL server that does not take connections yet, before it ends
    with status 17. A supervisor that waits for its readiness must wait for longer."""

    migrate: bool = True
    """Whether a database of an earlier release is migrated at the start; `moorage director migrate` does it apart."""

    change_retention: float = 7 * 86400.0
    """How long the change log is kept; a Runtime that was away for longer is sent a snapshot."""

    change_retention_revisions: int = 1_000_000
    """How many revisions of it are kept at most, however young they are; 0 for as many as there are. A burst may go
    beyond that for ten seconds."""

    reply_retention: float = 86400.0
    """How long a repeated `request_id` is given its first answer."""

    notice_retention: float = 30 * 86400.0
    """How long notices that were delivered, or given up, are kept and counted."""

    bookmark_interval: float = 60.0
    """After how long, at most, a Runtime that is sent nothing is told how far the change log has come."""

    streams_waiting: int = 1000
    """How many configuration streams may wait to begin, after a restart above all; more are asked to come again."""

    stale_after: float = 300.0
    """After how long without a call or a stream an Application that was CONNECTED is STALE."""

    runtime_stale_after: float = 90.0
    """After how long without a call or a stream a Runtime is STALE, to within a third of that time."""

    apply_deadline: float = 300.0
    """After how long a Runtime is STALE that says nothing of what became of the configuration that it was sent, or only
    that it is applying it."""

    downloads: int = 32
    """How many documents are streamed at once, at most: each, of up to 16 MiB, is in memory until its reader has it."""

    downloads_per_caller: int = 4
    """How many of them to one caller."""

    sealing_key_provider: Literal["file", "command"] = "file"
    """Who wraps data keys from now on: sealing_key, or sealing_key_command. Each unwraps what it wrapped before."""

    sealing_key_command: tuple[str, ...] = ()
    """Program, with its arguments, that wraps and unwraps data keys under a key that only it can use."""

    webhook_attempts: int = 10
    """How often a notice is tried in all, before it is given up."""

    webhook_first_wait: float = 0.5
    """The wait between the first two attempts, less up to half of it at random; each next one is four times as long."""

    webhook_longest_wait: float = 4 * 3600.0
    """The longest wait between two attempts."""

    webhook_denied_networks: tuple[str, ...] = ("169.254.0.0/16", "fe80::/10")
    """Networks (CIDR) that no notice is sent to: Applications choose the URL, and the Director may reach what they may
    not. Unless set, the link-local ones: there, clouds give out credentials."""

    fetch_attempts: int = 5
    """How often it is tried in all to fetch a document by its URL, before that is given up."""

    fetch_first_wait: float = 2.0
    """The wait between the first two attempts, less up to half of it at random; each next one is four times as long."""

    fetch_longest_wait: float = 600.0
    """The longest wait between two attempts."""

    fetch_allowed_networks: tuple[str, ...] = ()
    """Networks (CIDR) that documents are fetched from though they are not public, such as a company's own: loopback,
    link-local and private addresses are none that the Director fetches from unless they are named here."""

    log_level: str = "info"
    """debug, info, warning or error."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for an address that is none, and where no stream could begin."""
        check_addresses(connector_address=self.connector_address)
        if self.streams_waiting < 1:
            raise ValueError("streams_waiting: must be 1 or more, or no stream could begin")
