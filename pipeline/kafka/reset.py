"""Setting a route's offsets: where to, what that repeats or skips, and doing it so that nothing can undo it.

A lane of a killed process may have left a transaction open that holds an offset. It would be aborted by its timeout or by the
lane's next start, but until then a late commit of it could overwrite what was set here: so the lane's transactional id is
fenced first, as a starting lane does.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.kafka.offsets import Extent, Member, Offsets
from schemas.errors import ConfigError, Fault, TransportError
from schemas.event import TopicPartition
from schemas.specs import RouteSpec

_PATH = "--to"
_FORMS = (
    "write earliest, latest, a time (2026-01-31T12:00:00Z, or milliseconds since the epoch), "
    "topic:partition=offset,…, or the name of a CSV file (topic,partition,offset)"
)
_MEMBERS_TOLD_MAX = 5
_TIME_DIGITS_MAX = 15
"""Of milliseconds since 1970: until the year 33658."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: one of the four."""

    end: str | None = None
    """`earliest` or `latest`."""
    time_ms: int | None = None
    offsets: Mapping[TopicPartition, int] | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """One partition before and after."""

    partition: TopicPartition
    before: int | None
    """None when nothing was committed yet."""
    after: int

    @property
    def repeated(self) -> int:
        """How many offsets will be gone through again."""
        return max(0, self.before - self.after) if self.before is not None else 0

    @property
    def skipped(self) -> int:
        """How many offsets will never be gone through."""
        return max(0, self.after - self.before) if self.before is not None else 0


def parse_target(text: str, group: str) -> Target:
    """What `--to` says. Raises ConfigError; reads the file when it names one, whose rows may name this group first."""
    if text in ("earliest", "latest"):
        return Target(end=text)
    if "=" in text:
        return Target(offsets=_distinct(_pairs(text)))
    if text.isdecimal() and len(text) <= _TIME_DIGITS_MAX:
        return Target(time_ms=int(text))
    if Path(text).is_file():
        return Target(offsets=_distinct(_rows(Path(text), group)))
    return Target(time_ms=_time_ms(text))


async def plan_reset(
    offsets: Offsets, route: RouteSpec, partitions: Sequence[TopicPartition], target: Target
) -> list[Move]:
    """What would change, every partition of the target in its order. Raises ConfigError with all faults, TransportError."""
    if target.offsets is not None:
        _refuse_strangers(target.offsets, partitions, route)
        partitions = [each for each in partitions if each in target.offsets]
    extents = await offsets.extents(partitions)
    committed = await offsets.committed(route.group, partitions)
    after = await _after(offsets, target, extents)
    _refuse_missing(after, extents)
    return [Move(each, committed.get(each), after[each]) for each in partitions]


async def reset(offsets: Offsets, group: str, moves: Sequence[Move], *, transactional: bool) -> None:
    """Do it. Raises TransportError: the group is live, or went on since the plan was made (nothing was changed then)."""
    await refuse_live(offsets, group)
    partitions = [move.partition for move in moves]
    if transactional:
        await offsets.fence(group, partitions)
    now = await offsets.committed(group, partitions)
    changed = [str(move.partition) for move in moves if now.get(move.partition) != move.before]
    if changed:
        raise TransportError(
            f"group {group} went on since this was planned ({', '.join(changed)}): nothing was changed — look again",
            retriable=False,
        )
    await offsets.commit(group, {move.partition: move.after for move in moves})
    stands = await offsets.committed(group, partitions)
    assert stands == {move.partition: move.after for move in moves}, "the broker took the offsets, and has others"


async def refuse_live(offsets: Offsets, group: str) -> None:
    """Raises TransportError when the group has members: they would go on where they are, and commit over what is set."""
    members = await offsets.members(group)
    if members:
        raise TransportError(
            f"group {group} is live: {_listed(members)} — stop them first; one that was killed leaves after kafka.session_timeout",
            retriable=False,
        )


