"""What a guest's process may do to its host when an attacker has it, or when somebody ends it: nothing but cost its own events."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from sandbox import Sandbox, Transformer
from sandbox.host import HostImport
from sandbox.process import guest as host_half
from sandbox.process import processes
from sandbox.process.processes import Process, Processes, Spawner, death
from sandbox.session import Session
from schemas.errors import ModuleFault, TransportError
from schemas.outcome import Outcome, ViolationKind
from schemas.specs import InstancePolicy, IsolationLevel
from tests.sandbox.guests import LIMITS, batch, guest, kinds, spec, values, violation
from tests.sandbox.process import attacker

ROOT = Path(__file__).parents[3]
PROCESS = IsolationLevel.PROCESS
TRANSFORM_PHASE = 5
QUICK = LIMITS.with_(deadline_ms=50)


class Den:
    """A sandbox whose guest asks the test, while a batch crosses, what is to be done to its process."""

    def __init__(self) -> None:
        self.act: Callable[[int], int] = lambda phase: 0
        imports = (
            HostImport("act", ("i32",), "i32", lambda state, memory, phase: self.act(phase), module="test"),
            HostImport("tick", ("i32",), None, lambda state, memory, ms: None, module="test"),
        )
        self.sandbox = Sandbox(cache=False, extra_imports=imports, isolation_budget_ms=20_000)

    def load(self, **changes: Any) -> Transformer:
        return self.sandbox.load(spec(**{"isolation": PROCESS, "limits": QUICK} | changes), guest("phases"))

    def while_crossing(self, transformer: Transformer, do: Callable[[int], None], times: int = 1) -> None:
        """`do` gets the process id, for the first `times` crossings from now on."""
        left = times

        def act(phase: int) -> int:
            nonlocal left
            if phase == TRANSFORM_PHASE and left:
                left -= 1
                (pid,) = kennel(transformer).pids()
                do(pid)
            return 0

        self.act = act


def kennel(transformer: Transformer) -> Processes:
    plan = transformer._plan.guests
    assert isinstance(plan, host_half.ProcessPlan)
    return plan.processes


@pytest.fixture
def den() -> Iterator[Den]:
    den = Den()
    yield den
    den.sandbox.close()
    assert den.sandbox.stats().active_instances == 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_half, "MARGIN_MS", 300)


def _kill(number: int) -> Callable[[int], None]:
    return lambda pid: os.kill(pid, number)


def test_a_process_that_is_killed_within_a_batch_costs_nothing(den: Den) -> None:
    transformer = den.load()
    first = kennel(transformer).pids()
    den.while_crossing(transformer, _kill(signal.SIGKILL))
    report = transformer.run(batch([b"a", b"b", b"c"]))
    assert kinds(report.outcomes) == ["emitted"] * 3
    assert kennel(transformer).pids() != first
    assert not psutil.pid_exists(first[0])


def test_a_lone_event_is_not_blamed_for_a_process_that_was_killed(den: Den) -> None:
    transformer = den.load()
    den.while_crossing(transformer, _kill(signal.SIGKILL))
    assert kinds(transformer.run(batch([b"a"])).outcomes) == ["emitted"]


def test_an_event_that_has_its_process_killed_each_time_is(den: Den) -> None:
    """As the kernel does it when there is no memory."""
    transformer = den.load()
    den.while_crossing(transformer, _kill(signal.SIGKILL), times=99)
    verdict = violation(transformer.run(batch([b"a"])).outcomes[0])
    assert verdict.kind is ViolationKind.MEMORY
    assert "ended from outside (SIGKILL)" in verdict.message


@pytest.mark.usefixtures("impatient")
def test_a_process_that_stands_still_is_ended(den: Den) -> None:
    transformer = den.load()
    (stopped,) = kennel(transformer).pids()
    den.while_crossing(transformer, _kill(signal.SIGSTOP))
    verdict = violation(transformer.run(batch([b"a"])).outcomes[0])
    assert verdict.kind is ViolationKind.DEADLINE
    assert "did not answer in time" in verdict.message
    assert not psutil.pid_exists(stopped)
    assert kinds(transformer.run(batch([b"a"])).outcomes) == ["emitted"], "there is a new one"


@pytest.mark.usefixtures("impatient")
def test_neighbours_of_an_event_whose_process_stood_still_pass(den: Den) -> None:
    transformer = den.load()
    den.while_crossing(transformer, _kill(signal.SIGSTOP))
    assert kinds(transformer.run(batch([b"a", b"b"])).outcomes) == ["emitted"] * 2


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (signal.SIGBUS, "trap", "crashed (SIGBUS)"),
        (signal.SIGABRT, "trap", "crashed (SIGABRT)"),
        (signal.SIGSYS, "capability", "system call that none may make"),
    ],
)
def test_a_crash_is_the_events(den: Den, number: int, kind: str, words: str) -> None:
    transformer = den.load()
    den.while_crossing(transformer, _kill(number), times=99)
    verdict = violation(transformer.run(batch([b"a"])).outcomes[0])
    assert (verdict.kind, words in verdict.message) == (kind, True), verdict.message
    den.act = lambda phase: 0
    assert kinds(transformer.run(batch([b"a"])).outcomes) == ["emitted"]


def test_a_process_that_ends_between_batches_is_replaced_unseen(den: Den) -> None:
    transformer = den.load()
    for number in (signal.SIGKILL, signal.SIGABRT):
        (pid,) = kennel(transformer).pids()
        os.kill(pid, number)
        assert kinds(transformer.run(batch([b"a"])).outcomes) == ["emitted"]
        assert kennel(transformer).pids() != [pid]


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_machine_that_gives_no_process_is_nobodys_fault(
    den: Den, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A lane backs off from it; it used to be the end of the service."""

    def refuse(command: list[str], channel: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    transformer = den.load()
    session = transformer.session()
    with monkeypatch.context() as patch:
        patch.setattr(Spawner, "_spawn", staticmethod(refuse))
        end_idle(transformer)
        with pytest.raises(TransportError, match=f"no process for its guests .* {os.strerror(number)}") as refused:
            session.run(batch([b"a"]))
        assert refused.value.retriable
    assert kinds(session.run(batch([b"a"])).outcomes) == ["emitted"]
    session.close()


def test_processes_that_somebody_ends_while_they_start_are_no_fault_of_the_module(
    den: Den, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformer = den.load()
    boot_up = Processes._boot_up
    ended: list[int] = []

    def end_it(processes: Processes, process: Process) -> None:
        ended.append(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        boot_up(processes, process)

    with monkeypatch.context() as patch:
        patch.setattr(Processes, "_boot_up", end_it)
        end_idle(transformer)
        with pytest.raises(TransportError, match=r"cannot be started: its process was ended from outside \(SIGKILL\)"):
            transformer.run(batch([b"a"]))
    assert ended
    assert kinds(transformer.run(batch([b"a"])).outcomes) == ["emitted"]


def end_idle(transformer: Transformer) -> None:
    """So that there must be another."""
    (pid,) = kennel(transformer).pids()
    os.kill(pid, signal.SIGKILL)


def test_a_guest_that_lives_on_is_replaced_when_its_process_ends(den: Den) -> None:
    session = den.load(instance=InstancePolicy.REUSED).session()
    assert kinds(session.run(batch([b"a"])).outcomes) == ["emitted"]
    (pid,) = [one for one in _processes_of(session).pids() if _is_leased(session, one)]
    os.kill(pid, signal.SIGABRT)
    assert kinds(session.run(batch([b"a"])).outcomes) == ["emitted"]
    session.close()


def _processes_of(session: Session) -> Processes:
    plan = session._plan.guests
    assert isinstance(plan, host_half.ProcessPlan)
    return plan.processes


def _is_leased(session: Session, pid: int) -> bool:
    guest = session._guest
    return isinstance(guest, host_half.ProcessGuest) and guest.process is not None and guest.process.pid == pid


def test_a_worn_process_is_replaced(den: Den, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "WEAR_SECONDS_MAX", 0.0)
    transformer = den.load()
    before = kennel(transformer).started
    for _ in range(3):
        assert kinds(transformer.run(batch([b"a"])).outcomes) == ["emitted"]
    assert kennel(transformer).started == before + 3
    assert kennel(transformer).pids() == []


def test_packages_are_found_from_where_the_service_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -c` has "" in its path, which is the folder at hand; a process of a guest's stands in the root."""
    elsewhere = [one for one in sys.path if one and Path(one).resolve() != ROOT]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", ["", *elsewhere])
    with Sandbox(cache=False) as sandbox:
        transformer = sandbox.load(spec(isolation=PROCESS), guest("counter"))
        assert kinds(transformer.run(batch([b"a"])).outcomes) == ["emitted"]


def test_closing_the_sandbox_ends_everything() -> None:
    den = Den()
    transformer = den.load()
    pids = kennel(transformer).pids()
    assert len(pids) == 1
    den.sandbox.close()
    den.sandbox.close()
    assert not any(map(psutil.pid_exists, pids))
    with pytest.raises(RuntimeError, match="closed"):
        transformer.run(batch([b"a"]))


def test_what_a_process_has(den: Den) -> None:
    """By the kernel's word, of the real one."""
    (pid,) = kennel(den.load()).pids()
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == "0" * 16
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits
    assert "Max processes             0                    0" in limits
    try:
        links = sorted({str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()})
    except PermissionError:  # it cannot be looked into by its own user; by root it can
        return
    assert all(one.startswith(("socket:", "/dev/null", "/memfd:")) for one in links), links
    assert sum(one.startswith("socket:") for one in links) == 1
    assert Path(f"/proc/{pid}/environ").read_bytes() == b""
    assert Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def test_a_process_outlives_the_thread_that_asked_for_it(den: Den) -> None:
    loaded: list[Transformer] = []
    thread = threading.Thread(target=lambda: loaded.append(den.load()))
    thread.start()
    thread.join()
    (pid,) = kennel(loaded[0]).pids()
    assert kinds(loaded[0].run(batch([b"a"])).outcomes) == ["emitted"]
    assert kennel(loaded[0]).pids() == [pid]


PARENT = """
import sys
sys.path[:] = {path!r}
from sandbox import Sandbox
from sandbox.host import HostImport
from schemas.specs import IsolationLevel
from tests.sandbox.guests import LIMITS, batch, guest, spec
limits = LIMITS.with_(deadline_ms=60_000)
sandbox = Sandbox(cache=False)
transformer = sandbox.load(spec(isolation=IsolationLevel.PROCESS, limits=limits), guest("saboteur"))
print(*transformer._plan.guests.processes.pids(), flush=True)
if {busy}:
    transformer.run(batch([b"L"]))
sys.stdin.read()
"""


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in an endless loop"])
def test_processes_end_with_their_parent(busy: bool) -> None:
    program = PARENT.format(path=sys.path, busy=busy)
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    _, alive = psutil.wait_procs([child], timeout=10)
    assert all(one.status() == psutil.STATUS_ZOMBIE for one in alive), "nobody has to collect it where there is no init"


# -------------------------------------------------------------------------------------------- an attacker has the process

Armed = Callable[..., Transformer]


@pytest.fixture
def armed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Armed]:
    """Loads a transformer whose processes are the attacker's."""
    sandboxes: list[Sandbox] = []
    monkeypatch.setattr(host_half, "MARGIN_MS", 500)

    def load(attack: str, at: int = attacker.CROSS, **changes: Any) -> Transformer:
        run = f"from tests.sandbox.process.attacker import main; main({attack!r}, {at})"
        monkeypatch.setattr(processes, "PROGRAM", f"import sys; sys.path[:] = sys.argv[2:]; {run}")
        sandboxes.append(Sandbox(cache=False, extra_imports=(ECHO,)))
        wasm = guest("puppet") if changes.pop("puppet", False) else guest("saboteur")
        return sandboxes[-1].load(spec(**{"isolation": PROCESS, "limits": QUICK} | changes), wasm)

    yield load
    for one in sandboxes:
        one.close()
        assert one.stats().active_instances == 0


def _answer(state: object, memory: Any, address: int, length: int) -> int:
    """Reads what the guest names."""
    return len(memory.read(address, length))


ECHO = HostImport("answer", ("i32", "i32"), "i32", _answer, module="test")
BROKE = "broke the protocol"
ATTACKS = {
    "noise": (r"raw(bytes(range(256)) * 64)", "trap", BROKE),
    "a length of 4 GiB": (r"raw(b'\xff' * 8)", "trap", BROKE),
    "a length beyond the answer's": (r"raw(struct.pack('=II', 1 << 30, 10))", "trap", BROKE),
    "a first part longer than the whole": (r"raw(struct.pack('=II', 5, 10) + bytes(10))", "trap", BROKE),
    "a first part beyond its bound": (r"raw(struct.pack('=II', 9 << 20, 9 << 20))", "trap", BROKE),
    "nothing in it": (r"raw(bytes(8))", "trap", BROKE),
    "no msgpack": (r"raw(framed(b'\xc1'))", "trap", "what is no message"),
    "msgpack that ends too soon": (r"raw(framed(b'\x94\x04'))", "trap", "what is no message"),
    "bytes behind the message": (r"raw(framed(msgpack.packb([CROSSED, 1, 0, SILENCE]) + b'\0'))", "trap", "no message"),
    "a map": (r"raw(framed(msgpack.packb({'tag': 4})))", "trap", "what is no message"),
    "an unknown message": (r"say([77])", "trap", "what is no message"),
    "too many fields": (r"say([CROSSED, 1, 0, SILENCE, 5])", "trap", "what is no message"),
    "too few fields": (r"say([TROUBLED, 'trap'])", "trap", "what is no message"),
    "arrays in arrays": (r"raw(framed(b'\x91' * 200_000))", "trap", "what is no message"),
    "an array that claims 4 G": (r"raw(framed(b'\xdd\xff\xff\xff\xff'))", "trap", "what is no message"),
    "text that is no UTF-8": (
        r"raw(framed(msgpack.packb([UNFIT]) [:0] + b'\x92\x01\xa2\xff\xfe'))",
        "trap",
        "no message",
    ),
    "a number below zero": (r"crossed(memory=-1)", "trap", "what is no message"),
    "a number beyond 64 bits' half": (r"crossed(memory=(1 << 64) - 1)", "trap", "what is no message"),
    "a float for a number": (r"crossed(memory=0.5)", "trap", "what is no message"),
    "text for a number": (r"crossed(memory='1')", "trap", "what is no message"),
    "the answer to another question": (r"say([STARTED, False, 1])", "trap", "answered with Started"),
    "ready once more": (r"say([READY, True, 7, True])", "trap", "answered with Ready"),
    "two answers": (
        r"raw(framed(msgpack.packb([CROSSED, 1, 0, SILENCE]), b'\x91\xc0') * 2)",
        "trap",
        "than it was asked",
    ),
    "plain bytes with a trouble": (r"raw(framed(msgpack.packb([PROBED]), b'x'))", "trap", BROKE),
    "an event's fault": (r"troubled(kind='rejected')", "trap", "what is no message"),
    "a decoding fault": (r"troubled(kind='decode')", "trap", "what is no message"),
    "a kind that is none": (r"troubled(kind='fine')", "trap", "what is no message"),
    "a denial where nothing is strict": (r"troubled(kind='capability')", "trap", "x"),
    "a use of what it was not given": (
        r"crossed([[], 0, 0, 0, 0, [['network-client', 1, 0, 0, 0]]])",
        "trap",
        "no message",
    ),
    "a level of log that is none": (r"crossed([[[9, 'x']], 0, 0, 0, 0, []])", "trap", "what is no message"),
    "memory where nobody asked": (r"say([MEMORY], b'x')", "trap", BROKE),
    "a call of an import it has not": (r"say([CALL, 5, 65536, [1, 2]])", "trap", "called what it does not import"),
    "a call of a negative import": (r"say([CALL, -1, 65536, [1, 2]])", "trap", "what is no message"),
    "a result that is none": (r"crossed(frame=b'')", "bad-output", "an empty result frame"),
    "results for more events": (r"crossed(frame=b'\x92\xc0\xc0')", "bad-output", "2 results for 1 events"),
    "a result frame of noise": (r"crossed(frame=b'\xc1' * 99)", "bad-output", "not an array"),
    "the end of the channel": (r"os.close(0); time.sleep(60)", "trap", "closed its channel"),
    "half of the channel": (
        r"import socket; socket.socket(fileno=0).shutdown(1); time.sleep(60)",
        "trap",
        "closed its channel",
    ),
    "an end in good order": (r"os._exit(0)", "trap", "ended with exit code 0"),
    "an end in disorder": (r"os._exit(70)", "trap", "ended with exit code 70"),
    "want of memory": (r"os._exit(71)", "memory", "too little memory"),
    "a crash": (r"os.kill(os.getpid(), signal.SIGSEGV)", "trap", "crashed (SIGSEGV)"),
    "a forbidden call": (r"os.kill(os.getpid(), signal.SIGSYS)", "capability", "none may make"),
    "silence": (r"time.sleep(60)", "deadline", "did not answer in time"),
    "one byte at a time": (
        r"[(raw(bytes([one])), time.sleep(0.05)) for one in framed(b'x' * 999)]",
        "deadline",
        "did not answer in time",
    ),
    "half an answer": (r"raw(framed(b'x' * 50)[:20]); time.sleep(60)", "deadline", "did not answer in time"),
    "a child that holds the channel": (
        r"import subprocess; subprocess.Popen(['/bin/sleep', '5'], stdin=0); os._exit(3)",
        "deadline",
        "did not answer in time",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_costs_its_own_event(armed: Armed, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    attack, kind, words = ATTACKS[name]
    monkeypatch.setattr(processes, "END_SECONDS_MAX", 0.2)
    transformer = armed(attack)
    (pid,) = kennel(transformer).pids()
    verdict = violation(transformer.run(batch([b"k"])).outcomes[0])
    assert (verdict.kind, words in verdict.message) == (kind, True), verdict.message
    if kind != "bad-output" and name != "a denial where nothing is strict":
        assert not psutil.pid_exists(pid), "it is gone, and has been waited for"
    assert verdict.transformer == "guest"


def _one(outcomes: Any) -> Outcome:
    (only,) = outcomes
    return only  # type: ignore[no-any-return]


def test_what_it_says_of_itself_is_cut_to_what_could_be(armed: Armed) -> None:
    lies = "crossed([[[1, 'a' * 30], [2, 'b' * 30], [3, 'c\\x1b[2J']], 1, 2, 3, 4, [['log', 1, 0, 5, 6]]], memory=1 << 60, fuel=1 << 60)"
    transformer = armed(lies, capabilities={"log"}, limits=QUICK.with_(log_bytes_per_batch=50))
    report = transformer.run(batch([b"k"]))
    assert kinds(report.outcomes) == ["emitted"]
    assert [line.text for line in report.logs] == ["a" * 30, "c\ufffd[2J"]
    assert report.logs_suppressed == 2
    assert report.memory_bytes_peak == QUICK.memory_bytes
    assert report.fuel_used is None


def test_it_cannot_log_for_a_guest_that_may_not(armed: Armed) -> None:
    report = armed("crossed([[[1, 'pay here']], 0, 0, 0, 0, []])").run(batch([b"k"]))
    assert list(report.logs) == []


def test_its_words_cannot_steer_a_terminal_or_fill_a_disk(armed: Armed) -> None:
    said = "troubled(text='\\x1b[2J' + 'x' * 100_000, code='\\r' * 9000, backtrace='y' * 50_000, cursor=7, memory_bytes=1 << 60)"
    verdict = violation(_one(armed(said).run(batch([b"k"])).outcomes))
    assert "\x1b" not in verdict.message and "\r" not in verdict.code
    assert len(verdict.message) <= 16 << 10
    assert len(verdict.code) <= 1024
    assert len(verdict.backtrace) <= 4096
    assert verdict.memory_bytes_peak <= QUICK.memory_bytes


SERVED = {
    "a call": ("say([CALL, 0, 65536, [100, 9]]); receive(); say([MEMORY], b'x' * 9); receive(); crossed()", None, ""),
    "too few arguments": ("say([CALL, 0, 65536, [1]])", "trap", "called what it does not import"),
    "too many arguments": ("say([CALL, 0, 65536, [1, 2, 3]])", "trap", "called what it does not import"),
    "an argument of 33 bits": ("say([CALL, 0, 65536, [1 << 32, 1]])", "trap", "called what it does not import"),
    "an argument below zero": ("say([CALL, 0, 65536, [-1, 1]])", "trap", "called what it does not import"),
    "bytes with a call": ("raw(framed(msgpack.packb([CALL, 0, 65536, [1, 1]]), b'x'))", "trap", BROKE),
    "another piece of memory": (
        "say([CALL, 0, 65536, [1, 9]]); receive(); say([MEMORY], b'x' * 8)",
        "trap",
        "another piece",
    ),
    "too much memory": ("say([CALL, 0, 65536, [1, 9]]); receive(); say([MEMORY], b'x' * 10)", "trap", BROKE),
    "no piece of memory": ("say([CALL, 0, 65536, [1, 9]]); receive(); crossed(frame=b'')", "trap", "another piece"),
    "a call within a call": ("say([CALL, 0, 65536, [1, 9]]); receive(); say([CALL, 0, 65536, [1, 9]])", "trap", BROKE),
    "an end within a call": ("say([CALL, 0, 65536, [1, 9]]); receive(); os._exit(9)", "trap", "exit code 9"),
    "silence within a call": ("say([CALL, 0, 65536, [1, 9]]); time.sleep(60)", "deadline", "in time"),
    "calls without end": (
        "while True: say([CALL, 0, 65536, [1, 1]]); receive(); say([MEMORY], b'x'); receive()",
        "deadline",
        "did not answer in time",
    ),
}


@pytest.mark.parametrize("name", SERVED)
def test_calls_from_an_attacker(armed: Armed, name: str) -> None:
    attack, kind, words = SERVED[name]
    outcome = _one(armed(attack, puppet=True).run(batch([b"k"])).outcomes)
    if kind is None:
        assert kinds([outcome]) == ["emitted"]
    else:
        assert violation(outcome).kind == kind
        assert words in violation(outcome).message


STARTS = {
    "an end": ("os._exit(9)", attacker.START, "ended with exit code 9"),
    "a crash": ("os.kill(os.getpid(), signal.SIGSEGV)", attacker.START, "crashed"),
    "noise": ("raw(b'\\xff' * 99)", attacker.START, BROKE),
    "a fault with an odd name": ("say([FAULTED, 'odd', 'a', 'b', SILENCE])", attacker.START, "what is no message"),
    "its own words": ("say([FAULTED, 'fault', 'bad \\x1b[2J', 'do', SILENCE])", attacker.START, "bad \ufffd"),
    "silence": ("time.sleep(60)", attacker.START, "did not answer in time"),
    "not fit": ("say([UNFIT, 'no seccomp today'])", attacker.BOOT, "no seccomp today"),
    "noise at boot": ("raw(b'\\xff' * 99)", attacker.BOOT, BROKE),
    "an end at boot": ("os._exit(9)", attacker.BOOT, "ended with exit code 9"),
    "an answer at boot": ("crossed(frame=b'')", attacker.BOOT, "did not say that it is ready"),
    "no probe": ("crossed(frame=b'')", attacker.PROBE, "answered with Crossed"),
}


@pytest.mark.parametrize("name", STARTS)
def test_a_process_that_fails_at_its_start_blames_no_event(armed: Armed, name: str) -> None:
    attack, at, words = STARTS[name]
    with pytest.raises(ModuleFault) as fault:
        armed(attack, at)
    assert words in str(fault.value)


def test_fifty_restarts_leave_nothing_behind(armed: Armed) -> None:
    transformer = armed("os._exit(9)")
    descriptors, children = _descriptors(), _children()
    before = kennel(transformer).started
    while kennel(transformer).started < before + 50:
        transformer.run(batch([b"k"]))
    assert _descriptors() <= descriptors
    assert _children() <= children
    assert kennel(transformer).pids() == []


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _children() -> int:
    """Zombies are children, too."""
    return len(psutil.Process().children(recursive=True))


def test_every_end_has_its_words() -> None:
    assert "SIGKILL" in death(-signal.SIGKILL).message and death(-signal.SIGKILL).is_foreign
    assert "SIGTERM" in death(-signal.SIGTERM).message and death(-signal.SIGTERM).is_foreign
    assert not death(-signal.SIGSEGV).is_foreign
    assert death(71).kind is ViolationKind.MEMORY
    assert "signal 99" in death(-99).message


def test_a_process_that_owes_an_answer_is_never_asked_again(den: Den, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt strikes while the host waits: the answer that is still to come must be nobody else's."""
    transformer = den.load()
    before = kennel(transformer).pids()
    receive = processes.Process.receive
    monkeypatch.setattr(processes.Process, "receive", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        transformer.run(batch([b"a"]))
    monkeypatch.setattr(processes.Process, "receive", receive)
    assert not any(map(psutil.pid_exists, before))
    assert kinds(transformer.run(batch([b"a"])).outcomes) == ["emitted"]


def test_a_bug_in_a_host_function_is_no_verdict_and_ends_the_process(den: Den) -> None:
    transformer = den.load()
    before = kennel(transformer).pids()

    def act(phase: int) -> int:
        raise ZeroDivisionError

    den.act = act
    with pytest.raises(ZeroDivisionError):
        transformer.run(batch([b"a"]))
    assert not any(map(psutil.pid_exists, before))


def test_threads_share_processes_and_no_answers(den: Den) -> None:
    """Four lanes at once: each gets its own events back, from at most as many processes as there are lanes."""
    transformer = den.sandbox.load(spec(isolation=PROCESS, limits=LIMITS.with_(deadline_ms=5_000)), guest("parrot"))
    wrong: list[object] = []

    def lane(number: int) -> None:
        session = transformer.session()
        for turn in range(25):
            mine = b"%d/%d" % (number, turn)
            answer = b"=" + b"\x91\x92\x01\xc4" + bytes([len(mine)]) + mine
            (outcome,) = session.run(batch([answer])).outcomes
            if values(outcome) != [mine]:
                wrong.append(outcome)
        session.close()

    threads = [threading.Thread(target=lane, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 1 <= kennel(transformer).started <= 5
