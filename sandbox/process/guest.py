"""The host's half of a guest in another process: stands where `sandbox.guest.Guest` stands, and is the same to a session.

Threat: see `protocol`. What the process answers with is a guest's bytes, which a session never believes anyway; what it says beside that (how it
ended, what it used, what it logged) is cut to what a guest in this process could have said. Calls that the process may not serve are
served here, under the transformer's own gate and within the guest's deadline, which runs on meanwhile.
"""

from __future__ import annotations

import logging
import struct
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from sandbox.errors import InvalidAlignment, OutOfBounds
from sandbox.guest import RefusedConfig, SlowStart
from sandbox.host import Gate, HostImport, HostState, Services, Use
from sandbox.host.log import LINE_BYTES_LEAST
from sandbox.memory import GuestMemory
from sandbox.process.processes import Breach, Process, Processes, Spawner, Waiting
from sandbox.process.protocol import (
    Boot,
    Call,
    Close,
    Cross,
    Crossed,
    Faulted,
    FromProcess,
    Memory,
    Message,
    Probe,
    Probed,
    Read,
    Result,
    Said,
    Start,
    Started,
    Troubled,
    Write,
)
from sandbox.stats import Counters
from sandbox.text import cut, printable
from sandbox.traps import Trouble
from schemas.capabilities import Capability
from schemas.errors import ModuleFault, TransportError
from schemas.limits import Limits
from schemas.outcome import LogLine, ViolationKind
from schemas.specs import EngineSettings, TransformerSpec

if TYPE_CHECKING:
    from sandbox.components import ComponentPlan
    from sandbox.guest import GuestPlan

WAITING_LEAST = 16
"""Room for processes that wait, for each transformer: with many procedures the last ones called keep theirs."""
MARGIN_MS = 2_000
"""What a process may take beyond a guest's deadline, which it keeps itself: a busy machine, large frames."""
START_DEADLINES = 5
"""A start is an instance, `_initialize`, a block for its configuration, `configure` and `cursor`: each may take a deadline."""
CROSS_DEADLINES = 2
"""`alloc` and `transform`."""
TEXT_CHARACTERS_MAX = 16 << 10
CODE_CHARACTERS_MAX = 1024
BACKTRACE_CHARACTERS_MAX = 4096
_MASKS = {"i32": 0xFFFFFFFF, "i64": 0xFFFFFFFFFFFFFFFF}
_FAULTS: dict[str, type[ModuleFault]] = {"fault": ModuleFault, "slow": SlowStart, "config": RefusedConfig}

_log = logging.getLogger("penstock.sandbox")
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """Everything needed to start guests of one transformer in processes of their own."""

    name: str
    limits: Limits
    memory_bytes_max: int
    metered: bool
    is_module: bool
    """Not a component."""
    processes: Processes
    served: tuple[HostImport, ...]
    """Imports that the host serves, as the processes number them."""
    services: Services
    gate: Gate
    clock_ns: Callable[[], int]
    counters: Counters

    def guest(self) -> ProcessGuest:
        """A new, empty place for guests."""
        return ProcessGuest(self)


