"""What the sandbox costs, measured in one run: `python -m bench.sandbox [--rounds 20] [--dry]`. Writes `results/sandbox.json`.

Method: `bench.turns` (CPU of the thread, interleaved, in an order that turns; at least ten rounds; 95 % bounds). No figure is compared
with one of another run. The process is tuned as `penstock run` tunes its own (garbage collector, switch interval).

- *bare crossing*: the same module, frame and answer, through the same C calls, in a fresh pooled instance: nothing is limited,
  timed, counted or checked but the frame's shape. The difference to `Session.run` is what the policy costs.
- *raw, per event*: a bare crossing of each event alone, against `instance: per-event`.
- *epochs* and *fuel* are compiled into the guest, so they are compared by running the guest's own function under engines
  with and without them.
- *busy* is the wall's clock: there the waiting is the question.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wasmtime import Config, Engine, Module, wat2wasm

from bench import results
from bench.bridge import bridge
from bench.sandbox_tables import sandbox_table
from bench.turns import Turns, Work, take_turns
from pipeline.service import tune_process
from sandbox import Limits, Sandbox, Session, Transformer
from sandbox.calls import ALLOC, CONFIGURE, CURSOR, INITIALIZE, TRANSFORM, CallsName, LinkPlan, Seat
from sandbox.engine import set_features
from sandbox.guest import Guest
from sandbox.host import HostState, Services
from sandbox.results import judge
from schemas.abi import BatchEncoder, decode_results, encode_config
from schemas.event import Batch, Event, TopicPartition
from schemas.limits import PROFILES
from schemas.specs import EngineSettings, InstancePolicy, TransformerSpec

MODULES = Path(__file__).parent.parent / "transformers" / "modules"
LANE = TopicPartition("shop.public.orders", 0)
LIMITS = PROFILES["untrusted"]
CONFIG = {"currency": "EUR", "drop_statuses": ["draft"], "flag_above": "10000.00", "flag_topic": "orders.flagged"}
FOREVER = 1 << 40
TRAPPING = """(module (memory (export "memory") 2)
  (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 65536))
  (func (export "penstock_v1_cursor") (result i32) (i32.const 16))
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) unreachable))"""


def orders(count: int) -> list[Event]:
    """Debezium-shaped orders of about 400 bytes."""
    return [Event(n, 1_700_000_000_000 + n, b'{"id":%d}' % n, _order(n)) for n in range(count)]


def _order(number: int) -> bytes:
    after = {
        "id": number,
        "first_name": "Ada",
        "last_name": f"Lovelace-{number}",
        "amount": f"{number % 900 + 10}.{number % 100:02d}",
        "quantity": number % 7 + 1,
        "status": "placed",
        "note": "x" * 60,
    }
    source = {
        "connector": "postgresql",
        "db": "shop",
        "schema": "public",
        "table": "orders",
        "lsn": 26_585_320 + number,
    }
    change = {"before": None, "after": after, "source": source, "op": "c", "ts_ms": 1_700_000_000_000 + number}
    return json.dumps(change).encode()


@dataclass(frozen=True)
class Bare:
    """A crossing without any policy."""

    seat: Seat
    transformer: Transformer
    encoder: BatchEncoder
    events: Sequence[Event]

    @classmethod
    def of(cls, transformer: Transformer, events: Sequence[Event]) -> Bare:
        return cls(transformer._plan.guests.link.seat(), transformer, BatchEncoder(LANE), events)

    def __call__(self) -> object:
        plan, seat = self.transformer._plan, self.seat
        body = self.encoder.body(self.events)
        seat.open(HostState(Services(), 0), FOREVER)
        if plan.guests.has_initialize:
            seat.call(INITIALIZE)
        if plan.guests.config is not None:
            at = seat.call(ALLOC, len(plan.guests.config))
            seat.memory.write(at, plan.guests.config)
            seat.call(CONFIGURE, at, len(plan.guests.config))
        if plan.guests.has_cursor:
            seat.call(CURSOR)
        length = len(self.encoder.head) + len(body)
        address = seat.call(ALLOC, length) & 0xFFFFFFFF
        seat.memory.write(address, self.encoder.head)
        seat.memory.write(address + len(self.encoder.head), body)
        packed = seat.call(TRANSFORM, address, length)
        frame = seat.memory.read(packed >> 32 & 0xFFFFFFFF, packed & 0xFFFFFFFF)
        seat.close()
        return judge(self.events, decode_results(frame, len(self.events)), plan.rules)


def load(sandbox: Sandbox, module: str, **changes: Any) -> Transformer:
    fields: dict[str, Any] = {"name": module, "module": MODULES / f"{module}.wasm", "limits": LIMITS}
    if module == "enrich_order":
        fields["config"] = CONFIG
    return sandbox.load(TransformerSpec(**(fields | changes)))


def _runner(session: Session, events: Sequence[Event]) -> Callable[[], object]:
    sent = Batch(LANE, events)
    return lambda: session.run(sent)


def policy(processes: int) -> dict[str, Any]:
    """`Session.run` against a bare crossing, 256 JSON events.

    In fresh processes, because where a process happens to have its memory moves the share by as much as the rounds within one do.
    """
    taken: dict[str, list[float]] = {"bare": [], "session": []}
    for _ in range(processes):
        command = [sys.executable, "-m", "bench.sandbox", "--policy"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for name, us in found.items():
            taken[name].append(us)
    got = Turns(taken)
    return {
        "processes": processes,
        "bare_us_per_event": got.us("bare") / 256,
        "session_us_per_event": got.us("session") / 256,
        "overhead_percent": got.percent_over("session", "bare"),
        "bar_percent": 5.0,
    }


def policy_here() -> dict[str, float]:
    """The medians of this process, in microseconds a batch."""
    events = orders(256)
    with Sandbox(cache=False) as sandbox:
        transformer = load(sandbox, "enrich_order")
        session = transformer.session()
        turns = {"bare": Bare.of(transformer, events), "session": _runner(session, events)}
        got = take_turns(turns, times=3, rounds=600)
        session.close()
        return {name: got.us(name) for name in turns}


def per_event(sandbox: Sandbox, rounds: int) -> dict[str, Any]:
    """A fresh instance for each of 64 events, against making, calling and dropping a pooled one for each through the same C calls."""
    found: dict[str, Any] = {"bar": 1.5}
    for module in ("passthrough", "enrich_order"):
        transformer = load(sandbox, module, instance=InstancePolicy.PER_EVENT)
        session, events = transformer.session(), orders(64)
        alone = [Bare.of(transformer, [event]) for event in events]
        got = take_turns(
            {"raw": lambda each=alone: [bare() for bare in each], "session": _runner(session, events)},
            times=2,
            rounds=rounds,
        )
        session.close()
        found[module] = {
            "raw_us": got.us("raw") / 64,
            "session_us": got.us("session") / 64,
            "ratio": asdict(got.over("session", "raw")),
        }
    return found


def frames(rounds: int) -> dict[str, float]:
    """Encoding a batch and decoding as large an answer, a new value for each event."""
    import msgspec

    events = orders(256)
    encoder = BatchEncoder(LANE)
    answer = msgspec.msgpack.encode([[1, event.value] for event in events])
    unchanged = msgspec.msgpack.encode([None] * 256)
    rules = replace(_rules(), output_bytes_max=1 << 20)
    turns: dict[str, Work] = {
        "encode": lambda: encoder.body(events),
        "decode": lambda: judge(events, decode_results(answer, 256), rules),
        "decode_unchanged": lambda: judge(events, decode_results(unchanged, 256), rules),
    }
    got = take_turns(turns, times=50, rounds=rounds)
    return {f"{name}_us_per_event": got.us(name) / 256 for name in turns}


def _rules() -> Any:
    from sandbox.results import Rules

    return Rules("bench", "", "", 1 << 20, None)


def instances(rounds: int) -> dict[str, float]:
    """A fresh guest, started and discarded."""
    with ExitStack() as stack:
        turns: dict[str, Work] = {}
        for name, calls, pooling in (
            ("pooled", CallsName.FAST, True),
            ("unpooled", CallsName.FAST, False),
            ("public", CallsName.PUBLIC, False),
        ):
            sandbox = stack.enter_context(Sandbox(cache=False, calls=calls))
            plain = load(sandbox, "passthrough", engine=EngineSettings(pooling=pooling))
            turns[f"fresh_{name}_us"] = _start_and_close(plain)
            if pooling:
                turns["fresh_pooled_rust_configured_us"] = _start_and_close(load(sandbox, "enrich_order"))
        got = take_turns(turns, times=300, rounds=rounds)
        return {name: got.us(name) for name in turns}


def _start_and_close(transformer: Transformer) -> Callable[[], None]:
    guest = Guest(transformer._plan.guests)

    def work() -> None:
        guest.start()
        guest.close()

    return work


def policies_of_instances(sandbox: Sandbox, rounds: int) -> dict[str, float]:
    """The same 256 events under each instance policy."""
    events = orders(256)
    sessions = {one.value: load(sandbox, "enrich_order", instance=one).session() for one in InstancePolicy}
    got = take_turns({name: _runner(one, events) for name, one in sessions.items()}, times=5, rounds=rounds)
    for session in sessions.values():
        session.close()
    return {f"{name}_us_per_event": got.us(name) / 256 for name in sessions}


def metering(sandbox: Sandbox, rounds: int) -> dict[str, Any]:
    """The guest's own function, 256 JSON events, under engines that do and do not count epochs and fuel."""
    turns: dict[str, Work] = {}
    for name, epochs, fuel in (("none", False, False), ("epochs", True, False), ("epochs_and_fuel", True, True)):
        turns[name] = _guest_function(sandbox, epochs=epochs, fuel=fuel)
    got = take_turns(turns, times=20, rounds=rounds)
    return {
        "guest_us_per_event": got.us("none") / 256,
        "epochs_percent": got.percent_over("epochs", "none"),
        "fuel_percent": got.percent_over("epochs_and_fuel", "epochs"),
        "fuel_claim_percent": "1-2",
    }


