"""`encoding: event`: what a guest sees of a record, and what becomes of the record by its answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from sandbox import Sandbox, Transformer
from sandbox.changes import merged
from sandbox.host import HostImport
from sandbox.sections import Metadata, append_custom, append_metadata
from schemas.errors import ModuleFault
from schemas.event import Batch, Event
from schemas.outcome import DROPPED, Dropped, Emitted
from tests.records.batches import records_of
from tests.sandbox.guests import LANE, REUSED, guest, kinds, spec, values, violation

CREATED = b'{"before":null,"after":{"id": 9007199254740993,"price":1.10,"name":"Ad\\u0061","n":1e2},"source":{"db":"shop"},"op":"c","ts_ms":5,"ts_us":5000}'
Answer = Callable[[list[Any]], Any]


class Puppeteer:
    """A sandbox whose guest `puppet` answers what a function of the test makes of the frame."""

    def __init__(self, answer: Callable[[dict[str, Any], list[Any]], Any]) -> None:
        self.frames: list[Any] = []
        self._answer = answer
        self.sandbox = Sandbox(
            cache=False, extra_imports=[HostImport("answer", ("i32", "i32"), "i32", self._on, module="test")]
        )

    def _on(self, state: object, memory: Any, address: int, length: int) -> int:
        meta, events = msgpack.unpackb(memory.read(address, length), strict_map_key=False)
        self.frames.append((meta, events))
        answer = self._answer(meta, events)
        frame = answer if isinstance(answer, bytes) else msgpack.packb(answer)
        memory.write(2 << 20, frame)
        return len(frame)

    def load(self, **changes: Any) -> Transformer:
        return self.sandbox.load(spec(encoding="event", **changes), guest("puppet"))

    def run(self, *records: bytes | None, **changes: Any) -> list[Any]:
        events = [Event(n, 1000 + n, b"\xff\x00key", value) for n, value in enumerate(records)]
        with self.sandbox:
            return list(self.load(**changes).run(Batch(LANE, events)).outcomes)


def each(answer: Callable[[Any], Any]) -> Puppeteer:
    return Puppeteer(lambda meta, events: [answer(event[3]) for event in events])


def with_after(value: Any, **columns: Any) -> Any:
    return value | {"after": value["after"] | columns}


def test_the_guest_is_sent_the_change_event_and_the_key_as_it_is() -> None:
    puppeteer = each(lambda value: None)
    (outcome,) = puppeteer.run(CREATED)
    ((meta, [event]),) = puppeteer.frames
    assert meta == {"topic": LANE.topic, "partition": 0, "encoding": "event"}
    assert event == [0, 1000, b"\xff\x00key", {
        "op": "c",
        "before": None,
        "after": {"id": 9007199254740993, "price": 1.1, "name": "Ada", "n": 100.0},
        "source": {"db": "shop"},
        "ts_ms": 5,
        "transaction": None,
    }, []]  # fmt: skip
    assert list(event[3]) == ["op", "before", "after", "source", "ts_ms", "transaction"]
    assert values(outcome) == [CREATED]


def test_an_unchanged_event_is_the_very_same() -> None:
    event = Event(1, 2, None, CREATED)
    with (puppeteer := each(lambda value: None)).sandbox:
        (outcome,) = puppeteer.load().run(Batch(LANE, [event])).outcomes
    assert isinstance(outcome, Emitted) and outcome.events[0] is event


def test_an_answer_that_says_the_same_keeps_the_bytes() -> None:
    (outcome,) = each(lambda value: [1, dict(reversed(value.items()))]).run(CREATED)
    assert values(outcome) == [CREATED]


def test_what_the_guest_leaves_keeps_its_text() -> None:
    (outcome,) = each(lambda value: [1, with_after(value, name="Bob", vip=True)]).run(CREATED)
    (value,) = values(outcome)
    assert value == (
        b'{"before":null,"after":{"id":9007199254740993,"price":1.10,"name":"Bob","n":1e2,"vip":true},'
        b'"source":{"db":"shop"},"op":"c","ts_ms":5,"ts_us":5000}'
    )


def test_a_tombstone_is_nil_both_ways() -> None:
    kept, made = each(lambda value: None if value is None else [1, None]).run(None, CREATED)
    assert values(kept) == [None] == values(made)


def test_bytes_in_place_of_a_change_event_are_the_value_itself() -> None:
    row = b'{"id":1}'
    one, many, large = each(lambda value: [1, row] if value else [2, [[None, b"k", row, None]]]).run(
        CREATED, None, CREATED
    )
    assert values(one) == [row] == values(many) == values(large)
    (empty,) = each(lambda value: [1, b""]).run(CREATED)
    assert values(empty) == [b""]
    (long,) = each(lambda value: [1, b"x" * 70_000]).run(CREATED)
    assert values(long) == [b"x" * 70_000]


def test_a_tombstone_may_become_a_change_event() -> None:
    change = {"op": "d", "before": {"x": b"\0\1"}, "after": None, "source": {}, "ts_ms": None, "transaction": None}
    (outcome,) = each(lambda value: [1, change]).run(None)
    (value,) = values(outcome)
    assert json.loads(value or b"") == change | {"before": {"x": "AAE="}}


def test_several_records_of_one_event() -> None:
    def answer(value: Any) -> Any:
        return [
            2,
            [[None, b"k\xff", with_after(value, n=n), None] for n in (1, 2)] + [["other", None, None, []]],
        ]

    (outcome,) = each(answer).run(CREATED)
    assert isinstance(outcome, Emitted)
    first, second, third = outcome.events
    assert [json.loads(one.value or b"")["after"]["n"] for one in (first, second)] == [1, 2]
    assert b'"price":1.10' in (first.value or b"") and first.key == b"k\xff"
    assert (third.to, third.key, third.value) == ("other", None, None)


def test_drops_and_rejections() -> None:
    dropped, rejected = each(lambda value: [0] if value["ts_ms"] == 5 else [3, "why", "because"]).run(
        CREATED, CREATED.replace(b":5,", b":6,")
    )
    assert isinstance(dropped, Dropped)
    assert (violation(rejected).kind, violation(rejected).code) == ("rejected", "why")


def test_what_cannot_be_decoded_is_that_events_own_violation() -> None:
    puppeteer = each(lambda value: None)
    outcomes = puppeteer.run(b"not json", CREATED, b'{"op":"x"}', None, b"")
    assert kinds(outcomes) == ["decode", "emitted", "decode", "emitted", "decode"]
    assert (
        violation(outcomes[2]).message
        == "the value is no Debezium change event: not a change event: it has the `op` 'x'"
    )
    assert violation(outcomes[0]).attempt == 1
    assert [len(events) for _, events in puppeteer.frames] == [2]


def test_a_batch_of_which_nothing_can_be_decoded_never_reaches_the_guest() -> None:
    puppeteer = each(lambda value: None)
    assert kinds(puppeteer.run(b"", b"[]")) == ["decode", "decode"]
    assert puppeteer.frames == []


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"op": "c"}, "the value it emitted: not a change event: Object missing required field `before`"),
        ("text", "the value it emitted: not a change event: Expected `object`, got `str`"),
        ([CREATED], "the value it emitted: not a change event: Expected `object`, got `array`"),
    ],
)
def test_what_is_no_change_event_is_bad_output_of_that_event(made: Any, why: str) -> None:
    outcomes = each(lambda value: [1, made] if value["ts_ms"] == 5 else None).run(
        CREATED, CREATED.replace(b":5,", b":6,")
    )
    assert kinds(outcomes) == ["bad-output", "emitted"]
    assert violation(outcomes[0]).message == why


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (msgpack.ExtType(7, b"x"), "after.new: a msgpack extension of type 7 with 1 bytes"),
        (msgpack.Timestamp(1), "after.new: a msgpack timestamp; write an integer or a text"),
        ({1: 2}, "after.new: a map with names that are no texts"),
    ],
)
def test_a_column_that_json_cannot_say_is_named(column: Any, why: str) -> None:
    (outcome,) = each(lambda value: [1, with_after(value, new=column)]).run(CREATED)
    assert violation(outcome).message == f"the value it emitted: {why}"


def test_output_is_weighed_as_it_is_written() -> None:
    wide = b'{"op":"c","after":{"a":1.%s}}' % (b"0" * 100_000)
    answer = lambda value: [2, [[None, None, with_after(value, n=n), None] for n in range(1000)]]  # noqa: E731
    (outcome,) = each(answer).run(wide)
    assert violation(outcome).kind == "output-too-large"


def test_guests_live_on_when_reused() -> None:
    puppeteer = each(lambda value: [1, with_after(value, n=1)])
    with puppeteer.sandbox:
        session = puppeteer.load(instance=REUSED).session()
        for _ in range(3):
            assert kinds(session.run(Batch(LANE, [Event(0, 0, None, CREATED)])).outcomes) == ["emitted"]
        session.close()


def test_runs_of_records_are_decoded_one_by_one() -> None:
    events = [Event(n, 1000 + n, b"k", CREATED) for n in range(5)]
    with (puppeteer := each(lambda value: [1, with_after(value, n=1)])).sandbox:
        report = puppeteer.load().run(Batch(LANE, records_of(events)))
    assert [json.loads(values(one)[0] or b"")["after"]["n"] for one in report.outcomes] == [1] * 5


def test_the_modules_own_section_says_the_encoding(sandbox: Sandbox) -> None:
    wasm = append_metadata(guest("censor"), Metadata(name="censor", encoding="event"))
    assert sandbox.load(spec(), guest("censor")).encoding == "raw"
    assert sandbox.load(spec(), wasm).encoding == "event"
    assert sandbox.load(spec(encoding="raw"), wasm).encoding == "raw"


def test_a_section_that_cannot_be_read_matters_only_where_nothing_else_says_the_encoding(sandbox: Sandbox) -> None:
    wasm = append_custom(guest("censor"), "penstock", b"{")
    with pytest.raises(ModuleFault, match=r"its section `penstock` cannot be read.* set transformers\.guest\.encoding"):
        sandbox.load(spec(), wasm)
    assert sandbox.load(spec(encoding="event"), wasm).encoding == "event"


def test_a_guest_of_its_own_masks_and_everything_else_stays(sandbox: Sandbox) -> None:
    data = b'{"op":"u","before":{"a":"secret 1"},"after":{"a":"secret 2","b":1.50, "c":99999999999999999999},"ts_ms":1}'
    report = sandbox.load(spec(encoding="event"), guest("censor")).run(
        Batch(LANE, [Event(0, 0, None, data), Event(1, 0, None, None)])
    )
    masked, tombstone = report.outcomes
    assert values(masked) == [
        b'{"op":"u","before":{"a":"****** 1"},"after":{"a":"****** 2","b":1.50,"c":99999999999999999999},"ts_ms":1}'
    ]
    assert values(tombstone) == [None]


def test_an_event_that_spoils_its_batch_is_found_alone() -> None:
    def answer(meta: dict[str, Any], events: list[Any]) -> Any:
        return b"\xc1" if any(event[3] and event[3]["ts_ms"] == 6 for event in events) else [None] * len(events)

    bad = CREATED.replace(b":5,", b":6,")
    puppeteer = Puppeteer(answer)
    assert kinds(puppeteer.run(CREATED, b"no json", bad, None, CREATED)) == [
        "emitted",
        "decode",
        "bad-output",
        "emitted",
        "emitted",
    ]
    assert len(puppeteer.frames) > 2


def test_white_space_stays_where_nothing_changed() -> None:
    spaced = b'{ "op" : "c", "after" : { "a" : 1.0 , "b" : [ 1, { "c" : 2 } ] }, "ts_ms" : 5 }\n'
    (outcome,) = each(lambda value: [1, value | {"after": {"b": [1, {"c": 2}], "a": 1.0}}]).run(spaced)
    assert values(outcome) == [spaced]
    (outcome,) = each(lambda value: [1, value | {"ts_ms": 6}]).run(spaced)
    assert values(outcome) == [b'{"op":"c","after":{ "a" : 1.0 , "b" : [ 1, { "c" : 2 } ] },"ts_ms":6}']


def test_a_verdict_is_for_every_event_up_to_the_first_without_one() -> None:
    bad = violation(each(lambda value: None).run(b"")[0])
    assert merged(4, [DROPPED, DROPPED], {1: bad, 3: bad}) == [DROPPED, bad, DROPPED, bad]
    assert merged(4, [DROPPED], {1: bad, 3: bad}) == [DROPPED, bad]
    assert merged(2, [], {1: bad}) == []
