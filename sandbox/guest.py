"""One guest: started under a deadline, crossed with frames, thrown away.

Who is at fault is decided by phase. Whatever goes wrong in start, `_initialize`, `configure`, `cursor` or `alloc` is the
module's fault (`ModuleFault`): no event had a part in it. There is one exception, because an event chooses how large its frame is: a
guest that will not give a block (`alloc` returns 0, or gives up saying so, or is out of memory) has run into the frame's size,
unless the frame is no larger than the `PROBE_BYTES` that every module proved at load that it can give.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from sandbox.calls import ALLOC, CONFIGURE, CURSOR, INITIALIZE, TRANSFORM, GuestTrap, Link, LinkError, Seat, TrapFacts
from sandbox.epoch import EpochTicker
from sandbox.errors import OutOfBounds
from sandbox.escapes import Pattern, pattern_of
from sandbox.host import Gate, HostState, Services
from sandbox.host.wasi_streams import end_crossing
from sandbox.slots import Slots
from sandbox.stats import Counters
from sandbox.traps import Readings, Stopwatch, Trouble, classify
from schemas.errors import ModuleFault
from schemas.limits import Limits, format_bytes
from schemas.outcome import ViolationKind

U32 = 0xFFFFFFFF
CONFIGURING = "`penstock_v1_configure`"
PROBE_BYTES = 1024
FREE_FUEL = 1 << 60
"""For the phases that are not an event's: their bound is the deadline."""


class RefusedConfig(ModuleFault):
    """The guest was asked with a configuration that it does not take; with another it may be a good guest."""


class SlowStart(ModuleFault):
    """Starting ran into the deadline. On a stalled machine that happens to good modules too, so it is worth a second try."""


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """Everything needed to start guests of one transformer."""

    name: str
    link: Link
    limits: Limits
    memory_bytes_max: int
    """What the memory may grow to: the limit or the module's own maximum, whichever is less."""
    config: bytes | None
    """None when the module does not export `penstock_v1_configure`."""
    has_initialize: bool
    has_cursor: bool
    metered: bool
    ticker: EpochTicker
    services: Services
    gate: Gate
    clock_ns: Callable[[], int]
    counters: Counters
    slots: Slots | None
    """Instances the pool still holds; None when there is no pool."""

    def guest(self) -> Guest:
        """A new, empty place for guests."""
        return Guest(self)


