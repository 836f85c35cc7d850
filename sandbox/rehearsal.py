"""One guest, crossed by hand: frames exactly as they are, answers exactly as they come. For tools that judge guests, never for lanes."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.changes import ChangeEncoder
from sandbox.guest import Guest
from sandbox.process.guest import ProcessGuest
from sandbox.results import Answers, judge
from sandbox.session import SessionPlan
from sandbox.traps import Trouble
from schemas.abi import BatchEncoder, decode_results
from schemas.event import Event, TopicPartition


class Rehearsal:
    """See the module. `open` starts a guest; after Trouble or ModuleFault it is good for `close` only."""

    def __init__(self, plan: SessionPlan, source: TopicPartition) -> None:
        self._plan = plan
        self._guest = plan.guests.guest()
        self._changes = ChangeEncoder(source, plan.rules, plan.format) if plan.encoding == "event" else None
        self._encoder = self._changes or BatchEncoder(source)

    def open(self) -> Rehearsal:
        """Start a fresh guest. Raises ModuleFault."""
        self._guest.start()
        return self

    def close(self) -> None:
        """Discard the guest. Safe to repeat."""
        self._guest.close()

    def __enter__(self) -> Rehearsal:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_module(self) -> bool:
        """The guest is a core module, not a component: its frames are msgpack, its memory can be measured, its `alloc` asked."""
        guest = self._guest
        return guest.is_module if isinstance(guest, ProcessGuest) else isinstance(guest, Guest)

    @property
    def has_cursor(self) -> bool:
        """It says which event it works on."""
        return isinstance(self._guest, Guest | ProcessGuest) and self._guest.has_cursor

    @property
    def memory_bytes(self) -> int:
        """The size of its memory, which never shrinks; 0 for a component."""
        return self._guest.memory_bytes

    @property
    def fuel_used(self) -> int:
        """In the last crossing, where the limits have fuel."""
        return self._guest.fuel_used

    def frame(self, events: Sequence[Event]) -> tuple[bytes, bytes]:
        """The frame of these events, in its two parts. In `encoding: event` every value must be a change event."""
        if self._changes is not None:
            good, _ = self._changes.take(events)
            assert len(good) == len(events), "the events of a rehearsal can be decoded"
        return self._encoder.head, self._encoder.body(events)

    def cross(self, frame: tuple[bytes, bytes], count: int, result_bytes_max: int) -> bytes | Trouble:
        """The result frame, not looked into, or why there is none. Raises ModuleFault."""
        return self._guest.cross(*frame, count, result_bytes_max)

    def judge(self, events: Sequence[Event], answer: bytes) -> Answers:
        """One outcome per event of the last `frame`. Raises FrameError for an answer that has not the ABI's shape."""
        if self._changes is not None:
            return self._changes.judge(events, answer)
        return judge(events, decode_results(answer, len(events)), self._plan.rules)
