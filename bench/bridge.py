"""What the single checks cost, beside what the reference document says they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from wasmtime import wat2wasm

from bench.turns import row, take_turns
from sandbox import Sandbox
from sandbox.calls import ALLOC, CURSOR, TRANSFORM
from sandbox.errors import OutOfBounds
from sandbox.heap import Heap
from sandbox.host import Gate, HostImport, HostState, Services, granted_imports
from sandbox.memory import GuestMemory
from sandbox.transformer import Transformer
from schemas.capabilities import Capability, Grants
from schemas.specs import EngineSettings, TransformerSpec

FOREVER = 1 << 40
POINTER_NS, TRACKED_NS, LOOKED_UP_NS = 50.0, 10.0, 5.0
CLAIMS_NS = {
    "a pointer checked": POINTER_NS,
    "a pointer checked in a host call, all rules": POINTER_NS,
    "a block's allocation tracked": TRACKED_NS,
    "a capability looked up": LOOKED_UP_NS,
    "a capability admitted at the gate": LOOKED_UP_NS,
}
"""From the reference document's table of costs, which is of compiled code. No check that is a Python function can cost 5 ns: the row of
one that does nothing says why."""
HOSTED = """(module
  (import "bench" "measure" (func $measure (param i32)))
  (memory (export "memory") 2)
  (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 64))
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) (call $measure (i32.const 64)) (i64.const 0)))"""


def bridge(transformer: Transformer, rounds: int) -> list[dict[str, Any]]:
    """Nanoseconds, less what an empty call costs."""
    return [*_seat(transformer, rounds), *_in_a_host_call(rounds)]


def _seat(transformer: Transformer, rounds: int) -> list[dict[str, Any]]:
    """As the host sees a guest's memory between two calls."""
    seat = transformer._plan.guests.link.seat()
    seat.open(HostState(Services(), 0), FOREVER)
    memory, short, event = seat.memory, b"12345678", b"x" * 400
    address = seat.call(ALLOC, 100_000) & 0xFFFFFFFF
    beyond, batch = memory.size(), b"x" * 100_000
    granted, asked = granted_imports([*Capability]), ("penstock", "log")
    gate = Gate(grants=Grants.of([*Capability]))
    heap = Heap(seat, ALLOC)
    for number in range(100):
        heap.enter(address + 1000 * number, 500)

    def refused() -> None:
        try:
            memory.read(beyond, 1)
        except OutOfBounds:
            return

    def tracked() -> None:
        heap.enter(address + 50_500, 8)
        heap.cross_off(address + 50_500, 8)

    got = _rows(
        {
            "a pointer checked": lambda: memory.check(address, 8),
            "a pointer refused": refused,
            "8 bytes read": lambda: memory.read(address, 8),
            "8 bytes written": lambda: memory.write(address, short),
            "400 bytes read": lambda: memory.read(address, 400),
            "400 bytes written": lambda: memory.write(address, event),
            "100 kB read": lambda: memory.read(address, 100_000),
            "100 kB written": lambda: memory.write(address, batch),
            "a deadline armed": lambda: seat.arm(FOREVER),
            "a call into the guest that does nothing": lambda: seat.call(CURSOR),
            "a capability looked up": lambda: granted[asked],
            "a capability admitted at the gate": lambda: gate.admit(Capability.LOG),
            "a block's allocation tracked": tracked,
        },
        rounds,
    )
    seat.close()
    return got


def _in_a_host_call(rounds: int) -> list[dict[str, Any]]:
    """As a host function sees it while the guest waits: wasmtime is asked for size and place once."""
    found: list[dict[str, Any]] = []

    def measure(_state: HostState, memory: GuestMemory | None, address: int) -> None:
        assert memory is not None
        found.extend(
            _rows(
                {
                    "a function of Python that does nothing": lambda: _nothing(),
                    "a pointer checked in a host call, all rules": lambda: memory.check_range(address, 8),
                    "8 bytes read in a host call": lambda: memory.read_bytes(address, 8),
                    "a number read in a host call, aligned": lambda: memory.read_typed(address, "Q"),
                    "a string of 8 read in a host call": lambda: memory.read_string(address, 8),
                },
                rounds,
            )
        )

    hosted = HostImport("measure", ("i32",), None, measure, module="bench")
    spec = TransformerSpec("hosted", Path("hosted.wasm"), engine=EngineSettings(pooling=False))
    with Sandbox(cache=False, extra_imports=(hosted,)) as sandbox:
        plan: Any = sandbox.prepare(spec, bytes(wat2wasm(HOSTED)))
        seat = plan.guests.link.seat()
        host = HostState(Services(), 0)
        seat.open(host, FOREVER)
        seat.call(TRANSFORM)
        seat.close()
    if host.error is not None:
        raise host.error
    return found


def _nothing() -> None:
    return None


def _rows(variants: dict[str, Callable[[], object]], rounds: int) -> list[dict[str, Any]]:
    got = take_turns({"nothing": lambda: None, **variants}, times=2_000, rounds=rounds)
    nothing = got.us("nothing")
    return [row(name, (got.us(name) - nothing) * 1e3, "ns", claim=CLAIMS_NS.get(name)) for name in variants]
