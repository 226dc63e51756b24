"""File systems of a test's own on a device of its own: ext4 on a loop device whose file lies in a tmpfs.

Owns the making and unmaking; needs root, losetup, mkfs.ext4 and a free loop device, else the test says what is missing and
is skipped. The device can be starved: the blocks that are reserved in segments and not yet written are taken from its file,
and the tmpfs is filled, so that the kernel itself cannot write them. All other blocks are there and stay.
"""

import ctypes
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from bad_day_support import Mount

MIB = 1024 * 1024
PAGE_KIB = 4

FS_IOC_FIEMAP = 0xC020660B
FIEMAP_HEAD = struct.Struct("=QQIIII")
FIEMAP_EXTENT = struct.Struct("=QQQ16xI12x")
FIEMAP_FLAG_SYNC, FIEMAP_EXTENT_UNWRITTEN = 1, 0x800
EXTENTS = 100
PUNCH_HOLE = 3  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE


class LoopDisk:
    """ext4 of ``mib`` MiB, with a journal or without."""

    def __init__(self, path: Path, *, mib: int = 24, has_journal: bool = False) -> None:
        self._backing = Mount(path.with_name(f"{path.name}-backing"), f"{mib + 8}m")
        self._image = self._backing.path / "image"
        self._ballast = self._backing.path / "ballast"
        self._device = ""
        self.path = path
        path.mkdir()
        self._image.write_bytes(bytes(mib * MIB))
        journal = ["-J", "size=4"] if has_journal else ["-O", "^has_journal"]
        self._call("mkfs.ext4", "-q", *journal, "-E", "nodiscard", self._image)
        # Every block stands in the file, so that only what is taken out later is missing.
        self._image.write_bytes(self._image.read_bytes())
        self.mount()

    def mount(self) -> None:
        self._device = self._call("losetup", "--find", "--show", self._image).strip()
        # The loop device says nothing of a request of which it wrote a part: each is one page.
        limit = Path("/sys/block", Path(self._device).name, "queue", "max_sectors_kb")
        with suppress(OSError):
            limit.write_text(str(PAGE_KIB))
        self._call("mount", "-o", "nodiscard", self._device, self.path)

    def _call(self, *command) -> str:
        try:
            done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            self.destroy()
            pytest.skip(f"there is no {command[0]} here")
        if done.returncode:
            self.destroy()
            pytest.skip(f"no ext4 on a loop device here: {done.stderr.strip()}")
        return done.stdout

    def starve(self) -> None:
        """From now on the device refuses every block that was reserved and not written."""
        os.sync()
        for file in sorted(self.path.rglob("*.log")):
            for start, length in _unwritten(file):
                self._punch(start, length)
        with self._ballast.open("wb", buffering=0) as ballast, suppress(OSError):
            while True:
                ballast.write(bytes(4096))

    def _punch(self, start: int, length: int) -> None:
        with self._image.open("r+b") as image:
            answer = ctypes.CDLL(None, use_errno=True).fallocate(
                image.fileno(), PUNCH_HOLE, ctypes.c_long(start), ctypes.c_long(length)
            )
        assert answer == 0, os.strerror(ctypes.get_errno())

    def feed(self) -> None:
        """It takes writes again."""
        self._ballast.unlink(missing_ok=True)

    def remount(self) -> None:
        """What comes back is what the device has: nothing of it is in memory any more."""
        subprocess.run(["umount", str(self.path)], check=True)
        subprocess.run(["losetup", "--detach", self._device], check=True)
        self.mount()

    def destroy(self) -> None:
        for command in (["umount", "--lazy", str(self.path)], ["losetup", "--detach", self._device]):
            with suppress(FileNotFoundError):
                subprocess.run(command, capture_output=True, check=False)
        self._backing.unmount()


def _unwritten(file: Path) -> Iterator[tuple[int, int]]:
    """Where on the device the blocks lie that a file has reserved and not written."""
    answer = bytearray(FIEMAP_HEAD.size + EXTENTS * FIEMAP_EXTENT.size)
    FIEMAP_HEAD.pack_into(answer, 0, 0, 2**64 - 1, FIEMAP_FLAG_SYNC, 0, EXTENTS, 0)
    with file.open("rb") as opened:
        fcntl.ioctl(opened, FS_IOC_FIEMAP, answer)
    count = FIEMAP_HEAD.unpack_from(answer)[3]
    extents = answer[FIEMAP_HEAD.size : FIEMAP_HEAD.size + count * FIEMAP_EXTENT.size]
    for _, start, length, flags in FIEMAP_EXTENT.iter_unpack(extents):
        if flags & FIEMAP_EXTENT_UNWRITTEN:
            yield start, length
