"""One rule, one test: real Python code, confined as a guest's process is, tries what nobody may."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.process import kernel, landlock, seccomp
from sandbox.process.confinement import Posture, probe

ROOT = Path(__file__).parents[3]
HERE = probe()
NEEDS_SECCOMP = pytest.mark.skipif(not HERE.seccomp, reason="this kernel has no seccomp filters")
NEEDS_LANDLOCK = pytest.mark.skipif(not HERE.landlock, reason="this kernel has no Landlock")
NEEDS_NAMESPACES = pytest.mark.skipif(not HERE.network_namespace, reason="no user and network namespaces here")

PROLOGUE = """
import ctypes, errno, mmap, os, resource, signal, socket, sys, threading, time
sys.path.insert(0, {root!r})
from sandbox.process import kernel, seccomp, landlock
from sandbox.process.confinement import confine
c = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = c.syscall(ctypes.c_long(number), *[ctypes.c_long(one) if isinstance(one, int) else one for one in arguments])
    return result if result >= 0 else -ctypes.get_errno()
{before}
confine(16 << 20, {threads})
{code}
os.write(1, b"still here")
os._exit(0)
"""


SERIES = """
import json, os, sys
results = []
for code in json.load(sys.stdin):
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(writer, 1)
        try:
            exec(compile(code, "attempt", "exec"), {{}})
        except BaseException as error:
            os.write(1, repr(error).encode())
        os._exit(1)
    os.close(writer)
    said = b""
    while part := os.read(reader, 4096):
        said += part
    os.close(reader)
    results.append((os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()))
