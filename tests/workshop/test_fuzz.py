"""`penstock test --fuzz`: planted faults are found, made small and written down; the same seed finds the same again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.workshop.cases.canonical import same_json
from pipeline.workshop.cases.model import Settings
from pipeline.workshop.fuzz import tree as trees
from pipeline.workshop.fuzz.mutation import Mutator, Seed
from pipeline.workshop.fuzz.shrinking import shrink
from schemas.event import Event, TopicPartition
from tests.sandbox.guests import guest
from tests.workshop.loop import ROOT, penstock, shop

EVENT = Event(
    7, 99, b'{"id":1}', b'{"op":"c","after":{"id":1,"name":"Ada","amount":1.10,"tags":["a","b"]}}', (("h", b"x"),)
)
SEEDS = [
    Seed(Settings(), TopicPartition("t", 0), EVENT),
    Seed(Settings(), TopicPartition("t", 0), Event(0, 0, None, b"text")),
]
TROUBLE = """
cases:
  - name: harmless
    event: {key: k, headers: {h: x}, value: {op: c, after: {id: 1, note: some longer text, more: [1, 2, {penstock_demo: %s}]}}}
    expect: %s
"""


def inputs(seed: int, count: int = 500) -> list[Event]:
    mutator = Mutator(SEEDS, seed, 64 << 10)
    return [mutator.input(number).event for number in range(count)]


def test_the_same_seed_makes_the_same_inputs() -> None:
    assert inputs(7, 200) == inputs(7, 200)
    assert inputs(7, 200) != inputs(8, 200)


def test_inputs_reach_what_they_are_meant_to() -> None:
    made = inputs(1, 3_000)
    values = [event.value for event in made]
    parsed = [trees.parse(value) for value in values]
    assert all(value is None or len(value) <= 64 << 10 for value in values)
    assert any(value is None for value in values) and b"" in values
    assert sum(tree is not None for tree in parsed) > 800, "most that began as JSON still are"
    assert any(value is not None and b"[" * 500 in value for value in values), "depth"
    assert any(value is not None and len(value) > 20_000 for value in values), "size"
    assert any(value is not None and b"9223372036854775808" in value for value in values), "numbers"
    assert any(value is not None and "\U0001f600".encode() in value for value in values), "unicode"
    assert any(b"\xff" in (value or b"") for value in values), "bytes that are no text"
    assert any(event.key not in (EVENT.key, None) for event in made), "keys"
    assert any(len(event.headers) >= 100 for event in made), "headers"
    assert any(event.timestamp == -1 for event in made)
    assert len(set(values)) > 1_500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(data=st.one_of(st.lists(JSON, max_size=4), st.dictionaries(st.text(), JSON, max_size=4)))
def test_a_tree_says_what_its_text_said(data: object) -> None:
    text = json.dumps(data).encode()
    tree = trees.parse(text)
    assert tree is not None
    assert same_json(trees.payload(tree), text)
    assert next(trees.at_path(tree, path) for path in trees.paths(tree)) == tree


def test_a_tree_keeps_repeated_names_and_numbers() -> None:
    text = b'{"a":1.10,"a":1e999,"b":[NaN,-0],"c":"\\ud800"}'
    tree = trees.parse(text)
    assert tree is not None and trees.payload(tree) == text


def test_shrinking_leaves_what_matters() -> None:
    big = Event(7, 99, b"k" * 50, trees.payload(_big(40)), (("h", b"x"),) * 5)
    asked = 0

    def shows(event: Event) -> bool:
        nonlocal asked
        asked += 1
        return b'"wrong"' in (event.value or b"")

    assert shrink(big, shows, 3_000) == Event(0, 0, None, b'["wrong"]') or shrink(big, shows, 3_000).value == b'"wrong"'
    asked = 0
    assert shows(shrink(big, shows, 10))
    assert asked <= 11
    assert shrink(big, lambda event: False, 3_000) == big
    raw = Event(0, 0, None, b"\x00" * 500 + b"\xff" + b"\x01" * 700)
    assert shrink(raw, lambda event: b"\xff" in (event.value or b""), 3_000).value == b"\xff"


def _big(count: int) -> trees.Branch:
    tree = trees.parse(
        json.dumps({f"k{n}": {"deep": [n, {"x": "y" * 30}]} for n in range(count)} | {"z": [["wrong"]]}).encode()
    )
    assert tree is not None
    return tree


@pytest.mark.parametrize(
    ("deed", "expect"),
    [("trap", "trap"), ("bad-output", "bad-output"), ("memory", "memory"), ("loop", "deadline"), ("stack", "stack")],
)
def test_a_planted_fault_is_found_and_made_small(tmp_path: Path, deed: str, expect: str) -> None:
    registry = shop(tmp_path, "saboteur", TROUBLE % (deed, expect))
    done = penstock("test", "--registry", registry, "saboteur", "--fuzz", 12, "--seed", 5, "--json", at=tmp_path)
    assert done.code == 1
    report = json.loads(done.out)
    assert all(case["ok"] for case in report["cases"])
    (hunt,) = report["fuzz"]
    assert (hunt["inputs"], hunt["seed"], hunt["transformer"]) == (12, 5, "saboteur")
    (finding,) = hunt["findings"]
    assert finding["kind"] == expect
    wish = f'{{"penstock_demo":"{deed}"}}'
    assert finding["event"]["value"] in (wish, wish[1:-1].replace(":", "")), (
        "the saboteur needs no more than its two words"
    )
    assert (finding["event"]["key"], finding["event"]["headers"], finding["event"]["offset"]) == (None, [], 0)

    command = shlex.split(finding["try"])
    tried = penstock(*command[1:], "--json", at=tmp_path)
    assert json.loads(tried.out)["violation"] == expect
    as_case = penstock("test", "--registry", registry, "saboteur", "--cases", finding["case"], at=tmp_path)
    assert as_case.code == 1
    assert "expected well-behaved" in as_case.out
    assert f"--fuzz 12 --seed 5, input {finding['input']}:" in (tmp_path / finding["case"]).read_text()


def test_the_same_seed_finds_the_same(tmp_path: Path) -> None:
    registry = shop(tmp_path, "saboteur", TROUBLE % ("trap", "trap"))
    runs = [
        json.loads(penstock("test", "--registry", registry, "--fuzz", 40, "--seed", 3, "--json", at=tmp_path).out)[
            "fuzz"
        ]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert runs[0][0]["findings"][0]["count"] > 1, "one of each, and how often"


def test_a_well_behaved_transformer_is_left_alone(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    done = penstock(
        "test", "--registry", ROOT / "transformers" / "registry.yaml", "enrich-order", "--fuzz", 300, "--seed", 1, "--junit", report, at=ROOT,
    )  # fmt: skip
    assert done.code == 0, done.out
    assert "300 inputs, seed 1" in done.out and "no fault found" in done.out
    assert 'name="300 inputs, seed 1"' in report.read_text()


def test_a_run_without_a_seed_names_its_own(tmp_path: Path) -> None:
    registry = shop(tmp_path, "uppercase", "cases: [{event: {value: a}, expect: {value: A}}]")
    seeds = {
        json.loads(penstock("test", "--registry", registry, "--fuzz", 1, "--json", at=tmp_path).out)["fuzz"][0]["seed"]
        for _ in range(3)
    }
    assert len(seeds) > 1


def test_what_people_see(tmp_path: Path) -> None:
    registry = shop(tmp_path, "saboteur", TROUBLE % ("trap", "trap"))
    report = tmp_path / "report.xml"
    done = penstock(
        "test", "--registry", registry, "--fuzz", 10, "--seed", 5, "--found", tmp_path / "here", "--junit", report, at=tmp_path
    )  # fmt: skip
    assert done.code == 1
    assert "1 fault found" in done.out
    assert "saboteur.wasm!trap" in done.out
    assert 'value "penstock_demo""trap"' in done.out
    assert "smallest input (302 bytes, now 21)" in done.out
    assert f"penstock try {registry} saboteur --event {tmp_path}/here/trap-" in done.out
    assert "<failure" in report.read_text()


SLOW_LOOP = """(local.set $spin (i32.const 0)) (loop $again
        (local.set $spin (i32.add (local.get $spin) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $spin) (i32.const 40000000))))"""


def test_a_slow_input_is_found(tmp_path: Path) -> None:
    """A guest that does a lot of needless work when a value holds an S."""
    from tests.sandbox.guests import FOLDER, wat

    text = (FOLDER / "counter.wat").read_text().replace("(;include frame;)", (FOLDER / "frame.wat").read_text())
    text = text.replace("(local $n i32)", "(local $n i32) (local $spin i32)").replace(
        "(i32.const 0x55)", "(i32.const 0x7b)"
    )
    (tmp_path / "slow.wasm").write_bytes(wat(text.replace("(then unreachable)", f"(then {SLOW_LOOP})")))
    assert guest("counter") != (tmp_path / "slow.wasm").read_bytes()
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        "version: 1\ntransformers: {slow: {module: slow.wasm, limits: {deadline: 20s}}}\nroutes: {r: {from: a, through: [slow], to: b}}\n"
    )
    (tmp_path / "cases" / "slow").mkdir(parents=True)
    (tmp_path / "cases" / "slow" / "all.yaml").write_text("cases: [{event: {value: x}, expect: emitted}]")
    done = penstock("test", "--registry", registry, "--fuzz", 300, "--seed", 2, "--json", at=tmp_path)
    (finding,) = json.loads(done.out)["fuzz"][0]["findings"]
    assert (done.code, finding["kind"]) == (1, "slow")
    assert finding["event"]["value"] in ("{", "{}")
