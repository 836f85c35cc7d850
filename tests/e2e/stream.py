"""A numbered stream of orders for whole-service tests, and the accounting of where each of them ended."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.dead_letter import read_dead_letter
from tests.services.topics import Kept, create_topic

MODULES = Path(__file__).parents[2] / "transformers" / "modules"
NOTE = '"penstock_demo":"'
BAD_EVERY = 997
"""One order in so many misbehaves; a prime, so that the offenders wander over batches and partitions."""
MISBEHAVIOUR = ("trap", "reject", "bad-output", "memory", "stack")


def fate(number: int) -> str:
    """What order `number` is made to do: emitted, dropped, or a kind of misbehaviour."""
    if number % BAD_EVERY == 0:
        return MISBEHAVIOUR[number // BAD_EVERY % len(MISBEHAVIOUR)]
    return "dropped" if number % 50 == 7 else "emitted"


def orders(count: int, keys: int = 500) -> Iterator[tuple[bytes, bytes]]:
    """Key and Debezium envelope of each order."""
    for number in range(count):
        does = fate(number)
        after = {
            "id": number,
            "first_name": "Zoë",
            "last_name": None if number % 3 else "Ωmega",
            "amount": f"{number % 1000}.25",
            "quantity": 2,
            "status": "draft" if does == "dropped" else "placed",
            "note": "x" * 90,
        }
        if does not in ("emitted", "dropped"):
            after["penstock_demo"] = does
        envelope = {"before": None, "after": after, "source": {"lsn": number, "table": "orders"}, "op": "c", "ts_ms": 1}
        yield str(number % keys).encode(), json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode()


def registry_text(bootstrap: str, name: str, delivery: str = "exactly-once", extra: str = "") -> str:
    """A registry for the stream, with topics and group named after `name`."""
    return f"""
version: 1
kafka: {{brokers: "{bootstrap}", group: "{name}", control_topic: "{name}.control", session_timeout: 6s}}
delivery: {delivery}
shutdown_timeout: 20s
transformers:
  saboteur:
    module: {MODULES}/saboteur.wasm
    limits: {{profile: untrusted, deadline: 200ms}}
    quarantine: {{after: 100000 in 1m, action: pause}}
  enrich-order:
    module: {MODULES}/enrich_order.wasm
    config: {{currency: EUR, drop_statuses: [draft]}}
routes:
  orders:
    from: {name}.in
    through: [saboteur, enrich-order]
    to: {name}.out
    dead_letter: {name}.dlq
    {extra}
"""


def create_stream_topics(bootstrap: str, name: str, partitions: int) -> None:
    """The topics of `registry_text`; the dead letters' takes whatever the source does, and the headers."""
    create_topic(bootstrap, f"{name}.in", partitions)
    create_topic(bootstrap, f"{name}.out", partitions)
    create_topic(bootstrap, f"{name}.dlq", partitions, {"max.message.bytes": "2000000"})


@dataclass(frozen=True)
class Account:
    """Where the stream ended, by order number."""

    emitted: Counter[int]
    dead: Counter[int]
    out_of_order: int
    kinds: Counter[str]

    def faults(self, count: int) -> list[str]:
        """Everything that is not as declared; empty when each order ended exactly once where it should."""
        found = []
        for number in range(count):
            does = fate(number)
            expected = (int(does == "emitted"), int(does not in ("emitted", "dropped")))
            got = (self.emitted[number], self.dead[number])
            if got != expected:
                found.append(f"order {number} ({does}): emitted and dead-lettered {got}, expected {expected}")
        if self.out_of_order:
            found.append(f"{self.out_of_order} orders out of order within their key")
        return found


def account(out: Sequence[Kept], dead: Sequence[Kept]) -> Account:
    """Count what the two topics hold."""
    emitted = Counter[int]()
    last: dict[bytes | None, int] = {}
    out_of_order = 0
    for record in out:
        number = json.loads(record.value or b"")["after"]["id"]
        emitted[number] += 1
        out_of_order += last.get(record.key, -1) >= number
        last[record.key] = number
    kinds = Counter[str]()
    letters = Counter[int]()
    for record in dead:
        letters[json.loads(record.value or b"")["after"]["id"]] += 1
        letter = read_dead_letter(record.headers)
        kinds[letter.violation.kind.value if letter else "unexplained"] += 1
    return Account(emitted, letters, out_of_order, kinds)
