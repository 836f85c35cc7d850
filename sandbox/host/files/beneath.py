"""Opening beneath a folder that is held open: no `..`, no links of either kind, no other file system on the way.

Threat: whatever was looked at by its path may be something else when it is opened by its path. So nothing is: the kernel resolves
all names in one call (`openat2`), or each name is opened in the folder opened before it, and every check is made of what was opened.
Where the kernel has no `openat2`, or a container forbids it, folders are walked by hand to the same end.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Protocol

OPENAT2 = 437
"""The call's number; the same on every machine listed here."""
MACHINES = frozenset({"x86_64", "aarch64", "riscv64", "ppc64le", "s390x", "armv7l", "i686"})
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH = 0x01, 0x02, 0x04, 0x08
RESOLVE = NO_XDEV | NO_MAGICLINKS | NO_SYMLINKS | BENEATH
TRIES_MAX = 16
"""The kernel asks for another try (EAGAIN) when something moved under its hands."""

PATH_ONLY = getattr(os, "O_PATH", os.O_RDONLY)
FOLDER = PATH_ONLY | os.O_DIRECTORY | os.O_CLOEXEC
SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""A fifo does not hold the caller up, a terminal does not become his."""


class Opener(Protocol):
    """Opens `names` beneath the open folder `folder`; a new descriptor. Raises OSError, ELOOP and EXDEV for ways that lead out."""

    def __call__(self, folder: int, names: Sequence[str], flags: int, mode: int = 0) -> int:
        """No names are the folder itself."""
        ...


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _syscall() -> ctypes._FuncPointer:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    return function


def by_kernel(folder: int, names: Sequence[str], flags: int, mode: int = 0) -> int:
    """With `openat2`: all names in one call."""
    how = _How(flags | os.O_CLOEXEC, mode if flags & os.O_CREAT else 0, RESOLVE)
    path = "/".join(names).encode() or b"."
    for _ in range(TRIES_MAX):
        arguments = (ctypes.c_long(OPENAT2), ctypes.c_int(folder), ctypes.c_char_p(path))
        found: int = _syscall()(*arguments, ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
        if found >= 0:
            return found
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def by_walking(folder: int, names: Sequence[str], flags: int, mode: int = 0) -> int:
    """Without it: each name in the folder opened before."""
    if not names:
        return os.open(".", flags, dir_fd=folder)
    mount = _mount(folder)
    at = os.dup(folder)
    try:
        for name in names[:-1]:
            at = _replaced(at, _step(at, name, FOLDER, 0, mount))
        return _step(at, names[-1], flags, mode, mount)
    finally:
        os.close(at)


def _replaced(before: int, after: int) -> int:
    os.close(before)
    return after


def _step(folder: int, name: str, flags: int, mode: int, mount: object) -> int:
    assert name not in ("", ".", "..") and "/" not in name
    try:
        found = os.open(name.encode(), flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
    except NotADirectoryError:
        with suppress(FileNotFoundError):
            if stat.S_ISLNK(os.stat(name.encode(), dir_fd=folder, follow_symlinks=False).st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise
    if _mount(found) != mount:
        os.close(found)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    return found


def _mount(opened: int) -> object:
    """Which mount this lies in; its device where the system does not say."""
    try:
        with Path(f"/proc/self/fdinfo/{opened}").open() as lines:
            for line in lines:
                if line.startswith("mnt_id:"):
                    return line
    except OSError:
        pass
    return os.fstat(opened).st_dev


@cache
def opener() -> Opener:
    """The kernel's way where it has one and lets us, else the walk."""
    if platform.system() != "Linux" or platform.machine() not in MACHINES:
        return by_walking
    top = os.open("/", FOLDER)
    try:
        os.close(by_kernel(top, (), FOLDER))
    except OSError:
        return by_walking
    finally:
        os.close(top)
    return by_kernel
