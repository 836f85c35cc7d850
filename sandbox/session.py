"""One lane × one transformer: runs batches, and keeps what is worth keeping between them.

A batch crosses in as few pieces as its size, the guest's memory and the recent past allow. Whatever events or guests do becomes
an outcome; only a module that is itself at fault raises.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from sandbox.changes import ChangeEncoder, merged
from sandbox.components import ComponentPlan
from sandbox.guest import GuestPlan, SlowStart
from sandbox.host.gate import Uses, add_uses
from sandbox.isolation import SLOW, Findings, Isolation
from sandbox.pace import Pace
from sandbox.process.guest import ProcessPlan
from sandbox.records import Codec, CodecError, codecs
from sandbox.results import Answers, Rules, carry, judge
from sandbox.traps import Trouble
from schemas.abi import BatchEncoder, FrameError, decode_results
from schemas.errors import ModuleFault
from schemas.event import Batch, Event, TopicPartition
from schemas.formats.debezium import DebeziumJson
from schemas.formats.format import Format
from schemas.limits import format_bytes
from schemas.outcome import Carried, HostUse, LogLine, Outcome, Report, Violation, ViolationKind
from schemas.records import Records
from schemas.specs import InstancePolicy

BATCH_MEMORY_PART = 8
"""A frame of several events is at most this part of the guest's memory: room for the guest to work in."""
RESULT_BYTES_MAX = 4 << 20
"""A result frame of several events, unless what went in was large itself. Decoding multiplies a hostile frame by about 20."""
PIECES_MAX = 4
"""Records that would cross in more pieces than this do so as single events."""
RESULT_OVERHEAD_BYTES = 64 << 10
"""What a lone event's result frame may have beyond its output: msgpack and record structure."""

_log = logging.getLogger("penstock.sandbox")


@dataclass(slots=True)
class Tally:
    """What one `Session.run` adds up."""

    log_bytes_left: int
    crossings: int = 0
    memory_bytes_peak: int = 0
    fuel_used: int = 0
    host_calls: int = 0
    escape_attempts: int = 0
    escape_patterns: dict[str, int] = field(default_factory=dict)
    wasted_ns: int = 0
    lone_ns_max: int = 0
    """The slowest healthy crossing of a single event."""
    logs: list[LogLine] = field(default_factory=list)
    logs_suppressed: int = 0
    uses: Uses = field(default_factory=dict)
    doubted: tuple[int, int, int] | None = None
    """What was logged before a run that need not be the event's last: lines, lines left out, bytes left."""

    def unsay(self) -> None:
        """The run is repeated, and will log the same again."""
        if self.doubted is not None:
            lines, self.logs_suppressed, self.log_bytes_left = self.doubted
            del self.logs[lines:]
            self.doubted = None


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What a session needs of its transformer."""

    guests: GuestPlan | ComponentPlan | ProcessPlan
    rules: Rules
    instance: InstancePolicy
    encoding: str
    isolation_budget_ms: int
    trace: bool
    """Log every crossing at level DEBUG."""
    frame_bytes_max: int
    """For frames of several events; a single event's may be as large as `allocation_bytes_max`."""
    format: Format = field(default_factory=DebeziumJson)
    """Of the values, for `encoding: event`."""

    def for_route(self, topics: frozenset[str] | None, format_: Format | None) -> SessionPlan:
        """The same, for guests that may name these topics (None allows any), over values in this format (None: Debezium's JSON)."""
        return replace(self, rules=replace(self.rules, topics=topics), format=format_ or self.format)


class _UnusualError(Exception):
    """The codec leaves these records to the format itself, event by event."""


