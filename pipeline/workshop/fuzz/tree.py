"""JSON as a tree that keeps what a parser would lose: repeated names, their order, and numbers as they are written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DEPTH_MAX = 150
"""Deeper text is treated as bytes."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text, number, true, false or null, as JSON text. It may hold anything: a mutation is free to write what is no JSON."""

    text: str


@dataclass(frozen=True, slots=True)
class Branch:
    """An object's members, or an array's elements (whose names are empty)."""

    is_object: bool
    members: tuple[tuple[str, Tree], ...]

    def with_member(self, at: int, value: Tree) -> Branch:
        """With another value in this place."""
        name = self.members[at][0]
        return Branch(self.is_object, (*self.members[:at], (name, value), *self.members[at + 1 :]))

    def without(self, start: int, end: int) -> Branch:
        """Without these members."""
        return Branch(self.is_object, self.members[:start] + self.members[end:])


Tree = Leaf | Branch


def parse(payload: bytes | None) -> Branch | None:
    """The tree of a JSON object or array; None for everything else."""
    if payload is None or payload.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        found = json.loads(
            payload.decode(), parse_int=Leaf, parse_float=Leaf, parse_constant=Leaf, object_pairs_hook=_object
        )
        tree = _tree(found, DEPTH_MAX)
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, Branch) else None


def render(tree: Tree) -> str:
    """As compact JSON."""
    if isinstance(tree, Leaf):
        return tree.text
    if tree.is_object:
        return "{" + ",".join(f"{text_leaf(name).text}:{render(value)}" for name, value in tree.members) + "}"
    return "[" + ",".join(render(value) for _, value in tree.members) + "]"


def payload(tree: Tree) -> bytes:
    """As bytes."""
    return render(tree).encode("utf-8", "surrogatepass")


def text_leaf(text: str) -> Leaf:
    """A text as a leaf; halves of surrogate pairs stay escapes."""
    halves = any("\ud800" <= character <= "\udfff" for character in text)
    return Leaf(json.dumps(text, ensure_ascii=halves))


def text_of(leaf: Leaf) -> str | None:
    """The text that a leaf holds; None when it holds none."""
    if not leaf.text.startswith('"'):
        return None
    try:
        found = json.loads(leaf.text)
    except ValueError:
        return None
    return found if isinstance(found, str) else None


def paths(tree: Tree) -> Iterator[tuple[int, ...]]:
    """The ways to every node, the root's first."""
    yield ()
    if isinstance(tree, Branch):
        for at, (_, value) in enumerate(tree.members):
            for path in paths(value):
                yield (at, *path)


def at_path(tree: Tree, path: tuple[int, ...]) -> Tree:
    """The node that this way leads to."""
    for at in path:
        assert isinstance(tree, Branch)
        tree = tree.members[at][1]
    return tree


def replaced(tree: Tree, path: tuple[int, ...], node: Tree) -> Tree:
    """The tree with another node in this place."""
    if not path:
        return node
    assert isinstance(tree, Branch)
    return tree.with_member(path[0], replaced(tree.members[path[0]][1], path[1:], node))


def _object(members: list[tuple[str, Any]]) -> Any:
    return _Members(members)


class _Members(list[tuple[str, Any]]):
    """An object's members, told apart from an array."""


def _tree(found: Any, depth: int) -> Tree:
    if depth == 0:
        raise ValueError("too deep")
    if isinstance(found, Leaf):
        return found
    if isinstance(found, _Members):
        return Branch(True, tuple((name, _tree(value, depth - 1)) for name, value in found))
    if isinstance(found, list):
        return Branch(False, tuple(("", _tree(value, depth - 1)) for value in found))
    return text_leaf(found) if isinstance(found, str) else Leaf(json.dumps(found))
