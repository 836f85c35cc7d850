"""The error numbers of WASI preview 1 that the shim answers with."""

from __future__ import annotations

from enum import IntEnum


class Errno(IntEnum):
    """`errno` as the specification numbers it (wasi_snapshot_preview1)."""

    SUCCESS = 0
    BADF = 8
    """No such file descriptor: there are 0, 1 and 2 only."""
    FAULT = 21
    """A range outside of memory."""
    INVAL = 28
    NOTDIR = 54
    """A path is looked up from a directory, and there is none."""
    NOTSOCK = 57
    NOTSUP = 58
    SPIPE = 70
    """A stream has no position."""
    NOTCAPABLE = 76
    """The capability is granted, but used up or at its end."""
