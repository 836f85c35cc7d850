"""Mutated events: the same seed and number always give the same one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

import msgspec

from pipeline.workshop.cases.model import Settings
from pipeline.workshop.fuzz import tree as trees
from pipeline.workshop.fuzz.tree import Branch, Leaf, Tree, text_leaf, text_of
from schemas.event import Event, TopicPartition

NUMBERS = (
    "0", "-0", "1", "-1", "255", "65536", "2147483647", "-2147483648", "4294967296", "9007199254740993",
    "9223372036854775807", "-9223372036854775808", "9223372036854775808", "18446744073709551615", "18446744073709551616",
    "0.1", "-0.0", "1e308", "1e309", "1E-400", "5e-324", "0.30000000000000004", "1.10", "123456789012345678901234567890.123456789",
    "99999999999999999999999999999999999999", "NaN", "-Infinity", "01", "1.", ".5", "+1", "0x10", "1e",
)  # fmt: skip
TEXTS = (
    "", " ", "a", "null", "0", "\x00", "\x1f", "\x7f", "\u0085", "\u2028", "\ufeff", "\ufffd", "\u202eabc", "e\u0301", "ß", "İ", "ﬁ",
    "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0010ffff", "\ud800", "\udfff\ud800", "\\", '"', "\\u0000", "%s%n",
    "{{x}}", "'; --", "../..", "__debezium_unavailable_value", "1.10", "-1", "1e999", "٣", "NaN", "true",
)  # fmt: skip
LEAVES = ("null", "true", "false", "{}", "[]", '""', "[[]]", "[null]", '{"":null}')
NAMES = ("", "before", "after", "op", "source", "payload", "schema", "ts_ms", "__proto__", "id", "\x00", "\ud800", "ä")
BAD_BYTES = (
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\x00",
    b"\xef\xbb\xbf",
    b"\xe2\x82",
    b"\\",
    b'"',
    b"}",
    b"\\u",
)
SIZES = (2, 2, 10, 10, 100, 100, 1_000, 10_000)
GROWN_BYTES_MAX = 256 << 10
"""No single change makes more than about this."""
DEPTHS = (2, 10, 65, 130, 520, 5_000)
STEPS = (1, 1, 1, 2, 2, 3, 5, 8)


@dataclass(frozen=True, slots=True)
class Seed:
    """An event to begin with, and how its case is run."""

    settings: Settings
    source: TopicPartition
    event: Event


@dataclass(frozen=True, slots=True)
class Mutator:
    """Makes events of the cases' events."""

    seeds: Sequence[Seed]
    seed: int
    size_bytes_max: int
    """Of a key or a value: what is larger is taken back, so that the transformer's own work is tried and not the frame's limit."""

    def input(self, number: int) -> Seed:
        """The input of this number."""
        random = Random(f"penstock/{self.seed}/{number}")  # noqa: S311  # it is meant to be repeatable
        base = random.choice(self.seeds)
        event = base.event
        for _ in range(random.choice(STEPS)):
            mutated = _mutated(random, event, self.seeds)
            if max(len(mutated.key or b""), len(mutated.value or b"")) <= self.size_bytes_max:
                event = mutated
        return replace(base, event=event)


def _mutated(random: Random, event: Event, seeds: Sequence[Seed]) -> Event:
    match random.choices(("value", "key", "headers", "place"), (80, 10, 6, 4))[0]:
        case "key":
            return msgspec.structs.replace(event, key=_payload(random, event.key, seeds))
        case "headers":
            return msgspec.structs.replace(event, headers=_headers(random, event.headers))
        case "place":
            offset = random.choice((0, 1, (1 << 31), (1 << 63) - 1))
            timestamp = random.choice((-1, 0, (1 << 31), (1 << 53) + 1, (1 << 63) - 1))
            return msgspec.structs.replace(event, offset=offset, timestamp=timestamp)
        case _:
            return msgspec.structs.replace(event, value=_payload(random, event.value, seeds))


def _payload(random: Random, before: bytes | None, seeds: Sequence[Seed]) -> bytes | None:
    found = trees.parse(before)
    if found is not None and random.random() < 0.8:
        path = random.choice(list(trees.paths(found)))
        node = random.choice(_TREE_CHANGES)(random, trees.at_path(found, path), seeds)
        return trees.payload(trees.replaced(found, path, node))
    if before is None or random.random() < 0.08:
        return random.choice((None, b"", b"{}", b"[]", b"null", b'"', random.randbytes(random.choice((1, 8, 64)))))
    return random.choice(_BYTE_CHANGES)(random, before)


