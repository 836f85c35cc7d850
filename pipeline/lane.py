"""One partition's life in this process: start, retry, stop, resume, drain. Read this first.

A lane makes one passage after another (`pipeline.passage`). Whatever fails, the passage ends without a commit and the next
one starts from the committed offset, behind a fence: there is one way to recover, and it is the way every lane starts.
A lane that must not go on by itself halts; the halt is remembered in the control topic and survives restarts.
"""

from __future__ import annotations

import asyncio
import logging
import random
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from pipeline.breaker import Breaker
from pipeline.chain import Chain, Halt
from pipeline.control import Control, LaneNote
from pipeline.passage import Passage, Surroundings
from pipeline.ports import LaneId, LaneState
from schemas.errors import (
    DeadLetterError,
    FencedError,
    ModuleFault,
    OffsetOutOfRangeError,
    OversizeError,
    TransportError,
)
from schemas.event import Event
from schemas.outcome import ViolationKind
from schemas.records import offset_at
from schemas.specs import QuarantineAction

_log = logging.getLogger(__name__)
_BACK_OFF_FIRST_S = 0.1
_BACK_OFF_MAX_S = 10.0
_NOTE_AGAIN_S = 5.0


class Lane:
    """See the module. One task runs `run`; the route offers events and drains."""

    def __init__(
        self,
        identity: LaneId,
        around: Surroundings,
        control: Control,
        breakers: Mapping[str, Breaker],
        chain: Callable[[Mapping[str, Breaker]], Chain],
        *,
        retry_limit_s: float,
        chance: random.Random,
        end: int | None = None,
    ) -> None:
        """Events at offset `end` and after are left where they are; None is no end."""
        self.identity = identity
        self.state = LaneState.STARTING
        self.reason = ""
        self._around = around
        self._control = control
        self._breakers = breakers
        self._chain = chain
        self._retry_limit_s = retry_limit_s
        self._chance = chance
        self._end = end
        self._passage: Passage | None = None
        self._failing_since: float | None = None
        self._failures = 0
        self._draining = False
        self._noted = True
        """Whether the control topic knows of the present halt."""
        self._wake = asyncio.Event()
        """Set when a halted or waiting lane has a reason to look again: it was resumed, or is to drain."""
        self._failure: BaseException | None = None

    @property
    def passage(self) -> Passage | None:
        """The passage that events may be offered to now; None while starting, halted or waiting."""
        passage = self._passage
        return passage if passage is not None and passage.started else None

    @property
    def wants_events(self) -> bool:
        """Whether the route should fetch for this lane."""
        passage = self._passage
        return passage is not None and passage.accepts and (self._end is None or passage.next_offset < self._end)

    def offer(self, passage: Passage, events: Sequence[Event]) -> None:
        """Hand over events that were asked for on behalf of `passage`; events asked for by an earlier one are fetched again."""
        current = self.passage
        if current is None or self._failure is not None:
            return
        if current is passage and offset_at(events, 0) >= current.next_offset:
            self._offer(current, events)
        else:
            with suppress(FencedError):  # revoked at this very moment: nothing is to be fetched here any more
                self._around.source.seek(self.identity.source, current.next_offset)

    def _offer(self, passage: Passage, events: Sequence[Event]) -> None:
        """Those before the lane's end, if it has one; what was fetched beyond it is let go, and no more is asked for."""
        end = self._end
        if end is None or offset_at(events, -1) < end:
            passage.offer(events)
            return
        before = bisect_left(range(len(events)), end, key=lambda index: offset_at(events, index))
        if before:
            passage.offer(events[:before])
        passage.next_offset = end

    async def run(self) -> None:
        """Until drained. Raises TransportError when retrying did not help for the registry's `retry_limit`; anything else is our bug."""
        self._recall()
        while not self._draining:
            if self.state in (LaneState.STOPPED, LaneState.PAUSED):
                await self._stay_halted()
                continue
            halt = await self._pass()
            if halt is not None:
                await self._halt(halt)
        self._enter(LaneState.CLOSED, "drained")

    def drain(self) -> None:
        """End in good order: what is in the chain is written and committed, nothing more is taken up."""
        self._draining = True
        if self._passage is not None:
            self._passage.drain()
        self._wake.set()

    def fail(self, error: TransportError) -> None:
        """The source cannot go on for this lane (its position is gone, its topic may not be read): stop it once what it holds is through."""
        if self._passage is not None and self._failure is None:
            self._failure = error
            self._passage.finish()

    def resume(self) -> None:
        """An operator released the lane: forget its halt and the breakers' strikes, and go on."""
        for breaker in self._breakers.values():
            breaker.reset()
        if self.state in (LaneState.STOPPED, LaneState.PAUSED):
            self._enter(LaneState.STARTING, "resumed")
            self._wake.set()

    async def _pass(self) -> Halt | None:
        self._wake.clear()
        if self._draining:
            return None
        self._enter(LaneState.STARTING, self.reason if self.state is LaneState.RETRYING else "")
        chain = self._chain(self._breakers)
        passage = self._passage = self._make_passage(chain)
        try:
            halt = await passage.run()
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            return halt
        except (OffsetOutOfRangeError, DeadLetterError, ModuleFault) as error:
            return Halt(LaneState.STOPPED, str(error))
        except OversizeError as error:  # of the last transformer's output, whose `on_violation` is `stop`
            return Halt(LaneState.STOPPED, f"{self._around.route.through[-1]} at offset {error.offset}: {error}")
        except TransportError as error:
            return await self._failed(error, passage)
        finally:
            self._passage = None
            self._failure = None
            chain.close()

    def _make_passage(self, chain: Chain) -> Passage:
        return Passage(self.identity, chain, self._around, self._started, self._remember_quarantine)

    def _started(self) -> None:
        self._enter(LaneState.RUNNING, "")

    async def _failed(self, error: TransportError, passage: Passage) -> Halt | None:
        """Back off and let the lane start anew; give up when that has not helped for too long."""
        if not error.retriable and not isinstance(error, FencedError):
            if error.topic is not None:
                return Halt(LaneState.STOPPED, str(error))
            raise error
        now = self._around.clock.monotonic()
        if passage.progressed or self._failing_since is None:
            self._failing_since, self._failures = now, 0
        else:
            self._failing_since += passage.idle_s
        if now - self._failing_since >= self._retry_limit_s:
            raise TransportError(
                f"lane {self.identity} failed for {now - self._failing_since:.0f} s, the last time with: {error}",
                retriable=False,
            ) from error
        pause = min(_BACK_OFF_MAX_S, _BACK_OFF_FIRST_S * 2**self._failures) * self._chance.uniform(0.5, 1.0)
        self._failures += 1
        self._enter(LaneState.RETRYING, str(error))
        await self._rest(pause)
        return None

    async def _rest(self, seconds: float) -> None:
        """For so long, or until there is a reason to look again."""
        waker = asyncio.ensure_future(self._wake.wait())
        sleeper = asyncio.ensure_future(self._around.clock.sleep(seconds))
        try:
            await asyncio.wait({waker, sleeper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waker.cancel()
            sleeper.cancel()

    async def _halt(self, halt: Halt) -> None:
        """Stop or pause, and remember it for every process to come."""
        self._enter(halt.state, halt.reason)
        self._wake.clear()
        self._noted = await self._remember(halt.state, halt.reason)
        if self.state is not halt.state:  # resumed while the note was on its way: the release came before it
            with suppress(TransportError):
                await self._control.forget(self.identity)

    async def _stay_halted(self) -> None:
        """Until resumed or drained. A halt that could not be noted holds here all the same, and is noted as soon as it can
        be: an operator can only release what `penstock resume` sees."""
        if self._noted:
            await self._wake.wait()
            return
        await self._rest(_NOTE_AGAIN_S)
        if not self._wake.is_set():
            self._noted = await self._remember(self.state, self.reason)

    async def _remember_quarantine(self) -> None:
        """A transformer that is quarantined without pausing the lane stays so across restarts."""
        tripped = self._quarantined()
        noted = self._control.note(self.identity)
        if tripped and (noted is None or dict(noted.quarantined) != tripped):
            await self._remember(LaneState.RUNNING, "a transformer is quarantined")

    async def _remember(self, state: LaneState, reason: str) -> bool:
        """Whether it is written down now."""
        source = self.identity.source
        note = LaneNote(
            route=self.identity.route,
            topic=source.topic,
            partition=source.partition,
            group=self.identity.group,
            state=state,
            reason=reason,
            since_ms=self._around.clock.time_ms(),
            quarantined=(quarantined := self._quarantined()),
            kinds={name: self._breakers[name].kind.value for name in quarantined},
        )
        try:
            await self._control.remember(self.identity, note)
        except TransportError as error:
            _log.error("lane %s is %s, which could not be noted yet: %s", self.identity, state, error)
            return False
        return True

    def _quarantined(self) -> dict[str, str]:
        return {
            name: b.reason
            for name, b in self._breakers.items()
            if b.is_tripped and b.policy.action is not QuarantineAction.PAUSE
        }

    def _recall(self) -> None:
        """Take up the state an earlier process left this lane in."""
        note = self._control.note(self.identity)
        if note is None:
            return
        for name, reason in note.quarantined.items():
            if (breaker := self._breakers.get(name)) is not None:
                breaker.trip(_kind(note.kinds.get(name), breaker), reason)
        if note.state in (LaneState.STOPPED, LaneState.PAUSED):
            self._enter(note.state, note.reason)

    def _enter(self, state: LaneState, reason: str) -> None:
        if (state, reason) == (self.state, self.reason):
            return
        self.state, self.reason = state, reason
        level = (
            logging.ERROR
            if state is LaneState.STOPPED
            else logging.WARNING
            if state in (LaneState.PAUSED, LaneState.RETRYING)
            else logging.INFO
        )
        _log.log(level, "lane %s is %s%s", self.identity, state, f": {reason}" if reason else "")
        self._around.observer.lane(self.identity, state, reason)


def _kind(noted: str | None, breaker: Breaker) -> ViolationKind:
    """The misbehaviour a note tells of; notes of other versions may have none, or one that is not known here."""
    try:
        return ViolationKind(noted or breaker.kind)
    except ValueError:
        return breaker.kind