def _guest_function(sandbox: Sandbox, *, epochs: bool, fuel: bool) -> Callable[[], object]:
    """One call of transform on a frame already in memory, in an instance that stays."""
    guests = load(sandbox, "enrich_order")._plan.guests
    plan: LinkPlan = guests.link.plan  # type: ignore[attr-defined]
    config = Config()
    config.epoch_interruption, config.consume_fuel = epochs, fuel
    set_features(config, EngineSettings(), 1)
    engine = Engine(config)
    module = Module(engine, (MODULES / "enrich_order.wasm").read_bytes())
    seat = sandbox._calls.link(replace(plan, engine=engine, module=module, metered=fuel)).seat()
    seat.open(HostState(Services(), 0), FOREVER)
    encoder = BatchEncoder(LANE)
    frame = encoder.head + encoder.body(orders(256))
    settings = encode_config(CONFIG)
    at = seat.call(ALLOC, len(settings)) & 0xFFFFFFFF
    seat.memory.write(at, settings)
    assert seat.call(CONFIGURE, at, len(settings)) & 0xFFFFFFFF == 0

    def work() -> None:
        address = seat.call(ALLOC, len(frame)) & 0xFFFFFFFF
        seat.memory.write(address, frame)
        seat.call(TRANSFORM, address, len(frame))

    return work