def _headers(random: Random, before: Sequence[tuple[str, bytes | None]]) -> tuple[tuple[str, bytes | None], ...]:
    name = random.choice(("h", "", "trace", "ä\U0001f600", "x" * 300))
    added = (name, random.choice((None, b"", b"v", b"\xff\xfe", b"x" * 1_000)))
    return random.choice(((), (*before, added), (*before, *before, added, added), tuple([added] * 100)))


def _leaf(random: Random, node: Tree, seeds: Sequence[Seed]) -> Tree:
    kind = random.randrange(3)
    if kind == 0:
        return Leaf(random.choice(NUMBERS))
    return text_leaf(random.choice(TEXTS)) if kind == 1 else Leaf(random.choice(LEAVES))


def _text(random: Random, node: Tree, seeds: Sequence[Seed]) -> Tree:
    """A text that is longer, shorter, escaped or spoiled; a number as text and the other way round."""
    before = text_of(node) if isinstance(node, Leaf) else None
    if before is None:
        return text_leaf(node.text) if isinstance(node, Leaf) else _leaf(random, node, seeds)
    at = random.randint(0, len(before))
    return random.choice(
        (
            text_leaf(before[:at] + random.choice(TEXTS) + before[at:]),
            text_leaf(before[:at]),
            text_leaf((before or "x") * _often(random, len(before))),
            Leaf('"' + "".join(f"\\u{ord(one):04x}" for one in before if ord(one) < 0x10000) + '"'),
            Leaf(before),
        )
    )


def _members(random: Random, node: Tree, seeds: Sequence[Seed]) -> Tree:
    """Members that are gone, doubled, renamed, in another order, or many."""
    if not isinstance(node, Branch) or not node.members:
        return Branch(bool(random.getrandbits(1)), ((random.choice(NAMES), node),))
    at = random.randrange(len(node.members))
    name, value = node.members[at]
    kind = random.randrange(5)
    if kind == 0:
        return node.without(at, at + 1)
    if kind == 1:
        return replace(node, members=(*node.members, (name, random.choice(node.members)[1])))
    if kind == 2:
        renamed = (*node.members[:at], (random.choice(NAMES), value), *node.members[at + 1 :])
        return replace(node, members=renamed)
    if kind == 3:
        return replace(node, members=tuple(random.sample(node.members, len(node.members))))
    many = _often(random, len(trees.render(value)) + len(name))
    return replace(node, members=(*node.members, *((f"{name}{number}", value) for number in range(many))))


def _often(random: Random, size: int) -> int:
    """How often something of this size is repeated."""
    return min(random.choice(SIZES), GROWN_BYTES_MAX // (size + 1))


def _deeper(random: Random, node: Tree, seeds: Sequence[Seed]) -> Tree:
    depth = random.choice(DEPTHS)
    if random.getrandbits(1):
        return Leaf("[" * depth + trees.render(node) + "]" * depth)
    return Leaf('{"a":' * depth + trees.render(node) + "}" * depth)


def _grafted(random: Random, node: Tree, seeds: Sequence[Seed]) -> Tree:
    """A part of another case's event."""
    other = trees.parse(random.choice(seeds).event.value)
    return node if other is None else trees.at_path(other, random.choice(list(trees.paths(other))))


_TREE_CHANGES: Sequence[Callable[[Random, Tree, Sequence[Seed]], Tree]] = (
    _leaf, _leaf, _leaf, _text, _text, _members, _members, _deeper, _grafted,
)  # fmt: skip


def _flipped(random: Random, before: bytes) -> bytes:
    if not before:
        return b"\x80"
    at = random.randrange(len(before))
    return before[:at] + bytes([before[at] ^ 1 << random.randrange(8)]) + before[at + 1 :]


def _cut(random: Random, before: bytes) -> bytes:
    start, end = sorted((random.randint(0, len(before)), random.randint(0, len(before))))
    return random.choice((before[:start], before[end:], before[:start] + before[end:]))


def _inserted(random: Random, before: bytes) -> bytes:
    at = random.randint(0, len(before))
    return before[:at] + random.choice(BAD_BYTES) * random.choice((1, 1, 2, 100)) + before[at:]


def _repeated(random: Random, before: bytes) -> bytes:
    start, end = sorted((random.randint(0, len(before)), random.randint(0, len(before))))
    return before[:end] + before[start:end] * _often(random, end - start) + before[end:]


_BYTE_CHANGES: Sequence[Callable[[Random, bytes], bytes]] = (_flipped, _cut, _inserted, _repeated)
