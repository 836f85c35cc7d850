"""Files of golden cases: what they may say, what it amounts to, and what is said of those that will not do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.workshop.cases.model import Case, Fate
from pipeline.workshop.cases.reading import find_case_files, read_case_file
from schemas.errors import ConfigError
from schemas.event import Event, TopicPartition
from schemas.outcome import ViolationKind
from tests.workshop.loop import ROOT


def read(folder: Path, text: str, name: str = "cases.yaml") -> list[Case]:
    path = folder / name
    path.write_text(text)
    return list(read_case_file(path).cases)


def only(folder: Path, expect: str, event: str = "{value: v, key: k, headers: {h: x}}") -> Case:
    (case,) = read(folder, f"cases:\n  - event: {event}\n    expect: {expect}\n")
    return case


def test_everything_but_the_value_may_be_left_out(tmp_path: Path) -> None:
    (case,) = read(tmp_path, "cases: [{event: {value: v}, expect: unchanged}]")
    (step,) = case.steps
    assert (step.source, step.event) == (TopicPartition("events", 0), Event(0, 0, None, b"v"))
    assert (case.name, case.line, case.exact, step.expected.fate) == ("case 1", 1, False, Fate.UNCHANGED)


def test_defaults_of_a_file_hold_for_each_event_that_does_not_say_otherwise(tmp_path: Path) -> None:
    text = """
defaults: {topic: shop.orders, partition: 3, offset: 7, timestamp: 99, key: {id: 1}, headers: {trace: abc}}
deadline: 50ms
cases:
  - {name: plain, event: {value: a}, expect: dropped}
  - {name: own, event: {value: a, topic: t, partition: 0, offset: 1, timestamp: -1, key: null, headers: []}, expect: dropped, memory: 2MiB}
