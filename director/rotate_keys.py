"""`python -m director.rotate_keys --config FILE`, which is `moorage director rotate-keys`.

It works upon the database of the settings, whether or not any Director runs. What it did is on standard output, how it
comes along on standard error.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from certs.clock import system_clock
from director.keys import key_provider
from director.rotation import Rotation, rewrap, rotate
from director.settings import DirectorSettings
from director.store import keys as store
from director.summary import summary
from mesh import telemetry
from mesh.database import Database
from mesh.exits import Exit, Stopped
from mesh.run import run_once
from mesh.sealing import KeyProvider, SealingRefused
from mesh.settings import load_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Rotate, or rewrap; returns the exit code."""
    parser = argparse.ArgumentParser(description="Seal what the Director keeps secret under a new data key.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a section [director]")
    parser.add_argument("--rewrap", action="store_true", help="only wrap the data keys under the sealing key of today")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table", help="format of the data")
    return run_once("director", partial(_run, parser.parse_args(argv)))


async def _run(arguments: argparse.Namespace) -> None:
    settings = load_settings(DirectorSettings, "director", arguments.config, os.environ)
    telemetry.configure_logging("director", settings.log_level)
    provider = key_provider(settings)
    database = Database.open(settings.database)
    try:
        if not await database.read(store.exist):
            raise Stopped(Exit.SERVICE_FAILED, "the database holds no data keys: start this version's Director first")
        done = await _done(database, provider, rewraps=arguments.rewrap)
    except SealingRefused as refused:
        raise Stopped(Exit.SERVICE_FAILED, str(refused)) from refused
    finally:
        database.close()
    sys.stdout.write(summary(asdict(done), is_json=arguments.output == "json"))
    if isinstance(done, Rotation) and done.unreadable:
        raise Stopped(
            Exit.SERVICE_FAILED,
            f"secrets that cannot be opened: {len(done.unreadable)}. They were left as they are: set them again, then"
            " run this again, to be rid of the data keys that they name",
        )


async def _done(database: Database, provider: KeyProvider, *, rewraps: bool) -> Any:
    if rewraps:
        return await rewrap(database, provider, _tell)
    return await rotate(database, provider, system_clock, _tell)


def _tell(line: str) -> None:
    sys.stderr.write(f"director: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
