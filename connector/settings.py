"""What the operator sets for the Connector: section `[connector]` of the TOML file, or `MOORAGE_CONNECTOR_*`."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from certs.spiffe import Kind
from mesh.address import check_addresses


@dataclass(frozen=True)
class ConnectorSettings:
    """Times are in seconds, addresses are `host:port` where nothing else is said."""

    identity: Path
    """Folder with the Connector's own certificate (`tls.crt`, `tls.key`, `ca.crt`), which has DNS or IP names."""

    issuing_authority: Path
    """Folder with the issuing authority (`ca.crt` up to the root, `ca.key`). The root's key is not needed."""

    database: str
    """URL of the Connector's own database, such as `sqlite:////var/lib/moorage/connector.sqlite` for one Connector, or
    `postgresql://connector@db.example.com/connector?passfile=/etc/moorage/passfile` for any number of them."""

    passphrase_file: Path | None = None
    """File whose first line opens the issuing authority's key; none where the key is not encrypted."""

    listen: str = "127.0.0.1:7444"
    """Where parties with a certificate are served (mTLS)."""

    enrolment_listen: str = "127.0.0.1:7445"
    """Where newcomers enrol (server TLS only)."""

    metrics_listen: str = ""
    """Where Prometheus may scrape, over plain HTTP; empty for nowhere."""

    director_address: str = "127.0.0.1:7443"
    """The Director, as the Connector and every party that enrols reach it: `host:port`, `dns:///name:port` for all
    addresses of a name, or `IP:port,IP:port` for those of a list."""

    connector_address: str = "127.0.0.1:7444"
    """The mTLS listener as parties reach it, in the same forms."""

    enrolment_address: str = "127.0.0.1:7445"
    """The enrolment listener as newcomers reach it; one-time tokens carry it."""

    provisioner_address: str = "127.0.0.1:7446"
    """The Provisioner as parties reach it, in the same forms."""

    instance_id: str = ""
    """Which of those on one PostgreSQL this Connector is, the same after each restart. Unless set, the name of its host
    and where it listens."""

    database_connections: int = 12
    """How many connections to PostgreSQL one Connector makes, at most; one more hears what the others commit."""

    database_wait: float = 60.0
    """How long a Connector that starts waits for a PostgreSQL server that does not take connections yet, before it ends
    with status 17. A supervisor that waits for its readiness must wait for longer."""

    migrate: bool = True
    """Whether a database of an earlier release is migrated at the start; `moorage connector migrate` does it apart."""

    connection_age: float = 3600.0
    """After how long, more or less a tenth, a connection with a certificate is ended, for its party to make a new one,
    and a stream is, for its reader to resume it."""

    token_ttl: float = 3600.0
    """How long a one-time token works when whoever asks for it does not say, and the kind of party has no time of its
    own below."""

    application_token_ttl: float = 0.0
    """How long an Application's token works when whoever asks for it does not say; 0 for what `token_ttl` says."""

    runtime_token_ttl: float = 0.0
    """The same of a Runtime's."""

    admin_token_ttl: float = 0.0
    """The same of an administrator's."""

    viewer_token_ttl: float = 0.0
    """The same of a viewer's."""

    service_token_ttl: float = 0.0
    """The same of a service's."""

    application_token_ttl_ceiling: float = 86400.0
    """The longest that whoever asks for an Application's token may ask for, 24 hours at most."""

    runtime_token_ttl_ceiling: float = 86400.0
    """The same of a Runtime's."""

    admin_token_ttl_ceiling: float = 86400.0
    """The same of an administrator's."""

    viewer_token_ttl_ceiling: float = 86400.0
    """The same of a viewer's."""

    service_token_ttl_ceiling: float = 86400.0
    """The same of a service's."""

    enrolment_address_rate: float = 100.0
    """How many calls a second one network address may make of those that need no certificate, in the long run; of IPv6
    the /64 counts. 0 for as many as it likes."""

    enrolment_address_burst: int = 1000
    """How many of them it may make at once."""

    identity_rate: float = 1.0
    """How many certificates a second one identity may ask for, in the long run; 0 for as many as it likes."""

    identity_burst: int = 60
    """How many of them it may ask for at once."""

    director_timeout: float = 3.0
    """How long the Director may take to say whether a party exists."""

    application_lifetime: float = 30 * 86400.0
    """Life of an Application's certificate."""

    runtime_lifetime: float = 86400.0
    """Life of a Runtime's certificate."""

    admin_lifetime: float = 30 * 86400.0
    """Life of an administrator's certificate."""

    viewer_lifetime: float = 30 * 86400.0
    """Life of a viewer's certificate."""

    service_lifetime: float = 30 * 86400.0
    """Life of a service's certificate."""

    application_lifetime_ceiling: float = 90 * 86400.0
    """The longest life that an Application's certificate is ever given, whatever is set above."""

    runtime_lifetime_ceiling: float = 90 * 86400.0
    """The same of a Runtime's."""

    admin_lifetime_ceiling: float = 90 * 86400.0
    """The same of an administrator's."""

    viewer_lifetime_ceiling: float = 90 * 86400.0
    """The same of a viewer's."""

    service_lifetime_ceiling: float = 90 * 86400.0
    """The same of a service's."""

    back_date: float = 60.0
    """How far certificates are dated back, for hosts whose clocks run behind."""

    renewal_grace: float = 86400.0
    """How long a certificate that was renewed works on while its successor is not used."""

    recovery_window: float = 0.0
    """For how long after its end a certificate can be recovered with the key that it is for; 0 for never."""

    revocation_retention: float = 7 * 86400.0
    """How long the log of revocations is kept; a service that was away for longer is sent the whole list."""

    crl_lifetime: float = 86400.0
    """When the next certificate revocation list is there at the latest, counted from the one before."""

    revocations_max_age: float = 0.0
    """How old the list of what was revoked may be for calls to be answered at all; 0 for as old as it is."""

    revocations_cache: Path | None = None
    """File in which the list is kept, so that it holds from the start on, without the database; none where not set."""

    first_identities: tuple[str, ...] = ()
    """PEM files with certificates that the issuing authority signed before there was a Connector; they are taken into
    the ledger at the start, so that they can be listed and revoked."""

    retired_authorities: tuple[str, ...] = ()
    """SHA-256 (hexadecimal, of the DER) of issuing authorities' or roots' certificates that no longer count, nor does
    what they signed. Whoever takes one away from here brings it back."""

    log_level: str = "info"
    """debug, info, warning or error."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for an address that is none."""
        check_addresses(
            director_address=self.director_address,
            connector_address=self.connector_address,
            provisioner_address=self.provisioner_address,
        )

    def lifetime(self, kind: Kind) -> timedelta:
        """How long a certificate of this kind of party lives, unless its ceiling is lower."""
        return timedelta(seconds=self._of(kind, "lifetime"))

    def lifetime_ceiling(self, kind: Kind) -> timedelta:
        """The longest that a certificate of this kind of party may live."""
        return timedelta(seconds=self._of(kind, "lifetime_ceiling"))

    def default_ttl(self, kind: Kind) -> timedelta:
        """How long a token for this kind of party works when whoever asks for it does not say."""
        default = self._of(kind, "token_ttl") or self.token_ttl
        return min(timedelta(seconds=default), self.ttl_ceiling(kind))

    def ttl_ceiling(self, kind: Kind) -> timedelta:
        """The longest that a token for this kind of party may work."""
        return timedelta(seconds=self._of(kind, "token_ttl_ceiling"))

    def _of(self, kind: Kind, name: str) -> float:
        seconds: float = getattr(self, f"{kind}_{name}")
        return seconds
