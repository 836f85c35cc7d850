"""The guests of a simulated world, and what they do to an event in plain Python: the oracle.

Both follow `tests/guests/mischief.wat`; the oracle knows nothing of batches, sandboxes or transactions.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wasmtime import wat2wasm

from pipeline.placement import place
from sandbox import Sandbox, Transformer
from sandbox.epoch import EpochTicker
from sandbox.host import HostImport
from schemas.event import Event, TopicPartition
from schemas.limits import Limits
from schemas.outcome import ViolationKind
from schemas.specs import InstancePolicy, OnViolation, QuarantineAction, RouteSpec, TransformerSpec

FOLDER = Path(__file__).parent.parent / "guests"
LIMITS = Limits(memory_bytes=2 << 20, deadline_ms=20, allocation_bytes_max=1 << 20, output_bytes_per_event=1 << 10)
_MODES = {InstancePolicy.PER_BATCH: 0, InstancePolicy.PER_EVENT: 1, InstancePolicy.REUSED: 2}
VIOLATIONS = {
    "j": ViolationKind.REJECTED,
    "F": ViolationKind.TRAP,
    "#": ViolationKind.BAD_OUTPUT,
    "9": ViolationKind.OUTPUT_TOO_LARGE,
    "f": ViolationKind.BAD_OUTPUT,
    "U": ViolationKind.TRAP,
    "S": ViolationKind.STACK,
    "M": ViolationKind.MEMORY,
    "L": ViolationKind.DEADLINE,
    "W": ViolationKind.TRAP,
    "V": ViolationKind.TRAP,
    "N": ViolationKind.TRAP,
}
GOOD = "kkkkrrrrrdnztyeEsm"
BAD = "jF#9fUSMLWVN"


@functools.cache
def module(stage: int, instance: InstancePolicy, base: int = 0) -> bytes:
    """The guest of this stage, whose commands are at `base`; it notices when it lives longer than `instance` says."""
    text = (FOLDER / "mischief.wat").read_text()
    text = re.sub(r"\(;include (\w+);\)", lambda found: (FOLDER / f"{found[1]}.wat").read_text(), text)
    places = {"$STAGE": base + stage, "$REPLACED": base + 4 + stage, "$CHILD": base + 3}
    text = re.sub(r"\$(?:STAGE|REPLACED|CHILD)\b", lambda found: str(places[found[0]]), text)
    return bytes(wat2wasm(text.replace("$MODE)", f"{_MODES[instance]})")))


class GuestTime:
    """A sandbox in which time passes only when a guest says so."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.sandbox = Sandbox(
            workers=8,
            isolation_budget_ms=3 * LIMITS.deadline_ms,
            ticker=EpochTicker(auto=False),
            clock_ns=lambda: self.now_ns,
            extra_imports=(
                HostImport("tick", ("i32",), None, lambda state, memory, ms: self._tick(ms), module="test"),
            ),
        )

    def load(self, spec: TransformerSpec, stage: int, base: int = 0) -> Transformer:
        """`base`: where in a value the commands begin."""
        return self.sandbox.load(spec, module(stage, spec.instance, base))

    def _tick(self, milliseconds: int) -> None:
        self.now_ns += milliseconds * 1_000_000
        self.sandbox.advance_epoch(milliseconds)


@dataclass(frozen=True)
class Piece:
    """One record that came of an event: where it goes and what it is."""

    topic: str | None
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Letter:
    """The event must be in the dead letters, on account of this transformer."""

    transformer: str
    kind: ViolationKind | None
    """None: the transformer is quarantined, and the event was not run."""


@dataclass(frozen=True)
class Stop:
    """The lane must stop before this event."""

    transformer: str


Fate = tuple[Piece, ...] | Letter | Stop
"""No pieces: dropped."""


def fates(
    event: Event, chain: Sequence[TransformerSpec], maybe: frozenset[str], surely: frozenset[str]
) -> Iterator[Fate]:
    """Everything that may become of an event when `surely` are quarantined, and perhaps some of `maybe`."""
    yield from _fates((Piece(None, event.key, event.value),), 0, chain, maybe, surely)


