"""The built-ins: their pages show what they really do, their golden cases hold, and their modules are what is committed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from wasmtime import Engine, Module

from pipeline.assets import builtin_module
from pipeline.cli.builtin_page import document, entry
from pipeline.events_file import read_events
from pipeline.registry import RegistryBuilder
from pipeline.registry.reading import parse_document
from pipeline.workshop.cases.running import ISOLATION_MS, run_cases
from pipeline.workshop.subjects import registry_subjects
from sandbox import Sandbox
from schemas.builtins import NAMES, builtin
from schemas.event import Batch, Event, TopicPartition
from schemas.outcome import Emitted
from tests.transformers.shipped import ROOT

FOLDER = ROOT / "transformers" / "builtins"
SIZE_BYTES_MAX = 256 << 10


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, isolation_budget_ms=ISOLATION_MS) as opened:
        yield opened


def spec_of(name: str) -> Any:
    """The page's registry entry, loaded."""
    text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", entry(builtin(name)))
    ((_, data),) = parse_document(text, "page").data.items()
    registry = RegistryBuilder(databases={"shop": {"sqlite": str(FOLDER / "lookup" / "shop.db")}})
    registry.register(name, **data)
    one, config = builtin(name), checked(name, data)
    topics = sorted({*one.topics(config), *one.topics_for(config, ["a"])})
    registry.route("r", sources="a", through=name, to="b", also_to=topics)
    return registry.build().transformers[name]


def checked(name: str, data: Mapping[str, Any]) -> Any:
    return builtin(name).config.model_validate(data["config"])


def as_written(event: Event, like: Mapping[str, Any]) -> dict[str, Any]:
    """The record, as far as the page shows it."""
    shown = {
        "topic": lambda: event.to,
        "key": lambda: None if event.key is None else event.key.decode(),
        "value": lambda: None if event.value is None else json.loads(event.value),
        "headers": lambda: {header: (value or b"").decode() for header, value in event.headers},
    }
    return {member: shown[member]() for member in like}


@pytest.mark.parametrize("name", NAMES)
def test_the_page_shows_what_it_does(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    one = builtin(name)
    (tmp_path / "event").write_text(json.dumps(one.before))
    with (tmp_path / "event").open("rb") as stream:
        (line,) = read_events(stream, "event", "a", [], 1)
    with closing(sandbox.load(spec_of(name)).session()) as session:
        (outcome,) = session.run(Batch(line.source, [line.event])).outcomes
    events = outcome.events if isinstance(outcome, Emitted) else ()
    like = one.after or [{"topic": None, "key": None, "value": None}] * len(events)
    assert [as_written(event, record) for event, record in zip(events, like, strict=True)] == list(one.after), outcome


DEEP: dict[str, dict[str, Any]] = {
    "cast": {"rules": [{"columns": "x", "to": "text"}]},
    "explode": {"column": "x"},
    "flatten": {"depth": 64, "rest": "json"},
    "mask": {"rules": [{"columns": "x", "action": "redact"}]},
    "rename": {"columns": [{"from": "x", "to": "y"}]},
    "route": {"rules": [{"to": "t", "when": {"x": "?*"}}]},
    "unwrap": {},
}


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("inside", ["[%s]", '{"a":%s}', '[{"a":%s}]'])
def test_what_is_nested_is_no_way_to_the_stack(sandbox: Sandbox, name: str, inside: str) -> None:
    deep = "1"
    for _ in range(120 // (inside.count("[") + inside.count("{"))):
        deep = inside % deep
    registry = RegistryBuilder()
    registry.register(name, builtin=name, config=DEEP[name], limits="untrusted")
    registry.route("r", sources="a", through=name, to="b", also_to=["t"])
    value = f'{{"op":"c","before":null,"after":{{"x":{deep}}},"source":{{}}}}'.encode()
    with closing(sandbox.load(registry.build().transformers[name]).session()) as session:
        (outcome,) = session.run(Batch(TopicPartition("a", 0), [Event(0, 0, None, value)])).outcomes
    assert isinstance(outcome, Emitted) or outcome.code == "no-list", outcome  # type: ignore[union-attr]


def test_the_documentation_is_what_the_command_prints() -> None:
    assert (ROOT / "docs" / "builtins.md").read_text() == document(), "penstock builtins --markdown > docs/builtins.md"


@pytest.mark.parametrize("name", NAMES)
def test_golden_cases(sandbox: Sandbox, name: str) -> None:
    (subject,) = registry_subjects(FOLDER / "registry.yaml", [name])
    assert len([case for file in subject.files for case in file.cases]) >= 5
    results = [result for results in run_cases(subject, sandbox) for result in results]
    assert [f"{one.case.name}: {one.error or one.failures}" for one in results if not one.ok] == []


def test_sums_are_those_of_the_modules() -> None:
    folder = builtin_module(NAMES[0]).parent
    sums = {
        name: digest
        for digest, _, name in (line.partition("  ") for line in (folder / "SHA256SUMS").read_text().splitlines())
    }
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.wasm")}
    assert {f"{name}.wasm" for name in NAMES} <= sums.keys()


@pytest.mark.parametrize("name", NAMES)
def test_the_module_is_small_asks_for_no_more_than_it_says_and_names_no_folder_of_its_builder(name: str) -> None:
    code = builtin_module(name).read_bytes()
    imports = {(one.module, one.name) for one in Module.from_file(Engine(), str(builtin_module(name))).imports}
    assert builtin(name).capabilities or imports <= {("penstock", "fail")}
    assert len(code) <= SIZE_BYTES_MAX
    assert not any(folder in code for folder in (b"/root/", b"/home/", b"/tmp/", b"/usr/", b".cargo"))
