"""`penstock test --update`: what came becomes what is expected, and nothing else in the file changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.workshop.cases.reading import read_case_file
from pipeline.workshop.cases.writing import block, event_data, flow, inline, pretty
from schemas.event import Event, TopicPartition
from tests.workshop.loop import ROOT, penstock, shop

BEFORE = """\
# What uppercase must do.
defaults: {topic: orders}   # of all

cases:
  - name: right already   # stays
    event: {value: "a"}
    expect:   {value: 'A'}

  - name: wrong
    event:
      value: b   # the value
    expect: unchanged   # why

  # one with a long value
  - expect: # what comes
      value: nonsense
      headers: []
    event: {value: {name: a long text that does not fit, number: 1.10, big: 12345678901234567890, more: [1, 2, 3]}}
    name: long

  - {name: flow, event: {value: c}, expect: {emitted: [{value: D}]}}
  - name: several
    events: [{value: d}, {value: E}]
    expect:
    - dropped
    - {value: e}
  - name: new
    event: {value: f}   # no outcome yet
  - {name: newer, event: {value: g}}
  - name: text
    event:
      value: |
        some text
        of two lines
# the end
"""
AFTER = """\
# What uppercase must do.
defaults: {topic: orders}   # of all

cases:
  - name: right already   # stays
    event: {value: "a"}
    expect:   {value: 'A'}

  - name: wrong
    event:
      value: b   # the value
    expect: {value: B}   # why

  # one with a long value
  - expect: # what comes
      value:
        NAME: A LONG TEXT THAT DOES NOT FIT
        NUMBER: 1.10
        BIG: 12345678901234567890
        MORE: [1, 2, 3]
    event: {value: {name: a long text that does not fit, number: 1.10, big: 12345678901234567890, more: [1, 2, 3]}}
    name: long

  - {name: flow, event: {value: c}, expect: {value: C}}
  - name: several
    events: [{value: d}, {value: E}]
    expect: [{value: D}, unchanged]
  - name: new
    event: {value: f}   # no outcome yet
    expect: {value: F}
  - {name: newer, event: {value: g}, expect: {value: G}}
  - name: text
    event:
      value: |
        some text
        of two lines
    expect: {value: "SOME TEXT\\nOF TWO LINES\\n"}
# the end
"""


def test_only_wrong_expectations_change(tmp_path: Path) -> None:
    registry = shop(tmp_path, "uppercase", BEFORE)
    done = penstock("test", "--registry", registry, "--update")
    file = tmp_path / "cases" / "uppercase" / "all.yaml"
    assert (done.code, file.read_text()) == (0, AFTER), done.out
    assert "7 updated" in done.out
    again = penstock("test", "--registry", registry, "--update")
    assert (again.code, file.read_text()) == (0, AFTER)
    assert "updated" not in again.out
    assert penstock("test", "--registry", registry).code == 0


@pytest.mark.parametrize("guest", ["rust/enrich-order/cases/defaults.json", "c/saboteur/cases/all.json"])
def test_json_files_stay_json(tmp_path: Path, guest: str) -> None:
    written = json.loads((ROOT / "transformers" / "guests" / guest).read_text())
    wanted = json.loads(json.dumps(written))
    for number, case in enumerate(written["cases"]):
        if number % 2:
            case["expect"] = "dropped" if case["expect"] != {"outcome": "dropped"} else "unchanged"
        else:
            del case["expect"]
    name = "enrich" if "enrich" in guest else "saboteur"
    registry = shop(tmp_path, name, json.dumps(written, indent=2, ensure_ascii=False), "all.json")
    done = penstock("test", "--registry", registry, "--update")
    assert done.code == 0, done.out
    assert penstock("test", "--registry", registry).code == 0
    found = json.loads((tmp_path / "cases" / name / "all.json").read_text())
    assert [case["event"] for case in found["cases"]] == [case["event"] for case in wanted["cases"]]
    for case, old in zip(found["cases"], wanted["cases"], strict=True):
        if old["expect"]["outcome"] == "emitted":
            assert case["expect"]["value"] == old["expect"]["records"][0]["value"], "as text, as the event's own"
        elif old["expect"]["outcome"] == "rejected":
            assert case["expect"] == {"rejected": old["expect"]["code"]}


def test_what_a_case_cannot_be_blamed_for_stays(tmp_path: Path) -> None:
    cases = "cases:\n  - {name: a, config: {currency: euro}, event: {value: v}, expect: dropped}\n"
    registry = shop(tmp_path, "enrich", cases)
    assert penstock("test", "--registry", registry, "--update").code == 1
    assert (tmp_path / "cases" / "enrich" / "all.yaml").read_text() == cases


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=20,
)
PAYLOADS = st.one_of(
    st.none(), st.binary(max_size=40), JSON.map(lambda data: json.dumps(data).encode()), st.text().map(str.encode)
)
EVENTS = st.builds(
    Event,
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    PAYLOADS,
    PAYLOADS,
    st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3).map(tuple),
)


@settings(deadline=None)
@given(event=EVENTS, as_text=st.booleans())
def test_what_is_written_is_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, event: Event, as_text: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    data = {"cases": [{"name": "one", "event": event_data(TopicPartition("t", 0), event, as_text=as_text)}]}
    for name, text in (
        ("block.yaml", "\n".join(block(data, 0))),
        ("inline.yaml", inline(data)),
        ("flow.json", flow(data)),
        ("pretty.json", pretty(data, 0)),
    ):
        (folder / name).write_text(text)
        (case,) = read_case_file(folder / name).cases
        found = case.steps[0].event
        assert (found.offset, found.timestamp, found.headers) == (event.offset, event.timestamp, event.headers)
        for got, wanted in ((found.key, event.key), (found.value, event.value)):
            assert got == wanted or (
                got is not None and wanted is not None and json.loads(got) == json.loads(wanted)
            ), text
