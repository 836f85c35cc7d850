"""The checks: each asks a guest one thing and says what was seen. None presumes what a transformer makes of a value; rejections are fine."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pipeline.workshop.conformance import samples
from pipeline.workshop.conformance.frames import WIDTHS, widened
from pipeline.workshop.conformance.stage import FailedCheckError, NotApplicableError, Stage, fault_of, told
from sandbox.guest import RefusedConfig
from sandbox.traps import Trouble
from schemas.errors import ModuleFault
from schemas.event import Event
from schemas.limits import MIB, format_bytes
from schemas.outcome import Dropped, Emitted, Outcome, ViolationKind

MANY: Final = 10_000
REUSED_EVENTS: Final = 64
REUSED_BATCHES: Final = (200, 2_000)
"""At least and at most; in between, as many as `REUSED_SECONDS` hold."""
REUSED_SECONDS: Final = 3.0
CURSOR_EVENTS: Final = 64
CUTS: Final = 12
"""Points, spread over the work of a batch, at which its fuel is cut off."""
_STRANGE: Final[Sequence[Any]] = (None, -1, [[]], {"": 0}, "\u0001")
"""In place of what a key of the config has."""
FUEL_AMPLE: Final = 1 << 36
"""Per event: more than any batch of the suite needs within its deadline."""


def empty_batch(stage: Stage) -> str:
    """No event, no result."""
    stage.ask([])
    return "an empty array of results"


def one_event(stage: Stage) -> str:
    """A batch of one."""
    return _seen(stage.ask(samples.events(1)))


def many_events(stage: Stage) -> str:
    """A batch of 10,000."""
    events = samples.events(MANY)
    with stage.guest() as guest:
        began = time.perf_counter()
        seen = _seen(stage.outcomes(guest, events))
        return f"{seen}; {(time.perf_counter() - began) / MANY * 1e6:.1f} µs each"


def widths(stage: Stage) -> str:
    """One batch in frames of every width of integers and lengths that msgpack has: the same answer each time."""
    if not stage.is_module:
        raise NotApplicableError("a component's frames are text")
    events = [
        *samples.events(3),
        samples.event(3, samples.change(3), b"k", (("name", b"value"), ("none", None))),
        *samples.far(),
    ]
    expected = stage.ask(events)
    for width in WIDTHS:
        for signed in (False, True):
            with stage.guest() as guest:
                frame = widened(guest.frame(events), width, signed=signed)
                where = f"integers and lengths of {width} bits{' (signed)' if signed else ''}"
                try:
                    outcomes = stage.outcomes(guest, events, frame)
                except (FailedCheckError, ModuleFault) as error:
                    raise FailedCheckError(f"with {where}: {error}") from None
            if outcomes != expected:
                raise FailedCheckError(f"with {where} it answers otherwise: {_seen(outcomes)}, not {_seen(expected)}")
    return f"the same for 8 frames: {_seen(expected)}"


def tombstones(stage: Stage) -> str:
    """Values that are nil, with and without keys and headers."""
    return _seen(stage.ask(samples.tombstones()))


def null_keys(stage: Stage) -> str:
    """Keys that are nil, empty, or no text."""
    return _seen(stage.ask(samples.null_keys()))


def large_values(stage: Stage) -> str:
    """A value of a megabyte."""
    return _seen(stage.ask(samples.large()))


def unicode(stage: Stage) -> str:
    """Texts of every plane, with control characters and combining marks, in values, keys and headers."""
    return _seen(stage.ask(samples.unicode()))


def any_bytes(stage: Stage) -> str:
    """Values that are no JSON, no text, or nothing."""
    if stage.encoding == "event":
        raise NotApplicableError("in the encoding `event` the host decodes values before the guest sees them")
    return _seen([stage.ask([event])[0] for event in samples.any_bytes()])


def offsets(stage: Stage) -> str:
    """Offsets and timestamps up to 2^63-1, and -1."""
    return _seen(stage.ask(samples.far()))


def extremes(stage: Stage) -> str:
    """-2^63, 2^63-1, 2^64-1, 2^53+1, NaN and infinities in columns: what it emits of them as a number is that number."""
    if stage.encoding != "event":
        raise NotApplicableError("in the encoding `raw` numbers are text, and the guest's own affair")
    outcomes = stage.ask(samples.extremes())
    for outcome in outcomes[:1]:
        for column, said in _columns(outcome).items():
            wanted = samples.EXTREMES.get(column)
            if wanted is not None and type(said) in (int, float) and repr(said) != repr(wanted):
                raise FailedCheckError(f"{wanted} came back as {said!r}")
    return _seen(outcomes)


def _columns(outcome: Outcome) -> Mapping[str, Any]:
    if isinstance(outcome, Emitted) and len(outcome.events) == 1 and outcome.events[0].value is not None:
        after: Mapping[str, Any] = json.loads(outcome.events[0].value).get("after") or {}
        return after
    return {}


def config_refused(stage: Stage) -> str:
    """Configurations it was not made for: it takes them or refuses them, and does not fall over."""
    tried: Counter[str] = Counter()
    given = dict(stage.spec.config)
    strange: list[Mapping[str, Any]] = [{}, {"": None}, {"penstock conformance": [[{}]]}]
    strange += [given | {name: value} for name in given for value in _STRANGE]
    for config in strange:
        try:
            stage.load_with(config)
        except RefusedConfig:
            tried["refused"] += 1
        except ModuleFault as fault:
            if "takes no config" in fault.problem or "does not export" in fault.problem:
                raise NotApplicableError("it takes no config") from None
            raise FailedCheckError(f"with {json.dumps(config)}: {fault_of(fault)}") from None
        else:
            tried["taken"] += 1
    return ", ".join(f"{count} {what}" for what, count in tried.items())


def alloc_failing(stage: Stage) -> str:
    """A frame that does not fit its memory: alloc returns 0 or names the reason, and gives no block that is not there."""
    if not stage.is_module:
        raise NotApplicableError("a component's memory is asked by the runtime, not by the host")
    limit = _smallest_memory(stage)
    event = samples.event(0, samples.change(0, note="x" * limit))
    with stage.guest(memory_bytes=limit, allocation_bytes_max=limit) as guest:
        answer = guest.cross(guest.frame([event]), 1, MIB)
    if not isinstance(answer, Trouble):
        raise FailedCheckError(f"answers a frame of {format_bytes(limit)} and more within {format_bytes(limit)}")
    if answer.kind is not ViolationKind.MEMORY:
        raise FailedCheckError(told(answer))
    return told(answer)


def _smallest_memory(stage: Stage) -> int:
    """The smallest of some sizes of memory in which the module starts."""
    most = stage.spec.limits.memory_bytes
    for size in (2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB, 32 * MIB):
        if size < most:
            try:
                stage.load(memory_bytes=size, allocation_bytes_max=size)
            except ModuleFault:
                continue
            return size
    return most


def reuse(stage: Stage) -> str:
    """One guest for hundreds of batches: none fails, and its memory is no larger at the end than halfway."""
    events = samples.events(REUSED_EVENTS)
    with stage.guest() as guest:
        frame = guest.frame(events)
        sizes = [_batch(stage, guest, events, frame)]
        began = time.perf_counter()
        while len(sizes) < REUSED_BATCHES[0] or (
            len(sizes) < REUSED_BATCHES[1] and time.perf_counter() - began < REUSED_SECONDS
        ):
            sizes.append(_batch(stage, guest, events, frame))
    if not stage.is_module:
        return f"{len(sizes)} batches of {REUSED_EVENTS}; a component's memory cannot be measured"
    start, half, end = sizes[0], sizes[len(sizes) // 2], sizes[-1]
    seen = f"{len(sizes)} batches of {REUSED_EVENTS}: {format_bytes(start)} after the first, {format_bytes(half)} halfway, {format_bytes(end)} at the end"
    if end > half:
        raise FailedCheckError(seen)
    return seen


def _batch(stage: Stage, guest: Any, events: Sequence[Event], frame: tuple[bytes, bytes]) -> int:
    stage.judged(guest, events, stage.answer(guest, events, frame))
    size: int = guest.memory_bytes
    return size


def determinism(stage: Stage) -> str:
    """The same input, on a fresh guest each time and on one that has worked before: the same bytes."""
    events = [*samples.events(50), *samples.unicode()]
    with stage.guest() as guest:
        first = stage.answer(guest, events, guest.frame(events))
        third = stage.answer(guest, events, guest.frame(events))
    with stage.guest() as guest:
        second = stage.answer(guest, events, guest.frame(events))
    if first != second:
        raise FailedCheckError(f"two fresh guests differ: {_difference(first, second)}")
    if first != third:
        raise FailedCheckError(f"a guest that has worked before differs: {_difference(first, third)}")
    return f"three times the same {len(first)} bytes"


def _difference(one: bytes, other: bytes) -> str:
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"{len(one)} and {len(other)} bytes, from byte {at} on"


def cursor(stage: Stage) -> str:
    """Cut off at points spread over a batch, it points at an event of the batch, never further back than before, and moves."""
    if not stage.is_module:
        raise NotApplicableError("a component names its event when it fails")
    events = samples.events(CURSOR_EVENTS)
    with stage.guest(fuel_per_event=FUEL_AMPLE) as guest:
        if not guest.has_cursor:
            raise NotApplicableError("it exports no penstock_v1_cursor")
        stage.outcomes(guest, events)
        fuel = guest.fuel_used
    points = [_cut(stage, events, fuel * cut // (CUTS * CURSOR_EVENTS)) for cut in range(1, CUTS)]
    seen = f"points at {', '.join('nothing' if one is None else str(one) for one in points)} of {CURSOR_EVENTS} events"
    told_of = [one for one in points if one is not None]
    if len(told_of) < len(points):
        raise FailedCheckError(f"{seen}: outside of the batch")
    if told_of != sorted(told_of):
        raise FailedCheckError(f"{seen}: it goes back")
    if len(set(told_of)) == 1:
        raise FailedCheckError(f"{seen}: it does not move")
    return seen


def _cut(stage: Stage, events: Sequence[Event], fuel_per_event: int) -> int | None:
    """Where the cursor points when the batch runs out of fuel."""
    with stage.guest(fuel_per_event=max(1, fuel_per_event)) as guest:
        answer = guest.cross(guest.frame(events), len(events), MIB * len(events))
    if not isinstance(answer, Trouble):
        raise FailedCheckError("with less fuel than before the same batch went through: it is not deterministic")
    return answer.cursor


def _seen(outcomes: Sequence[Outcome]) -> str:
    """`3 emitted, 1 dropped, 1 rejected (bad-json)`."""
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        match outcome:
            case Emitted():
                counts["emitted"] += 1
            case Dropped():
                counts["dropped"] += 1
            case rejection:
                counts[f"rejected ({rejection.code})"] += 1
    return ", ".join(f"{count} {what}" for what, count in counts.items()) or "no results"


CheckFunction = Callable[[Stage], str]