def _fates(
    pieces: tuple[Piece, ...],
    stage: int,
    chain: Sequence[TransformerSpec],
    maybe: frozenset[str],
    surely: frozenset[str],
) -> Iterator[Fate]:
    if stage == len(chain) or not pieces:
        yield pieces
        return
    spec = chain[stage]
    if spec.name in surely:
        choices = [(True,) * len(pieces)]
    elif spec.name in maybe:
        choices = list(itertools.product((False, True), repeat=len(pieces)))
    else:
        choices = [(False,) * len(pieces)]
    for skipped in choices:
        after = _stage(pieces, skipped, stage, spec)
        if isinstance(after, tuple):
            yield from _fates(after, stage + 1, chain, maybe, surely)
        elif after is not None:
            yield after


def _stage(pieces: tuple[Piece, ...], skipped: Sequence[bool], stage: int, spec: TransformerSpec) -> Fate | None:
    """None: the lane pauses before the event instead."""
    went_on: list[Piece] = []
    ends: list[Letter | Stop | tuple[()]] = []
    for piece, skip in zip(pieces, skipped, strict=True):
        if skip:
            match spec.quarantine.action:
                case QuarantineAction.PAUSE:
                    return None
                case QuarantineAction.DEAD_LETTER_ALL:
                    ends.append(Letter(spec.name, None))
                case QuarantineAction.PASS_THROUGH:
                    went_on.append(piece)
            continue
        kind = VIOLATIONS.get(_command(piece, stage))
        if kind is None:
            went_on += _transformed(piece, stage)
            continue
        match spec.on_violation:
            case OnViolation.PASS_THROUGH:
                went_on.append(piece)
            case OnViolation.DEAD_LETTER:
                ends.append(Letter(spec.name, kind))
            case OnViolation.DROP:
                ends.append(())
            case OnViolation.STOP:
                ends.append(Stop(spec.name))
    return _gravest(ends) if ends else tuple(went_on)


def _gravest(ends: list[Letter | Stop | tuple[()]]) -> Letter | Stop | tuple[()]:
    """Of several siblings: a stop comes before a dead letter, that before a drop; the first of its kind counts."""
    return next((end for kind in (Stop, Letter) for end in ends if isinstance(end, kind)), ())


def _command(piece: Piece, stage: int) -> str:
    return "" if piece.value is None else chr(piece.value[stage])


def _transformed(piece: Piece, stage: int) -> list[Piece]:
    topic, key, value = piece.topic, piece.key, piece.value
    command = _command(piece, stage)
    if value is None or command in "ksm":
        return [piece]
    match command:
        case "d" | "n":
            return []
        case "r":
            return [Piece(topic, key, _changed(value, 4 + stage, "R"))]
        case "z":
            return [Piece(topic, key, None)]
        case "t":
            return [Piece("other", key, value)]
        case "y":
            return [Piece(None, b"moved", value)]
        case "e" | "E":
            wild = Piece(None, key, _changed(value, 3, "1"))
            tame = Piece(None, key, _tamed(_changed(value, 3, "2"), stage))
            return [wild, tame] if command == "e" else [tame, wild]
    raise AssertionError(f"no such command: {command}")


def _changed(value: bytes, at: int, letter: str) -> bytes:
    return value[:at] + letter.encode() + value[at + 1 :]


def _tamed(value: bytes, stage: int) -> bytes:
    return value[: stage + 1] + b"k" * (2 - stage) + value[3:]


def destination(
    piece: Piece, event: Event, source: TopicPartition, route: RouteSpec, counts: dict[str, int]
) -> TopicPartition:
    """Where this piece of the event belongs."""
    topic = piece.topic or route.to
    number = place(
        piece.key,
        source_key=event.key,
        source_partition=source.partition,
        source_count=counts[source.topic],
        count=counts[topic],
    )
    return TopicPartition(topic, number)
