"""`penstock test` on real modules: what passes, what fails and how that is shown, what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xmlschema import XMLSchema

from pipeline.workshop.cases.junit import ReportRow, junit
from tests.sandbox.guests import guest
from tests.workshop.loop import MODULES, ROOT, penstock, shop

SCHEMA = XMLSchema(str(Path(__file__).with_name("junit.xsd")))
ORDER = 'event: {value: {op: c, after: {first_name: A, last_name: B, amount: "2.50"}}}'
ENRICHED = 'after: {first_name: A, last_name: B, amount: "2.50", currency: EUR, amount_cents: 250, full_name: A B}'


def test_the_shipped_cases_pass_for_a_registry() -> None:
    done = penstock("test", "--registry", "transformers/registry.yaml", at=ROOT)
    assert (done.code, done.err) == (0, "")
    for name in ("mask-pii", "enrich-order", "saboteur", "passthrough"):
        assert f"{name}  transformers/guests/" in done.out
    one = penstock("test", "--registry", "transformers/registry.yaml", "enrich-order", at=ROOT)
    assert one.code == 0
    assert "saboteur" not in one.out
    folders = sorted((ROOT / "transformers" / "guests").glob("*/enrich-order/cases"))
    assert all(str(folder.relative_to(ROOT)) in one.out for folder in folders), "of every language that has some"


def test_values_are_compared_by_what_their_json_says(tmp_path: Path) -> None:
    cases = f"""
cases:
  - {ORDER}
    expect: {{value: {{{ENRICHED}, op: c}}}}
    name: another order of members
"""
    registry = shop(tmp_path, "enrich", cases)
    assert penstock("test", "--registry", registry).code == 0
    shop(tmp_path, "enrich", cases + "    exact: true\n")
    failed = penstock("test", "--registry", registry)
    assert failed.code == 1
    assert "~ value: the same JSON → written differently" in failed.out


def test_a_failure_is_shown_field_by_field(tmp_path: Path) -> None:
    wrong = ENRICHED.replace("250", "251").replace(", full_name: A B", ", extra: 1")
    registry = shop(
        tmp_path, "enrich", f"cases:\n  - {ORDER}\n    name: cents\n    expect: {{value: {{op: c, {wrong}}}}}\n"
    )
    done = penstock("test", "--registry", registry)
    assert done.code == 1
    assert "enrich  " in done.out and "1 of 1 failed" in done.out
    assert "FAILED cents" in done.out and "all.yaml:2" in done.out
    assert "~ value.after.amount_cents: 251 → 250" in done.out
    assert "- value.after.extra: 1" in done.out
    assert '+ value.after.full_name: "A B"' in done.out
    assert "currency" not in done.out, "what is as expected is not shown"


def test_every_outcome_and_its_opposite(tmp_path: Path) -> None:
    deeds = {
        "loop": "deadline", "memory": "memory", "stack": "stack", "trap": "trap", "bad-output": "bad-output",
        "reject": "{rejected: demo-reject, message_has: asked}", "drop": "dropped", "nothing": "unchanged",
    }  # fmt: skip
    lines = [
        f"  - {{name: {deed}, event: {{value: {{penstock_demo: {deed}}}}}, expect: {expect}}}"
        for deed, expect in deeds.items()
    ]
    registry = shop(tmp_path, "saboteur", "\n".join(["cases:", *lines]))
    passed = penstock("test", "--registry", registry, "-v")
    assert passed.code == 0, passed.out
    assert passed.out.count("  ok  ") == 8
    swapped = [
        line.replace("expect: dropped", "expect: unchanged").replace(
            "expect: trap", "expect: {violation: trap, message_has: sunshine}"
        )
        for line in lines
    ]
    shop(tmp_path, "saboteur", "\n".join(["cases:", *swapped]))
    failed = penstock("test", "--registry", registry, "--json")
    found = {case["name"]: case for case in json.loads(failed.out)["cases"]}
    assert [name for name, case in found.items() if not case["ok"]] == ["trap", "drop"]
    assert found["drop"]["failures"][0] | {"changes": []} == {
        "event": 0, "together": False, "expected": "unchanged", "got": "dropped", "changes": [],
    }  # fmt: skip
    assert found["trap"]["failures"][0]["expected"] == "trap, with 'sunshine'"
    assert found["loop"]["elapsed_us"] >= 60_000


def test_budgets_are_limits(tmp_path: Path) -> None:
    cases = """
deadline: 20ms
cases:
  - {name: tighter, event: {value: {penstock_demo: loop}}, expect: {violation: deadline, message_has: 20 ms}}
  - {name: looser, event: {value: {penstock_demo: loop}}, expect: {violation: deadline, message_has: 60 ms}, deadline: 10s}
  - {name: small, event: {value: {penstock_demo: memory}}, expect: {violation: memory, message_has: 1MiB}, memory: 1MiB}
"""
    done = penstock("test", "--registry", shop(tmp_path, "saboteur", cases))
    assert done.code == 0, done.out


def test_many_events_and_their_outcomes_in_order(tmp_path: Path) -> None:
    cases = """
cases:
  - name: three
    events: [{value: a}, {value: B}, {value: null}]
    expect: [{value: A}, unchanged, dropped]
