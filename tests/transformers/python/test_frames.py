"""The SDK's frames against the host's, natively: what one writes, the other reads."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_guest import ChangeEvent, Event, Record, Reject
from penstock_guest.frames import Results, read_batch
from penstock_guest.outcome import DROP, UNCHANGED, Emit, EmitMany
from penstock_guest.runtime import Runtime, described

from sandbox.components.frames import batch_text, result_frame
from schemas import event as host
from schemas.abi import BatchEncoder, FrameError, decode_results
from schemas.event import TopicPartition

SOURCE = TopicPartition("shop.public.orders", 3)
BYTES = st.none() | st.binary(max_size=30) | st.text(max_size=30).map(lambda text: text.encode())
HEADERS = st.lists(st.tuples(st.text(max_size=5), BYTES), max_size=3).map(tuple)
EVENTS = st.lists(
    st.builds(host.Event, st.integers(0, 1 << 62), st.integers(0, 1 << 50), BYTES, BYTES, HEADERS), max_size=6
)
RECORDS = st.builds(Record, BYTES, BYTES, st.none() | st.text(max_size=5), st.none() | HEADERS)
OUTCOMES = (
    st.sampled_from([UNCHANGED, DROP])
    | st.builds(Emit, BYTES)
    | st.lists(RECORDS, max_size=3).map(EmitMany)
    | st.builds(Reject, st.text(max_size=5), st.text(max_size=20))
)


def text_of(events: list[host.Event], encoding: str = "raw") -> str:
    encoder = BatchEncoder(SOURCE, encoding)
    return batch_text(encoder.head, encoder.body(events))


@given(EVENTS)
def test_events_arrive_byte_for_byte(events: list[host.Event]) -> None:
    source, read = read_batch(text_of(events), Event)
    assert (source.topic, source.partition, source.encoding) == ("shop.public.orders", 3, "raw")
    seen = [(one.offset, one.timestamp_ms, one.key, one.value, one.headers, one.topic, one.partition) for one in read]
    assert seen == [(one.offset, one.timestamp, one.key, one.value, one.headers, *SOURCE) for one in events]


@given(st.lists(OUTCOMES, max_size=5))
def test_results_arrive_byte_for_byte(outcomes: list[Any]) -> None:
    source, _ = read_batch(text_of([]), Event)
    results = Results(source)
    for one in outcomes:
        results.add(one)
    read = decode_results(result_frame(results.text(), changes=False), len(outcomes))
    assert msgspec.msgpack.encode(read) == msgspec.msgpack.encode([_expected(one) for one in outcomes])


def _expected(outcome: Any) -> Any:
    match outcome:
        case Emit():
            return [1, outcome.value]
        case EmitMany():
            records = [(one.topic, one.key, one.value, one.headers) for one in outcome.records]
            return [2, [[*one[:3], None if one[3] is None else [list(pair) for pair in one[3]]] for one in records]]
        case Reject():
            return [3, outcome.code, outcome.message]
    return [0] if outcome is DROP else None


@given(st.text(max_size=60) | st.text('[]{}0123456789-,"\n null', max_size=60))
def test_any_text_is_results_or_a_frame_error(text: str) -> None:
    for changes in (False, True):
        try:
            result_frame(text, changes=changes)
        except FrameError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "without a line of results"),
        ("[]\nx", "1 characters behind the last result"),
        ("[[1,5]]\nabc", "a length of 5, but 3 characters are left"),
        ("[[1,-2]]\na😀", "characters that are no bytes"),
        ("[[1]]\n", "length"),
        ("[[4]]\n", "Invalid value 4"),
        ("[[1,1.5]]\n", "int"),
        ("[1", "without a line"),
        ("{}\n", "array"),
    ],
)
def test_malformed_results_are_named(text: str, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        result_frame(text, changes=False)


def change_frame(value: Any) -> tuple[bytes, bytes]:
    head = BatchEncoder(SOURCE, "event").head
    return head, msgspec.msgpack.encode([[7, 1, b"k", value, []]])


@pytest.mark.parametrize(
    "row",
    [
        {"id": (1 << 64) - 1, "name": "Łęcka 😀", "price": "1.50", "none": None},
        {"data": b"\x00\xff", "ratio": float("inf")},
        {"toast": msgspec.msgpack.Ext(1, b"")},
        {"odd": 1.5, "nested": [{"a": -(1 << 63)}]},
    ],
)
def test_decoded_change_events_go_there_and_back(row: dict[str, Any]) -> None:
    value = {"op": "u", "before": None, "after": row, "source": {"lsn": 1}, "ts_ms": 5, "transaction": None}
    source, (event,) = read_batch(batch_text(*change_frame(value)), ChangeEvent)
    assert isinstance(event, ChangeEvent)
    assert event.read()
    assert (event.op, event.before, event["ts_ms"]) == ("u", None, 5)
    assert event.after is not None
    event.after["added"] = "ü"
    results = Results(source)
    results.add(event.emit())
    ((_, emitted),) = msgspec.msgpack.decode(result_frame(results.text(), changes=True))
    assert emitted == value | {"after": row | {"added": "ü"}}


def test_integers_beyond_64_bits_are_no_change_event() -> None:
    text = f'{{"op":"c","after":{{"id":{1 << 64}}}}}'
    with pytest.raises(FrameError):
        result_frame(f"[[1,{len(text)}]]\n{text}", changes=True)


def raw_change(text: str | bytes) -> ChangeEvent:
    value = text if isinstance(text, bytes) else text.encode()
    _, (event,) = read_batch(text_of([host.Event(0, 0, b"{}", value)]), ChangeEvent)
    assert isinstance(event, ChangeEvent)
    return event


def test_the_same_change_event_with_and_without_its_schema() -> None:
    plain = '{"before":{"a":1},"after":{"a":1.50},"source":{"db":"shop"},"op":"u"}'
    for text in (plain, f'{{"schema":{{}},"payload":{plain}}}'):
        event = raw_change(text)
        assert event.read()
        assert (event.op, event["source"]) == ("u", {"db": "shop"})
        assert event.before is not None and event.after is not None
        event.before["b"], event.after["a"] = 1, 2
        assert event.emit().value == text.replace('{"a":1}', '{"a":1,"b":1}').replace('{"a":1.50}', '{"a":2}')


@pytest.mark.parametrize("text", ["null", " null ", '{"schema":{},"payload":null}'])
def test_a_tombstone_is_no_change(text: str) -> None:
    assert not raw_change(text).read()


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (b"\xff", "bad-json", "UTF-8"),
        ("[1]", "bad-json", "an object was expected at character 0"),
        ('{"op":"c","after":[1]}', "bad-json", "`after` is no object, at character 18"),
        ('{"op":"c","op":"d"}', "bad-json", "`op` repeats"),
        ('{"op":"x"}', "no-envelope", "op"),
        ('{"op":["c"]}', "no-envelope", "op"),
        ('{"op":"c"} x', "bad-json", "text behind the value, at character 11"),
        ('{"op" "c"}', "bad-json", "a colon was expected at character 6"),
    ],
)
def test_what_is_no_change_event_is_rejected_with_its_place(text: str | bytes, code: str, words: str) -> None:
    with pytest.raises(Reject) as rejection:
        raw_change(text).read()
    assert (rejection.value.code, words in rejection.value.message) == (code, True)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("text", "returns an outcome"),
        (None, "returns an outcome"),
        (Emit({"a": 1}), "dumps"),
        (EmitMany(["x"]), "event.record"),
    ],  # type: ignore[list-item]
)
def test_what_is_no_outcome_is_named(outcome: Any, words: str) -> None:
    source, _ = read_batch(text_of([]), Event)
    with pytest.raises(TypeError, match=words):
        Results(source).add(outcome)


def test_an_error_says_where() -> None:
    try:
        {}["gone"]
    except KeyError as error:
        assert described(error).startswith("KeyError: 'gone' (test_frames.py:")
        assert described(error).endswith("in test_an_error_says_where)")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: None, "takes an event"),
        (lambda a, b, c: None, "takes an event"),
    ],
)
def test_a_function_of_another_shape_is_no_transformer(function: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        Runtime().take(function)


def test_the_first_annotation_is_an_event() -> None:
    def transform(event: int) -> None: ...

    with pytest.raises(TypeError, match="must be annotated as Event or ChangeEvent"):
        Runtime().take(transform)  # type: ignore[arg-type]
