"""Contexts: the planes that a person has logged in to, and as whom; one of them is in use.

$MOORAGE_CONFIG/contexts/NAME/{tls.crt,tls.key,ca.crt,addresses.json}  $MOORAGE_CONFIG/current-context
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from certs import files
from mesh.exits import Exit, Stopped

DEFAULT = "default"
"""What a context is called unless it is given a name."""

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Contexts:
    """Those in the folder `root`, which need not exist yet.

    Everything here raises `Stopped` (HOME_NOT_WRITABLE) for a folder that cannot be used.
    """

    root: Path

    @classmethod
    def of_user(cls, environ: Mapping[str, str]) -> "Contexts":
        """Those in `$MOORAGE_CONFIG`, else in `$XDG_CONFIG_HOME/moorage`, else in `~/.config/moorage`."""
        folder = environ.get("MOORAGE_CONFIG") or Path(environ.get("XDG_CONFIG_HOME") or "~/.config") / "moorage"
        return cls(Path(folder).expanduser().absolute())

    def folder(self, name: str) -> Path:
        """Where the identity of a context is, or is to be."""
        return self.root / "contexts" / name

    def existing(self, name: str) -> Path:
        """The same of a context that there is. Raises `Stopped` (NOT_FOUND)."""
        if name not in self.names:
            raise Stopped(Exit.NOT_FOUND, f"no context is named '{name}': `moorage context list` shows what there is")
        return self.folder(name)

    @property
    def names(self) -> list[str]:
        """Those there are, in order."""
        with _explained(self.root):
            # A folder without a certificate is that of a login which did not come to its end.
            found = (each.parent.name for each in (self.root / "contexts").glob("*/tls.crt"))
            return sorted(filter(NAME.fullmatch, found))

    @property
    def current(self) -> str | None:
        """The one in use; None where none is."""
        with _explained(self.root):
            name = self._current.read_text().strip() if self._current.is_file() else ""
        return name if name in self.names else None

    def use(self, name: str) -> None:
        """Make it the one in use."""
        with _explained(self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace(self._current, f"{name}\n".encode(), files.PUBLIC)

    def delete(self, name: str) -> None:
        """Remove it, with its key."""
        with _explained(self.root):
            if self.current == name:
                self._current.unlink()
            shutil.rmtree(self.folder(name))

    @property
    def _current(self) -> Path:
        return self.root / "current-context"


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Stopped(
            Exit.HOME_NOT_WRITABLE,
            f"the contexts in {root} cannot be used ({error.filename}: {error.strerror}): mend it, or name another "
            "folder by $MOORAGE_CONFIG",
        ) from error