class Session:
    """Runs the batches of one lane through one transformer. Used by one thread at a time."""

    def __init__(self, plan: SessionPlan) -> None:
        self._plan = plan
        self._limits = plan.guests.limits
        self._deadline_ns = self._limits.deadline_ms * 1_000_000
        self._budget_ns = plan.isolation_budget_ms * 1_000_000
        self._clock_ns = plan.guests.clock_ns
        self._guest = plan.guests.guest()
        self._pace = Pace()
        self._crossing_ns = 0
        """What the last crossing took, its guest's start included."""
        self._source: TopicPartition | None = None
        self._encoder: BatchEncoder = BatchEncoder(TopicPartition("", 0))
        self._changes: ChangeEncoder | None = None
        """The encoder, in `encoding: event`."""
        self._tally = Tally(0)
        self._part: Sequence[Event] = ()
        self._codec: Codec | None = None
        """For batches of `Records`, while they run."""
        self._stopping = False

    @property
    def events_max(self) -> int:
        """How many events cross together at present."""
        return 1 if self._plan.instance is InstancePolicy.PER_EVENT else self._pace.events_max

    def run(self, batch: Batch) -> Report:
        """What became of each event. Never raises for what events or guests do.

        Raises ModuleFault when the module itself faults, and TransportError when what the format needs is out of reach; no event
        is to blame then, and none has an outcome.
        """
        began = self._clock_ns()
        self._tally = tally = Tally(self._limits.log_bytes_per_batch)
        self._set_source(batch.source)
        try:
            outcomes = self._run(batch.events)
        finally:
            self._part, self._codec = (), None
            if self._changes is not None:
                self._changes.forget()
            self._count()
        return Report(
            outcomes=outcomes,
            elapsed_ns=self._clock_ns() - began,
            memory_bytes_peak=tally.memory_bytes_peak,
            crossings=tally.crossings,
            exhausted=len(outcomes) < len(batch.events),
            fuel_used=tally.fuel_used if self._plan.guests.metered else None,
            logs=tally.logs,
            logs_suppressed=tally.logs_suppressed,
            host_calls=tally.host_calls,
            uses=host_uses(tally.uses) if tally.uses else (),
            escape_attempts=tally.escape_attempts,
            escape_patterns=tally.escape_patterns,
        )

    def stop(self) -> None:
        """Make a `run` in another thread return what it has, after at most one more deadline; three, where the machine lets guests starve.

        For shutdown and revocation. The session is then good for `close` only.
        """
        self._stopping = True

    def close(self) -> None:
        """Discard the guest. Safe to repeat; the session must not be running."""
        self._guest.close()

    def cross(self, indexes: Sequence[int]) -> list[Outcome | Trouble] | Trouble:
        """Run these events of the current part together, on a fresh guest (see `isolation.Runner`)."""
        self._guest.close()
        self._tally.unsay()
        self._part = part = self._singles(self._part)
        answers = self._cross([part[index] for index in indexes])
        assert not isinstance(answers, Carried), "single events are not records"
        return answers if isinstance(answers, Trouble) else answers.outcomes

    def condemn(self, trouble: Trouble, attempt: int) -> Violation:
        """The violation that this lone run on a fresh guest amounts to."""
        rules = self._plan.rules
        self._tally.doubted = None
        return Violation(
            kind=trouble.kind,
            message=trouble.message,
            transformer=rules.transformer,
            module_sha256=rules.module_sha256,
            code=trouble.code,
            backtrace=trouble.backtrace,
            elapsed_us=trouble.elapsed_ns // 1000,
            memory_bytes_peak=trouble.memory_bytes,
            limits=rules.limits,
            attempt=attempt,
        )

    def is_spent(self) -> bool:
        """The isolation budget is used up, or `stop` was called."""
        return self._stopping or self._tally.wasted_ns > self._budget_ns

    def _run(self, events: Sequence[Event]) -> Sequence[Outcome]:
        if type(events) is not Records:  # no subclass; asking an ABC costs more
            return self._run_singles(events)
        return (
            self._run_records(events) if self._changes is None or self._changes.is_usual else self._run_singles(events)
        )

    def _run_singles(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """Event by event. In `encoding: event` they are decoded first; what cannot be has its verdict, and the others run without it."""
        events = events.events() if isinstance(events, Records) else events
        if (changes := self._changes) is None:
            return self._decide(events)
        good, undecodable = changes.take(events)
        decided = self._decide(good)
        return merged(len(events), decided, undecodable) if undecodable else decided

    def _run_records(self, records: Records) -> Sequence[Outcome]:
        """With a codec at hand; as single events where they cross in small pieces, each of which would cost a look at whole sections."""
        if PIECES_MAX * self.events_max < len(records):
            return self._run_singles(records)
        try:
            with codecs().lease() as self._codec:
                return self._decide(records)
        except CodecError as error:
            _log.warning("%s: a batch goes on as single events: %s", self._plan.rules.transformer, error)
            self._codec = None
            return self._run_singles(records)

    def _decide(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """One part after the other; nearly always there is one part, and its outcomes are those of the batch."""
        decided = self._advance(events, 0) if events else ()
        if len(decided) == len(events):
            return decided
        outcomes = list(decided)
        while len(decided) == len(self._part) and len(outcomes) < len(events) and not self.is_spent():
            decided = self._advance(events, len(outcomes))
            outcomes += decided
        return outcomes

    def _advance(self, events: Sequence[Event], at: int) -> Sequence[Outcome]:
        """Outcomes of the next part of the batch: at least one, and of all of it unless the budget is used up."""
        size = min(self.events_max, len(events) - at)
        self._part = events if size == len(events) else events[at : at + size]
        try:
            body = self._fit()
        except _UnusualError:
            return self._run_singles(events[at:])
        attempts, fresh = 1, not self._guest.is_open
        answers = self._cross(self._part, body)
        if not fresh and isinstance(answers, Trouble) and answers.kind not in SLOW:
            attempts, fresh = 2, True  # a worn guest's trouble may be its age: memory it never gave back
            if self._codec is None:  # it may have trapped over the answer
                self._part = self._singles(self._part)
            body = self._body(self._part)  # the codec may have taken the first answer in
            answers = self._cross(self._part, body)
        if isinstance(answers, Trouble):
            return self._isolate(answers, attempts, fresh=fresh)
        self._pace.healthy(len(self._part), self._crossing_ns, self._deadline_ns)
        if isinstance(answers, Carried):
            return answers
        if answers.flawed:
            return self._settle(answers.outcomes, attempts, fresh=fresh)
        return answers.outcomes  # type: ignore[return-value]  # none of them is Trouble

    def _fit(self) -> bytes:
        """Encode the part, made smaller until its frame is."""
        limit = self._plan.frame_bytes_max
        body = self._body(self._part)
        while len(body) > limit and len(self._part) > 1:
            size = len(self._part) * limit // len(body)
            self._part = self._part[: max(1, min(size, len(self._part) - 1))]
            body = self._body(self._part)
        return body

    def _body(self, events: Sequence[Event]) -> bytes:
        """The frame's second element; the codec then holds what it made it of. Raises _UnusualError when it cannot."""
        codec = self._codec
        if not isinstance(events, Records) or (codec is None and self._changes is None):
            return self._encoder.body(events)
        if codec is None:  # it trapped over a part of the batch
            raise _UnusualError
        codec.clear()
        for block in events.blocks:
            codec.load(block)
        if self._changes is None:
            return codec.frame()
        if (body := codec.frame_changes()) is None:
            raise _UnusualError
        return body

    def _singles(self, events: Sequence[Event]) -> Sequence[Event]:
        """The same as the encoder knows them one by one."""
        if self._changes is not None and isinstance(events, Records):
            return self._changes.adopt(events)
        return events

    def _isolate(self, trouble: Trouble, attempts: int, *, fresh: bool) -> Sequence[Outcome]:
        if fresh and len(self._part) == 1 and not trouble.is_doubtful:
            return [self.condemn(trouble, attempts)]
        return self._learn(Isolation(self, len(self._part), attempts).after_trouble(trouble))

    def _settle(self, answers: list[Outcome | Trouble], attempts: int, *, fresh: bool) -> Sequence[Outcome]:
        only = answers[0]
        if fresh and isinstance(only, Trouble) and len(answers) == 1:
            return [self.condemn(only, attempts)]
        return self._learn(Isolation(self, len(self._part), attempts).after_answers(answers))

    def _learn(self, findings: Findings) -> Sequence[Outcome]:
        """Smaller crossings for a while where size was to blame."""
        if findings.exhausted:
            self._pace.shrink(1)
        elif findings.events_max is not None:
            by_time = self._deadline_ns // (2 * max(1, self._tally.lone_ns_max))
            self._pace.shrink(min(findings.events_max, max(1, by_time)))
        return findings.outcomes

    def _cross(self, events: Sequence[Event], body: bytes | None = None) -> Answers | Carried | Trouble:
        """One crossing, with its costs added up. The guest stays only if it is a reused one and did well."""
        if body is None:
            body = self._encoder.body(events)
        frame_bytes = len(self._encoder.head) + len(body)
        if frame_bytes > self._limits.allocation_bytes_max:
            return _frame_too_large(frame_bytes, self._limits.allocation_bytes_max)
        began = self._clock_ns()
        healthy, trouble = False, None
        try:
            answers = self._ask(events, body)
            trouble = answers if isinstance(answers, Trouble) else None
            healthy = trouble is None
        finally:
            self._crossing_ns = elapsed_ns = self._clock_ns() - began
            self._account(elapsed_ns, len(events), trouble, healthy=healthy)
            if self._plan.trace:
                self._trace(elapsed_ns, events, healthy=healthy)
            if not (healthy and self._plan.instance is InstancePolicy.REUSED):
                self._guest.close()
        return answers

    def _ask(self, events: Sequence[Event], body: bytes) -> Answers | Carried | Trouble:
        """Send the frame and look into the answer."""
        answer = self._send(body, len(events))
        if isinstance(answer, Trouble):
            return answer
        try:
            if self._codec is not None and isinstance(events, Records):
                try:
                    carried = carry(self._codec, events, answer, self._plan.rules)
                except CodecError:  # a guest's bytes may not end more than the short way
                    self._codec = carried = None
                if carried is not None:
                    return carried
            if self._changes is not None:
                return self._changes.judge(self._singles(events), answer)
            return judge(events, decode_results(answer, len(events)), self._plan.rules)
        except FrameError as error:
            message = f"the result frame is not what the ABI says: {error}"
            return Trouble(ViolationKind.BAD_OUTPUT, message, memory_bytes=self._guest.memory_bytes)

    def _send(self, body: bytes, count: int) -> bytes | Trouble:
        """The result frame. A worn guest whose `alloc` faults is replaced by a fresh one before the module is blamed."""
        guest = self._guest
        guest.log_bytes_left = self._tally.log_bytes_left
        result_bytes_max = self._result_bytes_max(len(body), count)
        if guest.is_open:
            with suppress(ModuleFault):
                return guest.cross(self._encoder.head, body, count, result_bytes_max)
            guest.close()
        try:
            guest.start()
        except SlowStart:
            guest.start()
        return guest.cross(self._encoder.head, body, count, result_bytes_max)

    def _result_bytes_max(self, body_bytes: int, count: int) -> int:
        alone = self._limits.output_bytes_per_event + RESULT_OVERHEAD_BYTES
        return alone if count == 1 else max(alone, RESULT_BYTES_MAX, 2 * body_bytes)

    def _account(self, elapsed_ns: int, count: int, trouble: Trouble | None, *, healthy: bool) -> None:
        tally, guest = self._tally, self._guest
        host = guest.host
        tally.crossings += 1
        tally.host_calls += host.host_calls
        if host.bad_pointers:
            tally.escape_attempts += host.bad_pointers
            for pattern, times in (host.escapes or {}).items():
                tally.escape_patterns[pattern] = tally.escape_patterns.get(pattern, 0) + times
        if host.uses:
            add_uses(tally.uses, host.uses)
        tally.fuel_used += guest.fuel_used
        if guest.is_open:
            tally.memory_bytes_peak = max(tally.memory_bytes_peak, guest.memory_bytes)
        if healthy or count == 1:  # what a failed crossing of several logged will be logged again
            if trouble is not None and trouble.is_doubtful:
                tally.doubted = len(tally.logs), tally.logs_suppressed, tally.log_bytes_left
            tally.logs.extend(host.logs)
            tally.logs_suppressed += host.logs_suppressed
            tally.log_bytes_left = host.log_bytes_left
        if not healthy:
            tally.wasted_ns += elapsed_ns - (trouble.starved_ns if trouble is not None else 0)
        elif count == 1:
            tally.lone_ns_max = max(tally.lone_ns_max, elapsed_ns)

    def _trace(self, elapsed_ns: int, events: Sequence[Event], *, healthy: bool) -> None:
        name, place = self._plan.rules.transformer, f"{self._source}@{events[0].offset}"
        how = "well" if healthy else "in trouble"
        _log.debug("%s: %d events from %s in %.0f µs, %s", name, len(events), place, elapsed_ns / 1e3, how)

    def _set_source(self, source: TopicPartition) -> None:
        if source != self._source:
            self._source = source
            self._changes = self._change_encoder(source) if self._plan.encoding == "event" else None
            self._encoder = self._changes or BatchEncoder(source)

    def _change_encoder(self, source: TopicPartition) -> ChangeEncoder:
        return ChangeEncoder(source, self._plan.rules, self._plan.format)

    def _count(self) -> None:
        tally = self._tally
        self._plan.guests.counters.crossed(
            tally.crossings, tally.host_calls, tally.escape_attempts, tally.escape_patterns
        )
        if tally.uses:
            self._plan.guests.gate.record(tally.uses)


def host_uses(uses: Uses) -> Sequence[HostUse]:
    """What was used, as a report says it."""
    return [
        HostUse(capability, scope, use.allowed, use.denied, use.bytes, use.elapsed_ns // 1000)
        for (capability, scope), use in uses.items()
    ]


def _frame_too_large(frame_bytes: int, limit: int) -> Trouble:
    message = f"the event's frame has {frame_bytes} bytes; the largest allocation is {format_bytes(limit)}"
    return Trouble(ViolationKind.MEMORY, message, oversize=True)
