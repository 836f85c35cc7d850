"""WASI's file descriptors: 0, 1 and 2, and no files. What goes to stdout and stderr comes out as lines of the guest's log.

Threat: a guest chooses addresses, lengths and how many of them. A call looks at `VECTORS_MAX` ranges and takes `BYTES_MAX` bytes at
most, whatever it was given, so that its time is bounded: no deadline cuts a host call short. The rest counts as written and is dropped.
"""

from __future__ import annotations

import struct

from sandbox.host.imports import HostState
from sandbox.host.log import LINE_BYTES_MAX, keep_line
from sandbox.host.wasi_errno import Errno
from sandbox.host.wasi_state import STDERR, STDIN, STDOUT
from sandbox.memory import GuestMemory
from sandbox.text import cut, printable

VECTORS_MAX = 1024
"""As POSIX systems have it (IOV_MAX)."""
BYTES_MAX = 16 << 10
"""Of one write."""
U32_MAX = 0xFFFFFFFF
LEVEL_STDOUT, LEVEL_STDERR = 2, 3
"""Info and warning."""
LAST_WORD_CHARACTERS_MAX = 512
"""Of one line."""
LAST_WORDS_CHARACTERS_MAX = 3500
LINES_MAX = 24
REPORTS = ("fatal error: ", "panic: ", "runtime: out of memory")
"""How Go's runtime begins."""

CHARACTER_DEVICE = 2
RIGHT_READ, RIGHT_SET_FLAGS, RIGHT_WRITE, RIGHT_FILESTAT, RIGHT_POLL = 1 << 1, 1 << 3, 1 << 6, 1 << 21, 1 << 27
_COMMON_RIGHTS = RIGHT_SET_FLAGS | RIGHT_FILESTAT | RIGHT_POLL


def is_open(state: HostState, fd: int) -> bool:
    """A standard stream that the guest has not closed."""
    return fd <= STDERR and fd not in state.shim.closed


def fd_write(state: HostState, memory: GuestMemory, fd: int, vectors: int, count: int, written: int) -> Errno:
    """Lines for the log. The end of a line ends it; so does the end of the crossing."""
    return _write(state, memory, fd, vectors, count, written, logged=True)


def fd_write_unlogged(state: HostState, memory: GuestMemory, fd: int, vectors: int, count: int, written: int) -> Errno:
    """The same for a guest that may not log: nobody sees them but who reads why it exited."""
    return _write(state, memory, fd, vectors, count, written, logged=False)


def _write(
    state: HostState, memory: GuestMemory, fd: int, vectors: int, count: int, written: int, *, logged: bool
) -> Errno:
    if fd == STDIN or not is_open(state, fd):
        return Errno.BADF
    if count > VECTORS_MAX:
        return Errno.INVAL
    data, total = _gather(memory, vectors, count)
    if total > U32_MAX:
        return Errno.INVAL
    memory.write(written, total.to_bytes(4, "little"))
    state.shim.logged = logged
    _take(state, fd, data)
    return Errno.SUCCESS


def _gather(memory: GuestMemory, vectors: int, count: int) -> tuple[bytes, int]:
    """The first bytes of these ranges, and how many they have together. Raises OutOfBounds if one of them is outside."""
    data, total, size = bytearray(), 0, memory.size()
    for address, length in struct.iter_unpack("<II", memory.read(vectors, 8 * count)):
        wanted = length if address + length > size else min(length, BYTES_MAX - len(data))
        data += memory.read(address, wanted)
        total += length
    return bytes(data), total


def _take(state: HostState, fd: int, data: bytes) -> None:
    """Whole lines are kept; what is left over begins the next one."""
    pending = state.shim.pending[fd]
    *lines, rest = data.split(b"\n")
    for line in lines:
        _append(pending, line)
        _end_line(state, fd)
    _append(pending, rest)


def _append(pending: bytearray, text: bytes) -> None:
    pending += text[: LINE_BYTES_MAX - len(pending)]


def _end_line(state: HostState, fd: int) -> None:
    """Keep what was written since the last line's end; an empty line says nothing and is left out."""
    pending = state.shim.pending[fd]
    line = bytes(pending).rstrip(b"\r")
    pending.clear()
    if not line:
        return
    if fd == STDERR:
        state.shim.last_words.append(printable(line.decode("utf-8", "replace"))[:LAST_WORD_CHARACTERS_MAX])
    if state.shim.logged:
        keep_line(state, LEVEL_STDERR if fd == STDERR else LEVEL_STDOUT, line)


