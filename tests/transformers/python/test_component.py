"""The example in Python, as the component that it is built into: the golden cases, what goes wrong in it, what it costs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from pipeline.workshop.build import compile_project
from pipeline.workshop.languages import python
from pipeline.workshop.project import read_project
from sandbox import Limits, Sandbox, Transformer
from sandbox.host import Services
from sandbox.inspection import inspect_module
from sandbox.sections import Metadata, read_metadata
from schemas.capabilities import (
    DATABASE,
    NEEDED_FOR,
    Capability,
    DatabaseScope,
    EnvironmentScope,
    FileScope,
    Grant,
    Grants,
)
from schemas.errors import ModuleFault
from schemas.event import Batch, Event
from schemas.outcome import Dropped, Emitted, Outcome, Violation
from schemas.specs import DatabaseSpec, TransformerSpec
from tests.transformers import shipped
from tests.transformers.shipped import SOURCE, Case
from tests.workshop.tools import GUESTS

CASES = [case for case in shipped.cases() if case.guest == "enrich-order"]
FILES = [list(group) for _, group in groupby(CASES, key=lambda case: case.file)]
ORDER = next(case.event for case in CASES if case.file == "defaults")
LIMITS = Limits(memory_bytes=32 << 20)


def load(sandbox: Sandbox, module: Path, config: Mapping[str, Any] | None = None, **changes: Any) -> Transformer:
    spec = TransformerSpec(
        **{"name": "enrich-order", "module": module, "config": config or {}, "limits": LIMITS} | changes
    )
    return sandbox.load(spec)


def check(case: Case, outcome: Outcome) -> None:
    """The outcome that the case expects, with values that mean the same."""
    expect = case.expect
    match expect["outcome"]:
        case "unchanged":
            assert isinstance(outcome, Emitted)
            assert outcome.events[0] is case.event
        case "dropped":
            assert isinstance(outcome, Dropped)
        case "rejected":
            assert isinstance(outcome, Violation)
            assert (outcome.kind, outcome.code) == ("rejected", expect["code"])
            assert [words for words in expect["message_has"] if words not in outcome.message] == []
        case _:
            assert isinstance(outcome, Emitted)
            made = [(one.to, one.key, canonical(one.value), one.headers) for one in outcome.events]
            wanted = [
                (one["topic"], one["key"].encode(), canonical(one["value"]), case.event.headers)
                for one in expect["records"]
            ]
            assert made == wanted


def canonical(text: bytes | str | None) -> Any:
    """Numbers by their exact value, objects without order."""
    exact = lambda number: Decimal(number).normalize()  # noqa: E731
    return None if text is None else json.loads(text, parse_float=exact, parse_int=exact)


def test_the_same_sources_are_the_same_module_on_one_machine(enrich_order: Path, tmp_path: Path) -> None:
    """Not because two builds were alike: what was built is kept."""
    project = read_project(GUESTS / "python" / "enrich-order")
    assert compile_project(project)[0] == enrich_order.read_bytes()
    trees = [tmp_path / name for name in ("one", "same", "renamed", "changed")]
    for tree, name, text in zip(
        trees, ("a.py", "a.py", "b.py", "a.py"), ("x = 1", "x = 1", "x = 1", "x = 2"), strict=True
    ):
        tree.mkdir()
        (tree / name).write_text(text)
    one, same, *others = (python._digest(tree, "0.25.1") for tree in trees)
    assert one == same
    assert len({one, *others, python._digest(trees[0], "0.25.2")}) == 4


@pytest.mark.parametrize("cases", FILES, ids=lambda cases: cases[0].file)
def test_every_golden_case_alone_and_in_one_batch(
    python_sandbox: Sandbox, enrich_order: Path, cases: list[Case]
) -> None:
    transformer = load(python_sandbox, enrich_order, cases[0].config)
    for case in cases:
        check(case, shipped.outcome_of(transformer, case.event))
    report = transformer.run(Batch(SOURCE, [case.event for case in cases]))
    assert report.crossings == 1
    for case, outcome in zip(cases, report.outcomes, strict=True):
        check(case, outcome)


def test_edits_keep_every_character_of_the_rest(python_sandbox: Sandbox, enrich_order: Path) -> None:
    """More than is asked of it: not only the same values, but the very bytes that the guest in Rust emits."""
    rust = shipped.load(python_sandbox, "enrich-order", {"currency": "EUR"})
    python = load(python_sandbox, enrich_order, {"currency": "EUR"})
    events = shipped.fixture("debezium-postgres") + shipped.fixture("debezium-postgres-with-schemas")
    ours, theirs = (guest.run(Batch(SOURCE, events)).outcomes for guest in (python, rust))
    assert [_told(one) for one in ours] == [_told(one) for one in theirs]


def _told(outcome: Outcome) -> Any:
    return outcome.code if isinstance(outcome, Violation) else outcome


CHANGES = [
    '{"before":null,"after":{"id":12345678901234567,"first_name":"Zoë","amount":"19.90","quantity":3,"ratio":1.50},"op":"c"}',
    '{"before":{"id":1},"after":{"id":1,"amount":"20000","status":"paid"},"source":{"lsn":1},"op":"u","ts_ms":5}',
    '{"before":{"id":1},"after":null,"op":"d"}',
    '{"schema":null,"payload":{"before":null,"after":{"amount":"1","currency":"USD"},"op":"r"}}',
    '{"before":null,"after":{"status":"draft"},"op":"c"}',
    '{"before":null,"after":{"amount":"much"},"op":"c"}',
]


def test_the_same_function_on_events_that_the_host_has_decoded(python_sandbox: Sandbox, enrich_order: Path) -> None:
    config = {"currency": "EUR", "drop_statuses": ["draft"], "flag_above": "10000.00", "flag_topic": "flagged"}
    raw = load(python_sandbox, enrich_order, config, encoding="raw")
    decoded = load(python_sandbox, enrich_order, config, encoding="event")
    events = [Event(at, 7, b"k", text.encode()) for at, text in enumerate(CHANGES)] + [Event(9, 7, b"k", None)]
    ours, theirs = (guest.run(Batch(SOURCE, events)).outcomes for guest in (decoded, raw))
    assert [_meaning(one) for one in ours] == [_meaning(one) for one in theirs]
    assert [type(one) for one in ours] == [Emitted] * 4 + [Dropped, Violation, Emitted]


def _meaning(outcome: Outcome) -> Any:
    match outcome:
        case Emitted():
            return [(one.to, one.key, canonical(one.value), one.headers) for one in outcome.events]
        case Violation():
            return outcome.kind, outcome.code
    return "dropped"


def test_it_says_who_it_is_and_imports_nothing_but_fail(enrich_order: Path) -> None:
    assert read_metadata(enrich_order.read_bytes()) == Metadata(
        name="enrich-order", version="0.1.0", sdk="python/0.1.0"
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"currency": "euro"}, "currency 'euro' is no ISO 4217 code"),
        ({"flag_above": 1.5}, "config.flag_above: a decimal number in quotes was expected"),
        ({"flag_above": "1"}, "flag_above needs flag_topic"),
        ({"curency": "EUR"}, "did you mean `currency`?"),
    ],
)
def test_a_config_is_refused_in_words(
    python_sandbox: Sandbox, enrich_order: Path, config: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModuleFault) as fault:
        load(python_sandbox, enrich_order, config)
    assert words in fault.value.problem
    assert fault.value.remedy == "check transformers.enrich-order.config"


def test_it_needs_sixteen_mebibytes_and_says_so(python_sandbox: Sandbox, enrich_order: Path) -> None:
    with pytest.raises(ModuleFault, match=r"cannot be instantiated: .*memory") as fault:
        load(python_sandbox, enrich_order, limits=Limits.conservative())
    assert "raise its limits" in fault.value.remedy
    assert load(python_sandbox, enrich_order, limits=Limits(memory_bytes=16 << 20)).run(Batch(SOURCE, [ORDER])).outcomes


def test_many_batches_on_one_guest_take_no_more_memory(python_sandbox: Sandbox, enrich_order: Path) -> None:
    """It lives on within two megabytes of what it starts with: a leak of 100 bytes for each event would end it."""
    transformer = load(python_sandbox, enrich_order, {"currency": "EUR"}, limits=Limits(memory_bytes=16 << 20))
    session, started = transformer.session(), python_sandbox.stats().instances_created
    batch = Batch(SOURCE, [ORDER] * 256)
    for _ in range(120):
        assert len(session.run(batch).outcomes) == 256
    session.close()
    assert python_sandbox.stats().instances_created - started == 1


def test_a_batch_of_one_and_of_ten_thousand(python_sandbox: Sandbox, enrich_order: Path) -> None:
    transformer = load(python_sandbox, enrich_order, limits=Limits(memory_bytes=128 << 20, deadline_ms=60_000))

    for count in (1, 10_000):
        outcomes = transformer.run(Batch(SOURCE, [ORDER] * count)).outcomes
        assert {type(one) for one in outcomes} == {Emitted}
        assert len(outcomes) == count


ODD = """
import sys
from penstock_guest import Event, Outcome, Reject, host, transformer

