"""Short forms written out, so that every later step sees one form: `capabilities: [clock]` is `capabilities: {grant: [clock]}`.

Places move along: a fault still points at the line and column where the value was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pipeline.registry.document import Document, Steps

T = TypeVar("T")


def written_out(document: Document) -> Document:
    """The same document in long forms."""
    for steps, key in list(_short(document.data)):
        document = _moved_below(document, steps, key)
    return document


def _short(data: Any) -> Iterator[tuple[Steps, str]]:
    """Where a short form stands, and the key of the long one that it belongs to."""
    for steps, entry in _behaviours(data):
        value = entry.get("capabilities") if isinstance(entry, dict) else None
        if isinstance(value, str):
            yield (*steps, "capabilities"), "profile"
        elif isinstance(value, list):
            yield (*steps, "capabilities"), "grant"


def _behaviours(data: Any) -> Iterator[tuple[Steps, Any]]:
    if not isinstance(data, dict):
        return
    yield ("defaults",), data.get("defaults")
    transformers = data.get("transformers")
    for name, entry in transformers.items() if isinstance(transformers, dict) else ():
        yield ("transformers", name), entry


def _moved_below(document: Document, steps: Steps, key: str) -> Document:
    return replace(
        document,
        data=_wrapped(document.data, steps, key),
        values=_places(document.values, steps, key),
        keys=_places(document.keys, steps, key),
        written=_places(document.written, steps, key),
    )


def _wrapped(data: Any, steps: Steps, key: str) -> Any:
    if not steps:
        return {key: data}
    copy = dict(data)
    copy[steps[0]] = _wrapped(data[steps[0]], steps[1:], key)
    return copy


def _places(places: Mapping[Steps, T], steps: Steps, key: str) -> dict[Steps, T]:
    """What stood at `steps` and below it, one key further down; the section itself keeps its place."""
    depth = len(steps)
    moved = {(*steps, key, *at[depth:]) if at[:depth] == steps else at: place for at, place in places.items()}
    if steps in places:
        moved[steps] = places[steps]
    return moved
