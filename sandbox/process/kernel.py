"""The few kernel interfaces that Python has no name for, through ctypes."""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
CAPABILITIES_VERSION: Final = 0x20080522
CAPABILITIES_MAX: Final = 64
SECCOMP: Final = 317
SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_GET_ACTION_AVAIL: Final = 2
SECCOMP_FILTER_FLAG_TSYNC: Final = 1
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000


class KernelRefusal(OSError):
    """The kernel does not do what was asked."""


def _library() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: Any) -> int:
    """A system call by its number. Raises KernelRefusal."""
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    function = _library().syscall
    function.restype = ctypes.c_long
    return _checked(function(ctypes.c_long(number), *words), f"system call {number}")


def prctl(option: int, *arguments: int) -> int:
    """Raises KernelRefusal."""
    words = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(_library().prctl(ctypes.c_int(option), *words), f"prctl {option}")


def unshare(flags: int) -> None:
    """New namespaces for this process, which must have one thread. Raises KernelRefusal."""
    _checked(_library().unshare(ctypes.c_int(flags)), "unshare")


def drop_capabilities() -> None:
    """Give up every privilege of this thread, for good."""
    for one in range(CAPABILITIES_MAX):
        try:
            prctl(PR_CAPBSET_DROP, one)
        except KernelRefusal:  # not privileged, or there are no more
            break
    with suppress(KernelRefusal):  # an older kernel has no ambient ones
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    head = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITIES_VERSION, 0))
    none = ctypes.create_string_buffer(bytes(24))
    _checked(_library().capset(head, none), "capset")


def install_filter(program: bytes) -> None:
    """Put a seccomp filter in force for all threads of this process. Needs no_new_privs. Raises KernelRefusal."""
    code = ctypes.create_string_buffer(program)
    address = ctypes.addressof(code)
    holder = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, address))
    found = syscall(SECCOMP, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, holder)
    if found:
        raise KernelRefusal(0, f"thread {found} cannot take the seccomp filter")


def has_filters(action: int) -> bool:
    """The kernel has seccomp filters with this action."""
    wanted = ctypes.create_string_buffer(struct.pack("=I", action))
    try:
        return syscall(SECCOMP, SECCOMP_GET_ACTION_AVAIL, 0, wanted) == 0
    except KernelRefusal:
        return False


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise KernelRefusal(number, f"{what}: {os.strerror(number)}")
    return result
