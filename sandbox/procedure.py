"""Calls one exported function with arguments, and takes its value: the ABI of procedures in docs/sql.md.

Threat: the answer is the guest's word, and so are its size, depth and types. It is bounded before it is read and checked before it is
anybody's value. Everything else (start, deadline, memory, host calls, what a trap means) is the same machinery as for batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from sandbox.components import ComponentPlan
from sandbox.guest import SlowStart
from sandbox.host import Gate
from sandbox.results import rejection
from sandbox.session import SessionPlan, host_uses
from sandbox.traps import Trouble
from schemas.abi import FrameError
from schemas.errors import ModuleFault
from schemas.limits import format_bytes
from schemas.outcome import HostUse, LogLine, Violation, ViolationKind
from schemas.procedures import Returned, decode_answer, encode_arguments

IDLE_MAX = 16
"""Empty seats that are kept for the next calls."""
ANSWER_OVERHEAD_BYTES = 16


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What one call came to, and what it cost: what an audit wants to know of it."""

    transformer: str
    module_sha256: str
    function: str
    limits: str
    """Those in force, readable."""
    value: Any = None
    violation: Violation | None = None
    """Why there is no value."""
    elapsed_ns: int = 0
    memory_bytes_peak: int = 0
    fuel_used: int | None = None
    host_calls: int = 0
    uses: Sequence[HostUse] = ()
    logs: Sequence[LogLine] = ()
    logs_suppressed: int = 0


class Procedure:
    """One function of one module under its registry entry's limits and grants. Safe from any thread: each call has a guest of its own.

    `gate` replaces the transformer's own, for callers that may do less and whose uses are counted with another's.
    """

    def __init__(self, plan: SessionPlan, function: str, gate: Gate | None = None) -> None:
        """Raises ModuleFault for a component."""
        guests = plan.guests
        if isinstance(guests, ComponentPlan) or not getattr(guests, "is_module", True):
            remedy = "build it as a core module that exports the function"
            raise ModuleFault(guests.name, "is a component, which has no procedures", remedy)
        self._guests = guests if gate is None else replace(guests, gate=gate)
        self._rules, self._limits = plan.rules, guests.limits
        self._function = function
        self._idle = deque([self._guests.guest()], IDLE_MAX)

    def call(self, arguments: Sequence[object]) -> Call:
        """What the function makes of the arguments. Never raises for what the guest does.

        Raises TypeError or ValueError for arguments that no guest can take, ModuleFault when the module cannot be started.
        """
        frame = encode_arguments(arguments)
        began = self._guests.clock_ns()
        most = self._limits.allocation_bytes_max
        if len(frame) > most:
            message = f"the arguments have {len(frame)} bytes; the largest allocation is {format_bytes(most)}"
            return self._facts(violation=self._condemn(Trouble(ViolationKind.MEMORY, message)))
        try:
            guest = self._idle.pop()
        except IndexError:
            guest = self._guests.guest()
        guest.log_bytes_left = self._limits.log_bytes_per_batch
        answer: bytes | Trouble | None = None
        try:
            try:
                guest.start()
            except SlowStart:
                guest.start()
            answer = guest.cross(frame, b"", 1, self._limits.output_bytes_per_event + ANSWER_OVERHEAD_BYTES)
            peak = guest.memory_bytes
        finally:
            host = guest.host
            self._guests.counters.crossed(answer is not None, host.host_calls, host.bad_pointers)
            self._guests.gate.record(host.uses)
            guest.close()
            self._idle.append(guest)
        return self._facts(
            **self._judge(answer),
            elapsed_ns=self._guests.clock_ns() - began,
            memory_bytes_peak=peak,
            fuel_used=guest.fuel_used if self._guests.metered else None,
            host_calls=host.host_calls,
            uses=host_uses(host.uses),
            logs=tuple(host.logs),
            logs_suppressed=host.logs_suppressed,
        )

    def close(self) -> None:
        """Discard the idle seats. Safe to repeat; no call may be running."""
        while self._idle:
            self._idle.pop().close()

    def _judge(self, answer: bytes | Trouble) -> dict[str, Any]:
        if isinstance(answer, Trouble):
            return {"violation": self._condemn(answer)}
        try:
            said = decode_answer(answer)
        except FrameError as error:
            message = f"the answer is not what the ABI says: {error}"
            return {"violation": self._condemn(Trouble(ViolationKind.BAD_OUTPUT, message))}
        if isinstance(said, Returned):
            return {"value": said.value}
        return {"violation": rejection(said.code, said.message, self._rules)}

    def _condemn(self, trouble: Trouble) -> Violation:
        return Violation(
            kind=trouble.kind,
            message=trouble.message,
            transformer=self._rules.transformer,
            module_sha256=self._rules.module_sha256,
            code=trouble.code,
            backtrace=trouble.backtrace,
            elapsed_us=trouble.elapsed_ns // 1000,
            memory_bytes_peak=trouble.memory_bytes,
            limits=self._rules.limits,
        )

    def _facts(self, **facts: Any) -> Call:
        rules = self._rules
        return Call(
            transformer=rules.transformer,
            module_sha256=rules.module_sha256,
            function=self._function,
            limits=rules.limits,
            **facts,
        )
