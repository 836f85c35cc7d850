"""A slot's next tenant finds nothing of the one before: not in memory, however far it grows, not in tables, not in globals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import Limits, Sandbox
from sandbox.calls import CallsName, GuestTrap, Seat
from sandbox.errors import SandboxError
from sandbox.host import HostState, Services
from schemas.specs import EngineSettings
from tests.sandbox.guests import spec, wat

FOREVER = 1 << 40
PAGES = 64
LIMITS = Limits(memory_bytes=PAGES << 16, table_elements=500)
SECRET = 0xA5
ALLOC, TRANSFORM = 0, 1
FILL, FILL_AND_ABORT, FILL_AND_STRAY = 1, 2, 3
HELLO = b"hello, tenant"
# `alloc` fills everything there is with SECRET, and then does as it is told; `transform` grows to the limits and counts what is not
# as it should be in a guest that was just made.
VESSEL = """
(module
  (memory (export "memory") 1 64)
  (table $t 10 500 funcref)
  (elem declare func $scan)
  (global $g (mut i64) (i64.const 0))
  (global $v (mut v128) (v128.const i64x2 0 0))
  (data (i32.const 4096) "hello, tenant")
  (func $fill (export "fill")
    (drop (memory.grow (i32.const 63)))
    (drop (table.grow $t (ref.func $scan) (i32.const 490)))
    (table.fill $t (i32.const 0) (ref.func $scan) (table.size $t))
    (memory.fill (i32.const 0) (i32.const 0xA5) (i32.mul (memory.size) (i32.const 65536)))
    (global.set $v (v128.const i64x2 -1 -1))
    (global.set $g (i64.const 0xA5A5A5A5A5A5A5A5)))
  (func (export "penstock_v1_alloc") (param $how i32) (result i32)
    (call $fill)
    (if (i32.eq (local.get $how) (i32.const 2)) (then unreachable))
    (if (i32.eq (local.get $how) (i32.const 3)) (then (drop (i32.load (i32.const 0xFFFFFFF0)))))
    (i32.const 8))
  (func $scan (export "scan") (result i64)
    (local $at i32) (local $end i32) (local $found i64)
    (drop (memory.grow (i32.const 63)))
    (drop (table.grow $t (ref.null func) (i32.const 490)))
    (memory.fill (i32.const 4096) (i32.const 0) (i32.const 13))
    (local.set $end (i32.mul (memory.size) (i32.const 65536)))
    (loop $bytes
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0))
        (then (local.set $found (i64.add (local.get $found) (i64.const 1)))))
      (br_if $bytes (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (local.get $end))))
    (local.set $at (i32.const 0))
    (loop $entries
      (if (i32.eqz (ref.is_null (table.get $t (local.get $at))))
        (then (local.set $found (i64.add (local.get $found) (i64.const 1)))))
      (br_if $entries (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (table.size $t))))
    (if (i64.ne (global.get $g) (i64.const 0)) (then (local.set $found (i64.add (local.get $found) (i64.const 1)))))
    (if (v128.any_true (global.get $v)) (then (local.set $found (i64.add (local.get $found) (i64.const 1)))))
    (local.get $found))
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) (call $scan))
)
"""
OTHER = VESSEL.replace("(global $v", "(global $more (mut i64) (i64.const 0))\n  (global $v").replace(
    "hello, tenant", "other, tenant"
)
WAYS = {
    "fast, pooled": (CallsName.FAST, True),
    "fast, each mapped anew": (CallsName.FAST, False),
    "public": (CallsName.PUBLIC, False),
}
ENDS = {"ended well": FILL, "aborted": FILL_AND_ABORT, "accessed what is not its own": FILL_AND_STRAY}
TENANTS = {"of the same module": VESSEL, "of another module": OTHER}


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def way(request: pytest.FixtureRequest) -> Iterator[tuple[Sandbox, bool]]:
    calls, pooled = request.param
    with Sandbox(workers=1, calls=calls, cache=False) as sandbox:
        yield sandbox, pooled


def seats(way: tuple[Sandbox, bool], name: str, text: str) -> list[Seat]:
    """As many as a pool has slots, all empty."""
    sandbox, pooled = way
    plan: Any = sandbox.prepare(spec(name, limits=LIMITS, engine=EngineSettings(pooling=pooled)), wat(text))
    assert (plan.guests.slots is not None) == pooled
    return [plan.guests.link.seat() for _ in range(sandbox.stats().pool_slots or 6)]


def open_all(made: list[Seat]) -> set[int]:
    """Guests in all of them at once; where their memories lie."""
    for seat in made:
        seat.open(HostState(Services(), 0), FOREVER)
    return {seat.memory.base() for seat in made}


def left_over(seat: Seat) -> int:
    """What the guest and the host find in it, all of it grown, that a new guest does not have."""
    found = seat.call(TRANSFORM)
    memory = seat.memory
    assert memory.size() == PAGES << 16
    return found + memory.read(0, memory.size()).count(SECRET)


@pytest.mark.parametrize("tenant", TENANTS)
@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_for_the_next_tenant(way: tuple[Sandbox, bool], end: str, tenant: str) -> None:
    before, after = seats(way, "before", VESSEL), seats(way, "after", TENANTS[tenant])
    places = open_all(before)
    for seat in before:
        if ENDS[end] == FILL:
            seat.call(ALLOC, FILL)
        else:
            with pytest.raises(GuestTrap):
                seat.call(ALLOC, ENDS[end])
        assert seat.memory.read(0, PAGES << 16).count(SECRET) == PAGES << 16, "it was there"
        seat.close()
    again = open_all(after)
    if way[1]:
        assert again == places, "the very same slots"
    for seat in after:
        assert seat.memory.read(4096, 13) in (b"hello, tenant", b"other, tenant")
        assert left_over(seat) == 0
        seat.close()


def test_the_search_finds_what_an_instance_that_is_not_thrown_away_leaves(way: tuple[Sandbox, bool]) -> None:
    (seat, *_) = seats(way, "one", VESSEL)
    open_all([seat])
    assert left_over(seat) == 0
    seat.call(ALLOC, FILL)
    words, entries, two_globals = (PAGES << 16) // 8, 500, 2
    assert seat.call(TRANSFORM) == words - 1 + entries + two_globals, (
        "13 bytes were cleared: one word whole, the next in part"
    )
    assert left_over(seat) > PAGES << 16
    seat.close()


def test_nothing_is_left_between_calls_of_functions(sandbox: Sandbox) -> None:
    for name, text in (("one", VESSEL), ("other", OTHER)):
        sandbox.compile_module(name, wat(text), LIMITS)
    for _ in range(3):
        sandbox.execute("one", "fill")
        with pytest.raises(SandboxError):
            sandbox.execute("one", "penstock_v1_alloc", [FILL_AND_ABORT])
        assert sandbox.execute("one", "scan") == sandbox.execute("other", "scan") == (0,)
