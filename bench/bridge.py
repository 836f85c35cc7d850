"""What the single checks cost, beside what the reference document says they do."""

from __future__ import annotations

from typing import Any

from bench.turns import row, take_turns
from sandbox.calls import ALLOC, CURSOR
from sandbox.errors import OutOfBounds
from sandbox.heap import Heap
from sandbox.host import HostState, Services, granted_imports
from sandbox.transformer import Transformer
from schemas.capabilities import Capability

FOREVER = 1 << 40
CLAIMS_NS = {"a pointer checked": 50.0, "a block's allocation tracked": 10.0, "a capability looked up": 5.0}
"""From the reference document's table of costs."""


def bridge(transformer: Transformer, rounds: int) -> list[dict[str, Any]]:
    """Nanoseconds, less what an empty call costs."""
    seat = transformer._plan.guests.link.seat()
    seat.open(HostState(Services(), 0), FOREVER)
    memory, short, event = seat.memory, b"12345678", b"x" * 400
    address = seat.call(ALLOC, 100_000) & 0xFFFFFFFF
    beyond, batch = memory.size(), b"x" * 100_000
    heap, granted, asked = Heap(seat, ALLOC), granted_imports([*Capability]), ("penstock", "log")
    held = heap.allocate(8)

    def refused() -> None:
        try:
            memory.read(beyond, 1)
        except OutOfBounds:
            return

    def tracked() -> None:
        del heap._blocks[held]
        heap._blocks[held] = 8

    variants = {
        "nothing": lambda: None,
        "a pointer checked": lambda: memory.size() >= address + 8,
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
        "a block's allocation tracked": tracked,
    }
    got = take_turns(variants, times=2_000, rounds=rounds)
    seat.close()
    nothing = got.us("nothing")
    return [
        row(name, (got.us(name) - nothing) * 1e3, "ns", claim=CLAIMS_NS.get(name))
        for name in variants
        if name != "nothing"
    ]
