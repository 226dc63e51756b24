"""Files that are whole and on the disk, or not there: what catalogues and exports are written with, and read.

Owns creation, permissions and syncs, and that a name may stand for anything. Knows no content. Invariants: nothing that is
there is overwritten; files are the owner's alone; a name is durable only once its folder was synced, which the caller does,
once for all; reading neither waits for a pipe's other end nor takes more memory than its caller said.
"""

import errno
import os
import stat
from pathlib import Path
from typing import IO

__all__ = ["create", "make_folder", "read_at_most", "sync_folder", "write"]


def create(path: Path) -> IO[bytes]:
    """A new file, open for writing. Raises FileExistsError, OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def write(path: Path, content: bytes) -> None:
    """A new file with ``content``, synced; its name is not yet. Raises FileExistsError, OSError."""
    with create(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_at_most(path: Path, most_bytes: int) -> bytes:
    """The first bytes of a file. Raises OSError, with ENXIO for what is there and is no file."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), str(path))
        return file.read(most_bytes)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make the folder, with its parents, where it is not there; durable on return, whoever made them. Raises OSError."""
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    for parent in folder.absolute().parents:
        try:
            sync_folder(parent)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise
            return  # where we may not even look, we made nothing


def sync_folder(folder: Path) -> None:
    """Make the names in the folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
