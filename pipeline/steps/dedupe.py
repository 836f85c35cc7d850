"""`dedupe:` on a route: an event that came before, within a window of its partition, is dropped.

Guests keep no state, so the host remembers, and what it remembers is only ever what the source's own log says: a passage begins by
reading the window before its committed offset again. Nothing is stored anywhere, so a restart, a crash or another process that takes
the partition over comes to the same verdicts.

Two events are the same when they are of one operation on one table under one record key, and every member of `by` is equal. What has
not all of these members is never the same as anything: when in doubt, an event passes.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import Any

import msgspec

from pipeline.steps.step import Step
from schemas.event import Event, TopicPartition
from schemas.formats.format import FALLS, Format
from schemas.outcome import DROPPED, Emitted, Outcome
from schemas.specs import DedupeSpec

_DIGEST_BYTES = 16
_HEADER = "headers"
_pack = msgspec.msgpack.Encoder(order="deterministic").encode
_unpack = msgspec.msgpack.Decoder().decode


class Dedupe(Step):
    """See the module. An event is dropped when the last one that was the same lies at most `events` offsets and `window_ms` before
    it: that depends on the log alone, and not on where reading it began."""

    def __init__(self, spec: DedupeSpec, source: Format) -> None:
        super().__init__("dedupe")
        self._spec = spec
        self._decode = source.decode
        self._paths = tuple(tuple(path.split(".")) for path in spec.by)
        self._last: dict[bytes, tuple[int, int]] = {}
        """By digest, where and when an event was last seen: offset, and milliseconds since the epoch."""
        self._order: deque[tuple[int, bytes]] = deque()
        """The same by offset, to know what to forget."""

    def outcome(self, event: Event, source: TopicPartition) -> Outcome:
        """See the base class."""
        digest = self._digest(event, source.topic)
        if digest is None:
            return Emitted((event,))
        self._forget(event.offset - self._spec.events)
        last = self._last.get(digest)
        if last is not None and last[0] == event.offset:  # another row of the same record
            return Emitted((event,))
        self._last[digest] = event.offset, event.timestamp
        self._order.append((event.offset, digest))
        if last is not None and event.timestamp - last[1] <= self._spec.window_ms:
            return DROPPED
        return Emitted((event,))

    def _forget(self, before: int) -> None:
        """What lies too far back."""
        while self._order and self._order[0][0] < before:
            offset, digest = self._order.popleft()
            if self._last[digest][0] == offset:
                del self._last[digest]

    def _digest(self, event: Event, topic: str) -> bytes | None:
        """What makes the event itself; None when it does not say."""
        if event.value is None:
            return None
        try:
            change = _unpack(self._decode(event, topic).packed)
        except FALLS:  # the transformers' affair
            return None
        found = [_member(change, event, path) for path in self._paths]
        if any(value is None for value in found):
            return None
        place = change["source"]
        identity = event.key, change["op"], place.get("db"), place.get("schema"), place.get("table"), found
        return blake2b(_pack(identity), digest_size=_DIGEST_BYTES).digest()


def _member(change: dict[str, Any], event: Event, path: tuple[str, ...]) -> Any:
    """The value at this path; None when there is none."""
    if path[0] == _HEADER and len(path) > 1:
        return dict(event.headers).get(".".join(path[1:]))
    value: Any = change
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
