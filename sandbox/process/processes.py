"""The processes of one transformer: started by exec, leased to one guest at a time, ended on the first breach.

A process that has been leased talks to one thread of the host only. Whatever comes out of it is checked against `protocol`; what is late, too
long, malformed or out of turn is a `Breach`, and so is its death.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec

from sandbox.process.confinement import CPU_SECONDS, Posture
from sandbox.process.protocol import (
    CONTROL_BYTES_MAX,
    ENDED_MEMORY,
    HEAD,
    RECEIVE_BYTES,
    Boot,
    Faulted,
    FromProcess,
    Message,
    Ready,
    Unfit,
    decode_from_process,
    packed,
)
from sandbox.text import printable
from schemas.errors import ModuleFault, TransportError
from schemas.outcome import ViolationKind

BOOT_SECONDS_MAX = 60.0
"""A process that has not loaded its module by then never will."""
END_SECONDS_MAX = 5.0
"""How long the kernel may take to tell how a process ended."""
WEAR_SECONDS_MAX = CPU_SECONDS / 2
"""Time at work after which a process is replaced, before its CPU limit ends it."""
PROGRAM = "import sys; parent = int(sys.argv[1]); sys.path[:] = sys.argv[2:]; from sandbox.process.child import main; main(parent)"
FOREIGN = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT})
"""How an operator or the kernel's memory killer ends a process; no guest can."""

_log = logging.getLogger("penstock.sandbox")