class Kennels:
    """All processes of a sandbox."""

    def __init__(self, workers: int, calls: str, *, debug: bool) -> None:
        self._workers = workers
        self._calls = calls
        self._debug = debug
        self._spawner: Spawner | None = None
        self._all: weakref.WeakSet[Processes] = weakref.WeakSet()
        """Those that somebody still has, or that have a process waiting."""
        self._waiting: dict[str, Waiting] = {}
        """By transformer."""
        self._lock = threading.Lock()

    def plan(
        self,
        spec: TransformerSpec,
        code: tuple[bytes, bytes],
        guests: GuestPlan | ComponentPlan,
        served: Sequence[HostImport],
    ) -> ProcessPlan:
        """The transformer `spec`, whose encoding and instance policy are settled. `code` is the module and its compiled code."""
        boot = _boot(spec, len(code[0]), served, self._calls, debug=self._debug)
        with self._lock:
            if self._spawner is None:
                self._spawner = Spawner()
            log_bytes = spec.limits.log_bytes_per_batch
            waiting = self._waiting.setdefault(spec.name, Waiting(max(self._workers, WAITING_LEAST)))
            processes = Processes(
                self._spawner, boot, code, log_bytes=log_bytes, idle_max=self._workers, waiting=waiting
            )
            self._all.add(processes)
        return ProcessPlan(
            name=spec.name,
            limits=spec.limits,
            memory_bytes_max=guests.memory_bytes_max,
            metered=guests.metered,
            is_module=not hasattr(guests, "transform"),
            processes=processes,
            served=tuple(served),
            services=guests.services,
            gate=guests.gate,
            clock_ns=guests.clock_ns,
            counters=guests.counters,
        )

    def close(self) -> None:
        """End all processes. Safe to repeat."""
        with self._lock:
            everything, spawner = list(self._all), self._spawner
            self._spawner = None
        for one in everything:
            one.close()
        if spawner is not None:
            spawner.close()


def _boot(spec: TransformerSpec, module_bytes: int, served: Sequence[HostImport], calls: str, *, debug: bool) -> Boot:
    """No grant's scope and no credential is in it."""
    assert spec.encoding is not None and spec.instance is not None, "settled by now"
    engine = asdict(spec.engine) | {"tier": spec.engine.tier.value}
    assert engine.keys() == set(EngineSettings.__dataclass_fields__)
    return Boot(
        name=spec.name,
        module_bytes=module_bytes,
        function=spec.function,
        config=msgspec.msgpack.encode(dict(spec.config)),
        encoding=spec.encoding,
        instance=spec.instance.value,
        limits=asdict(spec.limits),
        engine=engine,
        granted=sorted(spec.grants.names),
        strict=spec.grants.strict,
        served=[(one.module, one.name, one.parameters, one.result) for one in served],
        calls=calls,
        debug=debug,
    )


