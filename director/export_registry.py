"""`python -m director.export_registry --config FILE`, which is `moorage director export`.

It reads the database of the settings in one snapshot, whether or not any Director runs. The data is on standard output
or in a file, all else on standard error.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import BinaryIO

from certs.files import PRIVATE, appearing
from director.settings import DirectorSettings
from director.store.tables import metadata
from director.summary import summary
from director.transfer.exporting import NothingToExport, export
from director.transfer.outcome import Transfer
from mesh import telemetry
from mesh.database.whole import open_whole, whole
from mesh.exits import Exit, Stopped
from mesh.migration import prepare
from mesh.run import run_once
from mesh.settings import load_settings

_STDOUT = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Export; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the whole registry to a file, for another database.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a section [director]")
    parser.add_argument("-o", "--output", default="-", metavar="FILE", help="a new file; - for standard output")
    return run_once("director", partial(_run, parser.parse_args(argv)))


async def _run(arguments: argparse.Namespace) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # nothing is awaited here: it is to end the work itself
    settings = load_settings(DirectorSettings, "director", arguments.config, os.environ)
    telemetry.configure_logging("director", settings.log_level)
    with _output(arguments.output) as file:
        done = _export(settings.database, file)
    _tell("exported")
    sys.stderr.write(summary(asdict(done), is_json=False))
    _tell("secrets in it stay sealed: keep the sealing key for the Director that is to run on them")


def _export(url: str, file: BinaryIO) -> Transfer:
    engine = open_whole(url, writes=False)
    prepare(engine, metadata, "director", migrate=False)
    try:
        with whole(engine) as tx:
            return export(tx, file.write, _tell)
    except NothingToExport as error:
        raise Stopped(Exit.SERVICE_FAILED, "there is nothing to export: no Director has run on the database") from error


@contextmanager
def _output(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        with open(_STDOUT, "wb", closefd=False) as file:
            yield file
        return
    path = Path(name)
    if path.exists():
        raise _exists(path)
    try:
        with appearing(path, PRIVATE) as file:
            yield file
    except FileExistsError as error:
        raise _exists(path) from error


def _exists(path: Path) -> Stopped:
    return Stopped(Exit.CONFLICT, f"{path} exists already: name another file, or remove it")


def _tell(line: str) -> None:
    sys.stderr.write(f"director: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
