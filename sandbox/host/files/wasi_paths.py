"""WASI's functions that take a path: below an open folder, without links, and nothing that would make one."""

from __future__ import annotations

import os

from sandbox.host.files.access import CREATE, READ, WRITE
from sandbox.host.files.paths import PATH_BYTES_MAX, GuestPath, Place, parse
from sandbox.host.files.problems import FileCode, FileDenied, FileTrouble, system_trouble
from sandbox.host.files.table import Descriptor
from sandbox.host.files.wasi_call import WasiCall
from sandbox.host.files.wasi_descriptors import APPEND, check_flags, write_filestat
from sandbox.host.wasi_errno import Errno
from schemas.capabilities import FileScope

CREAT, DIRECTORY, EXCL, TRUNC = 1, 2, 4, 8
"""How to open."""
WANTS_READ = 1 << 1 | 1 << 14
"""fd_read, fd_readdir."""
WANTS_WRITE = 1 << 6 | 1 << 8 | 1 << 22
"""fd_write, fd_allocate, fd_filestat_set_size."""
TRIES_MAX = 8
"""While others create and delete the same file."""


def path_open(
    call: WasiCall,
    fd: int,
    _lookup: int,
    text: int,
    length: int,
    how: int,
    rights: int,
    _inheriting: int,
    flags: int,
    out: int,
) -> None:
    """A file or a folder. New files need `filesystem-create`; rights to write, cutting and appending `filesystem-write`."""
    path = _path(call, fd, text, length)
    call.memory.check(out, 4)
    check_flags(flags)
    if how & ~(CREAT | DIRECTORY | EXCL | TRUNC) or (how & DIRECTORY and how & (CREAT | EXCL | TRUNC)):
        raise FileTrouble(FileCode.IO_ERROR, "no such way to open", Errno.INVAL)
    writes = bool(rights & WANTS_WRITE or how & TRUNC or flags & APPEND)
    opened = None
    if not how & DIRECTORY and not path.is_folder:
        opened = _file(call, path, how, flags, reads=bool(rights & WANTS_READ) or not writes, writes=writes)
    number = call.table.add(opened or _folder(call, path))
    call.memory.write(out, number.to_bytes(4, "little"))


def _folder(call: WasiCall, path: GuestPath) -> Descriptor:
    files = call.table.files
    place, scope = files.admit(call, path, files.either(path))
    call.table.make_room(scope.descriptors)
    with files.folder(path, place):
        return Descriptor(GuestPath(path.names, True, True))


def _file(call: WasiCall, path: GuestPath, how: int, flags: int, *, reads: bool, writes: bool) -> Descriptor | None:
    """None when there is a folder, and it is only to be read."""
    if path.names in {one.path.names for one in call.table.preopened()}:
        return None
    place, scope = _admitted(call, path, reads=reads, writes=writes)
    call.table.make_room(scope.descriptors)
    access = os.O_RDWR if reads and writes else os.O_WRONLY if writes else os.O_RDONLY
    access |= os.O_APPEND if flags & APPEND else 0
    try:
        file = _opened(call, path, place, scope, how, access)
    except FileTrouble as trouble:
        if trouble.errno is Errno.ISDIR and not writes and not how & CREAT:
            return None
        raise
    try:
        if how & TRUNC:
            os.ftruncate(file, 0)
    except OSError as error:
        os.close(file)
        raise system_trouble(error, path.text) from None
    appends = bool(flags & APPEND)
    return Descriptor(path, file, reads, writes, appends, min(scope.file_bytes_max, (1 << 63) - 1))


def _admitted(call: WasiCall, path: GuestPath, *, reads: bool, writes: bool) -> tuple[Place, FileScope]:
    """Where it leads: by the scope that bounds writing, where it is written."""
    files = call.table.files
    read = files.admit(call, path, READ) if reads else None
    found = files.admit(call, path, WRITE) if writes else read
    assert found is not None
    return found


def _opened(call: WasiCall, path: GuestPath, place: Place, scope: FileScope, how: int, access: int) -> int:
    """What is there, or a new file: never one that somebody else just put there unseen."""
    files, most = call.table.files, (1 << 63) - 1 if how & TRUNC else scope.file_bytes_max
    created = None
    for _ in range(TRIES_MAX):
        if not (how & CREAT and how & EXCL):
            try:
                return files.open(path, place, access, most)
            except FileTrouble as trouble:
                if trouble.errno is not Errno.NOENT or not how & CREAT:
                    raise
        created = created or files.admit(call, path, CREATE)[0]
        try:
            return files.open(path, created, access | os.O_CREAT | os.O_EXCL, most)
        except FileTrouble as trouble:
            if trouble.errno is not Errno.EXIST or how & EXCL:
                raise
    raise FileTrouble(FileCode.IO_ERROR, "it comes and goes", Errno.BUSY)


def path_create_directory(call: WasiCall, fd: int, text: int, length: int) -> None:
    """Needs `filesystem-create`."""
    call.table.files.create_folder(call, _path(call, fd, text, length))


def path_unlink_file(call: WasiCall, fd: int, text: int, length: int) -> None:
    """Needs `filesystem-delete`."""
    call.table.files.delete(call, _path(call, fd, text, length))


def path_remove_directory(call: WasiCall, fd: int, text: int, length: int) -> None:
    """Needs `filesystem-delete`; the folder must be empty."""
    call.table.files.delete(call, _path(call, fd, text, length), folder=True)


def path_filestat_get(call: WasiCall, fd: int, _lookup: int, text: int, length: int, out: int) -> None:
    """Of a plain file or a folder; links are not followed, whatever is asked."""
    path = _path(call, fd, text, length)
    call.memory.check(out, 64)
    write_filestat(call, out, call.table.files.stat(call, path))


def no_links(call: WasiCall, *_: int) -> None:
    """Nobody makes links: they are ways around a grant."""
    raise FileDenied(FileCode.PERMISSION_DENIED, "links are not made", errno=Errno.PERM)


def _path(call: WasiCall, fd: int, text: int, length: int) -> GuestPath:
    """A path below an open folder, from the top. Raises FileDenied, FileTrouble, OutOfBounds."""
    folder = call.table.folder(fd)
    if length > PATH_BYTES_MAX:
        why = f"a path of {length} bytes; {PATH_BYTES_MAX} is the most"
        raise FileDenied(FileCode.INVALID_PATH, why, errno=Errno.NAMETOOLONG)
    try:
        path = parse(call.memory.read(text, length).decode())
    except UnicodeDecodeError:
        raise FileDenied(FileCode.INVALID_PATH, "a path that is no UTF-8", errno=Errno.ILSEQ) from None
    if path.is_absolute:
        raise FileDenied(FileCode.INVALID_PATH, "an absolute path", errno=Errno.NOTCAPABLE)
    return path.below(folder.path.names)
