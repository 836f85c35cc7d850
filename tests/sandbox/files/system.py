"""WASI as a guest's libc uses it: paths and bytes in memory, errnos back."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sandbox.host import WASI
from sandbox.host.wasi import wasi_imports
from sandbox.host.wasi_errno import Errno
from sandbox.memory import GuestMemory
from tests.sandbox.files.rig import Disk

OK = Errno.SUCCESS
CREAT, DIRECTORY, EXCL, TRUNC = 1, 2, 4, 8
READ, WRITE = 1 << 1, 1 << 6
APPEND = 1
TEXT, VECTORS, OUT, BUFFER = 4096, 16_384, 32_768, 65_536


class Entry(NamedTuple):
    name: str
    kind: int


class System:
    """Calls through the same imports that a guest with these grants links."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.imports = wasi_imports(disk.gate.grants.names)

    @property
    def memory(self) -> GuestMemory:
        return self.disk.memory

    def call(self, name: str, *arguments: int) -> Errno:
        state = self.disk.state
        state.ends_ns = self.disk.ends_ns
        words = [word & (2**64 - 1) for word in arguments]
        found = self.imports[WASI, name].invoke(state, self.memory, words)
        assert state.error is None, state.error
        return Errno(found or 0)

    def text(self, path: str | bytes) -> tuple[int, int]:
        raw = path.encode() if isinstance(path, str) else path
        self.memory.write(TEXT, raw)
        return TEXT, len(raw)

    def open(
        self, path: str | bytes, how: int = 0, rights: int = READ, flags: int = 0, at: int = 3
    ) -> tuple[Errno, int]:
        errno = self.call("path_open", at, 1, *self.text(path), how, rights, 0, flags, OUT)
        return errno, self.memory.read_u32(OUT)

    def must_open(self, path: str, how: int = 0, rights: int = READ, flags: int = 0) -> int:
        errno, fd = self.open(path, how, rights, flags)
        assert errno is OK, errno
        return fd

    def read(self, fd: int, size: int = 100, offset: int | None = None) -> bytes | Errno:
        """Into two ranges."""
        self.memory.write(VECTORS, struct.pack("<IIII", BUFFER, size // 2, BUFFER + size // 2, size - size // 2))
        place = () if offset is None else (offset,)
        errno = self.call("fd_read" if offset is None else "fd_pread", fd, VECTORS, 2, *place, OUT)
        return self.memory.read(BUFFER, self.memory.read_u32(OUT)) if errno is OK else errno

    def write(self, fd: int, content: bytes, offset: int | None = None) -> int | Errno:
        self.memory.write(BUFFER, content)
        half = len(content) // 2
        self.memory.write(VECTORS, struct.pack("<IIII", BUFFER, half, BUFFER + half, len(content) - half))
        place = () if offset is None else (offset,)
        errno = self.call("fd_write" if offset is None else "fd_pwrite", fd, VECTORS, 2, *place, OUT)
        return self.memory.read_u32(OUT) if errno is OK else errno

    def list(self, fd: int, room: int = 4096, cookie: int = 0) -> list[Entry] | Errno:
        errno = self.call("fd_readdir", fd, BUFFER, room, cookie, OUT)
        if errno is not OK:
            return errno
        raw, found, at = self.memory.read(BUFFER, self.memory.read_u32(OUT)), [], 0
        while at + 24 <= len(raw):
            _, _, length, kind = struct.unpack_from("<QQIB", raw, at)
            name = raw[at + 24 : at + 24 + length]
            found += [Entry(name.decode(), kind)] if len(name) == length else []
            at += 24 + length
        return found

    def path(self, name: str, path: str | bytes, at: int = 3) -> Errno:
        """path_create_directory, path_unlink_file, path_remove_directory."""
        return self.call(name, at, *self.text(path))

    def stat(self, path: str | bytes, at: int = 3) -> tuple[Errno, int, int]:
        """errno, file type, size."""
        errno = self.call("path_filestat_get", at, 1, *self.text(path), OUT)
        _, _, kind, _, size = struct.unpack_from("<QQB7xQQ", self.memory.read(OUT, 64))
        return errno, kind, size


def descriptors(folder: Path) -> list[str]:
    """What of this folder the process has open."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(one.readlink()))
    return [name for name in found if name.startswith(str(folder))]
