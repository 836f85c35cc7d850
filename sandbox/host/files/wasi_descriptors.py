"""WASI's functions for open files and folders. Each look at a file's content passes the gate again: a grant ends for open files, too.

Threat: as in `wasi_streams`. A call moves 1 MiB at most, which WASI allows: it says how much it did.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sandbox.host.files.access import READ, WRITE
from sandbox.host.files.paths import is_denied
from sandbox.host.files.problems import FileCode, FileTrouble, system_trouble, too_large
from sandbox.host.files.table import Descriptor
from sandbox.host.files.wasi_call import WasiCall
from sandbox.host.wasi_errno import Errno
from sandbox.host.wasi_streams import VECTORS_MAX
from sandbox.memory import CALL_BYTES_MAX
from schemas.capabilities import Capability

OFFSET_MAX = (1 << 63) - 1
ENTRIES_MAX = 10_000
"""Of one folder; a larger one is not listed."""
DIRECTORY, REGULAR, LINK, OTHER = 3, 4, 7, 0
"""File types."""
APPEND, NONBLOCK = 1, 4
"""Descriptor flags that are taken; the others ask that writes be durable, which nobody promises."""
RIGHTS_READ = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 21
"""fd_read, fd_seek, fd_tell, fd_filestat_get."""
RIGHTS_WRITE = 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 21 | 1 << 22
"""fd_seek, fd_fdstat_set_flags, fd_tell, fd_write, fd_filestat_get, fd_filestat_set_size."""
RIGHTS_FOLDER = 1 << 9 | 1 << 10 | 1 << 13 | 1 << 14 | 1 << 18 | 1 << 21 | 1 << 25 | 1 << 26
"""path_create_directory, path_create_file, path_open, fd_readdir, path_filestat_get, fd_filestat_get, path_remove_directory, path_unlink_file."""
_WHENCE = (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END)


def fd_close(call: WasiCall, fd: int) -> None:
    """The number is free again."""
    call.table.drop(fd)


def fd_prestat_get(call: WasiCall, fd: int, out: int) -> None:
    """A granted folder: the length of its name."""
    call.memory.write(out, struct.pack("<B3xI", 0, len(_preopened(call, fd))))


def fd_prestat_dir_name(call: WasiCall, fd: int, out: int, room: int) -> None:
    """Its name: the path by which the operator granted it."""
    name = _preopened(call, fd)
    if room < len(name):
        raise FileTrouble(FileCode.IO_ERROR, "no room for a folder's name", Errno.NAMETOOLONG)
    call.memory.write(out, name)


def _preopened(call: WasiCall, fd: int) -> bytes:
    found = call.table.find(fd)
    if not found.preopened:
        raise FileTrouble(FileCode.IO_ERROR, "not opened beforehand", Errno.BADF)
    return ("/" + "/".join(found.path.names)).encode()


def fd_read(call: WasiCall, fd: int, vectors: int, count: int, done: int) -> None:
    """From where the descriptor stands."""
    _read(call, fd, vectors, count, done, os.read)


def fd_pread(call: WasiCall, fd: int, vectors: int, count: int, offset: int, done: int) -> None:
    """From a place; the descriptor stays where it stands."""
    _check_offset(offset)
    _read(call, fd, vectors, count, done, lambda file, size: os.pread(file, size, offset))


def _read(call: WasiCall, fd: int, vectors: int, count: int, done: int, read: Callable[[int, int], bytes]) -> None:
    opened, file = _readable(call, fd)
    ranges = _ranges(call, vectors, count)
    call.memory.check(done, 4)
    for address, length in ranges:
        call.memory.check(address, length)
    call.table.files.admit(call, opened.path, READ)
    with _system(opened):
        content = read(file, min(sum(length for _, length in ranges), CALL_BYTES_MAX))
    call.bytes += len(content)
    at = 0
    for address, length in ranges:
        call.memory.write(address, content[at : at + length])
        at += length
    call.memory.write(done, len(content).to_bytes(4, "little"))


def fd_write(call: WasiCall, fd: int, vectors: int, count: int, done: int) -> None:
    """Where the descriptor stands, or at the end; as much as the grant's `file_size` leaves."""
    opened, file = _writable(call, fd)
    with _system(opened):
        at = os.fstat(file).st_size if opened.appends else os.lseek(file, 0, os.SEEK_CUR)
    _write(call, opened, _gather(call, vectors, count), at, done, lambda content: os.write(file, content))


