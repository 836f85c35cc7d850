"""Landlock: the kernel denies this process every file, and TCP, whatever user it runs as.

Threat: seccomp sees numbers, not paths; a call that its list forgot would still open files. A ruleset that handles every right and has
no rules grants none of them. It holds for the calling thread and those it starts, so it comes before any other thread does.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

from sandbox.process.kernel import KernelRefusal, syscall

CREATE_RULESET: Final = 444
RESTRICT_SELF: Final = 446
VERSION_FLAG: Final = 1
FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights to files there are, from which version on."""
TCP_RIGHTS: Final = 0b11
"""bind and connect, from version 4 on."""
SCOPES: Final = 0b11
"""No abstract Unix sockets and no signals to the outside, from version 6 on."""


def version() -> int:
    """The kernel's Landlock version; 0 when it has none."""
    try:
        return syscall(CREATE_RULESET, None, 0, VERSION_FLAG)
    except KernelRefusal:
        return 0


def restrict() -> int:
    """Take every right from this thread. Needs no_new_privs. Returns the version that did it; raises KernelRefusal."""
    found = version()
    if found == 0:
        return 0
    attributes = ctypes.create_string_buffer(ruleset(found))
    descriptor = syscall(CREATE_RULESET, attributes, len(attributes.raw) - 1, 0)
    try:
        syscall(RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)
    return found


def ruleset(found: int) -> bytes:
    """`struct landlock_ruleset_attr` for this version: everything handled."""
    files = (1 << max(count for since, count in FILE_RIGHTS.items() if since <= found)) - 1
    words = [files] + ([TCP_RIGHTS] if found >= 4 else []) + ([SCOPES] if found >= 6 else [])
    return struct.pack(f"={len(words)}Q", *words)
