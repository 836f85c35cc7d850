"""The error numbers of WASI preview 1 that the shim answers with."""

from __future__ import annotations

from enum import IntEnum


class Errno(IntEnum):
    """`errno` as the specification numbers it (wasi_snapshot_preview1)."""

    SUCCESS = 0
    ACCES = 2
    BADF = 8
    """No such file descriptor: there are 0, 1 and 2, and files where they are granted."""
    BUSY = 10
    DQUOT = 19
    EXIST = 20
    FAULT = 21
    """A range outside of memory."""
    FBIG = 22
    """Beyond the grant's `file_size`."""
    ILSEQ = 25
    INVAL = 28
    IO = 29
    ISDIR = 31
    MFILE = 33
    """Beyond the grant's `descriptors`."""
    NAMETOOLONG = 37
    NFILE = 41
    NOENT = 44
    NOSPC = 51
    NOTDIR = 54
    """A path is looked up from a directory, and there is none."""
    NOTEMPTY = 55
    NOTSOCK = 57
    NOTSUP = 58
    OVERFLOW = 61
    PERM = 63
    ROFS = 69
    SPIPE = 70
    """A stream has no position."""
    TIMEDOUT = 73
    TXTBSY = 74
    NOTCAPABLE = 76
    """Not granted, or the grant is used up or at its end."""
