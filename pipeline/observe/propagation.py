"""Trace context in Kafka headers: which headers carry it, and how they are replaced. Pure; knows no tracing library."""

from __future__ import annotations

from schemas.event import Headers

TRACE_HEADERS = frozenset({"traceparent", "tracestate", "baggage"})
"""Lower case; producers in the wild also write `Traceparent`."""

_LENGTHS = (len("traceparent"), len("tracestate"))


def replace_trace_headers(headers: Headers, new: Headers) -> Headers:
    """`headers` without trace context, whatever its letter case, and `new` after them. An empty `new` changes nothing.

    Without the removal a record that travels through several services piles up contexts, and readers take the oldest.
    """
    if not new:
        return headers
    return (*(header for header in headers if header[0].lower() not in TRACE_HEADERS), *new)


def trace_context(headers: Headers) -> tuple[str, str] | None:
    """The first `traceparent` and the first `tracestate` (empty when there is none); None without a `traceparent`."""
    parent = state = ""
    for name, value in headers:
        if not value or len(name) not in _LENGTHS:
            continue
        match name.lower():
            case "traceparent":
                parent = parent or value.decode("utf-8", "replace")
            case "tracestate":
                state = state or value.decode("utf-8", "replace")
    return (parent, state) if parent else None
