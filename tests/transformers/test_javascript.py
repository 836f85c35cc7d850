"""The JavaScript SDK: a guest that does whatever an event says, on the real host; and how it is built."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from pipeline.assets import sdk_folder
from pipeline.workshop.build import compile_project
from pipeline.workshop.errors import BuildError
from pipeline.workshop.project import read_project
from pipeline.workshop.snapshots import select_imports
from sandbox import Sandbox, Transformer
from sandbox.host import Services
from sandbox.sections import MalformedModuleError, read_sections
from sandbox.snapshot import SnapshotError, snapshot
from schemas.capabilities import NEEDED_FOR, Capability
from schemas.errors import ModuleFault
from schemas.event import Batch, Event
from schemas.limits import PROFILES, Limits
from schemas.outcome import Dropped, Emitted, Outcome, Violation
from schemas.specs import InstancePolicy, TransformerSpec
from tests.transformers.shipped import GUESTS, SOURCE
from tests.transformers.test_go import Host

PROBE = Path(__file__).parent / "javascript" / "probe"
SDK = sdk_folder("javascript")
LIMITS = PROFILES["untrusted"].with_(deadline_ms=10_000)


@pytest.fixture(scope="module")
def probe() -> bytes:
    return compile_project(read_project(PROBE))[0]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def sandbox(host: Host) -> Iterator[Sandbox]:
    services = Services(now_ms=lambda: 1234, monotonic_ns=lambda: 42, random_bytes=lambda count: b"\x07" * count)
    with Sandbox(services=services, extra_imports=host.imports()) as one:
        yield one


def load(sandbox: Sandbox, probe: bytes, limits: Limits = LIMITS, **changes: Any) -> Transformer:
    granted = frozenset(Capability)
    spec = TransformerSpec(name="probe", module=Path("probe.wasm"), limits=limits, capabilities=granted, **changes)
    return sandbox.load(spec, probe)


def run(transformer: Transformer, *words: str) -> list[Outcome]:
    events = [Event(at, 99, None, word.encode()) for at, word in enumerate(words)]
    return list(transformer.run(Batch(SOURCE, events)).outcomes)


def said(outcome: Outcome) -> bytes | None:
    assert isinstance(outcome, Emitted), outcome
    return outcome.events[0].value


def verdict(outcome: Outcome) -> Violation:
    assert isinstance(outcome, Violation), outcome
    return outcome


def test_outcomes(sandbox: Sandbox, probe: bytes) -> None:
    found = run(load(sandbox, probe), "hi", "unchanged", "drop", "reject", "rejection", "later")
    assert said(found[0]) == b"hello"
    assert said(found[1]) == b"unchanged"
    assert isinstance(found[2], Dropped)
    assert [(verdict(one).code, verdict(one).message) for one in found[3:5]] == [
        ("code", "words"),
        ("thrown", "from below"),
    ]
    assert said(found[5]) == b"later"


@pytest.mark.parametrize(
    ("word", "kind", "code", "words"),
    [
        ("throws", "trap", "exception", "TypeError: out of luck (src/probe.js:"),
        ("missing", "trap", "exception", "(src/probe.js:"),
        ("string", "trap", "exception", "just a text"),
        ("nothing", "trap", "exception", "transform must return unchanged, drop, emit"),
        ("never", "trap", "exception", "a promise was returned that nothing will settle"),
        ("bad", "trap", "exception", "headers must be an array"),
        ("fail", "trap", "custom", "why not"),
        ("recurse", "trap", "exception", "Maximum call stack size exceeded"),
        ("recurse-json", "trap", "exception", "nested more than 512 levels deep"),
        ("hoard", "memory", "", ""),
        ("huge", "memory", "", ""),
    ],
)
def test_what_goes_wrong_is_one_dead_letter_that_says_why(
    sandbox: Sandbox, probe: bytes, word: str, kind: str, code: str, words: str
) -> None:
    before, found, after = run(load(sandbox, probe, instance=InstancePolicy.REUSED), "hi", word, "hi")
    assert (said(before), said(after)) == (b"hello", b"hello")
    assert verdict(found).kind == kind, verdict(found).message
    assert verdict(found).code == code or not code
    assert words in verdict(found).message


def test_a_loop_is_stopped_at_the_deadline(sandbox: Sandbox, probe: bytes) -> None:
    assert verdict(run(load(sandbox, probe, LIMITS.with_(deadline_ms=300)), "loop")[0]).kind == "deadline"


def test_an_event_that_is_kept_reads_nothing_of_the_next(sandbox: Sandbox, probe: bytes) -> None:
    events = [Event(0, 0, b"keep", b'{"op":"c","after":{"x":1}}'), Event(1, 0, None, b"kept")]
    outcomes = load(sandbox, probe, instance=InstancePolicy.REUSED).run(Batch(SOURCE, events)).outcomes
    assert isinstance(outcomes[0], Emitted)
    assert isinstance(outcomes[1], Violation)  # alone, there is nothing that was kept


def test_what_a_batch_leaves_behind_is_gone_with_it(sandbox: Sandbox, probe: bytes) -> None:
    transformer = load(sandbox, probe)
    assert said(run(transformer, "pollute", "hi")[1]) == b"polluted"
    assert said(run(transformer, "hi")[0]) == b"hello"


def test_several_records(sandbox: Sandbox, probe: bytes) -> None:
    event = Event(0, 0, b"key", b"many", (("h", b"v"),))
    (found,) = load(sandbox, probe).run(Batch(SOURCE, [event])).outcomes
    assert isinstance(found, Emitted)
    assert [(one.to, one.key, one.value, list(one.headers)) for one in found.events] == [
        (None, b"key", b"many", [("h", b"v")]),
        (None, None, None, [("h", b"v")]),
        ("other", b"k", b'{"n":9223372036854775808}', [("a", b"1"), ("b", None)]),
    ]


def test_what_an_event_says(sandbox: Sandbox, probe: bytes) -> None:
    event = Event(2**60, 1_700_000_000_123, "k\u00e9y".encode(), b"about", (("h", b"1"), ("h", b"2"), ("n", None)))
    (found,) = load(sandbox, probe).run(Batch(SOURCE, [event])).outcomes
    assert json.loads(said(found) or b"") == {
        "topic": SOURCE.topic,
        "partition": SOURCE.partition,
        "offset": 2**60,
        "timestamp": 1_700_000_000_123,
        "key": "k\u00e9y",
        "headers": [["h", "1"], ["h", "2"], ["n", None]],
        "last": "2",
        "none": "undefined",
        "date": 1234,
    }


ROW = (
    b'{"before":null, "after" : {"id":12345678901234567890,"name":"\\u00c5da","amount":19.990,"big":9007199254740993 , "t":null} '
    b',"source":{"lsn":9007199254740993},"op":"c"}'
)


def on_row(sandbox: Sandbox, probe: bytes, what: str, value: bytes = ROW, **changes: Any) -> Outcome:
    event = Event(0, 0, None, value, (("do", what.encode()),))
    return load(sandbox, probe, **changes).run(Batch(SOURCE, [event])).outcomes[0]


def test_a_row_is_edited_where_it_lies(sandbox: Sandbox, probe: bytes) -> None:
    edited = ROW.replace(b'"\\u00c5da"', '"\u00c5da!"'.encode()).replace(
        b'"t":null', b'"t":null,"new":[1,{"a":null}],"new2":true'
    )
    assert said(on_row(sandbox, probe, "edit")) == edited
    assert said(on_row(sandbox, probe, "read-own")) == b"2 1.5 1.500 true"


def test_integers_of_any_size_and_digits_are_exact(sandbox: Sandbox, probe: bytes) -> None:
    found = json.loads(said(on_row(sandbox, probe, "read")) or b"")
    assert found["row"]["id"] == 12345678901234567890
    assert found["digits"] == ["12345678901234567890", "\u00c5da", "19.990", "9007199254740993", None]
    assert found["types"] == ["bigint", "string", "number", "bigint", "object"]
    assert (found["source"], found["op"]) == ({"lsn": 9007199254740993}, "c")
    assert json.loads(said(on_row(sandbox, probe, "json")) or b"") == json.loads(ROW)


@pytest.mark.parametrize(
    "number",
    [
        "-0",
        "0",
        "-9007199254740991",
        "9007199254740991",
        "9007199254740992",
        "-9223372036854775808",
        "1e400",
        "123456789012345678901234567890",
    ],
)
def test_whole_numbers_go_through_json_as_they_are(sandbox: Sandbox, probe: bytes, number: str) -> None:
    value = f'{{"op":"c","after":{{"x":{number}}}}}'.encode()
    found = on_row(sandbox, probe, "json", value)
    if number == "1e400":
        assert "Infinity is no number in JSON" in verdict(found).message
    else:
        assert json.loads(said(found) or b"") == json.loads(value)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b'{"op":"c","after":{"x":1}', "bad-json"),
        (b'{"op":"c","after":[1]}', "bad-json"),
        (b'{"op":"c","after":{"name":"\\ud800"}}', "bad-json"),
        (b'{"x":1}', "no-envelope"),
        (b'{"op":"c","op":"d"}', "bad-json"),
        (b"{\xff", "bad-json"),
        (b"\xff", "bad-text"),
    ],
)
def test_values_that_are_no_change_events_are_rejected(sandbox: Sandbox, probe: bytes, value: bytes, code: str) -> None:
    assert (
        verdict(on_row(sandbox, probe, "edit", value)).kind,
        verdict(on_row(sandbox, probe, "edit", value)).code,
    ) == ("rejected", code)


def test_what_no_value_can_be_is_the_guests_failure(sandbox: Sandbox, probe: bytes) -> None:
    assert "half of a surrogate pair" in verdict(on_row(sandbox, probe, "half")).message
    assert "setJson: " in verdict(on_row(sandbox, probe, "bad-json")).message


DECODED = (
    b'{"before":null,"after":{"id":18446744073709551615,"name":"A","big":-9223372036854775808,"gone":"__debezium_unavailable_value"}'
    b',"source":{"lsn":9007199254740993},"op":"u","ts_ms":5}'
)


def test_decoded_changes_are_edited_in_place_too(sandbox: Sandbox, probe: bytes) -> None:
    edited = json.loads(said(on_row(sandbox, probe, "edit", DECODED, encoding="event")) or b"")
    row = json.loads(DECODED)["after"] | {"name": "A!", "new": [1, {"a": None}], "new2": True}
    assert edited["after"] == row
    assert list(edited["after"]) == list(row)
    found = json.loads(said(on_row(sandbox, probe, "column", DECODED, encoding="event")) or b"")
    assert found["after"]["gone"] == "was unavailable"
    whole = json.loads(said(on_row(sandbox, probe, "value", DECODED, encoding="event")) or b"")
    assert (whole["op"], whole["after"]["id"], whole["source"]["lsn"]) == ("u", 2**64 - 1, 2**53 + 1)


def test_what_is_for_raw_values_says_so(sandbox: Sandbox, probe: bytes) -> None:
    assert "use event.after" in verdict(on_row(sandbox, probe, "json", DECODED, encoding="event")).message
    assert "use set" in verdict(on_row(sandbox, probe, "bad-json", DECODED, encoding="event")).message


def test_a_config_is_read_or_refused(sandbox: Sandbox, probe: bytes) -> None:
    assert said(run(load(sandbox, probe, config={"greeting": "salve"}), "hi")[0]) == b"salve"
    with pytest.raises(ModuleFault, match=r"TypeError: greeting is no text \(src/probe.js:"):
        load(sandbox, probe, config={"greeting": 5})


LONG = b"x" * 100_000


@pytest.mark.parametrize(
    ("word", "name", "asked", "answer", "expected"),
    [
        ("env HOME", "env_get", "HOME", "/here", b"/here"),
        ("env NONE", "env_get", "NONE", None, None),
        ("read a.txt", "file_read", "a.txt", LONG, b"100000"),
        ("write a.txt data", "file_write", ["a.txt", b"data"], None, b"null"),
        ("get k", "kv_get", "k", b"v", b"v"),
        ("get k", "kv_get", "k", None, None),
        ("put k v", "kv_put", ["k", b"v"], None, b"null"),
        ("delete k", "kv_delete", "k", None, b"null"),
        ("lookup users 7", "lookup", ["users", "7"], {"name": "Ada", "n": [1, {"x": 2.5}]}, b"Ada"),
        ("lookup users 7", "lookup", ["users", "7"], None, b"none"),
        ("lookups users", "lookup_many", ["users", [1, "two"]], [{"name": "a"}, None], b"2"),
        ("execute UPDATE", "db_execute", ["UPDATE", [-5, 2.5, None, b"x", True, 2**63]], 3, b"3"),
        ("query SELECT", "db_query", ["SELECT", [7, "two"]], [{"name": "a"}, {"name": "b", "n": 2**63}], b"a b"),
        ("select SELECT", "db_query", ["SELECT", []], [], b"0"),
        ("transaction A B", "db_transaction", [["A", [1, b"x"]], ["B", []]], [1, 0], b"1 0"),
        (
            "http http://x",
            "http_request",
            {"method": "POST", "url": "http://x", "headers": [["a", "b"]], "body": b"ping"},
            {"status": 201, "headers": [["c", "d"]], "body": b"pong"},
            b"201 c d pong",
        ),
    ],
)
def test_what_the_host_is_asked_and_answers(
    sandbox: Sandbox, probe: bytes, host: Host, word: str, name: str, asked: Any, answer: Any, expected: bytes | None
) -> None:
    host.answers[name] = answer
    assert said(run(load(sandbox, probe), word)[0]) == expected
    assert (name, asked) in host.asked


@pytest.mark.parametrize(("status", "words"), [(-1, "denied"), (-4, "unavailable"), (-5, "deadline"), (-6, "invalid")])
def test_what_the_host_refuses_is_an_error(sandbox: Sandbox, probe: bytes, host: Host, status: int, words: str) -> None:
    host.errors["kv_get"] = status
    assert f"HostError: the value of k: {words}" in verdict(run(load(sandbox, probe), "get k")[0]).message


def test_time_chance_and_log(sandbox: Sandbox, probe: bytes) -> None:
    assert [said(one) for one in run(load(sandbox, probe), "time", "random")] == [b"1234 42 1234", b"\x07" * 4]
    report = load(sandbox, probe).run(Batch(SOURCE, [Event(0, 0, None, b"log")]))
    assert [(line.level, line.text) for line in report.logs] == [(2, 'to whom {"it":"1"} concerns'), (4, "x")]


# ---- The build.


def imported(code: bytes) -> list[str]:
    return [f"{one.module}.{one.name}" for one in wasmtime.Module(wasmtime.Engine(), code).imports]


def project(folder: Path, script: str, extra: str = "") -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "guest.toml").write_text(
        f'name = "one"\nversion = "0.1.0"\nlanguage = "javascript"\nmodule = "build/one.wasm"\n{extra}\n[build]\nscript = "src/one.js"\n'
    )
    (folder / "src" / "one.js").write_text(script)
    return folder


GOOD = 'import { log, transformer, unchanged } from "penstock";\nexport default transformer({ transform() { log("info", "x"); return unchanged; } });\n'


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("export default {\n  transform() { return } }}\n", "SyntaxError"),
        ("export const x = 1;", "export default"),
        ('import { x } from "./other.js";\nexport default x;', "no module 'src/other.js'"),
        ('import { transformer } from "penstock";\nexport default transformer({ transfrom() {} });', "no 'transfrom'"),
        ("throw new Error('at load');", "at load (src/one.js:1"),
        ("for (;;);", "does not come to an end"),
        ("const all = []; for (;;) all.push(new Uint8Array(1e6));", "out of memory"),
    ],
)
def test_a_script_that_cannot_be_loaded_says_why(
    tmp_path: Path, script: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.snapshot.FUEL_MAX", 2_000_000_000)
    with pytest.raises(BuildError) as raised:
        compile_project(read_project(project(tmp_path / "one", script)))
    assert words in str(raised.value)


def test_two_builds_one_hash_in_any_folder(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "another" / "deeper"]
    for folder in folders:
        shutil.copytree(GUESTS / "javascript" / "enrich-order", folder, ignore=shutil.ignore_patterns("build"))
    built = [compile_project(read_project(folder))[0] for folder in folders]
    assert built[0] == built[1]
    committed = GUESTS.parent / "modules" / "languages" / "enrich_order_javascript.wasm"
    assert hashlib.sha256(built[0]).hexdigest() == hashlib.sha256(committed.read_bytes()).hexdigest()


def test_without_the_clock_it_is_as_late_as_the_event(tmp_path: Path, sandbox: Sandbox) -> None:
    script = GOOD.replace('log("info", "x"); return unchanged', "return emit(String(Date.now()))").replace(
        "log, ", "emit, "
    )
    code = compile_project(read_project(project(tmp_path / "one", script)))[0]
    assert (
        said(run(sandbox.load(TransformerSpec(name="one", module=Path("one.wasm"), limits=LIMITS), code), "x")[0])
        == b"99"
    )


def test_a_capability_that_is_not_declared_is_not_imported(tmp_path: Path, sandbox: Sandbox) -> None:
    code = compile_project(read_project(project(tmp_path / "one", GOOD)))[0]
    assert imported(code) == ["penstock.fail"]
    found = verdict(
        run(sandbox.load(TransformerSpec(name="one", module=Path("one.wasm"), limits=LIMITS), code), "x")[0]
    )
    assert "this needs the capability 'log': add it to guest.toml" in found.message


@pytest.mark.parametrize("name", NEEDED_FOR)
def test_each_import_alone_is_wired_to_its_caller(name: str) -> None:
    """Whatever is left out, functions keep their numbers: the module is valid, and has this import and `fail`."""
    code = select_imports((SDK / "runtime.wasm").read_bytes(), {name})
    assert imported(code) == ["penstock.fail", f"penstock.{name}"]


def test_other_modules_are_no_runtimes() -> None:
    with pytest.raises(MalformedModuleError, match="no runtime"):
        select_imports(bytes(wasmtime.wat2wasm("(module)")), ())
    with pytest.raises(SnapshotError, match="no export"):
        snapshot((GUESTS.parent / "modules" / "uppercase.wasm").read_bytes(), "penstock_snapshot", b"")


def test_the_memory_has_the_maximum_of_guest_toml(tmp_path: Path) -> None:
    code = compile_project(read_project(project(tmp_path / "one", GOOD, 'memory = "4MiB"')))[0]
    (memory,) = [one.content(code) for one in read_sections(code) if one.kind == "memory"]
    assert memory[:2] == b"\x01\x01"
    assert memory[-1] == 64


def test_the_committed_runtime_has_the_committed_hash() -> None:
    digest, name = (SDK / "SHA256SUMS").read_text().split()
    assert (hashlib.sha256((SDK / name).read_bytes()).hexdigest(), name) == (digest, "runtime.wasm")
