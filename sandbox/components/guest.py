"""One guest that is a component: what `sandbox/guest.py` is for core modules, and the same for a session.

Whatever goes wrong in the start, in `configure` or in the trial with an empty batch is the module's fault. There is no block to
ask for: wasmtime has the guest's own allocator make room for a frame within the call, so a frame that finds none is the call's
trouble and, with one event alone on a fresh guest, that event's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from sandbox.calls import GuestTrap, LinkError, StoreLimits, TrapFacts
from sandbox.components.frames import TEXT_PARTS_MAX, TEXT_SPARE_CHARACTERS, batch_text, result_frame
from sandbox.components.link import ComponentLink, ComponentSeat
from sandbox.components.shape import INSTANCES_MAX
from sandbox.epoch import EpochTicker
from sandbox.escapes import Pattern
from sandbox.guest import FREE_FUEL, RefusedConfig, SlowStart
from sandbox.host import Gate, HostState, Services
from sandbox.stats import Counters
from sandbox.traps import Readings, Stopwatch, Trouble, classify
from schemas.abi import FrameError
from schemas.errors import ModuleFault
from schemas.limits import Limits, format_bytes
from schemas.outcome import ViolationKind

FRAME_PART: Final = 8
"""A frame of this part of the memory may be what a guest fell over: the host keeps frames of several events below it."""
FULL: Final = frozenset({ViolationKind.TRAP, ViolationKind.BOUNDS})
"""What running out of memory may look like from outside."""


@dataclass(frozen=True, slots=True)
class ComponentPlan:
    """Everything needed to start guests of one transformer."""

    name: str
    link: ComponentLink
    limits: Limits
    transform: str
    configure: str | None
    """None when the component exports none."""
    config: str
    """JSON."""
    probe: tuple[bytes, bytes]
    """An empty batch, in its two parts."""
    decoded: bool
    """The values of its events are change events (`encoding: event`)."""
    ticker: EpochTicker
    services: Services
    gate: Gate
    clock_ns: Callable[[], int]
    counters: Counters

    @property
    def memory_bytes_max(self) -> int:
        """What its memories may grow to."""
        return self.limits.memory_bytes

    @property
    def metered(self) -> bool:
        """The engine counts fuel."""
        return self.link.metered

    def guest(self) -> ComponentGuest:
        """A new, empty place for guests."""
        return ComponentGuest(self)


def store_limits(limits: Limits) -> StoreLimits:
    """What a store grants a component: it is made of many core instances, which share what the limits grant."""
    return replace(StoreLimits.of(limits, limits.memories), instances=INSTANCES_MAX)


def config_text(config: Any) -> str:
    """A registry entry's `config` as `penstock-v1-configure` gets it. Raises TypeError for what JSON cannot carry."""
    return msgspec.json.encode(config).decode()


def _too_full(trouble: Trouble, frame_bytes: int, limits: Limits) -> Trouble:
    """A runtime that finds no room for a frame falls over as it likes; the frame's size is all that tells."""
    message = f"fell over a frame of {frame_bytes} bytes, with a memory limit of {format_bytes(limits.memory_bytes)}: {trouble.message}"
    return replace(trouble, kind=ViolationKind.MEMORY, message=message, oversize=True)


