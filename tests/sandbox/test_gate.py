"""The gate: ends, uses and windows under a clock that the test moves."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from sandbox.host import Denied, Gate, Use
from sandbox.host.holding import Holder
from schemas.capabilities import Capability, FileScope, Grant, Grants, HttpScope

CLOCK = frozenset({Capability.CLOCK})
HTTP = frozenset({Capability.NETWORK_CLIENT})


@dataclass
class Clock:
    """Wall-clock time in milliseconds, and how far somebody has set that clock."""

    now: int = 1_000_000
    was_set_by: int = 0

    def __call__(self) -> int:
        return self.now + self.was_set_by

    def monotonic_ns(self) -> int:
        return self.now * 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


def gate(clock: Clock, *grants: Grant, profile: str | None = None) -> Gate:
    return Gate("mask", Grants(grants, profile), clock, clock.monotonic_ns)


def allowed(gate: Gate, capability: Capability = Capability.CLOCK) -> bool:
    try:
        gate.admit(capability)
    except Denied:
        return False
    return True


def test_nothing_is_granted_unless_it_is(clock: Clock) -> None:
    empty = gate(clock)
    assert not any(allowed(empty, one) for one in Capability)
    with pytest.raises(Denied, match="`clock` is not granted") as caught:
        empty.admit(Capability.CLOCK)
    assert "transformers.mask.capabilities" in caught.value.remedy


def test_it_ends_when_it_says(clock: Clock) -> None:
    found = gate(clock, Grant(CLOCK, until_ms=clock.now + 1))
    assert allowed(found)
    clock.now += 1
    with pytest.raises(Denied, match="the grant has ended"):
        found.admit(Capability.CLOCK)
    clock.now -= 1
    assert not allowed(found), "a clock that swings must not bring an ended grant back"


def test_uses_are_of_the_gates_life_without_a_window(clock: Clock) -> None:
    found = gate(clock, Grant(CLOCK, uses=2))
    assert [allowed(found) for _ in range(3)] == [True, True, False]
    clock.now += 10**12
    assert not allowed(found)


def test_uses_come_back_with_the_next_window(clock: Clock) -> None:
    found = gate(clock, Grant(CLOCK, uses=2, per_ms=1000))
    assert [allowed(found) for _ in range(3)] == [True, True, False]
    clock.now += 999
    assert not allowed(found)
    clock.now += 1
    assert [allowed(found) for _ in range(3)] == [True, True, False]


def test_a_wall_clock_that_is_set_gives_no_use_back(clock: Clock) -> None:
    """Neither back, nor forward, nor back and then forward again."""
    found = gate(clock, Grant(CLOCK, uses=2, per_ms=1000))
    assert [allowed(found) for _ in range(3)] == [True, True, False]
    for set_by in (-500_000, 0, -500_000, 500_000, 1000):
        clock.was_set_by = set_by
        assert not allowed(found), set_by


def test_a_wall_clock_set_back_does_not_lengthen_a_window(clock: Clock) -> None:
    found = gate(clock, Grant(CLOCK, uses=1, per_ms=1000))
    assert [allowed(found) for _ in range(2)] == [True, False]
    clock.was_set_by = -500_000
    clock.now += 1000
    assert [allowed(found) for _ in range(2)] == [True, False]


def test_a_window_begins_with_its_first_use(clock: Clock) -> None:
    """Also on a machine that was started a moment ago, whose monotonic clock is younger than the window."""
    clock.now = 900
    found = gate(clock, Grant(CLOCK, uses=1, per_ms=1000))
    assert [allowed(found) for _ in range(2)] == [True, False]
    clock.now += 999
    assert not allowed(found)


def test_what_is_denied_is_not_used_up(clock: Clock) -> None:
    one = Grant(HTTP, HttpScope(("a.example",)), uses=1)
    found = gate(clock, one)
    with pytest.raises(Denied, match="but not for this"):
        found.admit(Capability.NETWORK_CLIENT, lambda grant: False)
    assert found.admit(Capability.NETWORK_CLIENT, lambda grant: True) is one


def test_the_second_grant_serves_when_the_first_is_used_up(clock: Clock) -> None:
    first, second = Grant(CLOCK, uses=1), Grant(CLOCK, until_ms=clock.now + 10)
    found = gate(clock, first, second)
    assert found.admit(Capability.CLOCK) is first
    assert found.admit(Capability.CLOCK) is second
    clock.now += 10
    assert not allowed(found)


def test_uses_of_one_grant_are_shared_by_its_capabilities(clock: Clock) -> None:
    both = frozenset({Capability.FILESYSTEM_READ, Capability.FILESYSTEM_WRITE})
    found = gate(clock, Grant(both, FileScope(), uses=2))
    assert allowed(found, Capability.FILESYSTEM_READ)
    assert allowed(found, Capability.FILESYSTEM_WRITE)
    assert not allowed(found, Capability.FILESYSTEM_READ)


def test_equal_grants_count_by_themselves(clock: Clock) -> None:
    found = gate(clock, Grant(CLOCK, uses=1), Grant(CLOCK, uses=1))
    assert [allowed(found) for _ in range(3)] == [True, True, False]


def test_a_profile_grants_by_name_and_has_no_scope(clock: Clock) -> None:
    found = gate(clock, profile="elevated")
    assert found.admit(Capability.NETWORK_CLIENT).scope is None
    assert found.scopes(Capability.NETWORK_CLIENT, HttpScope) == ()


def test_a_grant_beside_the_profile_brings_the_only_scope(clock: Clock) -> None:
    scope = HttpScope(("a.example",))
    found = gate(clock, Grant(HTTP, scope), profile="elevated")
    assert found.scopes(Capability.NETWORK_CLIENT, HttpScope) == (scope,)


def test_only_what_counts_down_is_not_free(clock: Clock) -> None:
    found = gate(clock, Grant(CLOCK), Grant(frozenset({Capability.LOG}), uses=1))
    assert found.is_free(Capability.CLOCK)
    assert not found.is_free(Capability.LOG)
    assert not found.is_free(Capability.RANDOM)


def test_threads_share_the_uses(clock: Clock) -> None:
    found = gate(clock, Grant(CLOCK, uses=1000))
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(sum(allowed(found) for _ in range(500)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 1000


def test_sums_are_copies(clock: Clock) -> None:
    found = gate(clock, Grant(CLOCK))
    found.record({(Capability.CLOCK, ""): Use(1, 2, 3, 4)})
    found.record({(Capability.CLOCK, ""): Use(1, 0, 1, 1)})
    totals = found.totals()
    totals[Capability.CLOCK, ""].allowed = 99
    assert found.totals() == {(Capability.CLOCK, ""): Use(2, 2, 4, 5)}


@dataclass
class Held:
    """Something that was made once."""

    closed: list[str] = field(default_factory=list)
    name: str = ""

    def close(self) -> None:
        self.closed.append(self.name)
        if self.name == "broken":
            raise OSError("no")


def test_what_is_held_is_made_once_and_closed_the_last_first() -> None:
    holder, closed = Holder(), []  # type: ignore[var-annotated]
    for name in ("one", "broken", "two", "one"):
        holder.get(name, lambda name=name: Held(closed, name))  # type: ignore[misc]
    holder.close()
    holder.close()
    assert closed == ["two", "broken", "one"]
    with pytest.raises(RuntimeError):
        holder.get("three", Held)
