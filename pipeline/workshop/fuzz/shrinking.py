"""Makes an input that shows a fault as small as it gets: whatever can go, goes. Deterministic; bounded by a number of tries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import msgspec

from pipeline.workshop.fuzz import tree as trees
from pipeline.workshop.fuzz.tree import Leaf, Tree, text_leaf, text_of
from schemas.event import Event

SIMPLE = ("null", "0", '""')
BYTES_WORTH = 48
"""JSON that is no longer than this is easier to read whole than with its brackets torn off."""

Shows = Callable[[Event], bool]


def shrink(event: Event, shows: Shows, tries_max: int) -> Event:
    """The smallest event found that `shows` still accepts. `event` itself is taken to be one."""
    tries = 0
    while True:
        for candidate in _candidates(event):
            if tries == tries_max:
                return event
            tries += 1
            if shows(candidate):
                event = candidate
                break
        else:
            return event


def _candidates(event: Event) -> Iterator[Event]:
    """Events that are simpler, the boldest first."""
    plain = {"headers": (), "key": None, "offset": 0, "timestamp": 0}
    changed = {name: value for name, value in plain.items() if getattr(event, name) != value}
    if len(changed) > 1:
        yield msgspec.structs.replace(event, **changed)
    for name, value in changed.items():
        yield msgspec.structs.replace(event, **{name: value})
    for name in ("value", "key"):
        for payload in _smaller(getattr(event, name)):
            yield msgspec.structs.replace(event, **{name: payload})


def _smaller(payload: bytes | None) -> Iterator[bytes | None]:
    if payload is None:
        return
    yield None
    if payload:
        yield b""
    found = trees.parse(payload)
    if found is not None:
        written = trees.payload(found)
        if len(written) < len(payload):
            yield written
        for tree in _simpler(found):
            smaller = trees.payload(tree)
            if (len(smaller), smaller) < (len(payload), payload):
                yield smaller
    if found is None or len(payload) > BYTES_WORTH:
        yield from _shorter(payload)


def _simpler(tree: Tree) -> Iterator[Tree]:
    if isinstance(tree, Leaf):
        yield from _simpler_leaf(tree)
        return
    count = len(tree.members)
    size = count
    while size:
        for start in range(0, count, size):
            yield tree.without(start, start + size)
        size //= 2
    for _, value in tree.members:
        yield value
    for at, (_, value) in enumerate(tree.members):
        for simpler in _simpler(value):
            yield tree.with_member(at, simpler)


def _simpler_leaf(leaf: Leaf) -> Iterator[Tree]:
    for text in SIMPLE:
        if len(text) < len(leaf.text):
            yield Leaf(text)
    text_there = text_of(leaf)
    if text_there:
        yield from (text_leaf(part) for part in _parts(text_there))
    elif leaf.text not in SIMPLE:
        yield from (Leaf(part) for part in _parts(leaf.text) if part)


def _parts(text: str) -> Iterator[str]:
    """The text without its halves, quarters, … single characters."""
    size = max(1, len(text) // 2)
    while True:
        for start in range(0, len(text), size):
            yield text[:start] + text[start + size :]
        if size == 1:
            return
        size //= 2


def _shorter(payload: bytes) -> Iterator[bytes]:
    sizes = []
    size = len(payload) // 2
    while size:
        sizes.append(size)
        size //= 2
    return chain.from_iterable(
        (payload[:start] + payload[start + size :] for start in range(0, len(payload), size)) for size in sizes
    )
