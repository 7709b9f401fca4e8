"""The few things that the agent does to the disk when it applies, each of which may fail."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from certs import files

SHARED = 0o444
"""Mode of files that several generations share: nobody is to change them in place."""


class Disk:
    """The host's file system. Every method raises `OSError`."""

    def make_folder(self, folder: Path) -> None:
        """Make `folder`, which must not exist."""
        folder.mkdir(mode=0o755)

    def write(self, path: Path, content: bytes) -> None:
        """Make a file of mode 0444, flushed."""
        files.write_new(path, content, SHARED)

    def link(self, source: Path, folder: Path, names: Iterable[str]) -> None:
        """Have the files `names` of the folder `source` in `folder` too (hard links); some may be on failure."""
        # Thousands of files: by descriptors, so that no path is walked again for each.
        with _opened(source) as source_fd, _opened(folder) as folder_fd:
            for name in names:
                os.link(name, name, src_dir_fd=source_fd, dst_dir_fd=folder_fd, follow_symlinks=False)

    def sync(self, folder: Path) -> None:
        """Flush the names in `folder`."""
        files.sync_folder(folder)

    def point(self, link: Path, target: str) -> None:
        """Have the symbolic link `link` lead to `target` at once: it leads to the old target or to the new one."""
        temporary = link.with_name(f".{link.name}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)

    def replace(self, path: Path, content: bytes) -> None:
        """Put `content` at `path` at once, flushed."""
        files.replace(path, content, files.PUBLIC)

    def remove(self, path: Path) -> None:
        """Remove a file, a link or a whole folder; nothing happens where there is none."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