def tiers(sandbox: Sandbox, rounds: int) -> dict[str, Any]:
    """Compiling (CPU, of all threads) and running on each tier."""
    from schemas.specs import Tier

    found: dict[str, Any] = {}
    turns: dict[str, Work] = {}
    events = orders(256)
    for tier in Tier:
        began = time.process_time()
        transformer = load(sandbox, "enrich_order", engine=EngineSettings(tier=tier))
        found[tier.value] = {"load_ms": (time.process_time() - began) * 1e3}
        turns[tier.value] = _runner(transformer.session(), events)
    got = take_turns(turns, times=3, rounds=rounds)
    for name in turns:
        found[name] |= {"us_per_event": got.us(name) / 256, "ratio": asdict(got.over(name, Tier.OPTIMIZING.value))}
    return found


def caching() -> dict[str, float]:
    """Loading without and with the compiled-module cache on disk: CPU of all threads, median of five."""
    cold, warm = [], []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "cache"
            cold.append(_load_ms(cache))
            warm.append(_load_ms(cache))
    return {"load_cold_ms": statistics.median(cold), "load_cached_ms": statistics.median(warm)}


def _load_ms(cache: Path) -> float:
    with Sandbox(cache_dir=cache) as sandbox:
        began = time.process_time()
        load(sandbox, "enrich_order")
        return (time.process_time() - began) * 1e3


