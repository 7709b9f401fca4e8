"""`python -m director.import_registry --config FILE INPUT`, which is `moorage director import`.

It fills the database of the settings, on which no Director has done anything yet, from what `moorage director export`
wrote. What it did is on standard output, how it comes along on standard error.
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

from director.settings import DirectorSettings
from director.store.tables import metadata
from director.summary import summary
from director.transfer.importing import NotEmpty, import_into
from director.transfer.outcome import Transfer
from director.transfer.reading import FileRefused, Reader
from mesh import telemetry
from mesh.database import Database
from mesh.database.whole import open_whole, whole
from mesh.exits import Exit, Stopped
from mesh.migration import prepare
from mesh.run import run_once
from mesh.settings import load_settings

_STDIN = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Import; returns the exit code."""
    parser = argparse.ArgumentParser(description="Fill an empty database from an exported registry.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a section [director]")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table", help="format of the data")
    parser.add_argument("input", metavar="INPUT", help="what was exported; - for standard input")
    return run_once("director", partial(_run, parser.parse_args(argv)))


async def _run(arguments: argparse.Namespace) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # nothing is awaited here: it is to end the work itself
    settings = load_settings(DirectorSettings, "director", arguments.config, os.environ)
    telemetry.configure_logging("director", settings.log_level)
    try:
        with _input(arguments.input) as file:
            done = _import(settings.database, Reader(file))
    except FileRefused as refused:
        raise Stopped(Exit.BAD_INPUT, f"{refused}; nothing was imported") from refused
    except NotEmpty as error:
        raise Stopped(
            Exit.CONFLICT,
            "the database holds a registry already, and nothing was changed: import into one that is new",
        ) from error
    sys.stdout.write(summary(asdict(done), is_json=arguments.output == "json"))
    if done.sealing_keys:
        _tell(
            f"secrets in it are still sealed under {', '.join(done.sealing_keys)}: its Director needs that sealing key"
        )


def _import(url: str, reader: Reader) -> Transfer:
    database = Database.open(url)
    try:
        prepare(database.engine, metadata, "director")
    finally:
        database.close()
    with whole(open_whole(url, writes=True)) as tx:
        return import_into(tx, reader, _tell)


@contextmanager
def _input(name: str) -> Iterator[BinaryIO]:
    try:
        file = os.fdopen(_STDIN if name == "-" else os.open(name, os.O_RDONLY | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise Stopped(Exit.BAD_INPUT, f"{name} cannot be read: {error.strerror}") from error
    with file:
        yield file


def _tell(line: str) -> None:
    sys.stderr.write(f"director: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
