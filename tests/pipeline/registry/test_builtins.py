"""`builtin:` in the registry: which module it is, and its config checked where it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.assets import builtin_module
from pipeline.registry import RegistryBuilder, load_registry
from schemas.builtins import NAMES, builtin
from schemas.errors import ConfigError, Fault
from schemas.specs import Registry

HEAD = "version: 1\ntransformers:\n  hide:\n"
ROUTES = "routes: {r: {from: a, through: [hide], to: b}}\n"
Faults = Callable[[str], list[Fault]]


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Registry]:
    def loaded(entry: str) -> Registry:
        path = tmp_path / "registry.yaml"
        path.write_text(HEAD + "".join(f"    {line}\n" for line in entry.splitlines()) + ROUTES)
        return load_registry(path, environ={"SALT": "pepper"})

    return loaded


@pytest.fixture
def faults(load: Callable[[str], Registry]) -> Faults:
    def found(entry: str) -> list[Fault]:
        with pytest.raises(ConfigError) as caught:
            load(entry)
        return list(caught.value.faults)

    return found


def test_a_builtin_is_a_module_with_a_complete_config(load: Callable[[str], Registry]) -> None:
    spec = load('builtin: mask\nconfig: {salt: "${SALT}", rules: [{columns: email, action: hash}]}').transformers[
        "hide"
    ]
    assert (spec.builtin, spec.origin, spec.module.name) == ("mask", "builtin mask", "mask.wasm")
    assert spec.module.is_file()
    rule = {"columns": ["email"], "tables": ["*"], "action": "hash", "keep": 4, "with": "***"}
    assert spec.config == {"salt": "pepper", "key": "", "rules": [rule]}


@pytest.mark.parametrize(
    ("entry", "path", "line", "problem", "remedy"),
    [
        ("builtin: msk", "transformers.hide.builtin", 4, "'msk' is not a built-in", "did you mean mask?"),
        ("builtin: mask\nmodule: x.wasm", "transformers.hide.module", 5, "both module and builtin", "keep one"),
        ("sha256: x", "transformers.hide.module", 3, "'module' is missing", "or builtin: mask"),
        ("builtin: mask", "transformers.hide.config.rules", 3, "'rules' is missing", "add rules"),
        (
            "builtin: mask\nconfig:\n  rules:\n    - columns: a\n      actoin: hash\n      action: redact",
            "transformers.hide.config.rules[0].actoin", 8, "unknown key", "did you mean 'action'?",
        ),
        (
            "builtin: mask\nconfig:\n  rules: [{columns: a, action: hash}]",
            "transformers.hide.config", 6, "needs a salt", "MASK_SALT",
        ),
        (
            "builtin: mask\nencoding: raw\nconfig: {rules: [{columns: a, action: redact}]}",
            "transformers.hide.encoding", 5, "reads change events", "leave encoding out",
        ),
    ],
)  # fmt: skip
def test_faults_say_where_and_what_to_do(
    faults: Faults, entry: str, path: str, line: int, problem: str, remedy: str
) -> None:
    found = next(fault for fault in faults(entry) if fault.path == path)
    assert problem in found.problem
    assert remedy in found.remedy
    assert found.line == line


def test_a_list_whose_items_are_refused_is_not_called_empty_too(faults: Faults) -> None:
    refused = faults("builtin: mask\nconfig: {rules: [{columns: a, action: redakt}]}")
    assert [(fault.path, fault.problem) for fault in refused] == [
        ("transformers.hide.config.rules[0].action", "the value is not one of the choices")
    ]
    (empty,) = faults("builtin: mask\nconfig: {rules: []}")
    assert (empty.path, empty.problem) == ("transformers.hide.config.rules", "is empty")


def test_a_secret_is_in_no_fault(faults: Faults) -> None:
    for fault in faults('builtin: mask\nconfig: {salt: ["${SALT}"], rules: [{columns: a, action: hash}]}'):
        assert "pepper" not in fault.problem + fault.remedy


def test_a_builtin_in_code() -> None:
    registry = RegistryBuilder()
    registry.register("hide", builtin="mask", config={"rules": [{"columns": "email", "action": "redact"}]})
    registry.route("r", sources="a", through="hide", to="b")
    assert registry.build().transformers["hide"].builtin == "mask"


def test_names_are_in_order_and_each_is_there() -> None:
    assert sorted(NAMES) == list(NAMES)
    assert [builtin(name).name for name in NAMES] == list(NAMES)


ROW = "  row: {builtin: unwrap}\n"
SPLIT = "  split: {builtin: route, config: {rules: [{to: [x, 'x.{y}'], when: {a: 1}}, {to: b}]}}\n"
MOVE = "  move: {builtin: rename, config: {topics: [{from: '*', to: '*.v2'}, {from: x, to: other}]}}\n"
PLAIN = "  plain: {module: " + str(builtin_module("mask")) + ", encoding: event, config: {}}\n"


@pytest.mark.parametrize(
    ("transformers", "route", "path", "problem", "remedy"),
    [
        (ROW + MOVE, "through: [row, move], to: b, also_to: [a.v2, other]", "through", "ends them", "put row last"),
        (ROW + PLAIN, "through: [row, plain], to: b", "through", "plain is sent change events", "put row last"),
        (ROW, "through: [row], to: b, format: {out: {name: debezium-json, register: true}}", "format.out", "no change event", "leave"),
        (SPLIT, "through: [split], to: b, also_to: [c]", "also_to", "split sends records to x, which", "also_to: [c, x]"),
        (MOVE, "through: [move], to: b, also_to: [c]", "also_to", "records to a.v2, other", "also_to: [c, a.v2, other]"),
    ],
)  # fmt: skip
def test_what_a_route_must_have(
    tmp_path: Path, transformers: str, route: str, path: str, problem: str, remedy: str
) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(f"version: 1\ntransformers:\n{transformers}routes: {{r: {{from: a, {route}}}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_registry(file)
    (fault,) = caught.value.faults
    assert fault.path == f"routes.r.{path}"
    assert problem in fault.problem
    assert remedy in fault.remedy
    assert fault.line == len(transformers.splitlines()) + 3


def test_topics_of_a_pattern_route_are_not_guessed(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(f"version: 1\ntransformers:\n{MOVE}routes: {{r: {{from: /a.*/, through: [move], to: other}}}}\n")
    assert load_registry(file).routes["r"].pattern == "a.*"
