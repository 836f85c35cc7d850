"""What real Debezium 3.7 does that one would not think (docs/client-limits.md), event by event: none of it is lost on the way to a guest."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

from pipeline.steps.dedupe import Dedupe
from schemas.change import UNAVAILABLE, ChangeEvent, unpack
from schemas.event import Batch, Event, TopicPartition
from schemas.formats import debezium
from schemas.formats.debezium import DebeziumJson
from schemas.outcome import Dropped
from schemas.specs import DedupeSpec
from schemas.transactions import end_mark, membership

FOLDER = Path(__file__).parents[2] / "fixtures"


class Record(msgspec.Struct):
    topic: str
    partition: int
    offset: int
    key: str | None
    value: str | None
    headers: list[tuple[str, str | None]] | None = None

    @property
    def change(self) -> ChangeEvent:
        return unpack(debezium.decode((self.value or "").encode()).packed)

    @property
    def event(self) -> Event:
        value = None if self.value is None else self.value.encode()
        return Event(self.offset, 0, None if self.key is None else self.key.encode(), value)

    def header(self, name: str) -> str | None:
        return dict(self.headers or ()).get(name)


def records(file: str) -> list[Record]:
    decoder = msgspec.json.Decoder(Record)
    return [decoder.decode(line) for line in (FOLDER / file).read_bytes().splitlines()]


PLAIN = records("debezium-postgres.ndjson")
TYPED = records("debezium-postgres-with-schemas.ndjson")


def of_table(name: str, op: str, among: list[Record] | None = None) -> list[Record]:
    """Changes of this operation on this table, in the order of the file."""
    found = [one for one in among or PLAIN if one.topic.endswith(f".inventory.{name}") and one.value is not None]
    return [one for one in found if one.change.op == op]


def test_a_transactions_id_differs_from_event_to_event_but_for_what_is_before_the_colon() -> None:
    ids, marks = defaultdict[str, set[str]](set), defaultdict[str, set[int]](set)
    for one in PLAIN:
        if one.topic == "shop.transaction":
            assert one.value is not None
            marks[json.loads(one.value)["id"].split(":")[0]].add(one.partition)
            end_mark(one.value.encode())
        elif one.value is not None and not one.topic.startswith("__"):
            member = membership(one.value.encode())
            if member is not None:
                assert one.change.transaction is not None and one.change.transaction["id"] == member.id
                ids[member.key].add(member.id)
    assert any(len(found) > 1 for found in ids.values())
    assert any(len(found) > 1 for found in marks.values()), "BEGIN and END in different partitions"
    assert ids.keys() <= marks.keys()


def test_null_is_null_where_the_column_has_a_default() -> None:
    """As long as the converter is told `replace.null.with.default=false`; the schema's default is nobody's value."""
    seen = 0
    for one in TYPED:
        document = json.loads(one.value or "{}")
        row = next((part for part in document.get("schema", {}).get("fields", ()) if part["field"] == "after"), None)
        if row is None or document["payload"]["after"] is None:
            continue
        for column in row["fields"]:
            if "default" in column:
                document["payload"]["after"][column["field"]] = None
                change = unpack(debezium.decode(json.dumps(document).encode()).packed)
                assert (change.after or {})[column["field"]] is None
                seen += 1
    assert seen > 10


def test_before_a_delete_only_the_key_can_be_trusted() -> None:
    deleted = of_table("order_lines", "d")[0].change.before or {}
    assert (deleted["order_id"], deleted["line_no"]) == (6, 2)
    assert (deleted["sku"], deleted["qty"], deleted["unit_price"]) == ("", 0, None), (
        "invented, and handed on as it came"
    )


def test_a_large_value_that_did_not_change_was_not_sent() -> None:
    updates = [one.change for one in of_table("documents", "u")]
    assert any(UNAVAILABLE in (change.after or {}).values() for change in updates)


def test_truncates_have_no_key_and_a_keyless_delete_has_a_tombstone_without_one() -> None:
    truncates = [one for name in ("documents", "documents_full", "order_lines") for one in of_table(name, "t")]
    assert len(truncates) == 3
    assert all(one.key is None and one.change.before is None and one.change.after is None for one in truncates)
    assert [one.topic for one in PLAIN if one.key is None and one.value is None] == ["shop.inventory.no_key"]


def test_a_new_key_is_a_delete_a_tombstone_and_a_create_of_one_lsn() -> None:
    moved = [
        one
        for one in PLAIN
        if one.header("__debezium.newkey") == '{"id":1101}' or one.header("__debezium.oldkey") == '{"id":101}'
    ]
    shown = [(one.key, one.change.op if one.value else None) for one in moved]
    assert shown == [('{"id":101}', "d"), ('{"id":101}', None), ('{"id":1101}', "c")]
    assert moved[0].change.source["lsn"] == moved[2].change.source["lsn"]
    step = Dedupe(DedupeSpec(("source.lsn",), 600_000), DebeziumJson())
    numbered = [msgspec.structs.replace(one.event, offset=offset) for offset, one in enumerate(moved)]
    outcomes = step.run(Batch(TopicPartition("t", 0), numbered)).outcomes
    assert not any(isinstance(outcome, Dropped) for outcome in outcomes), "neither is the other's double"


def test_numerics_have_lost_their_scale_without_a_schema_and_have_it_with_one() -> None:
    bare = [(one.change.after or {})["total"] for one in of_table("orders", "c")]
    assert all(isinstance(total, str) and "." not in total for total in bare if total is not None)
    known = [(one.change.after or {})["total"] for one in of_table("orders", "c", TYPED)]
    assert all(isinstance(total, str) and total.count(".") == 1 for total in known if total is not None)
    extremes = next(one.change.after or {} for one in of_table("all_types", "c") if (one.change.after or {})["id"] == 2)
    assert extremes["n"] is None, "NaN became null before it came to us"


def test_a_message_may_belong_to_no_transaction() -> None:
    messages = [one for one in PLAIN if one.topic == "shop.message"]
    assert [one.change.op for one in messages] == ["m", "m"]
    assert [one.change.transaction is None for one in messages] == [True, False]
    for one in messages:
        document = debezium.decode((one.value or "").encode())
        assert document.encode(document.packed) == (one.value or "").encode(), (
            "its content stays, though no guest sees it"
        )


def test_integers_never_go_through_a_float_and_nan_is_a_text_without_a_schema() -> None:
    def extremes(among: list[Record]) -> dict[str, Any]:
        return next(
            one.change.after or {}
            for one in of_table("all_types", "c", among)
            if (one.change.after or {})["i8"] == 2**63 - 1
        )

    plain, typed = extremes(PLAIN), extremes(TYPED)
    assert plain["i8"] == typed["i8"] == 9223372036854775807
    assert (plain["f4"], plain["f8"]) == ("NaN", "Infinity")
    assert math.isnan(typed["f4"]) and typed["f8"] == math.inf


def test_snapshot_is_a_word_and_row_events_say_their_context() -> None:
    words = {one.change.source["snapshot"] for one in PLAIN if one.value is not None and '"op"' in one.value}
    assert words == {"first", "first_in_data_collection", "true", "last_in_data_collection", "last", "false"}
    rows = [one for one in PLAIN if one.topic.startswith("shop.inventory.") and one.value is not None]
    assert all(one.header("__debezium.context.connectorLogicalName") == "shop" for one in rows)