kept = []


def deeper(number: int) -> int:
    return deeper(number + 1) + 1


@transformer
def transform(event: Event) -> Outcome:
    match event.text:
        case "raise":
            raise KeyError("lost")
        case "loop":
            while True:
                pass
        case "hog":
            while True:
                kept.append(bytearray(1 << 20))
        case "deep":
            sys.setrecursionlimit(10**9)
            return deeper(0)
        case "exit":
            sys.exit(3)
        case "print":
            print("to nowhere", file=sys.stderr)
        case "nothing":
            return None
        case "surrogate":
            return event.emit("\\ud800")
        case "log":
            host.log(f"at {host.now_ms() > 0} {host.monotonic_ns() > 0} {len(host.random(7))}", host.WARNING)
        case "kv":
            host.kv_put("a", b"\\xff\\x00")
            return event.emit(host.kv_get("a"))
        case "env":
            return event.emit(host.env_get("GREETING"))
        case "file":
            host.file_write("note", b"\\xff")
            return event.emit(host.file_read("note"))
        case "lookup":
            return event.emit(str([host.lookup("people", 1), *host.lookup_many("people", [2, 9])]))
        case "query":
            return event.emit(str([host.db_query("SELECT id FROM people WHERE name = ?", ["Eve"]), host.db_query("SELECT name FROM people ORDER BY id")]))
        case "execute":
            return event.emit(str(host.db_execute("UPDATE people SET name = ? WHERE id > ?", ("Mia", 0))))
        case "transaction":
            return event.emit(str(host.db_transaction([("DELETE FROM people WHERE id = ?", [1]), ("DELETE FROM people", [])])))
        case "half":
            try:
                host.db_transaction([("DELETE FROM people", []), ("INSERT INTO people VALUES (?, ?)", [2, None])])
            except host.HostError as error:
                return event.emit(f"{error} {len(host.db_query('SELECT * FROM people'))}")
        case "invalid":
            try:
                host.db_query("SELECT 1", [[]])
            except host.HostError as error:
                return event.emit(str(error))
        case "ungranted":
            host.http_request("GET", "http://x")
    return event.unchanged()
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, enrich_order: Path) -> Path:
    """A guest that does what an event says, with capabilities. (`enrich_order`: skipped where that is.)"""
    assert enrich_order.exists()
    folder = tmp_path_factory.mktemp("odd")
    (folder / "src").mkdir()
    (folder / "src" / "transform.py").write_text(ODD)
    (folder / "guest.toml").write_text(
        'name = "odd"\nversion = "1.0.0"\nlanguage = "python"\nmodule = "odd.wasm"\ncapabilities = ["log", "clock", "random", "key-value", "environment",'
        ' "filesystem-read", "filesystem-write", "database-read", "database-query", "database-write", "database-transaction"]\n'
    )
    (folder / "odd.wasm").write_bytes(compile_project(read_project(folder))[0])
    return folder / "odd.wasm"