json.dump(results, sys.stdout)
"""


def in_series(codes: list[str]) -> list[tuple[int, str]]:
    """How each ends, and what it wrote: as `confined`, but one interpreter is started for all, and forks for each."""
    programs = [PROLOGUE.format(root=str(ROOT), before="", threads="lambda: None", code=code) for code in codes]
    command = [sys.executable, "-I", "-c", SERIES.replace("{{}}", "{}")]
    done = subprocess.run(command, input=json.dumps(programs).encode(), capture_output=True, timeout=120, check=True)
    return [(code, said) for code, said in json.loads(done.stdout)]


def confined(code: str, before: str = "", threads: str = "lambda: None") -> subprocess.CompletedProcess[bytes]:
    program = PROLOGUE.format(root=str(ROOT), before=before, code=code, threads=threads)
    return subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, timeout=30, check=False)


def test_a_confined_process_runs() -> None:
    done = confined("x = [n * n for n in range(1000)]; threading.Lock().acquire(); time.monotonic(); os.urandom(16)")
    assert (done.returncode, done.stdout) == (0, b"still here"), done.stderr


KILLED = {
    "socket": "socket.socket()",
    "a raw socket": "call(41, 17, 3, 0)",
    "a Unix socket": "socket.socket(socket.AF_UNIX)",
    "a netlink socket": "call(41, 16, 3, 0)",
    "socketpair": "socket.socketpair()",
    "connect": "call(42, 0, 0, 0)",
    "bind": "call(49, 0, 0, 0)",
    "listen": "call(50, 0, 1)",
    "accept": "call(43, 0, 0, 0)",
    "sendmsg, with which descriptors travel": "call(46, 0, 0, 0)",
    "recvmsg, with which descriptors travel": "call(47, 0, 0, 0)",
    "sendto": "call(44, 0, 0, 0, 0, 0, 0)",
    "fork": "os.fork()",
    "fork, the call itself": "call(57)",
    "vfork": "call(58)",
    "clone": "call(56, 0, 0, 0, 0, 0)",
    "clone3": "call(435, 0, 0)",
    "a thread": "threading.Thread(target=print).start()",
    "execve": "call(59, ctypes.c_char_p(b'/bin/true'), 0, 0)",
    "execveat": "call(322, 0, ctypes.c_char_p(b'/bin/true'), 0, 0, 0)",
    "os.system": "os.system('true')",
    "ptrace": "call(101, 0, 0, 0, 0)",
    "process_vm_readv": "call(310, os.getppid(), 0, 0, 0, 0, 0)",
    "process_vm_writev": "call(311, os.getppid(), 0, 0, 0, 0, 0)",
    "kill of the parent": "os.kill(os.getppid(), 0)",
    "kill of itself": "os.kill(os.getpid(), 0)",
    "tgkill of another": "call(234, os.getppid(), os.getppid(), 0)",
    "pidfd_open": "call(434, 1, 0)",
    "pidfd_getfd": "call(438, 0, 0, 0)",
    "kcmp": "call(312, 1, 1, 0, 0, 0)",
    "mmap of code": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "mprotect to code": "call(10, ctypes.addressof(ctypes.create_string_buffer(8192)) & -4096, 4096, 5)",
    "pkey_mprotect": "call(329, 0, 4096, 5, -1)",
    "memory shared with others": "call(29, 0, 4096, 0o600)",
    "a message queue": "call(68, 0, 0o600)",
    "a POSIX message queue": "call(240, ctypes.c_char_p(b'/q'), 0o100, 0o600, 0)",
    "pipe": "os.pipe()",
    "dup": "os.dup(0)",
    "dup by fcntl": "call(72, 0, 0, 10)",
    "epoll": "call(291, 0)",
    "eventfd": "call(290, 0, 0)",
    "inotify": "call(294, 0)",
    "signalfd": "call(289, -1, 0, 8, 0)",
    "userfaultfd": "call(323, 0)",
    "io_uring": "call(425, 8, 0)",
    "aio": "call(206, 8, 0)",
    "bpf": "call(321, 0, 0, 0)",
    "perf_event_open": "call(298, 0, 0, -1, -1, 0)",
    "keyctl": "call(250, 0, 0, 0, 0, 0)",
    "add_key": "call(248, 0, 0, 0, 0, 0)",
    "unshare": "call(272, 0x10000000)",
    "setns": "call(308, 0, 0)",
    "mount": "call(165, 0, 0, 0, 0, 0)",
    "umount": "call(166, 0, 0)",
    "open_tree": "call(428, -1, 0, 0)",
    "fsopen": "call(430, 0, 0)",
    "chroot": "call(161, ctypes.c_char_p(b'/'))",
    "pivot_root": "call(155, 0, 0)",
    "chdir": "os.chdir('/')",
    "openat2": "call(437, -100, 0, 0, 0)",
    "creat": "call(85, ctypes.c_char_p(b'/tmp/x'), 0o600)",
    "unlink": "os.unlink('/nonexistent')",
    "rename": "os.rename('/nonexistent', '/nonexistent2')",
    "mkdir": "os.mkdir('/nonexistent/x')",
    "link": "os.link('/nonexistent', '/nonexistent2')",
    "symlink": "os.symlink('/nonexistent', '/nonexistent2')",
    "chmod": "os.chmod('/nonexistent', 0o777)",
    "chown": "os.chown('/nonexistent', 0, 0)",
    "truncate of a path": "os.truncate('/nonexistent', 0)",
    "open_by_handle_at": "call(304, -100, 0, 0)",
    "setuid": "os.setuid(os.getuid())",
    "setresuid": "call(117, 0, 0, 0)",
    "capset": "call(126, 0, 0)",
    "prctl": "call(157, 4, 1, 0, 0, 0)",
    "another filter": "call(317, 1, 0, 0)",
    "raising a limit": "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    "another's limits": "call(302, os.getppid(), 7, 0, 0)",
    "a module for the kernel": "call(175, 0, 0, 0)",
    "kexec": "call(246, 0, 0, 0, 0)",
    "reboot": "call(169, 0, 0, 0, 0)",
    "swapon": "call(167, 0, 0)",
    "the clock set": "call(227, 0, 0)",
    "the host's name set": "call(170, 0, 0)",
    "iopl": "call(172, 3)",
    "personality": "call(135, 0)",
    "modify_ldt": "call(154, 0, 0, 0)",
    "splice": "call(275, 0, 0, 1, 0, 1, 0)",
    "sendfile": "call(40, 1, 0, 0, 1)",
    "sched_setaffinity": "call(203, 0, 0, 0)",
    "a timer": "signal.setitimer(signal.ITIMER_REAL, 1)",
    "x32's getpid": "call(0x40000000 | 39)",
    "a call that is none yet": "call(4000)",
}


@pytest.fixture(scope="module")
def ends() -> dict[str, tuple[int, str]]:
    """How each attempt ended."""
    return dict(zip(KILLED, in_series([*KILLED.values()]), strict=True))


@NEEDS_SECCOMP
@pytest.mark.parametrize("attempt", KILLED)
def test_it_ends_with_the_attempt(ends: dict[str, tuple[int, str]], attempt: str) -> None:
    assert ends[attempt] == (-signal.SIGSYS, "")


REFUSED = {
    "open to read": "call(2, ctypes.c_char_p(b'/etc/passwd'), 0, 0)",
    "open to write": "call(2, ctypes.c_char_p(b'/tmp/penstock'), 0o101, 0o600)",
    "openat": "call(257, -100, ctypes.c_char_p(b'/etc/passwd'), 0, 0)",
    "its own memory's file": "call(257, -100, ctypes.c_char_p(b'/proc/self/mem'), 2, 0)",
    "a device": "call(257, -100, ctypes.c_char_p(b'/dev/kmsg'), 2, 0)",
    "stat": "call(4, ctypes.c_char_p(b'/etc/passwd'), 0)",
    "access": "call(21, ctypes.c_char_p(b'/etc/passwd'), 0)",
    "readlink": "call(89, ctypes.c_char_p(b'/proc/self/exe'), 0, 0)",
    "getdents": "call(217, 0, 0, 0)",
    "ioctl": "call(16, 0, 0x5413, 0)",
    "getcwd": "call(79, 0, 0)",
}


@pytest.fixture(scope="module")
def refusals() -> dict[str, tuple[int, str]]:
    codes = [f"assert {code} == -errno.EACCES" for code in REFUSED.values()]
    return dict(zip(REFUSED, in_series(codes), strict=True))


@NEEDS_SECCOMP
@pytest.mark.parametrize("attempt", REFUSED)
def test_it_is_refused(refusals: dict[str, tuple[int, str]], attempt: str) -> None:
    assert refusals[attempt] == (0, "still here")


def test_every_thread_is_bound_by_the_filter() -> None:
    """A thread that was there before tries; the whole process ends."""
    before = "go = threading.Event()\ndef late():\n    go.wait()\n    socket.socket()\n"
    done = confined("go.set(); time.sleep(20)", before, "threading.Thread(target=late, daemon=True).start")
    assert done.returncode == (-signal.SIGSYS if HERE.seccomp else 0)


NO_FILTER = "seccomp.is_known_here = lambda: False"
"""What stands behind the filter must hold by itself."""


@NEEDS_LANDLOCK
@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/passwd')",
        "open('/tmp/penstock-test', 'w')",
        "os.listdir('/')",
        "os.mkdir('/tmp/penstock-test')",
        "os.open('/', os.O_RDONLY)",
        "os.execv('/bin/true', ['true'])",
    ],
)
def test_landlock_alone_keeps_files_away(code: str) -> None:
    done = confined(f"try:\n    {code}\nexcept PermissionError:\n    pass\nelse:\n    os._exit(9)", NO_FILTER)
    assert (done.returncode, done.stdout) == (0, b"still here"), done.stderr


@NEEDS_LANDLOCK
def test_landlock_holds_for_threads_that_start_later() -> None:
    before = (
        NO_FILTER
        + """