class Breach(Exception):
    """A process broke a rule, or died. It is ended already; `kind` is the violation that this amounts to."""

    def __init__(self, kind: ViolationKind, message: str, *, is_foreign: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.is_foreign = is_foreign
        """Somebody else ended it: no guest is to blame for a first time."""


class Process:
    """One process, ready for guests. Used by one thread at a time."""

    def __init__(self, popen: subprocess.Popen[bytes], channel: socket.socket, control_bytes_max: int) -> None:
        self._popen = popen
        self._channel = channel
        self._control_bytes_max = control_bytes_max
        self._buffer = bytearray()
        self.worked_s = 0.0
        """Time between requests and their answers: at least the CPU time that a guest took."""
        self.is_over = False
        self.owes = False
        """It was asked something, and the answer is still to come: whoever waited was interrupted."""

    @property
    def pid(self) -> int:
        """For operators and tests."""
        return self._popen.pid

    def is_alive(self) -> bool:
        """It has not ended."""
        return not self.is_over and self._popen.poll() is None

    def send(self, ends: float, message: Message, *plain: bytes) -> None:
        """Write one message before `ends`, by `time.monotonic`. Raises Breach."""
        for piece in packed(message, *plain):
            try:
                self._channel.settimeout(self._left(ends))
                self._channel.sendall(piece)
            except TimeoutError:
                raise self._late() from None
            except OSError:
                raise self._died() from None

    def receive(self, ends: float, plain_bytes_max: int) -> tuple[FromProcess, bytes]:
        """The next message and its plain bytes, at most so many. Raises Breach."""
        size, control = HEAD.unpack(self._take(HEAD.size, ends))
        if control > self._control_bytes_max or not control <= size <= control + plain_bytes_max:
            raise self.breach(f"said {size} bytes, of which {plain_bytes_max} may be its answer")
        content = self._take(size, ends)
        try:
            return decode_from_process(content[:control]), content[control:]
        except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
            raise self.breach(f"said what is no message: {error}") from None

    def is_silent(self) -> bool:
        """It has said nothing that it was not asked for, as far as is known."""
        return not self._buffer

    def breach(self, what: str) -> Breach:
        """End it for what it did."""
        self.end()
        return Breach(ViolationKind.TRAP, f"its process broke the protocol: it {what}")

    def end(self) -> None:
        """Kill it, and wait until it is gone. Safe to repeat."""
        if self.is_over:
            return
        self.is_over = True
        self._channel.close()
        self._popen.kill()
        self._popen.wait()

    def _left(self, ends: float) -> float:
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _take(self, count: int, ends: float) -> bytes:
        buffer = self._buffer
        try:
            while len(buffer) < count:
                self._channel.settimeout(self._left(ends))
                part = self._channel.recv(max(RECEIVE_BYTES, min(count - len(buffer), 1 << 20)))
                if not part:
                    raise self._died()
                buffer += part
        except TimeoutError:
            raise self._late() from None
        except OSError:
            raise self._died() from None
        taken = bytes(memoryview(buffer)[:count])
        del buffer[:count]
        return taken

    def _late(self) -> Breach:
        self.end()
        return Breach(ViolationKind.DEADLINE, "its process did not answer in time and was ended")

    def _died(self) -> Breach:
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(END_SECONDS_MAX)
        code = self._popen.returncode
        self.end()
        if code is None:
            return Breach(ViolationKind.TRAP, "its process closed its channel and was ended")
        return death(code)


def death(code: int) -> Breach:
    """What the end of a process with this exit code amounts to."""
    if code >= 0:
        kind = ViolationKind.MEMORY if code == ENDED_MEMORY else ViolationKind.TRAP
        why = "had too little memory" if code == ENDED_MEMORY else f"ended with exit code {code}"
        return Breach(kind, f"its process {why}")
    name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
    if -code == signal.SIGSYS:
        return Breach(ViolationKind.CAPABILITY, "its process made a system call that none may make, and was ended")
    if -code in FOREIGN:
        message = f"its process was ended from outside ({name}), by an operator or for want of memory"
        return Breach(ViolationKind.MEMORY, message, is_foreign=True)
    return Breach(ViolationKind.TRAP, f"its process crashed ({name})")


class Spawner:
    """Starts processes from one thread that lives as long as they may: a process ends with the thread that started it."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="penstock-spawner")

    def spawn(self, command: list[str], channel: socket.socket) -> subprocess.Popen[bytes]:
        """A new process whose standard input is `channel`; it inherits nothing else and no variable."""
        return self._executor.submit(self._spawn, command, channel).result()

    def close(self) -> None:
        """Processes should have been ended; those that were not, do now."""
        self._executor.shutdown()

    @staticmethod
    def _spawn(command: list[str], channel: socket.socket) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # our own program
            command,
            stdin=channel.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            close_fds=True,
            start_new_session=True,
        )


class Waiting:
    """Processes of one transformer that wait for a guest. What it was loaded for several times (procedures, each with its function)
    shares the room: one more lets the one go that has waited longest. Safe from any thread.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._all: deque[tuple[Processes, Process]] = deque()

    def put(self, owner: Processes, process: Process) -> None:
        """Let it wait, within the room there is and what its owner may have waiting."""
        with self._lock:
            own = [one for one in self._all if one[0] is owner]
            surplus = own[:1] if len(own) >= owner.idle_max else []
            self._all.append((owner, process))
            surplus = surplus or ([self._all[0]] if len(self._all) > self._most else [])
            for one in surplus:
                self._all.remove(one)
        for whose, unwanted in surplus:
            whose.drop(unwanted)

    def take(self, owner: Processes) -> Process | None:
        """One of this owner's, if any waits."""
        with self._lock:
            found = next((one for one in self._all if one[0] is owner), None)
            if found is None:
                return None
            self._all.remove(found)
            return found[1]


class Processes:
    """Those of one transformer. Safe from any thread; at most as many as there are guests alive, and `idle_max` that wait for one."""

    def __init__(
        self,
        spawner: Spawner,
        boot: Boot,
        plain: tuple[bytes, bytes],
        *,
        log_bytes: int,
        idle_max: int,
        waiting: Waiting | None = None,
    ) -> None:
        self._spawner = spawner
        self.boot = boot
        self._plain = plain
        self._control_bytes_max = CONTROL_BYTES_MAX + 4 * log_bytes
        self.idle_max = idle_max
        self._waiting = waiting or Waiting(idle_max)
        self._all: set[Process] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.started = 0
        """So far."""
        self.posture: Posture | None = None
        """What holds them, by the word of the first one before it ran a guest."""

    def lease(self) -> Process:
        """A process that is alive, started if none waits. Raises Breach, ModuleFault when it cannot do its work; TransportError when this
        machine gives no process now.
        """
        while True:
            with self._lock:
                if self._closed:
                    raise RuntimeError("the sandbox is closed")
            process = self._waiting.take(self)
            if process is None:
                return self._start()
            if process.is_alive():
                return process
            self.drop(process)

    def give_back(self, process: Process) -> None:
        """It may be leased again, if it is still good."""
        is_wanted = not self._closed and process.worked_s < WEAR_SECONDS_MAX
        if is_wanted and not (process.is_over or process.owes) and process.is_silent():
            self._waiting.put(self, process)
        else:
            self.drop(process)

    def drop(self, process: Process) -> None:
        """End it. Safe to repeat."""
        process.end()
        with self._lock:
            self._all.discard(process)

    def pids(self) -> list[int]:
        """Of those alive, for operators and tests."""
        with self._lock:
            return [one.pid for one in self._all if not one.is_over]

    def close(self) -> None:
        """End them all. Safe to repeat."""
        with self._lock:
            self._closed = True
            everything, self._all = self._all, set()
        while self._waiting.take(self):
            pass
        for one in everything:
            one.end()

    def _start(self) -> Process:
        try:
            process = self._spawn()
        except (
            OSError
        ) as error:  # no fault of the module's, and it passes: memory, descriptors or processes are used up
            raise TransportError(f"{self.boot.name}: no process for its guests can be started: {error}") from None
        with self._lock:
            self._all.add(process)
            self.started += 1
        try:
            self._boot_up(process)
        except BaseException:
            self.drop(process)
            raise
        return process

    def _spawn(self) -> Process:
        ours, theirs = socket.socketpair()
        try:
            path = map(os.path.abspath, sys.path)  # the process stands in another folder: "" would be the root's
            command = [sys.executable, "-I", "-S", "-B", "-c", PROGRAM, str(os.getpid()), *path]
            popen = self._spawner.spawn(command, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Process(popen, ours, self._control_bytes_max)

    def _boot_up(self, process: Process) -> None:
        ends = time.monotonic() + BOOT_SECONDS_MAX
        process.send(ends, self.boot, *self._plain)
        answer, _ = process.receive(ends, 0)
        if isinstance(answer, Unfit):
            raise ModuleFault(self.boot.name, f"its process cannot run it: {answer.reason}", "take isolation: runtime")
        if isinstance(answer, Faulted):
            raise ModuleFault(self.boot.name, printable(answer.problem), printable(answer.remedy))
        if not isinstance(answer, Ready):
            raise process.breach("did not say that it is ready")
        posture = Posture(answer.seccomp, answer.landlock, answer.network_namespace, sys.platform == "linux")
        if self.posture is None:
            self.posture = posture
            _log.debug("%s: process %d: %s", self.boot.name, process.pid, posture.describe())
