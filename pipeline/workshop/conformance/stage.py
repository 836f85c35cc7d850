"""What checks work with: guests of one module, started fresh, asked, and their answers looked into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.workshop.conformance.samples import SOURCE
from sandbox import Sandbox, Transformer
from sandbox.rehearsal import Rehearsal
from sandbox.traps import Trouble
from schemas.abi import FrameError
from schemas.errors import ModuleFault
from schemas.event import Event
from schemas.outcome import Outcome
from schemas.specs import TransformerSpec


class FailedCheckError(Exception):
    """The guest is not as the ABI says; the message is what was seen."""


class NotApplicableError(Exception):
    """The check has nothing to look at in this guest; the message says why."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One module under one set of limits."""

    sandbox: Sandbox
    spec: TransformerSpec
    wasm: bytes = field(repr=False)
    is_module: bool = True
    encoding: str = "raw"

    def load(self, **limits: int | None) -> Transformer:
        """The transformer, under these limits where they differ. Raises ModuleFault."""
        return self.sandbox.load(replace(self.spec, limits=self.spec.limits.with_(**limits)), self.wasm)

    def load_with(self, config: Mapping[str, Any]) -> Transformer:
        """The transformer with another config. Raises ModuleFault."""
        return self.sandbox.load(replace(self.spec, config=config), self.wasm)

    @contextmanager
    def guest(self, **limits: int | None) -> Iterator[Rehearsal]:
        """A fresh guest."""
        with self.load(**limits).rehearsal(SOURCE) as one:
            yield one

    def ask(self, events: Sequence[Event]) -> list[Outcome]:
        """What a fresh guest makes of a batch. Raises FailedCheckError."""
        with self.guest() as guest:
            return self.outcomes(guest, events)

    def outcomes(
        self, guest: Rehearsal, events: Sequence[Event], frame: tuple[bytes, bytes] | None = None
    ) -> list[Outcome]:
        """What this guest makes of a batch, in a frame of its own or in this one. Raises FailedCheckError."""
        return self.judged(guest, events, self.answer(guest, events, frame or guest.frame(events)))

    def answer(self, guest: Rehearsal, events: Sequence[Event], frame: tuple[bytes, bytes]) -> bytes:
        """The result frame. Raises FailedCheckError when there is none."""
        room = len(events) * self.spec.limits.output_bytes_per_event + (64 << 10)
        answer = guest.cross(frame, len(events), room)
        if isinstance(answer, Trouble):
            raise FailedCheckError(told(answer))
        return answer

    def judged(self, guest: Rehearsal, events: Sequence[Event], answer: bytes) -> list[Outcome]:
        """The answer as outcomes. Raises FailedCheckError for one that breaks a rule."""
        try:
            judged = guest.judge(events, answer)
        except FrameError as error:
            raise FailedCheckError(f"the result frame is not what the ABI says: {error}") from None
        outcomes: list[Outcome] = []
        for index, outcome in enumerate(judged.outcomes):
            if isinstance(outcome, Trouble):
                raise FailedCheckError(f"event {index}: {told(outcome)}")
            outcomes.append(outcome)
        return outcomes


def told(trouble: Trouble) -> str:
    """`trap: wasm trap: unreachable`, with the guest's own code where it gave one."""
    code = f" ({trouble.code})" if trouble.code else ""
    return f"{trouble.kind}{code}: {trouble.message}"


def fault_of(fault: ModuleFault) -> str:
    """What a module did outside of its transform; without the backtrace."""
    return fault.problem.partition("\n")[0]