"""
    done = penstock("test", "--registry", shop(tmp_path, "uppercase", cases))
    assert done.code == 1
    assert "event 3: expected dropped" in done.out
    assert "got unchanged" in done.out
    assert "event 1" not in done.out


def test_topics_are_those_of_the_route_unless_the_case_has_a_config_of_its_own(tmp_path: Path) -> None:
    big = 'event: {value: {op: c, after: {amount: "99"}}}'
    allowed = f"cases: [{{name: flagged, {big}, expect: emitted}}]"
    assert penstock("test", "--registry", shop(tmp_path, "enrich", allowed)).code == 0
    elsewhere = f'cases: [{{name: own, config: {{flag_above: "10", flag_topic: elsewhere}}, {big}, expect: emitted}}]'
    assert penstock("test", "--registry", shop(tmp_path, "enrich", elsewhere)).code == 0
    registry = shop(tmp_path, "enrich", allowed)
    registry.write_text(registry.read_text().replace("also_to: [flagged]", ""))
    refused = penstock("test", "--registry", registry)
    assert refused.code == 1
    assert "got bad-output" in refused.out


def test_a_config_that_the_module_refuses_fails_its_case(tmp_path: Path) -> None:
    done = penstock(
        "test",
        "--registry",
        shop(tmp_path, "enrich", "cases: [{event: {value: v}, config: {currency: euro}, expect: dropped}]"),
    )
    assert done.code == 1
    assert "refuses its configuration" in done.out


def test_neighbours_are_run_together_and_blamed_apart(tmp_path: Path) -> None:
    """A guest that counts its events gives another answer in a batch: alone everything is as expected."""
    (tmp_path / "counter.wasm").write_bytes(guest("counter"))
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        "version: 1\ntransformers: {counter: {module: counter.wasm}}\nroutes: {r: {from: a, through: [counter], to: b}}\n"
    )
    first = "{value_base64: AA==}"
    (tmp_path / "cases" / "counter").mkdir(parents=True)
    (tmp_path / "cases" / "counter" / "all.yaml").write_text(
        f"cases: [{{name: one, event: {{value: a}}, expect: {first}}}, {{name: two, event: {{value: b}}, expect: {first}}}]"
    )
    done = penstock("test", "--registry", registry)
    assert done.code == 1
    assert "1 of 2 failed" in done.out and "FAILED two" in done.out
    assert "in one batch with the file's other cases (alone it is as expected)" in done.out


def test_the_junit_report_says_the_same(tmp_path: Path) -> None:
    cases = """
cases:
  - {name: "good <&> \\u0001", event: {value: A}, expect: unchanged}
  - {name: bad, event: {value: a}, expect: unchanged}
  - {name: worse, config: {a: 1}, event: {value: a}, expect: {value: A}, memory: 64KiB}
"""
    report = tmp_path / "deep" / "report.xml"
    done = penstock("test", "--registry", shop(tmp_path, "uppercase", cases), "--junit", report)
    assert done.code == 1
    SCHEMA.validate(str(report))
    (suite,) = ElementTree.parse(report).getroot()
    assert suite.attrib["name"] == "uppercase"
    assert (suite.attrib["tests"], int(suite.attrib["failures"]) + int(suite.attrib["errors"])) == ("3", 2)
    rows = {case.attrib["name"]: case for case in suite.iter("testcase")}
    assert list(rows) == ["good <&> \\u0001", "bad", "worse"]
    failure = rows["bad"].find("failure")
    assert failure is not None and failure.text == "expected unchanged, got emitted 1 record"


@settings(deadline=None)
@given(names=st.lists(st.text(), min_size=1, max_size=4), failure=st.text(), error=st.text())
def test_whatever_is_said_the_report_is_valid(names: list[str], failure: str, error: str) -> None:
    cases = [ReportRow(name, name, name, 1e-9, failure, error) for name in names]
    written = junit(cases, datetime.now(UTC)).decode()
    SCHEMA.validate(written)
    assert len(list(ElementTree.fromstring(written).iter("testcase"))) == len(names)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--registry", "registry.yaml", "uppercas"], "there is no transformer 'uppercas' — did you mean 'uppercase'?"),
        (["--registry", "registry.yaml", "enrich"], "there is no case for enrich"),
        (["--registry", "registry.yaml", "uppercase", "-k", "nobody"], "no case's name holds 'nobody'"),
        (["--registry", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["--registry", "registry.yaml", "--cases", "nowhere", "uppercase"], "there is no case for uppercase"),
        ([], "there is no guest project here"),
        (["--registry", "registry.yaml", "uppercase", "--junit", "registry.yaml/x.xml"], "cannot be written"),
    ],
)
def test_what_is_refused_is_said_with_exit_code_2(tmp_path: Path, arguments: list[str], says: str) -> None:
    shop(tmp_path, "uppercase", "cases: [{name: a, event: {value: A}, expect: unchanged}]")
    done = penstock("test", *arguments, at=tmp_path)
    assert done.code == 2
    assert says in done.err
    assert "Traceback" not in done.err


def test_a_bad_case_file_is_refused_before_anything_runs(tmp_path: Path) -> None:
    registry = shop(tmp_path, "uppercase", "cases: [{event: {value: a}, expect: {value: A}}]")
    shop(tmp_path, "uppercase", "cases:\n  - event: {value: a}\n    expect: nope\n", "bad.yaml")
    done = penstock("test", "--registry", registry)
    assert (done.code, done.out) == (2, "")
    assert "bad.yaml:3:13" in done.err


def test_a_module_that_is_not_one_is_refused(tmp_path: Path) -> None:
    registry = shop(tmp_path, "uppercase", "cases: [{event: {value: a}, expect: {value: A}}]")
    (tmp_path / "broken.wasm").write_bytes(b"\0asm\1\0\0\0")
    registry.write_text(registry.read_text().replace(f"{MODULES}/uppercase.wasm", "broken.wasm"))
    done = penstock("test", "--registry", registry)
    assert done.code == 2
    assert "transformers.uppercase.module" in done.err