found = []
def late():
    try:
        open('/etc/passwd')
    except PermissionError:
        found.append(True)
thread = threading.Thread(target=late)
"""
    )
    done = confined("thread.join(); assert found", before, "thread.start")
    assert (done.returncode, done.stdout) == (0, b"still here"), done.stderr


@NEEDS_NAMESPACES
def test_the_network_namespace_alone_has_no_way_out() -> None:
    code = """
one = socket.socket()
try:
    one.connect(("127.0.0.1", 1))
except OSError as error:
    assert error.errno in (errno.ENETUNREACH, errno.EACCES), error
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    other.sendto(b"x", ("192.0.2.1", 53))
except OSError as error:
    assert error.errno == errno.ENETUNREACH, error
else:
    os._exit(9)
"""
    done = confined(code, NO_FILTER)
    assert (done.returncode, done.stdout) == (0, b"still here"), done.stderr


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("os.fork()", marks=pytest.mark.skipif(os.getuid() == 0, reason="root may have any number")),
        "[os.open('/dev/null', 0) for _ in range(64)]",
        "resource.setrlimit(resource.RLIMIT_CORE, (1, 1))",
        "resource.setrlimit(resource.RLIMIT_NPROC, (9, 9))",
        "resource.setrlimit(resource.RLIMIT_CPU, (9999, 9999))",
        "os.setuid(12345)",
        "os.chroot('/')",
    ],
    ids=["processes", "descriptors", "core", "limits", "cpu", "another user", "root"],
)
def test_limits_and_lost_privileges_hold_without_a_filter(code: str) -> None:
    done = confined(
        f"try:\n    {code}\nexcept (OSError, ValueError):\n    pass\nelse:\n    os._exit(9)",
        NO_FILTER + "; landlock.version = lambda: 0",
    )
    assert (done.returncode, done.stdout) == (0, b"still here"), done.stderr


def test_memory_beyond_the_guests_is_not_to_be_had() -> None:
    done = confined("try:\n    bytearray(512 << 20)\nexcept MemoryError:\n    pass\nelse:\n    os._exit(9)")
    assert (done.returncode, done.stdout) == (0, b"still here"), done.stderr


def test_addresses_beyond_the_reservations_are_not_to_be_had() -> None:
    done = confined("try:\n    mmap.mmap(-1, 64 << 30)\nexcept OSError:\n    pass\nelse:\n    os._exit(9)")
    assert (done.returncode, done.stdout) == (0, b"still here"), done.stderr


def test_what_is_not_counted_as_data_is_bounded_by_addresses() -> None:
    """As docs/security/isolation.md says of code that broke out: mappings that are shared, and never touched here."""
    code = """
