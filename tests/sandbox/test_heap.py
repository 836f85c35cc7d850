"""The ledger of blocks, as a state machine beside a plain model, over a real guest's memory on both call paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sandbox import Sandbox
from sandbox.calls import CallsName, Seat
from sandbox.errors import (
    DoubleFree,
    ForeignFree,
    LeakedBlocks,
    MemoryQuotaExceeded,
    OutOfBounds,
    SandboxError,
    WrongSize,
)
from sandbox.heap import Heap
from sandbox.host import HostState, Services
from tests.sandbox.guests import UNPOOLED, spec, wat

FOREVER = 1 << 40
PAGE = 1 << 16
# Hands out what it is told to: `next` says where the following block lies.
GIVER = """
(module
  (memory (export "memory") 1 2)
  (global $next (mut i32) (i32.const 8))
  (global $freed (mut i32) (i32.const 0))
  (func (export "penstock_v1_alloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $next))
    (if (i32.gt_u (i32.add (global.get $next) (local.get $size)) (i32.const 65536))
      (then (if (i32.lt_u (local.get $size) (i32.const 0x80000000)) (then (return (i32.const 0))))))
    (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) (i64.const 0))
  (func (export "penstock_v1_cursor") (result i32) (global.get $freed))
  (func (export "penstock_v1_configure") (param $at i32) (param $size i32) (result i32)
    (global.set $freed (i32.add (global.get $freed) (i32.const 1)))
    (i32.const 0))
)
"""
LIAR = GIVER.replace("(global.set $next (i32.and", "(drop (i32.and").replace(
    "(local.set $at (global.get $next))", "(local.set $at {})"
)
ALLOC, FREED, FREE = 0, 3, 2


def seat_of(sandbox: Sandbox, text: str) -> Seat:
    """A seat with this guest in it. `penstock_v1_configure` plays `free`, `penstock_v1_cursor` counts its calls."""
    plan: Any = sandbox.prepare(spec(engine=UNPOOLED), wat(text))
    seat: Seat = plan.guests.link.seat()
    seat.open(HostState(Services(), 0), FOREVER)
    return seat


class Blocks(RuleBasedStateMachine):
    """Whatever is asked of it, in whatever order: the ledger is the model, and the guest's `free` is called once for each block."""

    sandbox: Sandbox
    blocks = Bundle("blocks")
    gone = Bundle("gone")

    def __init__(self) -> None:
        super().__init__()
        self.seat = seat_of(self.sandbox, GIVER)
        self.heap = Heap(self.seat, ALLOC, FREE)
        self.model: dict[int, bytes] = {}
        self.freed = 0

    @rule(target=blocks, data=st.binary(min_size=1, max_size=600))
    def place(self, data: bytes) -> tuple[int, int] | None:
        try:
            address, length = self.heap.place(data)
        except MemoryQuotaExceeded:
            return None
        assert length == len(data)
        assert all(address + length <= other or other + len(held) <= address for other, held in self.model.items())
        self.model[address] = data
        return address, length

    @rule(target=gone, block=consumes(blocks))
    def give_back(self, block: tuple[int, int] | None) -> tuple[int, int] | None:
        if block is not None:
            self.heap.deallocate(*block)
            del self.model[block[0]]
            self.freed += 1
        return block

    @rule(block=gone)
    def give_back_twice(self, block: tuple[int, int] | None) -> None:
        if block is not None:
            with pytest.raises(DoubleFree):
                self.heap.deallocate(*block)

    @rule(block=blocks, more=st.integers(1, 1 << 32))
    def give_back_with_another_size(self, block: tuple[int, int] | None, more: int) -> None:
        if block is not None:
            with pytest.raises(WrongSize):
                self.heap.deallocate(block[0], block[1] + more)

    @rule(address=st.integers(-8, 1 << 33).filter(lambda n: n % 8))
    def give_back_what_is_none(self, address: int) -> None:
        with pytest.raises(ForeignFree):
            self.heap.deallocate(address, 8)

    @rule(size=st.sampled_from([0, -1, 1 << 32, 1 << 64]))
    def ask_for_no_size(self, size: int) -> None:
        with pytest.raises(ValueError, match="no size of a block"):
            self.heap.allocate(size)

    @precondition(lambda self: self.model)
    @rule()
    def leave_some(self) -> None:
        with pytest.raises(LeakedBlocks, match=f"^{len(self.model)} blocks"):
            self.heap.close()

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        assert self.heap.live == {address: len(data) for address, data in self.model.items()}
        assert all(self.seat.memory.read(address, len(data)) == data for address, data in self.model.items())
        assert self.seat.call(FREED) == self.freed
        if not self.model:
            self.heap.close()

    def teardown(self) -> None:
        self.seat.close()


def test_the_ledger_is_right_whatever_is_asked_of_it(calls: CallsName) -> None:
    with Sandbox(calls=calls, cache=False) as sandbox:
        machine = type("Machine", (Blocks,), {"sandbox": sandbox})
        checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine,
            settings=settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=checks),
        )


@pytest.mark.parametrize(
    ("answer", "size", "error"),
    [
        ("(i32.const 0)", 8, MemoryQuotaExceeded),
        ("(i32.const 65536)", 1, OutOfBounds),
        ("(i32.const 65529)", 8, OutOfBounds),
        ("(i32.const -8)", 8, OutOfBounds),
        ("(i32.const 0x7fffffff)", 1, OutOfBounds),
        ("(i32.const 8)", 0xFFFF_FFFF, OutOfBounds),
    ],
)
def test_a_block_that_the_guest_does_not_have_is_not_taken(
    sandbox: Sandbox, answer: str, size: int, error: type[SandboxError]
) -> None:
    seat = seat_of(sandbox, LIAR.replace("{}", answer))
    heap = Heap(seat, ALLOC)
    with pytest.raises(error):
        heap.allocate(size)
    assert not heap.live
    seat.close()


def test_the_same_bytes_are_not_taken_twice(sandbox: Sandbox) -> None:
    seat = seat_of(sandbox, LIAR.replace("{}", "(i32.const 64)"))
    heap = Heap(seat, ALLOC)
    address = heap.allocate(16)
    with pytest.raises(OutOfBounds, match="inside another block"):
        heap.allocate(1)
    heap.deallocate(address, 16)
    assert heap.allocate(1) == address
    seat.close()


def test_nothing_takes_place_too_so_that_two_of_it_are_two(sandbox: Sandbox) -> None:
    seat = seat_of(sandbox, GIVER)
    heap = Heap(seat, ALLOC)
    first, second = heap.place(b""), heap.place(b"")
    assert first != second and first[1] == second[1] == 0
    seat.close()