class ProcessGuest:
    """See `sandbox.guest.Guest`: `start`, then `cross` any number of times, then `close`; then `start` again."""

    def __init__(self, plan: ProcessPlan) -> None:
        self._plan = plan
        self._withheld = _withheld(plan)
        self._process: Process | None = None
        self.log_bytes_left = plan.limits.log_bytes_per_batch
        """What the next start and crossing may log."""
        self._host = self._new_host()
        self.is_open = False
        self.crossings = 0
        """Since the start; 0 is a fresh guest."""
        self.fuel_used = 0
        """In the last crossing."""
        self.memory_bytes = 0
        """By the process's word; 0 for a component."""
        self.has_cursor = False
        """The open guest says which event it works on."""

    @property
    def host(self) -> HostState:
        """What the guest said through the host since `cross` began (or since `start`, before that)."""
        return self._host

    @property
    def is_module(self) -> bool:
        """Not a component."""
        return self._plan.is_module

    @property
    def process(self) -> Process | None:
        """The one that the open guest is in."""
        return self._process

    def start(self) -> None:
        """A fresh instance in a process of its own, initialised and configured. Raises ModuleFault, SlowStart; TransportError when this
        machine gives no process, or somebody keeps ending them: that is no module's fault.
        """
        assert not self.is_open
        try:
            self._start()
        except Breach as breach:
            if breach.kind is ViolationKind.DEADLINE:
                raise self._as_fault(breach) from None
            try:
                self._start()  # the process may have waited with a wound from before
            except Breach as second:
                if second.is_foreign:
                    raise TransportError(f"{self._plan.name}: cannot be started: {second.message}") from None
                raise self._as_fault(second) from None

    def probe(self) -> None:
        """Make sure that the guest gives blocks at all. Raises ModuleFault."""
        try:
            answer, _ = self._exchange(Probe(), deadlines=1)
            if isinstance(answer, Faulted):
                raise self._fault(answer)
            self._expect(answer, Probed)
        except Breach as breach:
            self._lose()
            raise self._as_fault(breach) from None

    def cross(self, head: bytes, body: bytes, count: int, result_bytes_max: int) -> bytes | Trouble:
        """One crossing of a frame with `count` events: the result frame, not yet looked into, or why there is none.

        Raises ModuleFault. After Trouble or ModuleFault the guest is good for `close` only.
        """
        is_fresh = not self.crossings
        began = time.monotonic_ns()
        try:
            return self._cross(head, body, count, result_bytes_max)
        except Breach as breach:
            self._lose(breach)
            if not (is_fresh and breach.is_foreign):
                return _trouble_of(breach, time.monotonic_ns() - began)
        self.start()  # somebody ended its process: that is no event's fault
        try:
            return self._cross(head, body, count, result_bytes_max)
        except Breach as breach:
            self._lose(breach)
            return _trouble_of(breach, time.monotonic_ns() - began)

    def close(self) -> None:
        """Discard the guest, and give the process back. Safe to repeat."""
        process = self._leave()
        if process is None:
            return
        if not (process.is_over or process.owes):
            try:
                process.send(time.monotonic() + MARGIN_MS / 1000, Close())
            except Breach as breach:
                self._warn(breach)
        self._plan.processes.give_back(process)

    def _start(self) -> None:
        self._host = self._new_host()
        self._process = self._plan.processes.lease()
        try:
            answer, _ = self._exchange(Start(self.log_bytes_left, self._withheld), deadlines=START_DEADLINES)
            if isinstance(answer, Faulted):
                raise self._fault(answer)
            started = self._expect(answer, Started)
        except BaseException as error:
            self._lose(error if isinstance(error, Breach) else None)
            raise
        self.memory_bytes = min(started.memory_bytes, self._plan.limits.memory_bytes)
        self.has_cursor = started.has_cursor
        self.is_open, self.crossings = True, 0
        self._plan.counters.started()

    def _cross(self, head: bytes, body: bytes, count: int, result_bytes_max: int) -> bytes | Trouble:
        self._host = self._new_host(self._host) if self.crossings else self._host
        self.crossings += 1
        plan = self._plan
        self._host.ends_ns = plan.clock_ns() + plan.limits.deadline_ms * 1_000_000
        request = Cross(len(head), count, result_bytes_max, self.log_bytes_left)
        answer, frame = self._exchange(request, head, body, deadlines=CROSS_DEADLINES, plain_bytes_max=result_bytes_max)
        if isinstance(answer, Faulted):
            raise self._fault(answer)
        if isinstance(answer, Troubled):
            return self._trouble(answer, count)
        crossed = self._expect(answer, Crossed)
        self._take(crossed.memory_bytes, crossed.fuel_used, crossed.said)
        return frame

    def _exchange(
        self, request: Message, *plain: bytes, deadlines: int, plain_bytes_max: int = 0
    ) -> tuple[FromProcess, bytes]:
        """Ask, serve what the guest calls meanwhile, and return the answer. Raises Breach."""
        process = self._process
        assert process is not None
        began = time.monotonic()
        ends = began + (deadlines * self._plan.limits.deadline_ms + MARGIN_MS) / 1000
        process.owes = True
        process.send(ends, request, *plain)
        while True:
            answer, rest = process.receive(ends, plain_bytes_max)
            if isinstance(answer, Call):
                if rest:
                    raise process.breach("sent bytes with a call")
                self._serve(process, answer, ends)
                continue
            if not process.is_silent() or (rest and not isinstance(answer, Crossed)):
                raise process.breach("said more than it was asked")
            process.owes = False
            process.worked_s += time.monotonic() - began
            return answer, rest

    def _serve(self, process: Process, call: Call, ends: float) -> None:
        """One call of an import, here. What the import does to the state of the guest the process is told."""
        one = self._plan.served[call.index] if call.index < len(self._plan.served) else None
        if one is None or not _fits(one, call.arguments):
            raise process.breach("called what it does not import")
        host = self._host
        memory = None if call.memory_bytes is None else ServedMemory(process, ends, call.memory_bytes)
        value = one.invoke(host, memory, call.arguments)
        error, host.error = host.error, None
        if error is not None:
            process.end()
            raise error
        denied = (host.denied.reason, host.denied.remedy) if host.denied is not None else None
        failed = (host.fail_code, host.fail_message) if host.failed else None
        if value is not None:
            value &= _MASKS["i64"]
        process.send(ends, Result(value, host.trapping, denied, failed))

    def _take(self, memory_bytes: int, fuel_used: int, said: Said) -> None:
        """What the process says that the guest used, within what it could have used."""
        host, plan = self._host, self._plan
        self.memory_bytes = min(memory_bytes, plan.limits.memory_bytes)
        self.fuel_used = fuel_used if plan.metered else 0
        host.host_calls += said.host_calls
        host.bad_pointers += said.bad_pointers
        host.logs_suppressed += said.logs_suppressed
        if said.escapes:
            fits = sum(said.named.values()) == said.escapes
            plan.counters.escaped(
                {str(name): count for name, count in said.named.items()} if fits else {"unnamed": said.escapes}
            )
        if said.pointers and sum(said.pointers.values()) == said.bad_pointers:
            before = host.escapes or {}
            host.escapes = before | {name: before.get(name, 0) + count for name, count in said.pointers.items()}
        for level, text in said.logs:
            self._keep_line(level, text)
        for use in said.uses:
            self._count(use.capability, Use(use.allowed, use.denied, use.bytes, use.elapsed_ns))

    def _keep_line(self, level: int, text: str) -> None:
        host = self._host
        cost = max(len(text), LINE_BYTES_LEAST)
        if cost > host.log_bytes_left or Capability.LOG not in self._plan.gate.grants.names:
            host.logs_suppressed += 1
            return
        host.log_bytes_left -= cost
        host.logs.append(LogLine(level=level, text=printable(text)))

    def _count(self, capability: str, use: Use) -> None:
        key = (Capability(capability), "")
        if key in self._host.uses:
            self._host.uses[key].add(use)
        else:
            self._host.uses[key] = use

    def _trouble(self, said: Troubled, count: int) -> Trouble:
        self._take(said.memory_bytes, said.fuel_used, said.said)
        kind = ViolationKind(said.kind)
        if kind is ViolationKind.CAPABILITY and not self._plan.gate.grants.strict:
            kind = ViolationKind.TRAP
        return Trouble(
            kind=kind,
            message=cut(printable(said.text), TEXT_CHARACTERS_MAX),
            code=cut(printable(said.code), CODE_CHARACTERS_MAX),
            backtrace=cut(printable(said.backtrace), BACKTRACE_CHARACTERS_MAX),
            elapsed_ns=said.elapsed_ns,
            memory_bytes=self.memory_bytes,
            cursor=said.cursor if said.cursor is not None and said.cursor < count else None,
            oversize=said.oversize,
            starved_ns=max(0, said.starved_ns - sum(use.elapsed_ns for use in self._host.uses.values())),
        )

    def _fault(self, said: Faulted) -> ModuleFault:
        self._take(self.memory_bytes, 0, said.said)
        problem = cut(printable(said.problem), TEXT_CHARACTERS_MAX)
        return _FAULTS[said.kind](self._plan.name, problem, cut(printable(said.remedy), CODE_CHARACTERS_MAX))

    def _expect(self, answer: FromProcess, kind: type[M]) -> M:
        if isinstance(answer, kind):
            return answer
        assert self._process is not None
        raise self._process.breach(f"answered with {type(answer).__name__}")

    def _leave(self) -> Process | None:
        """No guest any more; the process that it was in, if it was in one."""
        process, self._process = self._process, None
        if self._host.wasi is not None:
            self._host.wasi.close()
        if self.is_open:
            self.is_open = False
            self._plan.counters.ended()
        return process

    def _lose(self, breach: Breach | None = None) -> None:
        """The guest is gone; its process too, after a breach."""
        if breach is not None:
            self._warn(breach)
        process = self._leave()
        if process is None:
            return
        if breach is None and not process.is_over:
            self._plan.processes.give_back(process)
        else:
            self._plan.processes.drop(process)

    def _warn(self, breach: Breach) -> None:
        _log.warning("%s: %s", self._plan.name, breach.message)

    def _as_fault(self, breach: Breach) -> ModuleFault:
        kind = SlowStart if breach.kind is ViolationKind.DEADLINE else ModuleFault
        return kind(self._plan.name, f"cannot be started: {breach.message}", "see docs/security/isolation.md")

    def _new_host(self, before: HostState | None = None) -> HostState:
        plan = self._plan
        return HostState(plan.services, self.log_bytes_left, plan.gate, wasi=before.wasi if before else None)


