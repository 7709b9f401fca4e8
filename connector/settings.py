"""What the operator sets for the Connector: section `[connector]` of the TOML file, or `MOORAGE_CONNECTOR_*`."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from certs.spiffe import Kind


@dataclass(frozen=True)
class ConnectorSettings:
    """Times are in seconds, addresses are `host:port`."""

    identity: Path
    """Folder with the Connector's own certificate (`tls.crt`, `tls.key`, `ca.crt`), which has DNS or IP names."""

    issuing_authority: Path
    """Folder with the issuing authority (`ca.crt` up to the root, `ca.key`). The root's key is not needed."""

    database: str
    """URL of the Connector's own database, such as `sqlite:////var/lib/moorage/connector.sqlite`."""

    passphrase_file: Path | None = None
    """File whose first line opens the issuing authority's key; none where the key is not encrypted."""

    listen: str = "127.0.0.1:7444"
    """Where parties with a certificate are served (mTLS)."""

    enrolment_listen: str = "127.0.0.1:7445"
    """Where newcomers enrol (server TLS only)."""

    metrics_listen: str = ""
    """Where Prometheus may scrape, over plain HTTP; empty for nowhere."""

    director_address: str = "127.0.0.1:7443"
    """The Director, as the Connector and every party that enrols reach it."""

    connector_address: str = "127.0.0.1:7444"
    """The mTLS listener as parties reach it."""

    enrolment_address: str = "127.0.0.1:7445"
    """The enrolment listener as newcomers reach it; one-time tokens carry it."""

    provisioner_address: str = "127.0.0.1:7446"
    """The Provisioner as parties reach it."""

    token_ttl: float = 3600.0
    """How long a one-time token works when whoever asks for it does not say."""

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

    log_level: str = "info"
    """debug, info, warning or error."""

    def lifetime(self, kind: Kind) -> timedelta:
        """How long a certificate of this kind of party lives."""
        seconds: float = getattr(self, f"{kind}_lifetime")
        return timedelta(seconds=seconds)