class Guest:
    """A place for one guest at a time. `start`, then `cross` any number of times, then `close`; then `start` again."""

    def __init__(self, plan: GuestPlan) -> None:
        self._plan = plan
        self._seat: Seat = plan.link.seat()
        self._arm_seat, self._end, self._until = self._seat.arm, plan.ticker.end, plan.ticker.until
        self._deadline_ms, self._metered = plan.limits.deadline_ms, plan.metered
        self._deadline_ns = self._deadline_ms * 1_000_000
        self._armed = 0
        """The epoch that stops the open instance."""
        self._cursor: int | None = None
        self._slots, self._holds_slot = plan.slots, False
        self._ticking = False
        """The ticker has been entered, and not been left."""
        self.log_bytes_left = plan.limits.log_bytes_per_batch
        """What the next start and crossing may log."""
        self._host = self._new_host()
        self.is_open = False
        self.crossings = 0
        """Since the start; 0 is a fresh guest."""
        self.fuel_used = 0
        """In the last crossing."""

    @property
    def host(self) -> HostState:
        """What the guest said through the host since `cross` began (or since `start`, before that)."""
        return self._host

    @property
    def has_cursor(self) -> bool:
        """The open guest says which event it works on."""
        return self._cursor is not None

    @property
    def memory_bytes(self) -> int:
        """Its memory's size, which never shrinks: also its peak."""
        return self._seat.memory.size()

    def start(self) -> None:
        """A fresh instance, initialised and configured. Raises ModuleFault, SlowStart if it ran out of time.

        The epoch's clock runs on until the first crossing has ended, or `close`.
        """
        plan = self._plan
        assert not self.is_open
        self._host = self._new_host()
        if self._slots is not None:
            self._slots.acquire()
            self._holds_slot = True
        try:
            self._enter()
            self._bring_up()
        except BaseException:
            self._abandon()
            raise
        self.is_open, self.crossings = True, 0
        plan.counters.started()

    def probe(self) -> None:
        """Make sure that the guest gives blocks at all. Raises ModuleFault."""
        try:
            self._enter()
            self._arm()
            began = self._plan.clock_ns()
            try:
                address = self._seat.call(ALLOC, PROBE_BYTES) & U32
            except GuestTrap as trap:
                raise self._fault("`penstock_v1_alloc`", trap.facts, began) from None
            if address == 0:
                raise ModuleFault(self._plan.name, f"`penstock_v1_alloc` gives no block of {PROBE_BYTES} bytes")
            self._fill(address, bytes(PROBE_BYTES))
        finally:
            self._leave()

    def cross(self, head: bytes, body: bytes, count: int, result_bytes_max: int) -> bytes | Trouble:
        """One crossing of a frame with `count` events: the result frame, not yet looked into, or why there is none.

        Raises ModuleFault. After Trouble or ModuleFault the guest is good for `close` only.
        """
        self._host = self._new_host(self._host) if self.crossings else self._host
        self.crossings += 1
        try:
            if not self._ticking:
                self._enter()
            placed = self._place(head, body)
            if isinstance(placed, Trouble):
                return placed
            return self._transform(placed, len(head) + len(body), count, result_bytes_max)
        finally:
            self._leave()
            if self._host.wasi is not None:
                end_crossing(self._host)

    def close(self) -> None:
        """Discard the instance. Safe to repeat."""
        if self.is_open:
            self.is_open = False
            self._abandon()
            self._plan.counters.ended()

    def _transform(self, address: int, length: int, count: int, result_bytes_max: int) -> bytes | Trouble:
        plan = self._plan
        fuel = (plan.limits.fuel_per_event or 0) * count
        self._arm(fuel)
        began = plan.clock_ns()
        self._host.ends_ns = began + self._deadline_ns
        # only a fresh guest's trouble is a verdict
        watch = Stopwatch() if self.crossings == 1 and plan.ticker.is_real else None
        try:
            packed = self._seat.call(TRANSFORM, address, length)
        except GuestTrap as trap:
            self._raise_host_error()
            trouble = classify(trap.facts, self._host, plan.limits, self._readings(began, watch))
            if trouble.kind is ViolationKind.BOUNDS:
                plan.counters.escaped({Pattern.OWN_ACCESS: 1})
            return self._with_cursor(trouble, count)
        finally:
            self.fuel_used = fuel - self._seat.fuel() if plan.metered else 0
        return self._take_result(packed >> 32 & U32, packed & U32, count, result_bytes_max, began)

    def _take_result(self, address: int, length: int, count: int, length_max: int, began: int) -> bytes | Trouble:
        if length > length_max:
            readings = self._readings(began)
            message = f"a result frame of {length} bytes; {length_max} is the most for {count} event{'s' * (count > 1)}"
            kind = ViolationKind.OUTPUT_TOO_LARGE
            return Trouble(
                kind, message, elapsed_ns=readings.elapsed_ns, memory_bytes=readings.memory_bytes, oversize=True
            )
        try:
            return self._seat.memory.read(address, length)
        except OutOfBounds as error:
            self._plan.counters.escaped({_pattern(error): 1})
            readings = self._readings(began)
            message = f"the result frame lies outside memory: {error}"
            kind = ViolationKind.BAD_OUTPUT
            return Trouble(kind, message, elapsed_ns=readings.elapsed_ns, memory_bytes=readings.memory_bytes)

    def _place(self, head: bytes, body: bytes) -> int | Trouble:
        """Copy the frame into a block the guest gives for it."""
        length = len(head) + len(body)
        began = self._plan.clock_ns()
        self._host.ends_ns = began + self._deadline_ns
        self._arm()
        try:
            address = self._seat.call(ALLOC, length) & U32
        except GuestTrap as trap:
            fault = self._fault("`penstock_v1_alloc`", trap.facts, began)
            trouble = classify(trap.facts, self._host, self._plan.limits, self._readings(began))
            if trouble.kind is ViolationKind.MEMORY and length > PROBE_BYTES:
                return self._refused(length, trouble.message, began)
            raise fault from None
        if address == 0:
            return self._refused(length, "it returned 0", began)
        self._fill(address, head, body)
        return address

    def _fill(self, address: int, data: bytes, then: bytes = b"") -> None:
        """Into a block the guest gave."""
        try:
            self._seat.memory.write(address, data, then)
        except OutOfBounds as error:
            self._plan.counters.escaped({_pattern(error): 1})
            problem = (
                f"`penstock_v1_alloc` gave {len(data) + len(then)} bytes at {address}, which is outside its memory"
            )
            raise ModuleFault(self._plan.name, problem) from None

    def _refused(self, length: int, why: str, began: int) -> Trouble:
        if length <= PROBE_BYTES and self.crossings == 1:
            problem = f"`penstock_v1_alloc` gives a fresh guest no block of {length} bytes: {why}"
            raise ModuleFault(self._plan.name, problem)
        readings = self._readings(began)
        limit = format_bytes(self._plan.memory_bytes_max)
        return Trouble(
            ViolationKind.MEMORY,
            f"the guest gives no block of {length} bytes for the event's frame: {why} (memory limit {limit})",
            elapsed_ns=readings.elapsed_ns,
            memory_bytes=readings.memory_bytes,
            oversize=True,
        )

    def _bring_up(self) -> None:
        plan = self._plan
        began = plan.clock_ns()
        self._host.ends_ns = began + self._deadline_ns
        phase = "its start function"
        try:
            self._armed = self._end(self._deadline_ms)
            self._seat.open(self._host, self._until(self._armed))
            if plan.has_initialize:
                phase = "`_initialize`"
                self._arm()
                self._seat.call(INITIALIZE)
            if plan.config is not None:
                phase = CONFIGURING
                self._configure(plan.config)
            if plan.has_cursor:
                phase = "`penstock_v1_cursor`"
                self._arm()
                self._cursor = self._seat.call(CURSOR) & U32
        except GuestTrap as trap:
            raise self._fault(phase, trap.facts, began) from None
        except LinkError as error:
            remedy = "raise its limits or fix the module"
            raise ModuleFault(plan.name, f"cannot be instantiated: {error}", remedy) from None

    def _configure(self, config: bytes) -> None:
        self._arm()
        address = self._seat.call(ALLOC, len(config)) & U32
        if address == 0:
            raise ModuleFault(self._plan.name, f"`penstock_v1_alloc` gives no block for {len(config)} bytes of config")
        self._fill(address, config)
        self._arm()
        status = self._seat.call(CONFIGURE, address, len(config)) & U32
        if status:
            remedy = f"check transformers.{self._plan.name}.config"
            raise RefusedConfig(self._plan.name, f"refused its configuration (status {status})", remedy)

    def _arm(self, fuel: int = FREE_FUEL) -> None:
        """A whole deadline for the next call: waiting for the interpreter lock between two calls is nobody's fault.

        Most calls are short and follow each other: their deadlines end with the same epoch.
        """
        end = self._end(self._deadline_ms)
        if end != self._armed:
            self._armed = end
            self._arm_seat(self._until(end))
        if self._metered:
            self._seat.set_fuel(fuel)

    def _with_cursor(self, trouble: Trouble, count: int) -> Trouble:
        if self._cursor is None:
            return trouble
        with suppress(OutOfBounds):
            index = self._seat.memory.read_u32(self._cursor)
            if index < count:
                return replace(trouble, cursor=index)
        return trouble

    def _readings(self, began: int, watch: Stopwatch | None = None) -> Readings:
        plan = self._plan
        starved_ns = watch.starved_ns(self._host) if watch is not None else 0
        return Readings(plan.clock_ns() - began, self._seat.memory.size(), plan.memory_bytes_max, starved_ns)

    def _fault(self, phase: str, facts: TrapFacts, began: int) -> ModuleFault:
        plan = self._plan
        self._raise_host_error()
        memory_bytes = self._seat.memory.size() if self._seat.is_open else 0
        readings = Readings(plan.clock_ns() - began, memory_bytes, plan.memory_bytes_max)
        trouble = classify(facts, self._host, plan.limits, readings)
        if phase == CONFIGURING and trouble.code:
            problem = f"refuses its configuration: {trouble.message}"
            return RefusedConfig(plan.name, problem, f"check transformers.{plan.name}.config")
        detail = f"\n{trouble.backtrace}" if trouble.backtrace else ""
        kind = SlowStart if trouble.kind is ViolationKind.DEADLINE else ModuleFault
        return kind(plan.name, f"{phase} failed: {trouble.kind}: {trouble.message}{detail}")

    def _enter(self) -> None:
        if not self._ticking:
            self._plan.ticker.enter()
            self._ticking = True

    def _leave(self) -> None:
        if self._ticking:
            self._ticking = False
            self._plan.ticker.leave()

    def _abandon(self) -> None:
        self._cursor = None
        self._seat.close()
        if self._host.wasi is not None:
            self._host.wasi.close()
        if self._ticking:
            self._leave()
        if self._holds_slot:
            self._holds_slot = False
            assert self._slots is not None
            self._slots.release(None)

    def _raise_host_error(self) -> None:
        """What broke inside a host function is our bug (or an interrupt): it goes on from here, not as a verdict."""
        if self._host.error is not None:
            raise self._host.error

    def _new_host(self, before: HostState | None = None) -> HostState:
        """For the next crossing; of the one before, what WASI's shim remembers stays."""
        plan = self._plan
        return HostState(plan.services, self.log_bytes_left, plan.gate, wasi=before.wasi if before else None)


def _pattern(error: OutOfBounds) -> Pattern:
    return pattern_of(*error.place) if error.place is not None else Pattern.OWN_ACCESS