def isolation(sandbox: Sandbox, rounds: int) -> dict[str, float]:
    """A batch of 256 in which one event traps, against one in which none does; and one in which all do."""
    saboteur = Path(__file__).parent.parent / "tests" / "guests" / "saboteur.wat"
    spec = TransformerSpec("saboteur", saboteur, limits=LIMITS)
    transformer = sandbox.load(spec, bytes(wat2wasm(saboteur.read_text())))
    healthy = [Event(n, n, b"k", b"k") for n in range(256)]
    one_bad = [replace_value(event, b"U") if event.offset == 200 else event for event in healthy]
    all_bad = [replace_value(event, b"U") for event in healthy]
    session = transformer.session()
    turns = {
        "healthy_us": _runner(session, healthy),
        "one_trap_us": _runner(session, one_bad),
        "all_trap_us": _runner(session, all_bad),
    }
    got = take_turns(turns, times=3, rounds=min(rounds, 10))
    return {name: got.us(name) for name in turns}


def replace_value(event: Event, value: bytes) -> Event:
    return Event(event.offset, event.timestamp, event.key, value)


def beside_a_busy_thread(sandbox: Sandbox) -> dict[str, float]:
    """Latency of a batch while another thread runs Python all the time, as a loaded event loop does: median and 99th percentile."""
    run = _runner(load(sandbox, "enrich_order").session(), orders(256))
    quiet = _latencies(run)
    stop = threading.Event()
    busy = threading.Thread(target=_spin, args=(stop,))
    busy.start()
    loaded = _latencies(run)
    stop.set()
    busy.join()
    return {
        "alone_p50_ms": quiet[len(quiet) // 2],
        "busy_p50_ms": loaded[len(loaded) // 2],
        "busy_p99_ms": loaded[len(loaded) * 99 // 100],
        "switch_interval_ms": sys.getswitchinterval() * 1e3,
    }


def _spin(stop: threading.Event) -> None:
    while not stop.is_set():
        sum(range(100))


def _latencies(run: Callable[[], object]) -> list[float]:
    taken = []
    for _ in range(200):
        began = time.perf_counter()
        run()
        taken.append((time.perf_counter() - began) * 1e3)
    return sorted(taken)


def memory() -> dict[str, float]:
    """Resident memory per live guest of the standard profile, and of the process."""
    with Sandbox(cache=False, workers=32) as sandbox:
        plan = load(sandbox, "enrich_order", limits=Limits())._plan.guests
        guests = [Guest(plan) for _ in range(32)]
        before = _resident_kib()
        for guest in guests:
            guest.start()
        after = _resident_kib()
        for guest in guests:
            guest.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"guest_kib": (after - before) / len(guests), "process_peak_mib": peak / 1024}


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def measure(rounds: int) -> dict[str, Any]:
    """Every question, asked in turn."""
    with Sandbox(cache=False) as sandbox:
        return {
            "rounds": rounds,
            "policy": policy(max(4, rounds * 3 // 5)),
            "per_event": per_event(sandbox, rounds),
            "rows": bridge(load(sandbox, "enrich_order"), rounds),
            "frames": frames(rounds),
            "instances": instances(rounds),
            "instance_policies": policies_of_instances(sandbox, rounds),
            "metering": metering(sandbox, rounds),
            "tiers": tiers(sandbox, rounds),
            "cache": caching(),
            "isolation": isolation(sandbox, rounds),
            "busy": beside_a_busy_thread(sandbox),
            "memory": memory(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--dry", action="store_true", help="write no result")
    parser.add_argument("--policy", action="store_true", help="only what one process measures of the policy, as JSON")
    options = parser.parse_args()
    tune_process()
    if options.policy:
        print(json.dumps(policy_here()))
        return
    figures = measure(options.rounds)
    print(sandbox_table({"machine": results.machine(), **figures}))
    if not options.dry:
        print(f"written to {results.save('sandbox', figures)}")


if __name__ == "__main__":
    main()
