"""The home of an embedded plane: where everything is, whether it can be used, and that only one plane uses it.

moorage.toml  plane.json  lock  services.lock  logs/SERVICE.log
With several Directors, director-2 and so on have a log, an identity and a list of revocations of their own, too.
identities/{admin,director,connector,provisioner}/{tls.crt,tls.key,ca.crt}
connector/authority/{root,issuing}/{ca.crt,ca.key}  connector/{connector.sqlite,revocations}
director/{director.sqlite,dbos.sqlite,sealing.key,revocations}
provisioner/{provisioner.sqlite,dbos.sqlite,revocations}  provisioner/runtimes/RUNTIME_ID/
"""

import fcntl
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mesh.exits import Exit, Stopped

SERVICES = ("director", "connector", "provisioner")


def more_directors(count: int) -> tuple[str, ...]:
    """The names of the Directors beside the first one, of `count` in all."""
    return tuple(f"director-{number}" for number in range(2, count + 1))


_ORPHANS_STOP_WITHIN = 5.0
_ORPHANS_DIE_WITHIN = 5.0
_LOOK_EVERY = 0.05


@dataclass(frozen=True)
class Home:
    """The folder `root`, which need not exist yet."""

    root: Path

    @classmethod
    def chosen(cls, option: Path | None, environ: Mapping[str, str]) -> "Home":
        """`--home`, else `$MOORAGE_HOME`, else `~/.local/state/moorage`."""
        folder = option or Path(environ.get("MOORAGE_HOME") or "~/.local/state/moorage")
        return cls(folder.expanduser().absolute())

    @property
    def settings(self) -> Path:
        """What the services are run with."""
        return self.root / "moorage.toml"

    @property
    def plane(self) -> Path:
        """The running plane's addresses and processes."""
        return self.root / "plane.json"

    @property
    def root_authority(self) -> Path:
        """The folder of the root authority."""
        return self.root / "connector" / "authority" / "root"

    @property
    def issuing_authority(self) -> Path:
        """The folder of the issuing authority."""
        return self.root / "connector" / "authority" / "issuing"

    def identity(self, name: str) -> Path:
        """The identity folder of a service, or of the administrator (`admin`)."""
        return self.root / "identities" / name

    def service(self, name: str) -> Path:
        """The folder of what a service stores."""
        return self.root / name

    def log(self, service: str) -> Path:
        """Where a service's output goes."""
        return self.root / "logs" / f"{service}.log"

    def prepare(self) -> None:
        """Make the folders, for this user alone. Raises `Stopped` (HOME_NOT_WRITABLE)."""
        try:
            for folder in (self.root, *(self.root / name for name in ("identities", "logs", *SERVICES))):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(None, "it is not writable", str(folder))
        except OSError as error:
            raise Stopped(
                Exit.HOME_NOT_WRITABLE,
                f"the home {self.root} cannot be used ({error.filename}: {error.strerror}): make it writable for "
                "this user, or choose another --home",
            ) from error

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the home for one `moorage up`; the claim goes with the process, however that ends.

        Raises `Stopped` (PLANE_RUNS) while another one holds it.
        """
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _locked(descriptor):
                raise Stopped(
                    Exit.PLANE_RUNS,
                    f"another plane already runs in {self.root} (process {_first_line(descriptor) or 'unknown'}): "
                    "stop it, or choose another --home",
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def services_claimed(self, left_over: Mapping[str, int]) -> Iterator[int]:
        """Hold what the services inherit: a descriptor whose lock lasts until the last of them has ended.

        So services whose `moorage up` was killed are waited for before new ones open their files and ports. Those of
        the `left_over` processes that do not end in time are killed. Raises `Stopped` (PLANE_RUNS).
        """
        descriptor = os.open(self.root / "services.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _locked(descriptor, within=_ORPHANS_STOP_WITHIN):
                for pid in filter(self._is_ours, left_over.values()):
                    os.kill(pid, signal.SIGKILL)
                if not _locked(descriptor, within=_ORPHANS_DIE_WITHIN):
                    raise Stopped(
                        Exit.PLANE_RUNS,
                        f"services of an earlier plane still run in {self.root}: end the processes that have "
                        f"{self.root / 'services.lock'} open",
                    )
            yield descriptor
        finally:
            os.close(descriptor)

    def _is_ours(self, pid: int) -> bool:
        # A process id may have been given to a stranger since; ours have the settings file in their arguments.
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(self.settings) in arguments


def _locked(descriptor: int, *, within: float = 0) -> bool:
    deadline = time.monotonic() + within
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_EVERY)
        else:
            return True


def _first_line(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode(errors="replace").partition("\n")[0]
