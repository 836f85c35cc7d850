"""What a look-up costs an event: `python -m bench.lookups [--rounds 15] [--dry]`. Writes `results/lookups.json`.

A real guest in wasm, through `Session.run`: a batch of 256 events, and in it 256 look-ups of customers by key, either in one call
(`lookup_many`) or in 256 (`lookup`). The rows come out of the cache (warm: all 256 of 10,000 customers are remembered) or out of SQLite each time. What the
same batch costs without a look-up is taken off. Method: `bench.turns` (CPU of the guest's own thread, in turns); *uncached* is the wall's
clock, because SQLite works in a thread of its own. The mark of the issue: 50,000 cached look-ups a second.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgpack
from wasmtime import wat2wasm

from bench import results
from bench.turns import take_turns
from sandbox import Sandbox, Session
from sandbox.host import Services
from schemas.capabilities import Capability, DatabaseScope, Grant, Grants
from schemas.event import Batch, Event, TopicPartition
from schemas.limits import Limits
from schemas.outcome import Emitted
from schemas.specs import DatabaseSpec, TransformerSpec

SIZE = 256
CUSTOMERS = 10_000
MARK_PER_S = 50_000
REQUESTS, ANSWER, ROOM, RESULT, FRAMES = 1 << 16, 3 << 16, 1 << 17, 2 << 16, 6 << 16
"""Where the guest's memory has what."""


def guest(requests: Sequence[bytes], function: str) -> bytes:
    """Asks each of these requests, all of one length, and lets every event pass."""
    length = len(requests[0]) if requests else 0
    assert all(len(one) == length for one in requests)
    return bytes(
        wat2wasm(f"""(module
  (import "penstock" "{function}" (func $ask (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (data (i32.const {REQUESTS}) "{_escaped(b"".join(requests))}")
  (data (i32.const {RESULT}) "{_escaped(msgpack.packb([None] * SIZE))}")
  (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const {FRAMES}))
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) (local $n i32)
    (block $done (loop $more
      (br_if $done (i32.eq (local.get $n) (i32.const {len(requests)})))
      (if (i32.le_s (call $ask (i32.add (i32.const {REQUESTS}) (i32.mul (local.get $n) (i32.const {length})))
          (i32.const {length}) (i32.const {ANSWER}) (i32.const {ROOM})) (i32.const 1)) (then unreachable))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br $more)))
    (i64.const {RESULT << 32 | len(msgpack.packb([None] * SIZE))})))""")
    )


def _escaped(raw: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in raw)


def _key(number: int) -> bytes:
    """Always three bytes."""
    return b"\xcd" + (300 + number).to_bytes(2, "big")


def _table() -> bytes:
    return bytes(msgpack.packb("customers"))


def customers(path: Path) -> None:
    """A database as an enrichment has it: eight columns, about 150 bytes a row."""
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, first_name TEXT, last_name TEXT, email TEXT, country TEXT, tier TEXT,"
            " credit_limit REAL, since TEXT)"
        )
        raw.executemany(
            "INSERT INTO customers VALUES (?, 'Ada', ?, ?, 'GB', 'gold', 1250.5, '2019-04-01T12:00:00Z')",
            [(300 + n, f"Lovelace-{n}", f"ada.{n}@example.com") for n in range(CUSTOMERS)],
        )
        raw.commit()


def sessions(sandbox: Sandbox, held: ExitStack) -> dict[str, Session]:
    """The same batch with look-ups of every kind, and with none."""
    many = b"\x92" + _table() + b"\xdc" + SIZE.to_bytes(2, "big") + b"".join(map(_key, range(SIZE)))
    single = [b"\x92" + _table() + _key(number) for number in range(SIZE)]
    kinds: dict[str, tuple[str, list[bytes], int]] = {
        "nothing": ("lookup", [], 0),
        "lookup_many, cached": ("lookup_many", [many], 3_600_000),
        "lookup, cached": ("lookup", single, 3_600_000),
        "lookup_many, from SQLite": ("lookup_many", [many], 0),
        "lookup, from SQLite": ("lookup", single, 0),
    }
    return {
        name: held.enter_context(closing(_session(sandbox, name, guest(requests, function), ttl_ms)))
        for name, (function, requests, ttl_ms) in kinds.items()
    }


def _session(sandbox: Sandbox, name: str, module: bytes, ttl_ms: int) -> Session:
    scope = DatabaseScope("shop", tables=("customers",), cache_ttl_ms=ttl_ms)
    spec = TransformerSpec(
        name=name.replace(", ", "-").replace(" ", "-"),
        module=Path("guest.wasm"),
        limits=Limits().with_(deadline_ms=60_000),
        capabilities=Grants((Grant(frozenset({Capability.DATABASE_READ}), scope),)),
    )
    return sandbox.load(spec, module).session()


def measure(rounds: int) -> dict[str, Any]:
    """Microseconds a look-up, and how many a second that is."""
    events = [Event(n, 1_700_000_000_000 + n, b"%d" % n, b"x" * 400) for n in range(SIZE)]
    batch = Batch(TopicPartition("shop.public.orders", 0), events)
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        customers(folder / "shop.db")
        databases = {"shop": DatabaseSpec("shop", "sqlite", path=folder / "shop.db")}
        sandbox = held.enter_context(Sandbox(workers=1, cache=False, services=Services(databases=databases)))
        ready = sessions(sandbox, held)
        for name, session in ready.items():
            outcomes = session.run(batch).outcomes
            assert all(isinstance(one, Emitted) for one in outcomes), (name, outcomes[0])
        cached = take_turns(
            {name: _runner(ready[name], batch) for name in ready if "SQLite" not in name}, times=20, rounds=rounds
        )
        rows = {name: (cached.us(name) - cached.us("nothing")) / SIZE for name in ready if name.endswith("cached")}
        for name in (one for one in ready if "SQLite" in one):
            rows[name] = _wall_us(_runner(ready[name], batch), rounds) / SIZE
    return {name: {"us": us, "per_s": 1e6 / us} for name, us in rows.items()}


def _runner(session: Session, batch: Batch) -> Callable[[], object]:
    return lambda: session.run(batch)


def _wall_us(work: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        work()
        taken.append((time.perf_counter_ns() - began) / 1e3)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    options = parser.parse_args()
    rows = measure(options.rounds)
    for name, row in rows.items():
        print(f"{name:28} {row['us']:8.2f} µs  {row['per_s']:10,.0f}/s", file=sys.stderr)
    if not options.dry:
        found = {"rounds": options.rounds, "batch": SIZE, "mark_per_s": MARK_PER_S, "rows": rows}
        print(f"written to {results.save('lookups', found)}")


if __name__ == "__main__":
    main()