def granted(folder: Path) -> Grants:
    files, tables = FileScope(read=(folder,), write=(folder,)), DatabaseScope("shop", tables=("people",))
    return Grants(
        (
            Grant(frozenset({Capability.LOG, Capability.CLOCK, Capability.RANDOM, Capability.KEY_VALUE})),
            Grant(frozenset({Capability.ENVIRONMENT}), EnvironmentScope(("GREETING",))),
            Grant(frozenset({Capability.FILESYSTEM_READ, Capability.FILESYSTEM_WRITE}), files),
            Grant(DATABASE, tables),
        )
    )


@pytest.fixture(scope="module")
def odd_guest(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transformer]:
    """Beside a file `note`, a table `people` and a variable `GREETING`."""
    folder = tmp_path_factory.mktemp("world")
    files, path = folder / "files", folder / "shop.db"
    files.mkdir()
    (files / "note").write_bytes(b"old")
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        raw.execute("INSERT INTO people VALUES (1, 'Ada'), (2, 'Eve')")
    services = Services(
        databases={"shop": DatabaseSpec("shop", "sqlite", path)},
        state_dir=folder / "state",
        process_environment={"GREETING": "salve"},
    )
    with Sandbox(workers=1, services=services) as sandbox:
        limits = LIMITS.with_(deadline_ms=500)
        yield sandbox.load(TransformerSpec(name="odd", module=odd, limits=limits, capabilities=granted(files)))


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("raise", "trap", "exception: KeyError: 'lost' (transform.py:16, in transform)"),
        ("loop", "deadline", "longer than its 500 ms"),
        ("hog", "memory", "out of memory"),
        ("deep", "stack", "stack"),
        ("exit", "trap", "exception: SystemExit: 3 (transform.py:"),
        ("nothing", "trap", "a transformer returns an outcome"),
        ("surrogate", "trap", "surrogates not allowed"),
        ("ungranted", "trap", "add its capability to guest.toml"),
    ],
)
def test_whatever_python_does_costs_one_event(odd_guest: Transformer, text: str, kind: str, words: str) -> None:
    events = [Event(at, 0, b"k", value) for at, value in enumerate([b"fine", text.encode(), b"fine", b"fine"])]
    outcomes = odd_guest.run(Batch(SOURCE, events)).outcomes
    first, bad, *rest = outcomes
    assert all(isinstance(one, Emitted) for one in (first, *rest))
    assert isinstance(bad, Violation)
    assert (bad.kind, words in bad.message) == (kind, True), bad.message