def fd_pwrite(call: WasiCall, fd: int, vectors: int, count: int, offset: int, done: int) -> None:
    """To a place; the descriptor stays where it stands."""
    opened, file = _writable(call, fd)
    _check_offset(offset)
    if opened.appends:  # Linux would append
        raise FileTrouble(FileCode.IO_ERROR, "a descriptor that appends has no places", Errno.NOTSUP)
    content = _gather(call, vectors, count)
    _write(call, opened, content, offset, done, lambda content: os.pwrite(file, content, offset))


def _write(
    call: WasiCall, opened: Descriptor, content: bytes, at: int, done: int, write: Callable[[bytes], int]
) -> None:
    call.memory.check(done, 4)
    call.table.files.admit(call, opened.path, WRITE)
    room = opened.bytes_max - at
    if content and room <= 0:
        raise too_large(opened.path.text, at + len(content), opened.bytes_max)
    with _system(opened):
        written = write(content[:room]) if content else 0
    call.bytes += written
    call.memory.write(done, written.to_bytes(4, "little"))


def fd_seek(call: WasiCall, fd: int, delta: int, whence: int, out: int) -> None:
    """From the beginning, from where it stands, from the end."""
    opened, file = call.table.file(fd)
    if whence >= len(_WHENCE):
        raise FileTrouble(FileCode.IO_ERROR, "no such origin", Errno.INVAL)
    call.memory.check(out, 8)
    with _system(opened):
        at = os.lseek(file, delta - (1 << 64) if delta > OFFSET_MAX else delta, _WHENCE[whence])
    call.memory.write(out, at.to_bytes(8, "little"))


def fd_tell(call: WasiCall, fd: int, out: int) -> None:
    """Where it stands."""
    fd_seek(call, fd, 0, 1, out)


def fd_filestat_get(call: WasiCall, fd: int, out: int) -> None:
    """Of an open file, or a folder as it is now."""
    opened = call.table.find(fd)
    call.memory.check(out, 64)
    if opened.file is None:
        write_filestat(call, out, call.table.files.stat(call, opened.path))
        return
    call.table.files.admit(call, opened.path, READ if opened.readable else WRITE)
    with _system(opened):
        write_filestat(call, out, os.fstat(opened.file))


def write_filestat(call: WasiCall, out: int, info: os.stat_result) -> None:
    """The device is not told: it is the host's. Times are 0 without the capability `clock`: a file just written would tell the time."""
    kind = DIRECTORY if stat.S_ISDIR(info.st_mode) else REGULAR
    has_clock = Capability.CLOCK in call.gate.grants.names
    times = (info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns) if has_clock else (0, 0, 0)
    size, links = (0, 1) if kind == DIRECTORY else (info.st_size, info.st_nlink)
    told = (1, info.st_ino, kind, links, size, *(max(0, time) for time in times))
    call.memory.write(out, struct.pack("<QQB7xQQQQQ", *told))


def fd_filestat_set_size(call: WasiCall, fd: int, size: int) -> None:
    """Cut, or grown with zeros."""
    opened, file = _writable(call, fd)
    call.table.files.admit(call, opened.path, WRITE)
    if size > opened.bytes_max:
        raise too_large(opened.path.text, size, opened.bytes_max)
    with _system(opened):
        os.ftruncate(file, size)


def fd_fdstat_get(call: WasiCall, fd: int, out: int) -> None:
    """What it is, and may be used for."""
    opened = call.table.find(fd)
    if opened.file is None:
        names = call.table.files.gate.grants.names
        below = RIGHTS_FOLDER | (RIGHTS_READ if READ in names else 0) | (RIGHTS_WRITE if WRITE in names else 0)
        told = (DIRECTORY, 0, RIGHTS_FOLDER, below)
    else:
        rights = (RIGHTS_READ if opened.readable else 0) | (RIGHTS_WRITE if opened.writable else 0)
        told = (REGULAR, APPEND if opened.appends else 0, rights, 0)
    call.memory.write(out, struct.pack("<BxH4xQQ", *told))


def fd_fdstat_set_flags(call: WasiCall, fd: int, flags: int) -> None:
    """To append, or not."""
    opened, file = call.table.file(fd)
    check_flags(flags)
    if flags & APPEND and not opened.writable:
        raise FileTrouble(FileCode.IO_ERROR, "it is not open for writing", Errno.BADF)
    with _system(opened):
        before = fcntl.fcntl(file, fcntl.F_GETFL)
        fcntl.fcntl(file, fcntl.F_SETFL, before | os.O_APPEND if flags & APPEND else before & ~os.O_APPEND)
    opened.appends = bool(flags & APPEND)


