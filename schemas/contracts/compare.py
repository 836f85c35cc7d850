"""What became of a type, member by member, and whom each change breaks.

The words are those of schema registries (https://docs.confluent.io/platform/current/schema-registry/fundamentals/schema-evolution.html):
a change is *backward* compatible when readers with the new schema can read what was written with the old one, *forward* compatible
when readers with the old schema can read what is written with the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from schemas.contracts.types import AnyType, ListOf, MapOf, Member, Nullable, Record, Scalar, scalar_reads


class Compatibility(StrEnum):
    """What a change must not break."""

    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between an old schema and a new one."""

    path: str
    """`address.city`; a list's items are `[]`, a map's values `{}`."""
    was: str
    """The old type; empty when it is new."""
    now: str
    """The new type; empty when it is gone."""
    breaks_backward: bool
    breaks_forward: bool

    def breaks(self, wanted: Compatibility) -> bool:
        """Whether the change is not allowed then."""
        backward = wanted in (Compatibility.BACKWARD, Compatibility.FULL) and self.breaks_backward
        return backward or (wanted in (Compatibility.FORWARD, Compatibility.FULL) and self.breaks_forward)

    def __str__(self) -> str:
        if not self.was:
            return f"+ {self.path}: {self.now}"
        return f"- {self.path}: {self.was}" if not self.now else f"~ {self.path}: {self.was} → {self.now}"


def changes(old: Nullable, new: Nullable) -> list[Change]:
    """Every difference, by path: of each place once, where it begins."""
    return list(_changes("", old, new))


def breaking(found: Sequence[Change], wanted: Compatibility) -> list[Change]:
    """Those that are not allowed."""
    return [change for change in found if change.breaks(wanted)]


def _changes(path: str, old: Nullable, new: Nullable) -> Iterator[Change]:
    match old.type, new.type:
        case Record(), Record():
            inner = list(_members(path, old.type, new.type))
        case (ListOf(before), ListOf(after)):
            inner = list(_changes(f"{path}[]", before, after))
        case (MapOf(before), MapOf(after)):
            inner = list(_changes(f"{path}{{}}", before, after))
        case _:
            if old != new:
                yield Change(path or "the row", str(old), str(new), not _reads(new, old), not _reads(old, new))
            return
    if old.null != new.null:
        yield Change(path or "the row", str(old), str(new), old.null and not new.null, new.null and not old.null)
    yield from inner


def _members(path: str, old: Record, new: Record) -> Iterator[Change]:
    for name in dict.fromkeys((*old.members, *new.members)):
        at = f"{path}.{name}" if path else name
        before, after = old.members.get(name), new.members.get(name)
        if before is None and after is not None:
            yield Change(at, "", str(after), not after.optional, old.closed)
        elif before is not None and after is None:
            yield Change(at, str(before), "", new.closed, not before.optional)
        elif before is not None and after is not None:
            yield from _member(at, before, after)


def _member(path: str, old: Member, new: Member) -> Iterator[Change]:
    found = list(_changes(path, old.type, new.type))
    if old.optional != new.optional:
        backward, forward = old.optional and not new.optional, new.optional and not old.optional
        if found and found[0].path == path:
            first = found.pop(0)
            backward, forward = backward or first.breaks_backward, forward or first.breaks_forward
        yield Change(path, str(old), str(new), backward, forward)
    yield from found


def _reads(reader: Nullable, writer: Nullable) -> bool:
    """Whether whoever expects `reader` can take every value of `writer`, where they are not both records, lists or maps."""
    if writer.null and not reader.null:
        return False
    match reader.type, writer.type:
        case AnyType(), _:
            return True
        case Scalar(), Scalar():
            return scalar_reads(reader.type, writer.type)
        case MapOf(values), Record(members):
            return all(_readable(values, member.type) for member in members.values())
    return False


def _readable(reader: Nullable, writer: Nullable) -> bool:
    return not any(change.breaks_forward for change in _changes("", reader, writer))