class ServedMemory(GuestMemory):
    """The memory of a guest that waits for a call: every access is a message. Raises Breach beside OutOfBounds."""

    __slots__ = ("_ends", "_process", "_size")

    def __init__(self, process: Process, ends: float, size: int) -> None:
        self._process = process
        self._ends = ends
        self._size = size

    def size(self) -> int:
        """As the process says; it stands while the guest waits."""
        return self._size

    def base(self) -> int:
        """There is none in this process."""
        raise OutOfBounds("the guest's memory is in another process")

    def read(self, address: int, length: int) -> bytes:
        """A copy. Raises OutOfBounds."""
        self.check(address, length)
        if not length:
            return b""
        self._process.send(self._ends, Read(address, length))
        answer, data = self._process.receive(self._ends, length)
        if not isinstance(answer, Memory) or len(data) != length:
            raise self._process.breach("gave another piece of memory than was asked for")
        return data

    def write(self, address: int, data: bytes, then: bytes = b"") -> None:
        """Copy `data` to `address`, and `then` behind it. Raises OutOfBounds."""
        self.check(address, len(data) + len(then))
        if data or then:
            self._process.send(self._ends, Write(address), data, then)

    def read_bytes(self, address: int, length: int) -> bytes:
        """As in `GuestMemory`."""
        self.check_range(address, length)
        return self.read(address, length)

    def write_bytes(self, address: int, data: bytes) -> None:
        """As in `GuestMemory`."""
        self.check_range(address, len(data))
        self.write(address, data)

    def read_typed(self, address: int, code: str) -> int | float:
        """As in `GuestMemory`."""
        number = struct.Struct("<" + code)
        if address % number.size:
            raise InvalidAlignment(f"address {address} is not a multiple of {number.size}")
        found: int | float = number.unpack(self.read(address, number.size))[0]
        return found


def _fits(one: HostImport, arguments: Sequence[int]) -> bool:
    if len(arguments) != len(one.parameters):
        return False
    return all(0 <= value <= _MASKS[kind] for value, kind in zip(arguments, one.parameters, strict=True))


def _withheld(plan: ProcessPlan) -> tuple[str, ...]:
    """What processes serve themselves and this plan's gate, which may be a caller's and narrower, does not let through uncounted."""
    served = {one.counts_as or one.capability for one in plan.served}
    return tuple(
        one for one in plan.processes.boot.granted if one not in served and not _is_let(Capability(one), plan.gate)
    )


def _is_let(capability: Capability, gate: Gate) -> bool:
    return capability in gate.grants.names and gate.is_free(capability)


def _trouble_of(breach: Breach, elapsed_ns: int) -> Trouble:
    return Trouble(breach.kind, breach.message, elapsed_ns=elapsed_ns)
