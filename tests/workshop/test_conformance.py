"""`penstock conformance`: every committed module passes, and every check fails for a guest that deserves it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from typer.testing import CliRunner

from pipeline.cli.conformance import LIMITS
from pipeline.cli.root import app, main
from pipeline.registry import load_registry
from pipeline.workshop.conformance import CHECKS, Finding, Verdict, examine
from pipeline.workshop.conformance.frames import WIDTHS, widened
from sandbox import Sandbox
from sandbox.host import HostImport
from sandbox.sections import Metadata, append_metadata
from schemas.specs import TransformerSpec
from tests.sandbox.guests import FOLDER, guest, wat

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "transformers" / "modules").rglob("*.wasm"))
BUILTINS = load_registry(ROOT / "transformers" / "builtins" / "registry.yaml", environ={}).transformers
OF_BATCHES = {"lookup"}
"""They work on all events of a batch at once, and have no event to point at meanwhile."""
CONFIGS: dict[str, dict[str, Any]] = {
    "mask_pii": {
        "salt": "s",
        "fields": [{"path": "email", "action": "hash"}, {"path": "phone", "action": "keep-last-4"}],
    },
    "enrich_order": {"currency": "EUR", "flag_above": "20.00", "flag_topic": "orders.flagged"},
}
QUICK = [name for name in CHECKS if name != "reuse"]
ORDERLY = [name for name in QUICK if name not in ("batch-of-10000", "honest-cursor")]
PUPIL = (FOLDER / "pupil.wat").read_text().replace("(;include frame;)", (FOLDER / "frame.wat").read_text())
TRAP = "(then (unreachable))"


def spec(name: str = "guest", **changes: Any) -> TransformerSpec:
    return TransformerSpec(name=name, module=Path("guest.wasm"), limits=LIMITS, **changes)


def found(
    wasm: bytes, only: Collection[str] = tuple(CHECKS), subject: TransformerSpec | None = None, **options: Any
) -> dict[str, Finding]:
    with Sandbox(workers=1, **options) as sandbox:  # compiled once, not for every guest of every check
        return {one.check: one for one in examine(sandbox, subject or spec(), wasm, only)}


def failed(findings: dict[str, Finding]) -> dict[str, str]:
    return {one.check: one.seen for one in findings.values() if one.verdict is Verdict.FAIL}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_committed_module_is_a_good_guest(path: Path) -> None:
    name = "enrich_order" if path.stem.startswith("enrich_order") else path.stem
    subject = spec(config=CONFIGS.get(name, {}))
    if path.parent.name == "builtins":
        subject = replace(BUILTINS[path.stem], limits=LIMITS)
    findings = found(path.read_bytes(), subject=subject)
    excused = {"honest-cursor"} if path.stem in OF_BATCHES else set()
    assert failed(findings).keys() == excused
    assert list(findings) == list(CHECKS)
    assert all(one.meaning and one.seen for one in findings.values())


def test_the_pupil_is_a_good_guest() -> None:
    findings = found(wat(PUPIL))
    assert failed(findings) == {}
    assert [one.check for one in findings.values() if one.verdict is Verdict.NOT_APPLICABLE] == ["number-extremes"]


BEGUN, READ, GROWN = ";; begun", ";; was read", "(i32.const -1)) (then (return (i32.const 0))))"
SPOILED = [
    ("empty-batch", BEGUN, f"(if (i32.eqz (local.get $n)) {TRAP})", set()),
    ("batch-of-one", BEGUN, f"(if (i32.eq (local.get $n) (i32.const 1)) {TRAP})", {"any-bytes"}),
    ("batch-of-10000", BEGUN, f"(if (i32.gt_u (local.get $n) (i32.const 5000)) {TRAP})", set()),
    ("frame-widths", "(i32.le_u (local.get $b) (i32.const 0xd3))", "(i32.lt_u (local.get $b) (i32.const 0xd3))", set()),
    ("tombstones", READ, f"(if (i32.eqz (global.get $value)) {TRAP})", set()),
    ("null-keys", "(call $skip (i32.const 3))",
     f"(call $skip (i32.const 2)) (if (i32.eq (i32.load8_u (global.get $at)) (i32.const 0xc0)) {TRAP}) (call $skip (i32.const 1))", {"tombstones"}),
    ("large-values", READ, f"(if (i32.gt_u (global.get $length) (i32.const 500000)) {TRAP})", set()),
    ("unicode", READ, f"(if (i32.eq (call $byte (i32.const 60)) (i32.const 0xf0)) {TRAP})", {"any-bytes"}),
    ("any-bytes", READ,
     f"(if (i32.and (i32.ne (global.get $value) (i32.const 0)) (i32.ne (call $byte (i32.const 0)) (i32.const 0x7b))) {TRAP})", set()),
    ("offsets", READ, f"(if (i32.eqz (i32.ne (i32.load8_u (i32.const 24)) (i32.const 0xcf))) {TRAP})", {"frame-widths"}),
    ("config-refused", "(result i32)\n    (i32.const 0))", f"(result i32) (if (i32.gt_u (local.get $size) (i32.const 1)) {TRAP}) (i32.const 0))", set()),
    ("alloc-failing", GROWN, "(i32.const -1)) (then (return (local.get $p))))", set()),
    ("alloc-failing", GROWN, f"(i32.const -1)) {TRAP})", set()),
    ("determinism", READ,
     ("(if (i32.load (i32.const 32)) (then (call $put (i32.const 0x91)) (call $put (i32.const 0)) "
     "(local.set $i (i32.add (local.get $i) (i32.const 1))) (br $more)))"), set()),
    ("honest-cursor", "(i32.store (i32.const 16) (local.get $i))", "", set()),
    ("honest-cursor", "(i32.store (i32.const 16) (local.get $i))", "(i32.store (i32.const 16) (local.get $n))", set()),
    ("honest-cursor", "(i32.store (i32.const 16) (local.get $i))",
     "(i32.store (i32.const 16) (i32.sub (i32.sub (local.get $n) (local.get $i)) (i32.const 1)))", set()),
]  # fmt: skip
FURTHER = {
    "unicode": ("(if (i32.eq (call $byte (i32.const 60)) (i32.const 0xf0)) (then (unreachable)))", "(call $fear)"),
    "offsets": ("(drop (call $array))\n    (call $skip (i32.const 3))",
                "(drop (call $array)) (i32.store8 (i32.const 24) (i32.load8_u (global.get $at))) (call $skip (i32.const 3))"),
    "determinism": ("    (call $finish)))", "    (i32.store (i32.const 32) (i32.const 1)) (call $finish)))"),
}  # fmt: skip
FEAR = """
  (func $fear (local $i i32)
    (block $done (loop $more
      (br_if $done (i32.ge_u (local.get $i) (global.get $length)))
      (if (i32.eq (call $byte (local.get $i)) (i32.const 0xf0)) (then (unreachable)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $more))))
"""


def spoiled(check: str, old: str, new: str) -> bytes:
    assert old in PUPIL
    text = PUPIL.replace(old, new)
    if check in FURTHER:
        assert FURTHER[check][0] in text
        text = text.replace(*FURTHER[check])
    if "(call $fear)" in text:
        text = text.replace('(func (export "penstock_v1_cursor")', FEAR + '(func (export "penstock_v1_cursor")')
    return wat(text)


@pytest.mark.parametrize(("check", "old", "new", "others"), SPOILED)
def test_a_guest_with_one_fault_fails_the_check_that_is_about_it(
    check: str, old: str, new: str, others: set[str]
) -> None:
    findings = found(spoiled(check, old, new), QUICK)
    expected = {check, *others} | ({"determinism"} if check == "unicode" else set())
    assert failed(findings).keys() == expected


def test_a_guest_that_leaks_fails_reuse() -> None:
    leaking = wat(PUPIL.replace("(global.set $heap (i32.const 65536))", ""))
    seen = failed(found(leaking, ["reuse", "determinism"]))
    assert seen.keys() == {"reuse"}
    assert "halfway" in seen["reuse"] or "memory" in seen["reuse"]


def test_a_guest_that_traps_all_the_time_fails_nearly_everything() -> None:
    seen = failed(found(wat(PUPIL.replace(BEGUN, "(unreachable)")), QUICK))
    assert set(QUICK) - seen.keys() == {"number-extremes", "config-refused", "alloc-failing"}
    assert all("unreachable" in text for text in seen.values())


def puppet(
    answer: Callable[[Any, list[Any]], Any], only: Collection[str], encoding: str = "event"
) -> dict[str, Finding]:
    def on(state: object, memory: Any, address: int, length: int) -> int:
        meta, events = msgpack.unpackb(memory.read(address, length), strict_map_key=False)
        frame = msgpack.packb(answer(meta, events))
        memory.write(2 << 20, frame)
        return len(frame)

    imports = [HostImport("answer", ("i32", "i32"), "i32", on, module="test")]
    return found(guest("puppet"), only, spec(encoding=encoding), extra_imports=imports)


ALL_BUT_SIZE = [name for name in ORDERLY if name not in ("large-values", "alloc-failing")]


def test_an_event_guest_is_examined_with_change_events() -> None:
    findings = puppet(lambda meta, events: [value and [1, value] for *_, value, _ in events], ALL_BUT_SIZE)
    assert failed(findings) == {}
    assert findings["number-extremes"].seen == "2 emitted"
    assert findings["any-bytes"].verdict is Verdict.NOT_APPLICABLE


def test_numbers_that_come_back_as_others_fail() -> None:
    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: rounded(one) for name, one in value.items()}
        return float(value) if type(value) is int and abs(value) > 1 << 53 else value

    findings = puppet(
        lambda meta, events: [[1, rounded(event[3])] for event in events], ["number-extremes", "batch-of-one"]
    )
    assert failed(findings) == {"number-extremes": "-9223372036854775808 came back as -9.223372036854776e+18"}


def test_two_guests_that_differ_fail_determinism() -> None:
    asked: list[int] = []

    def moody(meta: Any, events: list[Any]) -> Any:
        asked.append(len(events))
        return [[3, "mood", str(len(asked))] for _ in events]

    seen = failed(puppet(moody, ["determinism", "batch-of-one"]))
    assert seen.keys() == {"determinism"} and "two fresh guests differ" in seen["determinism"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda meta, events: [None] * (len(events) + 1), "2 results for 1 events"),
        (lambda meta, events: {"a": 1}, "the result frame is not an array"),
        (lambda meta, events: [[9]] * len(events), "Invalid value 9"),
        (lambda meta, events: [[1, "text"]] * len(events), "not a change event"),
    ],
)
def test_an_answer_that_is_not_the_abis_is_told(answer: Callable[[Any, list[Any]], Any], why: str) -> None:
    assert why in failed(puppet(answer, ["batch-of-one"]))["batch-of-one"]


def test_a_component_is_examined_as_far_as_it_can_be() -> None:
    tick = HostImport("tick", ("i32",), None, lambda state, memory, ms: None, module="test")
    findings = found(
        guest("component"),
        ["empty-batch", "frame-widths", "alloc-failing", "honest-cursor"],
        spec(capabilities=frozenset({"log"})),
        extra_imports=[tick],
    )
    assert failed(findings) == {}
    assert [str(one.verdict) for one in findings.values()] == ["pass", *["not applicable"] * 3]


def test_the_page_knows_every_check_and_no_other() -> None:
    page = (ROOT / "docs" / "conformance.md").read_text()
    assert re.findall(r"^\| `([a-z][a-z0-9-]+)` \|", page, re.MULTILINE) == list(CHECKS)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("signed", [False, True])
def test_a_wider_frame_says_the_same(width: int, signed: bool) -> None:
    body = [
        [
            1,
            -1,
            -(1 << 63),
            (1 << 64) - 1,
            None,
            True,
            False,
            1.5,
            "text",
            b"bytes",
            {"k": [1]},
            msgpack.ExtType(1, b""),
        ],
        "x" * 70_000,
    ]
    head = b"\x92" + msgpack.packb({"topic": "t", "partition": 3})
    frame = (head, msgpack.packb(body))
    wide = b"".join(widened(frame, width, signed=signed))
    assert msgpack.unpackb(wide) == [{"topic": "t", "partition": 3}, body]
    assert len(wide) > len(b"".join(frame)) or width == 8


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["conformance", *map(str, arguments)], catch_exceptions=True)


def test_the_command_shows_findings_and_says_by_its_exit_code_how_it_went(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.wasm", tmp_path / "bad.wasm"
    good.write_bytes(append_metadata(wat(PUPIL), Metadata(name="pupil")))
    bad.write_bytes(spoiled(*SPOILED[0][:3]))
    done = invoke(good, "--only", "empty-batch", "--only", "tombstones")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "2 pass")
    assert "tombstones" in done.stdout and "5 emitted" in done.stdout
    done = invoke(bad, "--only", "empty-batch", "--only", "tombstones", "--json")
    assert done.exit_code == 1
    findings = json.loads(done.stdout)["findings"]
    assert [(one["check"], one["verdict"]) for one in findings] == [("empty-batch", "fail"), ("tombstones", "pass")]
    assert findings[0]["meaning"] == "No event, no result." and "unreachable" in findings[0]["seen"]


def test_a_module_that_cannot_be_loaded_fails(tmp_path: Path) -> None:
    file = tmp_path / "a.wasm"
    file.write_bytes(wat('(module (memory (export "memory") 1))'))
    done = invoke(file)
    assert done.exit_code == 1
    assert "loads" in done.stdout and "does not export `penstock_v1_alloc`" in done.stdout


def test_mistakes_are_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, config, mask = tmp_path / "a.wat", tmp_path / "c.json", ROOT / "transformers" / "modules" / "mask_pii.wasm"
    text.write_text("(module)")
    config.write_text("[1]")
    for arguments, why in (
        ([text], "is no WebAssembly module"),
        ([tmp_path / "none.wasm"], "cannot be read"),
        ([mask], "name its config: --config FILE"),
        ([mask, "--config", config], "is no JSON object"),
        ([mask, "--only", "unicod"], "there is no check 'unicod' — did you mean 'unicode'?"),
        ([mask, "--encoding", "row"], "'row' is not an encoding"),
    ):
        monkeypatch.setattr("sys.argv", ["penstock", "conformance", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert why in " ".join(capsys.readouterr().err.split())
