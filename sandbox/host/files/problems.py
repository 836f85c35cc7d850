"""Why a file could not be had: one code for the operator's messages, and what the guest gets for it.

The codes are those of the reference documents' SecurityError and WASIError. A message may name the guest's path, made fit to be
read; never what is in a file.
"""

from __future__ import annotations

import errno
from enum import StrEnum

from sandbox.host.gate import Denied
from sandbox.host.wasi_errno import Errno
from sandbox.text import cut, printable
from schemas.abi import ERROR_DEADLINE, ERROR_TOO_LARGE, ERROR_UNAVAILABLE

SHOWN_CHARACTERS_MAX = 200


class FileCode(StrEnum):
    """What a message about a file begins with."""

    CAPABILITY_DENIED = "CapabilityDenied"
    """No grant for it, or none any more."""
    INSUFFICIENT_PRIVILEGES = "InsufficientPrivileges"
    """The path is granted, but not for this."""
    PERMISSION_DENIED = "PermissionDenied"
    """The path is not granted, or leads to what nobody is granted: links, devices, kernel files, denied places."""
    INVALID_PATH = "InvalidPath"
    IO_ERROR = "IOError"
    """The system says no: there is no such file, the disk is full."""
    RESOURCE_EXHAUSTED = "ResourceExhausted"
    """More bytes or descriptors than the grant has."""


class FileDenied(Denied):
    """A denied call; `errno` is what WASI answers."""

    def __init__(self, code: FileCode, why: str, remedy: str = "", errno: Errno = Errno.NOTCAPABLE) -> None:
        super().__init__(f"{code}: {why}", remedy)
        self.code = code
        self.errno = errno


class FileTrouble(Exception):
    """An allowed call that comes to nothing; `abi` is the import's code, `errno` what WASI answers."""

    def __init__(self, code: FileCode, why: str, errno: Errno, abi: int = ERROR_UNAVAILABLE) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code
        self.errno = errno
        self.abi = abi


def shown(path: str) -> str:
    """A guest's path, for a message."""
    return cut(printable(path).replace("\n", " "), SHOWN_CHARACTERS_MAX)


def link_on_the_way(path: str) -> FileDenied:
    """No link is followed."""
    why = f"a symbolic link or another file system lies on the way to {shown(path)}"
    return FileDenied(FileCode.PERMISSION_DENIED, why, "links are not followed: grant the place itself")


def too_large(path: str, size: int, most: int) -> FileTrouble:
    """Beyond the grant's `file_size`."""
    why = f"{shown(path)} has or would have {size} bytes; {most} is the most"
    return FileTrouble(FileCode.RESOURCE_EXHAUSTED, why, Errno.FBIG, ERROR_TOO_LARGE)


def out_of_time() -> FileTrouble:
    """The guest's deadline is over."""
    return FileTrouble(FileCode.RESOURCE_EXHAUSTED, "the guest's deadline is over", Errno.TIMEDOUT, ERROR_DEADLINE)


def system_trouble(error: OSError, path: str) -> FileTrouble | FileDenied:
    """What the system's answer amounts to."""
    if error.errno in (errno.ELOOP, errno.EXDEV):
        return link_on_the_way(path)
    told = _ERRNOS.get(error.errno or 0, Errno.IO)
    return FileTrouble(FileCode.IO_ERROR, f"{shown(path)}: {error.strerror or 'input/output error'}", told)


_ERRNOS = {
    errno.EACCES: Errno.ACCES,
    errno.EPERM: Errno.PERM,
    errno.EBUSY: Errno.BUSY,
    errno.EDQUOT: Errno.DQUOT,
    errno.EEXIST: Errno.EXIST,
    errno.EFBIG: Errno.FBIG,
    errno.EINVAL: Errno.INVAL,
    errno.EISDIR: Errno.ISDIR,
    errno.EMFILE: Errno.NFILE,
    errno.ENFILE: Errno.NFILE,
    errno.ENAMETOOLONG: Errno.NAMETOOLONG,
    errno.ENOENT: Errno.NOENT,
    errno.ENOSPC: Errno.NOSPC,
    errno.ENOTDIR: Errno.NOTDIR,
    errno.ENOTEMPTY: Errno.NOTEMPTY,
    errno.EROFS: Errno.ROFS,
    errno.ETXTBSY: Errno.TXTBSY,
}
"""The system's numbers -> WASI's; any other is an I/O error."""