def _listed(members: Sequence[Member]) -> str:
    told = [f"{member.name} on {member.host.lstrip('/')}" for member in members[:_MEMBERS_TOLD_MAX]]
    more = len(members) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


async def _after(
    offsets: Offsets, target: Target, extents: Mapping[TopicPartition, Extent]
) -> dict[TopicPartition, int]:
    if target.offsets is not None:
        return {each: target.offsets[each] for each in extents}
    if target.time_ms is None:
        return {
            each: extent.earliest if target.end == "earliest" else extent.latest for each, extent in extents.items()
        }
    found = await offsets.at_time(list(extents), target.time_ms)
    # A record may be newer than the last one that can be read yet.
    return {
        each: extent.latest if (at := found[each]) is None else min(at, extent.latest)
        for each, extent in extents.items()
    }


def _refuse_strangers(
    wanted: Collection[TopicPartition], partitions: Collection[TopicPartition], route: RouteSpec
) -> None:
    known = sorted({each.topic for each in partitions})
    faults = [
        Fault(
            f"{each} is no partition that route {route.name} reads",
            f"it reads {len(partitions)} partitions of {', '.join(known) or 'no topic yet'}",
            path=_PATH,
        )
        for each in wanted
        if each not in partitions
    ]
    if faults:
        raise ConfigError(*faults)


def _refuse_missing(after: Mapping[TopicPartition, int], extents: Mapping[TopicPartition, Extent]) -> None:
    faults = [
        Fault(
            f"{each} has no offset {offset}",
            f"it has {extents[each].earliest} to {extents[each].latest} (the last is the end: nothing is repeated)",
            path=_PATH,
        )
        for each, offset in after.items()
        if not extents[each].earliest <= offset <= extents[each].latest
    ]
    if faults:
        raise ConfigError(*faults)


def _time_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(Fault(f"{text!r} is nowhere to go to", _FORMS, path=_PATH)) from None
    if moment.tzinfo is None:
        raise ConfigError(Fault(f"{text!r} has no time zone", f"add one: {text}Z, or {text}+02:00", path=_PATH))
    milliseconds = int(moment.timestamp() * 1_000)
    if milliseconds < 0:
        raise ConfigError(Fault(f"{text!r} is before 1970", "use earliest", path=_PATH))
    return milliseconds


def _pairs(text: str) -> Iterator[tuple[TopicPartition, int]]:
    for part in text.split(","):
        place, _, offset = part.strip().partition("=")
        topic, _, index = place.rpartition(":")
        if not topic or not index.isdecimal() or not offset.isdecimal():
            raise ConfigError(Fault(f"{part!r} is no offset of a partition", "write topic:0=42", path=_PATH))
        yield TopicPartition(topic, int(index)), int(offset)


def _rows(file: Path, group: str) -> Iterator[tuple[TopicPartition, int]]:
    """Rows as `show --csv` and kafka-consumer-groups.sh --export write them: topic,partition,offset, perhaps a group first."""
    with file.open(newline="", encoding="utf-8", errors="replace") as stream:
        for number, row in enumerate(csv.reader(stream), 1):
            cells = [cell.strip() for cell in row]
            if not any(cells) or (number == 1 and cells[-1:] == ["offset"]):
                continue
            if len(cells) == 4 and cells[0] == group:
                cells = cells[1:]
            if len(cells) != 3 or not cells[0] or not cells[1].isdecimal() or not cells[2].isdecimal():
                raise ConfigError(
                    Fault("this row is not topic,partition,offset", f"of group {group}", file=str(file), line=number)
                )
            yield TopicPartition(cells[0], int(cells[1])), int(cells[2])


def _distinct(pairs: Iterable[tuple[TopicPartition, int]]) -> dict[TopicPartition, int]:
    found: dict[TopicPartition, int] = {}
    for partition, offset in pairs:
        if found.setdefault(partition, offset) != offset:
            raise ConfigError(Fault(f"{partition} is named twice, with different offsets", "name it once", path=_PATH))
    if not found:
        raise ConfigError(Fault("no partition is named", _FORMS, path=_PATH))
    return found