def end_lines(state: HostState) -> None:
    """No more will be written: begun lines are lines."""
    for fd in (STDOUT, STDERR):
        _end_line(state, fd)


def last_words(state: HostState) -> str:
    """What the guest wrote to stderr since the crossing began: from where a runtime's report begins, else the last lines; or nothing."""
    if state.wasi is None:
        return ""
    end_lines(state)
    lines = list(state.wasi.last_words)
    reports = [at for at, line in enumerate(lines) if line.startswith(REPORTS)]
    told = lines[reports[0] :] if reports else lines[-LINES_MAX:]
    return cut("\n".join(told), LAST_WORDS_CHARACTERS_MAX)


def end_crossing(state: HostState) -> None:
    """What the guest writes from now on belongs to other events."""
    end_lines(state)
    state.shim.last_words.clear()


def fd_read(state: HostState, memory: GuestMemory, fd: int, vectors: int, count: int, read: int) -> Errno:
    """stdin is at its end."""
    if fd != STDIN or not is_open(state, fd):
        return Errno.BADF
    if count > VECTORS_MAX:
        return Errno.INVAL
    _gather(memory, vectors, count)  # an address outside is a mistake all the same
    memory.write(read, bytes(4))
    return Errno.SUCCESS


def fd_close(state: HostState, memory: GuestMemory | None, fd: int) -> Errno:
    """The number is not given out again: nothing can be opened."""
    if not is_open(state, fd):
        return Errno.BADF
    state.shim.closed.add(fd)
    return Errno.SUCCESS


def fd_fdstat_get(state: HostState, memory: GuestMemory, fd: int, out: int) -> Errno:
    """A character device, to be read (0) or written (1, 2)."""
    if not is_open(state, fd):
        return Errno.BADF
    rights = _COMMON_RIGHTS | (RIGHT_READ if fd == STDIN else RIGHT_WRITE)
    memory.write(out, struct.pack("<BxH4xQQ", CHARACTER_DEVICE, 0, rights, 0))
    return Errno.SUCCESS


def fd_filestat_get(state: HostState, memory: GuestMemory, fd: int, out: int) -> Errno:
    """A character device of no size, from no time."""
    if not is_open(state, fd):
        return Errno.BADF
    memory.write(out, struct.pack("<QQB7xQQQQQ", 0, fd, CHARACTER_DEVICE, 1, 0, 0, 0, 0))
    return Errno.SUCCESS


def accept(state: HostState, memory: GuestMemory | None, fd: int, *_: int) -> Errno:
    """What a stream may be told and has no effect here: flags, to be synchronous."""
    return Errno.SUCCESS if is_open(state, fd) else Errno.BADF


def no_position(state: HostState, memory: GuestMemory | None, fd: int, *_: int) -> Errno:
    """Streams cannot be sought in."""
    return Errno.SPIPE if is_open(state, fd) else Errno.BADF


def no_size(state: HostState, memory: GuestMemory | None, fd: int, *_: int) -> Errno:
    """Streams have neither size nor times that could be set."""
    return Errno.INVAL if is_open(state, fd) else Errno.BADF


def no_rights(state: HostState, memory: GuestMemory | None, fd: int, *_: int) -> Errno:
    """Rights stay, and numbers are not moved."""
    return Errno.NOTSUP if is_open(state, fd) else Errno.BADF


def no_directory(state: HostState, memory: GuestMemory | None, fd: int, *_: int) -> Errno:
    """There are no files: no directory was opened beforehand, and every path begins at one."""
    return Errno.NOTDIR if is_open(state, fd) else Errno.BADF


def no_directory_third(
    state: HostState, memory: GuestMemory | None, _text: int, _length: int, fd: int, *_: int
) -> Errno:
    """The same for `path_symlink`, which names the directory third."""
    return no_directory(state, memory, fd)


def not_opened_beforehand(state: HostState, memory: GuestMemory | None, fd: int, *_: int) -> Errno:
    """No descriptor is a directory that was opened beforehand; asking from 3 on ends at once."""
    return Errno.BADF


def no_socket(state: HostState, memory: GuestMemory | None, fd: int, *_: int) -> Errno:
    """There is no network here."""
    return Errno.NOTSOCK if is_open(state, fd) else Errno.BADF