taken = []
try:
    while True:
        taken.append(mmap.mmap(-1, 1 << 30, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))
except OSError:
    assert len(taken) <= 17, len(taken)
"""
    done = confined(code)
    assert (done.returncode, done.stdout) == (0, b"still here"), done.stderr


def test_a_limit_that_is_lower_already_stays() -> None:
    before = "resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))"
    done = confined("assert resource.getrlimit(resource.RLIMIT_NOFILE) == (12, 12)", before)
    assert (done.returncode, done.stdout) == (0, b"still here"), done.stderr


@pytest.mark.parametrize(
    ("field", "expected"),
    [("NoNewPrivs", "1"), ("CapEff", "0" * 16), ("CapPrm", "0" * 16), ("CapBnd", "0" * 16), ("CapAmb", "0" * 16)],
)
def test_the_kernel_says_that_privileges_are_gone(field: str, expected: str) -> None:
    """As /proc says it, read through a descriptor that was opened before."""
    code = f"text = os.pread(status, 9999, 0).decode(); assert {field + ':' + chr(9) + expected!r} in text, text"
    before = "status = os.open('/proc/self/status', os.O_RDONLY)"
    done = confined(code, before)
    assert (done.returncode, done.stdout) == (0, b"still here"), done.stderr


def test_it_cannot_be_dumped_or_traced() -> None:
    done = confined("assert c.prctl(3, 0, 0, 0, 0) == 0", NO_FILTER)  # PR_GET_DUMPABLE
    assert (done.returncode, done.stdout) == (0, b"still here"), done.stderr


def test_what_is_missing_is_said() -> None:
    whole = Posture(True, 7, True).describe()
    assert "lacks" not in whole and "seccomp" in whole and "Landlock (version 7)" in whole
    assert (
        Posture(False, 0, False).describe().endswith("this machine lacks: seccomp, Landlock, empty network namespace")
    )
    assert "no seccomp" in Posture(False, 0, False, linux=False).describe()


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (1, [(1 << 13) - 1]),
        (2, [(1 << 14) - 1]),
        (3, [(1 << 15) - 1]),
        (4, [(1 << 15) - 1, 3]),
        (6, [(1 << 16) - 1, 3, 3]),
    ],
)
def test_each_version_of_landlock_gets_all_rights_it_knows(version: int, words: list[int]) -> None:
    assert landlock.ruleset(version) == b"".join(word.to_bytes(8, "little") for word in words)


def test_jumps_of_the_filter_stay_within_it() -> None:
    """A classic BPF program with a jump beyond its end would be refused by the kernel; with a wrong one it would not."""
    program = seccomp.program(4242)
    steps = [program[at : at + 8] for at in range(0, len(program), 8)]
    assert len(steps) * 8 == len(program) < 4096 * 8
    assert steps[-1] == seccomp._op(0x06, seccomp.KILL_PROCESS)
    for at, step in enumerate(steps):
        assert at + 1 + max(step[2], step[3]) < len(steps) or step[0] == 0x06


def test_a_refusal_names_the_call() -> None:
    with pytest.raises(kernel.KernelRefusal, match="system call 4000: Function not implemented"):
        kernel.syscall(4000)
