"""A step: it takes batches as a session does, and nothing of it is untrusted."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sandbox.text import cut, printable
from schemas.event import Batch, Event, TopicPartition
from schemas.outcome import Outcome, Report, Violation, ViolationKind
from schemas.specs import OnViolation, TransformerSpec

MESSAGE_CHARACTERS_MAX: Final = 500
NO_MODULE: Final = ""
"""The module hash of a verdict that no module gave."""


class Step:
    """One lane's own, as a session is; used by one thread at a time. Subclasses say what becomes of one event."""

    def __init__(
        self,
        name: str,
        on_violation: OnViolation = OnViolation.DEAD_LETTER,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.spec = TransformerSpec(name, Path(), on_violation=on_violation)
        """It stands in a chain as a transformer: named in dead letters, metrics and traces."""
        self._clock_ns = clock_ns
        self._stopping = False

    def run(self, batch: Batch) -> Report:
        """What became of each event. Raises TransportError when that cannot be told now."""
        began = self._clock_ns()
        outcomes = []
        for event in batch.events:
            if self._stopping:
                break
            outcomes.append(self.outcome(event, batch.source))
        return Report(
            outcomes=outcomes,
            elapsed_ns=self._clock_ns() - began,
            memory_bytes_peak=0,
            crossings=0,
            exhausted=len(outcomes) < len(batch.events),
        )

    def outcome(self, event: Event, source: TopicPartition) -> Outcome:
        """The verdict on one event. Raises TransportError."""
        raise NotImplementedError

    def stop(self) -> None:
        """Make a `run` in another thread return what it has."""
        self._stopping = True

    def close(self) -> None:
        """Let go of what it holds."""

    def violation(self, kind: ViolationKind, message: str) -> Violation:
        """That the event cannot pass this step."""
        return Violation(
            kind=kind,
            message=cut(printable(message), MESSAGE_CHARACTERS_MAX),
            transformer=self.spec.name,
            module_sha256=NO_MODULE,
        )
