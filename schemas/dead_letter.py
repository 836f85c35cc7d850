"""Dead letters: the original record, byte for byte, plus `penstock.*` headers that say why it is here.

The headers are the format; key, value, timestamp and the original headers stay as they came. All values are UTF-8 text.
Where a record was dead-lettered before and came through again, its old `penstock.*` headers stay too: those from the last
`penstock.violation` on count.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import msgspec

from schemas.event import Event, Headers, TopicPartition
from schemas.outcome import Violation, ViolationKind

PREFIX = "penstock."
BACKTRACE_BYTES_MAX = 4_096
MESSAGE_BYTES_MAX = 2_048
HEADROOM_BYTES = 16_384
"""What the headers of one dead letter can add to its record at most; a dead-letter topic must take that much more than its source."""


def _version() -> str:
    try:
        return version("penstock")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


VERSION = _version()


def cut(text: str, size_bytes: int) -> bytes:
    """`text` as UTF-8 of at most `size_bytes`, cut at a character and marked with `…` when it was longer."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= size_bytes:
        return raw
    return raw[: size_bytes - 3].decode("utf-8", "ignore").encode() + "…".encode()


def dead_letter(event: Event, source: TopicPartition, violation: Violation) -> Event:
    """The dead letter of `event`: same key, value, timestamp and headers, and the explanation after them."""
    explained = (*event.headers, *_explanation(event, source, violation))
    return msgspec.structs.replace(event, headers=explained, to=None)


def _explanation(event: Event, source: TopicPartition, violation: Violation) -> Headers:
    texts = {
        "violation": violation.kind.value,
        "message": violation.message,
        "code": violation.code,
        "transformer": violation.transformer,
        "module.sha256": violation.module_sha256,
        "source.topic": source.topic,
        "source.partition": str(source.partition),
        "source.offset": str(event.offset),
        "source.timestamp": str(event.timestamp),
        "attempt": str(violation.attempt),
        "elapsed_us": str(violation.elapsed_us),
        "memory_bytes_peak": str(violation.memory_bytes_peak),
        "limits": violation.limits,
        "version": VERSION,
        "traceback": violation.backtrace,
    }
    return tuple((PREFIX + name, cut(text, _bound(name))) for name, text in texts.items() if text)


def _bound(name: str) -> int:
    return BACKTRACE_BYTES_MAX if name == "traceback" else MESSAGE_BYTES_MAX


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter read back: where the record came from and why it did not pass."""

    source: TopicPartition
    offset: int
    violation: Violation
    headers: Headers
    """The original record's own headers."""


def read_dead_letter(headers: Headers) -> DeadLetter | None:
    """What the headers of a dead letter say; None when they are not a dead letter's."""
    said = {
        name[len(PREFIX) :]: (value or b"").decode("utf-8", "replace")
        for name, value in headers[_last_explanation(headers) :]
        if name.startswith(PREFIX)
    }
    try:
        return DeadLetter(
            source=TopicPartition(said["source.topic"], int(said["source.partition"])),
            offset=int(said["source.offset"]),
            violation=Violation(
                kind=ViolationKind(said["violation"]),
                message=said.get("message", ""),
                transformer=said.get("transformer", ""),
                module_sha256=said.get("module.sha256", ""),
                code=said.get("code", ""),
                backtrace=said.get("traceback", ""),
                elapsed_us=int(said.get("elapsed_us", 0)),
                memory_bytes_peak=int(said.get("memory_bytes_peak", 0)),
                limits=said.get("limits", ""),
                attempt=int(said.get("attempt", 1)),
            ),
            headers=tuple((name, value) for name, value in headers if not name.startswith(PREFIX)),
        )
    except (KeyError, ValueError):
        return None


def _last_explanation(headers: Headers) -> int:
    """Where the last verdict's headers begin; what an earlier one said of its own must not be taken for its."""
    starts = [at for at, (name, _) in enumerate(headers) if name == PREFIX + "violation"]
    return starts[-1] if starts else len(headers)
