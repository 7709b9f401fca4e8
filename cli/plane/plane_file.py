"""`plane.json`: where the running plane is, for every program that wants to talk to it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from certs import files
from mesh.exits import Exit, Stopped


@dataclass(frozen=True)
class Plane:
    """The services' addresses as `HOST:PORT`, the trust domain, the root's SHA-256 (hexadecimal), process ids."""

    director: str
    """With several Directors, the list of them: `IP:PORT,IP:PORT`."""
    connector: str
    enrolment: str
    provisioner: str
    trust_domain: str
    root_sha256: str
    pids: Mapping[str, int]
    """Of `up` and of each service that runs now."""

    def to_json(self) -> str:
        """As it stands in the file."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def write(self, file: Path) -> None:
        """Put it at `file` at once. It holds no secret."""
        files.replace(file, self.to_json().encode(), files.PUBLIC)


def read_plane(file: Path) -> Plane:
    """Read `plane.json`. Raises `Stopped` (UNAVAILABLE) where there is no whole one: no plane runs there."""
    try:
        return Plane(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise Stopped(
            Exit.UNAVAILABLE, f"no plane runs in {file.parent}: start one with `moorage up --home {file.parent}`"
        ) from error