"""
    plain, own = read(tmp_path, text)
    assert plain.steps[0].source == TopicPartition("shop.orders", 3)
    assert plain.steps[0].event == Event(7, 99, b'{"id":1}', b"a", (("trace", b"abc"),))
    assert (own.steps[0].source, own.steps[0].event) == (TopicPartition("t", 0), Event(1, -1, None, b"a"))
    assert (plain.settings.deadline_ms, plain.settings.memory_bytes) == (50, None)
    assert (own.settings.deadline_ms, own.settings.memory_bytes) == (50, 2 << 20)
    assert (plain.line, own.line) == (5, 6)


def test_a_value_as_a_mapping_is_json_with_every_number_as_it_is_written(tmp_path: Path) -> None:
    value = "{a: 1.10, b: 12345678901234567890123, c: 1e400, d: -0.0, e: 0x1F, f: ~, g: yes please, h: true, i: [1, {}], j: 'ü\"'}"
    (step,) = only(tmp_path, "dropped", f"{{value: {value}}}").steps
    assert step.event.value is not None
    assert step.event.value.decode() == (
        '{"a":1.10,"b":12345678901234567890123,"c":1e400,"d":-0.0,"e":31,"f":null,"g":"yes please","h":true,"i":[1,{}],"j":"ü\\""}'
    )
    assert not step.as_text


@pytest.mark.parametrize(
    ("event", "key", "value"),
    [
        ("{key: 5, value: true}", b"5", b"true"),
        ("{key_base64: /w==, value_base64: ''}", b"\xff", b""),
        ("{key: [1], value: ''}", b"[1]", b""),
        ("{value: null}", None, None),
        ("{}", None, None),
        ("{value: |\n      two\n      lines\n      }", None, b"|two lines"),
    ],
)
def test_payloads(tmp_path: Path, event: str, key: bytes | None, value: bytes | None) -> None:
    if "|" in event:
        (case,) = read(
            tmp_path, "cases:\n  - event:\n      value: |\n        two\n        lines\n    expect: dropped\n"
        )
        assert case.steps[0].event.value == b"two\nlines\n"
        return
    (step,) = only(tmp_path, "dropped", event).steps
    assert (step.event.key, step.event.value) == (key, value)


def test_headers_in_both_forms(tmp_path: Path) -> None:
    wanted = (("a", b"x"), ("b", None), ("c", b"\xff"), ("d", b'{"e":1}'))
    mapping = only(tmp_path, "dropped", "{value: v, headers: {a: x, b: null, c: {base64: /w==}, d: {e: 1}}}")
    pairs = only(tmp_path, "dropped", "{value: v, headers: [[a, x], [b, null], [c, {base64: /w==}], [d, {e: 1}]]}")
    assert mapping.steps[0].event.headers == pairs.steps[0].event.headers == wanted


@pytest.mark.parametrize("word", ["unchanged", "dropped", "emitted", "rejected", "well-behaved"])
def test_outcomes_in_one_word(tmp_path: Path, word: str) -> None:
    assert only(tmp_path, word).steps[0].expected.fate.value == word
    assert only(tmp_path, f"{{outcome: {word}}}").steps[0].expected == only(tmp_path, word).steps[0].expected


@pytest.mark.parametrize("kind", [kind for kind in ViolationKind if kind is not ViolationKind.REJECTED])
def test_violations_in_every_form(tmp_path: Path, kind: str) -> None:
    forms = [str(kind), f"{{violation: {kind}}}", f"{{outcome: fault, violation: {kind}}}"]
    found = [only(tmp_path, form).steps[0].expected for form in forms]
    assert found[0].fate is Fate.VIOLATION
    assert found[0].kind == kind
    assert found[0] == found[1] == found[2]


def test_rejections(tmp_path: Path) -> None:
    short = only(tmp_path, "{rejected: bad, message_has: amount}").steps[0].expected
    long = only(tmp_path, "{outcome: rejected, code: bad, message_has: [amount]}").steps[0].expected
    assert short == long
    assert (short.code, short.message_has) == ("bad", ("amount",))


def test_what_a_record_leaves_out_is_the_events_own(tmp_path: Path) -> None:
    forms = [
        "{value: w}",
        "{emitted: {value: w}}",
        "{emitted: [{value: w}]}",
        "{outcome: emitted, records: [{topic: null, value: w}]}",
    ]
    for form in forms:
        assert only(tmp_path, form).steps[0].expected.records == (Event(0, 0, b"k", b"w", (("h", b"x"),)),), form
    (record,) = only(tmp_path, "{topic: t, key: null, value: null, headers: []}").steps[0].expected.records or ()
    assert record == Event(0, 0, None, None, (), "t")


def test_several_events_have_their_outcomes_in_order(tmp_path: Path) -> None:
    text = "cases:\n  - events: [{value: a}, {value: b}]\n    expect: [dropped, {value: B}]\n  - events: [{value: a}, {value: b}]\n    expect: unchanged\n"
    listed, alike = read(tmp_path, text)
    assert [step.expected.fate for step in listed.steps] == [Fate.DROPPED, Fate.EMITTED]
    assert [step.expected.fate for step in alike.steps] == [Fate.UNCHANGED] * 2
    assert listed.is_list


def test_a_case_may_wait_for_its_expectation(tmp_path: Path) -> None:
    (case,) = read(tmp_path, "cases: [{event: {value: v}}]")
    assert case.steps[0].expected.fate is Fate.OPEN


def test_json_files_too_with_tabs_and_surrogate_pairs(tmp_path: Path) -> None:
    event = {"value": "\U0001f600", "key": "\\ud83d", "headers": []}
    text = json.dumps({"config": {}, "cases": [{"name": "n", "event": event, "expect": "dropped"}]}, indent="\t")
    assert "\\ud83d\\ude00" in text
    (case,) = read(tmp_path, text, "cases.json")
    assert case.steps[0].event.value == "\U0001f600".encode()
    assert case.steps[0].event.key == b"\\ud83d"
    assert case.settings.config == {}


def test_the_shipped_cases_are_read() -> None:
    folders = sorted((ROOT / "transformers" / "guests").glob("*/*/cases"))
    files = [read_case_file(path) for folder in folders for path in find_case_files(folder)]
    assert len(files) >= 7
    for file in files:
        if file.path.suffix == ".json":
            written = json.loads(file.path.read_text())["cases"]
            assert [case.name for case in file.cases] == [case["name"] for case in written]
            for case, one in zip(file.cases, written, strict=True):
                value = one["event"].get("value")
                assert value is None or case.steps[0].event.value == value.encode()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "the file is empty"),
        ("cases: []", 1, "there is no case"),
        ("- a", 1, "the file is not a mapping"),
        (
            "cases:\n  - event: {value: v}\n    expect: unchangd",
            3,
            "'unchangd' is no outcome — did you mean 'unchanged'?",
        ),
        ("cases:\n  - evnt: {value: v}", 2, "unknown key — did you mean 'event'?"),
        ("cases:\n  - event: {valu: v}", 2, "did you mean 'value'?"),
        ("cases:\n  - event: {value: v}\n    deadline: 50", 3, "'50' is a number without a unit"),
        ("cases:\n  - event: {value: v}\n    memory: 1KiB", 3, "too little"),
        ("cases:\n  - event: {value: .nan}\n  - event: {value: [.inf]}", 3, "no number in JSON"),
        ("cases:\n  - event: {value_base64: '*'}", 2, "is not base64"),
        ("cases:\n  - event: {value: a, value_base64: YQ==}", 2, "both value and value_base64"),
        ("cases:\n  - event: {offset: -1}", 2, "'-1' is not a whole number in range"),
        ("cases:\n  - event: {headers: [[a]]}", 2, "a header is not a pair"),
        ("cases:\n  - event: {}\n    events: [{}]", 2, "both event and events"),
        ("cases:\n  - name: x", 2, "has no event"),
        ("cases:\n  - events: [{}, {}]\n    expect: [dropped]", 3, "1 outcomes for 2 events"),
        ("cases:\n  - {name: a, event: {}}\n  - {name: a, event: {}}", 3, "also the name of case 1"),
        ("cases:\n  - event: {}\n    expect: {violation: tarp}", 3, "did you mean 'trap'?"),
        ("cases:\n  - event: {}\n    expect: {value: v, code: x}", 3, "unknown key"),
        ("cases:\n  - event: {}\n    exact: 1", 3, "neither true nor false"),
        ("cases:\n  - event: {}\n config: 5", 3, "is not YAML"),
        ("config: 5\ncases:\n  - event: {}", 1, "config is not a mapping"),
        ("cases:\n  - event: {}\n    expect: {}", 3, "is no outcome"),
    ],
)
def test_a_fault_names_its_file_and_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text)
    faults = refused.value.faults
    assert any(says in str(fault) and fault.line == line for fault in faults), [str(fault) for fault in faults]
    assert all(fault.file == str(tmp_path / "cases.yaml") for fault in faults)


def test_all_faults_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, "cases:\n  - event: {partition: x}\n    expect: nope\n  - event: 5\n")
    assert [fault.line for fault in refused.value.faults] == [2, 3, 4]
