"""`python -m connector.migrate --config FILE`, which is `moorage connector migrate`.

Brings the database of the settings to the version of this release, once, before its Connectors start with
`migrate = false`. Connectors of the release before may run meanwhile.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from connector.migrations import HEAD
from connector.settings import ConnectorSettings
from connector.store import metadata
from mesh import telemetry
from mesh.database import Database
from mesh.migration import prepare
from mesh.run import run_once
from mesh.settings import load_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Migrate; returns the exit code."""
    parser = argparse.ArgumentParser(description="Bring the Connector's database to the version of this release.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a section [connector]")
    return run_once("connector", partial(_run, parser.parse_args(argv).config))


async def _run(config: Path | None) -> None:
    settings = load_settings(ConnectorSettings, "connector", config, os.environ)
    telemetry.configure_logging("connector", settings.log_level)
    database = Database.open(settings.database)
    try:
        prepare(database.engine, metadata, "connector")
    finally:
        database.close()
    print(f"The database is of version {HEAD}.", file=sys.stderr)  # noqa: T201 - a command says what it did


if __name__ == "__main__":
    sys.exit(main())