def test_what_is_printed_goes_nowhere_or_fails_alone(odd_guest: Transformer) -> None:
    """WASI is stubbed out: there is nothing to print to. Lines for the operator are `host.log`."""
    _, after = odd_guest.run(Batch(SOURCE, [Event(0, 0, None, b"print"), Event(1, 0, None, b"fine")])).outcomes
    assert isinstance(after, Emitted)


def test_each_capability_asks_what_the_host_takes(odd_guest: Transformer) -> None:
    """By the host itself: real files, a real database, a real store."""
    expected = {
        "env": b"salve",
        "file": b"\xff",
        "lookup": b"[{'id': 1, 'name': 'Ada'}, {'id': 2, 'name': 'Eve'}, None]",
        "query": b"[[{'id': 2}], [{'name': 'Ada'}, {'name': 'Eve'}]]",
        "half": b"db_transaction: an invalid request (-6) 2",
        "invalid": b"db_query: an invalid request (-6)",
        "execute": b"2",
        "transaction": b"[1, 1]",
    }
    events = [Event(at, 0, None, word.encode()) for at, word in enumerate(expected)]
    outcomes = odd_guest.run(Batch(SOURCE, events)).outcomes
    made = [one.events[0].value if isinstance(one, Emitted) else one for one in outcomes]
    assert dict(zip(expected, made, strict=True)) == expected


def test_a_component_imports_what_its_capabilities_need(odd: Path) -> None:
    asked = {name for name, capability in NEEDED_FOR.items() if capability != "network-client"}
    imported = {one.name: one.capability for one in inspect_module(odd.read_bytes()).imports}
    assert imported.keys() == {"penstock-fail", *(f"penstock-{name.replace('_', '-')}" for name in asked)}
    assert set(imported.values()) == {None, *(NEEDED_FOR[name] for name in asked)}


def test_capabilities_are_typed_functions(odd_guest: Transformer) -> None:
    report = odd_guest.run(Batch(SOURCE, [Event(0, 0, None, b"log"), Event(1, 0, None, b"kv")]))
    assert [(line.level, line.text) for line in report.logs] == [(3, "at True True 7")]
    assert report.outcomes[1] == Emitted((Event(1, 0, None, b"\xff\x00"),))
