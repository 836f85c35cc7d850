"""What the built-in transformers cost an event: `python -m bench.builtins [--rounds 9]`. Writes `results/builtins.json`.

The same 500 orders of about 500 bytes for all, as one batch of Kafka's own records, through `Session.run`: Debezium's JSON decoded by the host, the
crossing, the built-in, and its answer encoded again. CPU of the calling thread; the built-ins take turns, and the median of the rounds counts (`bench.turns`).
Each does what it is for to every event. *nothing* is `rename` with a rule that fits no column: what decoding, crossing and looking at the event cost.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from bench import results
from bench.orders import order
from bench.turns import take_turns
from pipeline.registry import RegistryBuilder
from sandbox import Sandbox, Session
from schemas.event import Batch, Event, TopicPartition
from schemas.outcome import Emitted, Outcome
from tests.records.batches import records_of

SHOP = Path(__file__).resolve().parents[1] / "transformers" / "builtins" / "lookup" / "shop.db"
"""What `lookup` looks in; its grant remembers rows."""
SIZE = 500
TIMES = 5
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing": ("rename", {"columns": [{"from": "none", "to": "other"}]}),
    "cast": ("cast", {"rules": [{"columns": "made", "to": "timestamp", "unit": "micros"}, {"columns": "amount", "to": "decimal", "scale": 3}]}),
    "explode": ("explode", {"column": "lines", "merge": True, "index": "line", "key": ["id", "line"]}),
    "filter": ("filter", {"keep": "row.quantity > 2 && row.status == 'placed'"}),
    "flatten": ("flatten", {"columns": "address"}),
    "lookup": ("lookup", {"table": "customers", "key": "id", "columns": ["name", "tier"], "prefix": "customer_"}),
    "mask": ("mask", {"salt": "s", "rules": [{"columns": "first_name", "action": "hash"}, {"columns": "last_name", "action": "keep-last"}]}),
    "outbox": (
        "outbox",
        {
            "topic": "{status}",
            "columns": {"aggregate_type": "status", "aggregate_id": "id", "payload": "note"},
            "headers": {"id": "id", "status": "type"},
        },
    ),
    "rename": ("rename", {"columns": [{"from": "first_name", "to": "given"}, {"from": "last_*", "to": "family_*"}]}),
    "route": ("route", {"rules": [{"to": "none", "when": {"status": "sent"}}, {"to": "placed", "tables": "orders", "when": {"status": "placed"}}]}),
    "unwrap": ("unwrap", {"add_fields": ["op", "source.lsn"]}),
    "validate": ("validate", {"rules": [{"schema": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}}]}),
}  # fmt: skip
"""What each is called in the table: the built-in, and its config."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    found = measure(options.rounds)
    for name, row in found.items():
        print(name, row, file=sys.stderr)
    print(f"written to {results.save('builtins', {'rounds': options.rounds, 'batch': SIZE, 'rows': found})}")


def measure(rounds: int) -> dict[str, dict[str, Any]]:
    """One row for each built-in."""
    batch = _batch()
    with ExitStack() as held:
        sandbox = held.enter_context(Sandbox(workers=1))
        sessions = {name: held.enter_context(closing(_session(sandbox, *CONFIGS[name]))) for name in CONFIGS}
        emitted = {name: _emitted(session, batch) for name, session in sessions.items()}
        work: dict[str, Callable[[], object]] = {
            name: partial(session.run, batch) for name, session in sessions.items()
        }
        turns = take_turns(work, times=TIMES, rounds=rounds)
        return {name: {"us": turns.us(name) / SIZE, "records": emitted[name] / SIZE} for name in CONFIGS}


def _batch() -> Batch:
    events = [Event(number, 1_795_353_061_768, *_order(number), ()) for number in range(SIZE)]
    return Batch(TopicPartition("shop.public.orders", 0), records_of(events, SIZE))


def _order(number: int) -> tuple[bytes, bytes]:
    """One of the shop's, with what some built-ins want: an object, a list, and a time in microseconds."""
    key, value = order(number)
    event = json.loads(value)
    event["after"] |= {
        "made": 1_795_353_061_265_001 + number,
        "address": {"street": "Main St 1", "city": "Rome"},
        "lines": [{"sku": "tea", "n": 1}, {"sku": "cup", "n": 2}],
    }
    return key, json.dumps(event, separators=(",", ":")).encode()


def _session(sandbox: Sandbox, builtin: str, config: dict[str, Any]) -> Session:
    registry = RegistryBuilder(databases={"shop": {"sqlite": str(SHOP)}})
    grants = (
        [{"database": {"connection": "shop", "tables": ["customers"], "cache": "1h"}}] if builtin == "lookup" else []
    )
    registry.register(builtin, builtin=builtin, config=config, capabilities=grants)
    registry.route("r", sources="a", through=builtin, to="b", also_to=["none", "placed"])
    return sandbox.load(registry.build().transformers[builtin]).session()


def _emitted(session: Session, batch: Batch) -> int:
    """Records that come of a batch; fails when an event does not come through."""
    found: list[Outcome] = list(session.run(batch).outcomes)
    assert all(isinstance(outcome, Emitted) for outcome in found), next(
        one for one in found if not isinstance(one, Emitted)
    )
    return sum(len(outcome.events) for outcome in found if isinstance(outcome, Emitted))


if __name__ == "__main__":
    main()
