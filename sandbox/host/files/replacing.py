"""Putting a new file in the place of one that is there: in one step, and only if it still is there.

Threat: `rename` makes a name as readily as it replaces one. Between a look that finds a file and the rename, another may delete it,
and who may only change files would have made one; or put something there that is not to be touched (a hard link, a folder), and it
would be gone unseen. So the two are exchanged (`renameat2`), which fails when there is nothing, and what came out is looked at.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache

RENAME_EXCHANGE = 2
UNKNOWN = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})
"""The kernel, the file system or a container does not exchange."""


def replace(folder: int, new: str, name: str, check: Callable[[os.stat_result], None]) -> None:
    """Rename `new` to `name`, which must be there and pass `check`, and which is deleted. Raises OSError, and what `check` raises.

    Where files cannot be exchanged, the look and the renaming are two steps, and nothing is between them but the time they take.
    """
    try:
        exchange(folder, new, name)
    except OSError as error:
        if error.errno not in UNKNOWN:
            raise
        check(os.stat(name.encode(), dir_fd=folder, follow_symlinks=False))
        os.rename(new, name.encode(), src_dir_fd=folder, dst_dir_fd=folder)
        return
    try:
        check(os.stat(new, dir_fd=folder, follow_symlinks=False))
    except BaseException:
        with suppress(OSError):
            exchange(folder, new, name)
        raise
    os.unlink(new, dir_fd=folder)


def exchange(folder: int, one: str, other: str) -> None:
    """Two names of a folder, in one step. Raises OSError; ENOENT when either is not there."""
    call = _renameat2()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(folder, one.encode(), folder, other.encode(), RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """None where the C library has none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    found: Callable[[int, bytes, int, bytes, int], int] = function
    return found
