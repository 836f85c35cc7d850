"""A seccomp filter as classic BPF: which system calls a guest's process may still make.

Threat: whoever breaks out of WebAssembly runs machine code in this process. What is listed here is what wasmtime and CPython need once
everything is loaded; each other call ends the process, so that the first attempt is the last. Opening and looking up files is
answered with EACCES instead, because an innocent Python does that too (a traceback looks for source lines).

No new executable memory can be had: code is mapped before the filter is in force. Written for x86-64, the only architecture it was run on.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import Final

AUDIT_ARCH_X86_64: Final = 0xC000003E
X32_BIT: Final = 0x40000000
"""The x32 interface has the same calls under other numbers."""
PROT_EXEC: Final = 4

ALLOWED: Final = {
    "read": 0,
    "write": 1,
    "close": 3,
    "poll": 7,
    "lseek": 8,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "pread64": 17,
    "readv": 19,
    "writev": 20,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "nanosleep": 35,
    "getpid": 39,
    "exit": 60,
    "ftruncate": 77,
    "gettimeofday": 96,
    "getrusage": 98,
    "sigaltstack": 131,
    "gettid": 186,
    "futex": 202,
    "sched_getaffinity": 204,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "clock_getres": 229,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "set_robust_list": 273,
    "getrandom": 318,
    "memfd_create": 319,
    "membarrier": 324,
    "rseq": 334,
}
"""wasmtime keeps a module's first memory in a memfd, which nobody can execute."""
QUIET: Final = {
    "open": 2,
    "stat": 4,
    "fstat": 5,
    "lstat": 6,
    "ioctl": 16,
    "access": 21,
    "getdents64": 217,
    "openat": 257,
    "newfstatat": 262,
    "readlink": 89,
    "readlinkat": 267,
    "getcwd": 79,
    "faccessat": 269,
    "faccessat2": 439,
    "statx": 332,
}
"""Refused with EACCES."""
MMAP, MPROTECT, FCNTL, TGKILL, PRLIMIT = 9, 10, 72, 234, 302
FCNTL_COMMANDS: Final = (1, 3, 1033)
"""F_GETFD, F_GETFL, F_ADD_SEALS."""

KILL_PROCESS: Final = 0x80000000
ERRNO: Final = 0x00050000
ALLOW: Final = 0x7FFF0000

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16


def is_known_here() -> bool:
    """There is a list of calls for this machine's architecture."""
    return platform.machine() == "x86_64"


def program(pid: int) -> bytes:
    """The filter of the process `pid`, as an array of `struct sock_filter`."""
    allow, kill, refuse = _op(_RETURN, ALLOW), _op(_RETURN, KILL_PROCESS), _op(_RETURN, ERRNO | errno.EACCES)
    parts = [
        _op(_LOAD, _ARCH) + _op(_JUMP_EQUAL, AUDIT_ARCH_X86_64, 1, 0) + kill,
        _op(_LOAD, _NUMBER) + _op(_JUMP_GREATER_EQUAL, X32_BIT, 0, 1) + kill,
    ]
    parts += [_op(_JUMP_EQUAL, number, 0, 1) + allow for number in ALLOWED.values()]
    parts += [_op(_JUMP_EQUAL, number, 0, 1) + refuse for number in QUIET.values()]
    no_code = _low(2) + _op(_JUMP_BITS, PROT_EXEC, 1, 0) + allow + kill
    parts += [_when(MMAP, no_code), _when(MPROTECT, no_code)]
    parts.append(_when(FCNTL, _low(1) + b"".join(_op(_JUMP_EQUAL, one, 0, 1) + allow for one in FCNTL_COMMANDS) + kill))
    parts.append(_when(TGKILL, _low(0) + _op(_JUMP_EQUAL, pid, 0, 1) + allow + kill))
    parts.append(_when(PRLIMIT, _only_asks() + allow + kill))
    return b"".join(parts) + kill


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _when(number: int, then: bytes) -> bytes:
    """`then`, which returns in any case, for this call only."""
    return _op(_JUMP_EQUAL, number, 0, len(then) // 8) + then


def _low(argument: int) -> bytes:
    """Load the lower half of an argument (little-endian)."""
    return _op(_LOAD, _ARGUMENTS + 8 * argument)


def _only_asks() -> bytes:
    """End the process unless its own limits are only read: prlimit(0, _, NULL, _)."""
    kill = _op(_RETURN, KILL_PROCESS)
    words = (_ARGUMENTS, _ARGUMENTS + 4, _ARGUMENTS + 16, _ARGUMENTS + 20)
    return b"".join(_op(_LOAD, word) + _op(_JUMP_EQUAL, 0, 1, 0) + kill for word in words)
