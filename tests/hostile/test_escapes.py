"""What a hostile guest's addresses look like is counted by name, in the batch's report and in the sandbox's stats. On both call paths."""

from __future__ import annotations

import pytest

from sandbox.escapes import PROBES, Pattern
from sandbox.host.log import LINE_BYTES_MAX
from schemas.capabilities import Capability
from tests.hostile.conftest import MakeWorld
from tests.hostile.puppet import ARENA, MEMORY_BYTES, call
from tests.hostile.rig import BAD_POINTER, grant

FAR = 0x8000_0000
ATTACKS = {
    "a pointer that was never set": ((0, 16), Pattern.NULL),
    "a sum beyond 32 bits": ((0xFFFF_FFF0, 0x20), Pattern.WRAPS),
    "half of all, twice, and one": ((FAR, FAR + 1), Pattern.WRAPS),
    "a number below zero": ((-16, 8), Pattern.BEGINS_BEYOND),
    "a heap's address of the host": ((0x5612, 0xDEAD_BEE0), Pattern.HOST_ADDRESS),
    "a stack's address of the host, the other way around": ((0xFFE0_1230, 0x7FFC), Pattern.HOST_ADDRESS),
    "far behind the end": ((FAR, 16), Pattern.BEGINS_BEYOND),
    "from inside to far outside": ((ARENA, 64 << 20), Pattern.ENDS_BEYOND),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attempt_is_counted_by_what_it_looks_like(make_world: MakeWorld, attack: str) -> None:
    world = make_world()
    one = world.tenant("random", grants=[grant(Capability.RANDOM)])
    (address, length), pattern = ATTACKS[attack]
    found = one.do(call("random", address, length))
    assert found.returned == (BAD_POINTER,)
    assert one.report is not None
    assert (one.report.escape_attempts, one.report.escape_patterns) == (1, {pattern: 1})


def test_who_feels_for_the_end_is_probing(make_world: MakeWorld) -> None:
    one = make_world().tenant("random", grants=[grant(Capability.RANDOM)])
    end = MEMORY_BYTES + (8 << 20)
    steps = [call("random", address, 8) for address in range(FAR, FAR + 4)]
    one.do(*steps)
    assert one.report is not None and Pattern.PROBING not in one.report.escape_patterns
    edge = one.do(*[call("random", address, 0) for address in range(MEMORY_BYTES - 4, end, 1 << 16)])
    inside = sum(status == 0 for status in edge.returned)
    last = (
        MEMORY_BYTES - 4 + ((inside - 1) << 16)
    )  # the last page's beginning, or a little before: the end is within a page
    one.do(*[call("random", last, (1 << 16) + 8 + n) for n in range(20)])
    patterns = one.report.escape_patterns if one.report is not None else {}
    assert sum(patterns.values()) == 20
    assert patterns == {Pattern.ENDS_BEYOND: PROBES - 1, Pattern.PROBING: 20 - PROBES + 1}


@pytest.mark.parametrize("name", ["log", "random"])
def test_nothing_at_address_0_is_no_attempt(make_world: MakeWorld, name: str) -> None:
    one = make_world().tenant(name, grants=[grant(*Capability)])
    one.do(call(name, 2, 0, 0) if name == "log" else call(name, 0, 0))
    assert one.report is not None and not one.report.escape_patterns


def test_stats_add_up(make_world: MakeWorld) -> None:
    world = make_world()
    one = world.tenant("random", "log", grants=[grant(*Capability)])
    one.do(call("random", 0, 1), call("log", 2, 0, LINE_BYTES_MAX), call("random", FAR, 1))
    stats = world.sandbox.stats()
    assert dict(stats.escape_patterns) == {Pattern.NULL: 2, Pattern.BEGINS_BEYOND: 1}
    assert stats.escape_attempts == 3
