"""What is taken from a guest's process before any guest runs in it, in the order in which it has to happen.

Threat: a guest that breaks out of WebAssembly has this process: its memory, its descriptors, its user. So there is one guest at a
time and nothing else in that memory, one descriptor (the channel to the host) beside the null device, no privilege, no file, no network, no new
process, and a bound on memory and CPU. What this kernel lacks is left out and said (`probe`), never pretended.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sandbox.process import kernel, landlock, seccomp

CPU_SECONDS = 3600
"""Of a process's whole life; the host replaces it before that."""
DESCRIPTORS = 16
DATA_SPARE_BYTES = 192 << 20
"""What the host's own code in there, frames and their copies may take beyond the guest's memory. No bound for code that broke out: the kernel
does not count shared and read-only mappings here. That one has `RESERVED_BYTES`.
"""
RESERVED_BYTES = 16 << 30
"""Of addresses, not memory: a guest's memory reserves 4 GiB and guards whatever its limit is."""


class Posture(NamedTuple):
    """What holds a process. Each is a fact of this machine, found by trying."""

    seccomp: bool
    landlock: int
    """Its version; 0 is none."""
    network_namespace: bool
    linux: bool = True
    """rlimits, no_new_privs, the signal at the parent's death, no core dump, no ptrace."""

    def describe(self) -> str:
        """One line, with what is missing."""
        if not self.linux:
            return "a process of its own with rlimits; this system has no seccomp, Landlock or namespaces"
        found = {
            "seccomp": self.seccomp,
            f"Landlock (version {self.landlock})": bool(self.landlock),
            "empty network namespace": self.network_namespace,
        }
        has = ["no_new_privs", "rlimits", *(name for name, is_there in found.items() if is_there)]
        lacks = [name.partition(" (")[0] for name, is_there in found.items() if not is_there]
        return ", ".join(has) + (f"; this machine lacks: {', '.join(lacks)}" if lacks else "")


def probe() -> Posture:
    """What this machine has. The namespaces are tried in a process of their own."""
    if sys.platform != "linux":
        return Posture(False, 0, False, linux=False)
    has_filters = seccomp.is_known_here() and kernel.has_filters(seccomp.KILL_PROCESS)
    return Posture(has_filters, landlock.version(), _has_namespaces())


def _has_namespaces() -> bool:
    import subprocess

    code = (
        f"import ctypes; raise SystemExit(ctypes.CDLL(None).unshare({kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET}) != 0)"
    )
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, check=False, env={}, stderr=subprocess.DEVNULL)  # noqa: S603  # our own text
    return done.returncode == 0


def die_with(parent: int) -> None:
    """End with the process that started this one. To be called first; `parent` is who that should be."""
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was faster
        os._exit(0)


def confine(memory_bytes: int, start_threads: Callable[[], object] = lambda: None) -> Posture:
    """Take everything away. `start_threads` is called at the last moment at which threads can start.

    `memory_bytes` is what the guest may have. Must be called by the only thread there is. Raises KernelRefusal for what this kernel has and
    refuses all the same; what it lacks is in the posture.
    """
    if sys.platform != "linux":
        _limit(memory_bytes)
        start_threads()
        return Posture(False, 0, False, linux=False)
    assert threading.active_count() == 1, "namespaces and Landlock hold for threads that come after them"
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    has_namespaces = _leave_the_network()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.drop_capabilities()
    _limit(memory_bytes)
    landlock_version = landlock.restrict()
    start_threads()
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    has_filter = seccomp.is_known_here() and kernel.has_filters(seccomp.KILL_PROCESS)
    if has_filter:
        kernel.install_filter(seccomp.program(os.getpid()))
    return Posture(has_filter, landlock_version, has_namespaces)


def _leave_the_network() -> bool:
    try:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
    except kernel.KernelRefusal:
        return False
    return True


def _limit(memory_bytes: int) -> None:
    addresses, data = _in_use()
    room = 2 * memory_bytes + DATA_SPARE_BYTES
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: CPU_SECONDS,
        resource.RLIMIT_NOFILE: DESCRIPTORS,
        resource.RLIMIT_FSIZE: max(memory_bytes, 1 << 20),
        resource.RLIMIT_DATA: data + room,
        resource.RLIMIT_AS: addresses + room + RESERVED_BYTES,
    }
    for one, wanted in limits.items():
        hard = resource.getrlimit(one)[1]
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(one, (most, most))


def _in_use() -> tuple[int, int]:
    """Bytes of addresses, and of private writable memory, that this process has by now."""
    try:
        words = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0, 0
    page = resource.getpagesize()
    return int(words[0]) * page, int(words[5]) * page
