"""Files that are whole and on the disk, or not there: what catalogues and exports are written with.

Owns creation, permissions and syncs. Knows no content. Invariants: nothing that is there is overwritten; files are the
owner's alone; a name is durable only once its folder was synced, which the caller does, once for all.
"""

import os
from pathlib import Path
from typing import IO

__all__ = ["create", "sync_folder", "write"]


def create(path: Path) -> IO[bytes]:
    """A new file, open for writing. Raises FileExistsError, OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def write(path: Path, content: bytes) -> None:
    """A new file with ``content``, synced; its name is not yet. Raises FileExistsError, OSError."""
    with create(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in the folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