class ComponentGuest:
    """See `sandbox.guest.Guest`: `start`, then `cross` any number of times, then `close`; then `start` again."""

    memory_bytes = 0
    """Not known."""

    def __init__(self, plan: ComponentPlan) -> None:
        self._plan = plan
        self._seat = ComponentSeat(plan.link)
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

    def start(self) -> None:
        """A fresh instance, configured. Raises ModuleFault, SlowStart if it ran out of time."""
        assert not self.is_open
        self._host = self._new_host()
        ticker = self._plan.ticker
        try:
            ticker.enter()
            try:
                self._bring_up()
            finally:
                ticker.leave()
        except BaseException:
            self._seat.close()
            raise
        self.is_open, self.crossings = True, 0
        self._plan.counters.started()

    def probe(self) -> None:
        """Make sure that the guest answers an empty batch. Raises ModuleFault."""
        plan = self._plan
        answer = self.cross(*plan.probe, 0, plan.limits.output_bytes_per_event)
        if isinstance(answer, Trouble):
            detail = f"\n{answer.backtrace}" if answer.backtrace else ""
            raise ModuleFault(plan.name, f"fails with an empty batch: {answer.kind}: {answer.message}{detail}")
        if answer != b"\x90":
            raise ModuleFault(plan.name, "answers an empty batch with results")

    def cross(self, head: bytes, body: bytes, count: int, result_bytes_max: int) -> bytes | Trouble:
        """One crossing of a frame with `count` events: the result frame, not yet looked into, or why there is none."""
        if self.crossings:
            self._host = self._new_host()
            self._seat.attach(self._host)
        self.crossings += 1
        text = batch_text(head, body)
        ticker = self._plan.ticker
        ticker.enter()
        try:
            return self._transform(text, len(head) + len(body), count, result_bytes_max)
        finally:
            ticker.leave()

    def close(self) -> None:
        """Discard the instance. Safe to repeat."""
        if self.is_open:
            self.is_open = False
            self._seat.close()
            self._plan.counters.ended()

    def _transform(self, text: str, frame_bytes: int, count: int, result_bytes_max: int) -> bytes | Trouble:
        plan = self._plan
        fuel = (plan.limits.fuel_per_event or 0) * max(1, count)
        self._arm(fuel)
        began = plan.clock_ns()
        self._host.ends_ns = began + plan.limits.deadline_ms * 1_000_000
        watch = Stopwatch() if self.crossings == 1 and plan.ticker.is_real else None
        try:
            answer = self._seat.call(plan.transform, text)
        except GuestTrap as trap:
            self._raise_host_error()
            return self._classified(trap.facts, self._readings(began, watch), frame_bytes, count)
        finally:
            self.fuel_used = fuel - self._seat.fuel() if plan.metered else 0
        return self._taken(answer, count, result_bytes_max, began)

    def _classified(self, facts: TrapFacts, readings: Readings, frame_bytes: int, count: int) -> Trouble:
        trouble = classify(facts, self._host, self._plan.limits, readings)
        if (
            trouble.kind in FULL
            and not self._host.failed
            and frame_bytes >= self._plan.limits.memory_bytes // FRAME_PART
        ):
            return _too_full(trouble, frame_bytes, self._plan.limits)
        if trouble.kind is ViolationKind.BOUNDS:
            self._plan.counters.escaped({Pattern.OWN_ACCESS: 1})
        event = self._host.event
        return replace(trouble, cursor=event) if event is not None and event < count else trouble

    def _taken(self, answer: str, count: int, bytes_max: int, began: int) -> bytes | Trouble:
        """The frame that the text stands for. A text far too long is not even read."""
        elapsed_ns = self._plan.clock_ns() - began
        length = len(answer)
        try:
            if length <= TEXT_PARTS_MAX * bytes_max + TEXT_SPARE_CHARACTERS:
                frame = result_frame(answer, changes=self._plan.decoded)
                length = len(frame)
                if length <= bytes_max:
                    return frame
        except FrameError as error:
            message = f"the result frame is not what the ABI says: {error}"
            return Trouble(ViolationKind.BAD_OUTPUT, message, elapsed_ns=elapsed_ns)
        message = f"a result frame of {length} bytes; {bytes_max} is the most for {count} event{'s' * (count > 1)}"
        return Trouble(ViolationKind.OUTPUT_TOO_LARGE, message, elapsed_ns=elapsed_ns, oversize=True)

    def _bring_up(self) -> None:
        plan = self._plan
        began = plan.clock_ns()
        self._host.ends_ns = began + plan.limits.deadline_ms * 1_000_000
        phase = "its start function"
        try:
            self._seat.open(self._host, plan.ticker.ticks(plan.limits.deadline_ms))
            if plan.configure is not None:
                phase = f"`{plan.configure}`"
                self._arm()
                self._seat.call(plan.configure, plan.config)
        except GuestTrap as trap:
            raise self._fault(phase, trap.facts, began) from None
        except LinkError as error:
            remedy = "raise its limits or fix the module"
            raise ModuleFault(plan.name, f"cannot be instantiated: {error}", remedy) from None

    def _fault(self, phase: str, facts: TrapFacts, began: int) -> ModuleFault:
        plan = self._plan
        self._raise_host_error()
        trouble = classify(facts, self._host, plan.limits, self._readings(began))
        if phase != "its start function" and trouble.code:
            problem = f"refuses its configuration: {trouble.message}"
            return RefusedConfig(plan.name, problem, f"check transformers.{plan.name}.config")
        detail = f"\n{trouble.backtrace}" if trouble.backtrace else ""
        kind = SlowStart if trouble.kind is ViolationKind.DEADLINE else ModuleFault
        return kind(plan.name, f"{phase} failed: {trouble.kind}: {trouble.message}{detail}")

    def _arm(self, fuel: int = FREE_FUEL) -> None:
        plan = self._plan
        self._seat.arm(plan.ticker.ticks(plan.limits.deadline_ms))
        if plan.metered:
            self._seat.set_fuel(fuel)

    def _readings(self, began: int, watch: Stopwatch | None = None) -> Readings:
        starved_ns = watch.starved_ns(self._host) if watch is not None else 0
        return Readings(self._plan.clock_ns() - began, 0, self._plan.limits.memory_bytes, starved_ns)

    def _raise_host_error(self) -> None:
        """What broke inside a host function is our bug (or an interrupt): it goes on from here, not as a verdict."""
        if self._host.error is not None:
            raise self._host.error

    def _new_host(self) -> HostState:
        return HostState(self._plan.services, self.log_bytes_left, self._plan.gate)