def check_flags(flags: int) -> None:
    """Raises FileTrouble for what cannot be had."""
    if flags & ~(APPEND | NONBLOCK):
        raise FileTrouble(FileCode.IO_ERROR, "writes are not durable", Errno.NOTSUP)


def fd_readdir(call: WasiCall, fd: int, out: int, room: int, cookie: int, done: int) -> None:
    """Entries from the cookie on, by name; what does not fit is cut, as WASI has it."""
    opened = call.table.folder(fd)
    room = min(room, CALL_BYTES_MAX)
    call.memory.check(out, room)
    call.memory.check(done, 4)
    if cookie == 0 or opened.listing is None:
        opened.listing = _listing(call, opened)
    else:
        call.table.files.admit(call, opened.path, READ)
    told = bytearray()
    for entry in opened.listing[cookie:]:
        told += entry
        if len(told) >= room:
            break
    call.bytes += min(len(told), room)
    call.memory.write(out, bytes(told[:room]))
    call.memory.write(done, min(len(told), room).to_bytes(4, "little"))


def _listing(call: WasiCall, opened: Descriptor) -> list[bytes]:
    """Denied places are not in it, nor names that are no UTF-8."""
    files = call.table.files
    place, _ = files.admit(call, opened.path, READ)
    found: list[tuple[bytes, int, int]] = []
    with files.folder(opened.path, place) as folder, os.scandir(folder) as entries:
        for entry in entries:
            if len(found) == ENTRIES_MAX:
                why = f"a folder of more than {ENTRIES_MAX} entries"
                raise FileTrouble(FileCode.RESOURCE_EXHAUSTED, why, Errno.OVERFLOW)
            name = os.fsencode(entry.name)
            if _is_text(name) and not is_denied(files.denied, (*opened.path.names, entry.name)):
                found.append((name, entry.inode(), _kind(entry)))
    call.remaining_ms()
    return [_entry(number, *one) for number, one in enumerate(sorted(found), 1)]


def _entry(number: int, name: bytes, inode: int, kind: int) -> bytes:
    return struct.pack("<QQIB3x", number, inode, len(name), kind) + name


def _kind(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return LINK
    if entry.is_dir(follow_symlinks=False):
        return DIRECTORY
    return REGULAR if entry.is_file(follow_symlinks=False) else OTHER


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def accepted(call: WasiCall, fd: int, *_: int) -> None:
    """Advice has no effect."""
    call.table.find(fd)


def unsupported(call: WasiCall, fd: int, *_: int) -> None:
    """Durability, times, allocation and other numbers."""
    call.table.find(fd)
    raise FileTrouble(FileCode.IO_ERROR, "not served", Errno.NOTSUP)


def _readable(call: WasiCall, fd: int) -> tuple[Descriptor, int]:
    opened, file = call.table.file(fd)
    if not opened.readable:
        raise FileTrouble(FileCode.IO_ERROR, "it is not open for reading", Errno.BADF)
    return opened, file


def _writable(call: WasiCall, fd: int) -> tuple[Descriptor, int]:
    opened, file = call.table.file(fd)
    if not opened.writable:
        raise FileTrouble(FileCode.IO_ERROR, "it is not open for writing", Errno.BADF)
    return opened, file


def _ranges(call: WasiCall, vectors: int, count: int) -> list[tuple[int, int]]:
    if count > VECTORS_MAX:
        raise FileTrouble(FileCode.IO_ERROR, f"{count} ranges; {VECTORS_MAX} is the most", Errno.INVAL)
    return list(struct.iter_unpack("<II", call.memory.read(vectors, 8 * count)))


def _gather(call: WasiCall, vectors: int, count: int) -> bytes:
    """The first megabyte of these ranges; all of them must be inside."""
    ranges = _ranges(call, vectors, count)
    for address, length in ranges:
        call.memory.check(address, length)
    content = bytearray()
    for address, length in ranges:
        content += call.memory.read(address, min(length, CALL_BYTES_MAX - len(content)))
    return bytes(content)


def _check_offset(offset: int) -> None:
    if offset > OFFSET_MAX:
        raise FileTrouble(FileCode.IO_ERROR, "no such place", Errno.INVAL)


@contextmanager
def _system(opened: Descriptor) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise system_trouble(error, opened.path.text) from None
