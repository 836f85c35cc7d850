"""Whatever a registry file holds, loading it gives a registry or a ConfigError: never another exception, never a hang."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.registry import load_registry
from pipeline.registry.document import Document
from pipeline.registry.environ import substitute
from pipeline.registry.load import check_document
from pipeline.registry.reading import parse_document
from schemas.errors import ConfigError
from schemas.specs import Registry

from .conftest import MODULE
from .test_load import EVERYTHING, PEM

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=1 << 70)
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(
        ["${A}", "${", "${B:-x}", "4MiB", "250ms", "20 in 1m", "/a.*/", "/(/", "/[[/", "untrusted", "a.wasm", ".", "a,b", "\0", "\ud800",
         "2026-01-31T08:00:00Z", "10000-01-01T00:00:00Z", "9" * 5000 + "MiB", "raw", "SASL_SSL", "penstock.control", "1" * 64]
    )
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    (folder / "a.wasm").write_bytes(MODULE)
    (folder / "ca.pem").write_text(PEM)
    return folder


def _places(value: Any, steps: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [steps]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*steps, key))
    return found


def _mutated(value: Any, steps: tuple[Any, ...], new: Any) -> Any:
    if not steps:
        return new
    if isinstance(value, dict):
        return {key: _mutated(item, steps[1:], new) if key == steps[0] else item for key, item in value.items()}
    return [_mutated(item, steps[1:], new) if index == steps[0] else item for index, item in enumerate(value)]


GOOD = parse_document(EVERYTHING, "good.yaml").data
PLACES = _places(GOOD)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_mutated_values(base: Path, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    data = GOOD
    for steps, new in changes:
        if steps in _places(data):
            data = _mutated(data, steps, new)
    _load_or_refuse(Document(data), base)


def test_a_name_of_control_characters_is_not_listed_as_it_is(base: Path) -> None:
    _load_or_refuse(Document(_mutated(GOOD, ("transformers",), {"\n": None})), base)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.sampled_from([place for place in PLACES if place]), key=st.text(max_size=12), value=VALUES)
def test_mutated_keys(base: Path, steps: tuple[Any, ...], key: str, value: Any) -> None:
    holder = GOOD
    for step in steps[:-1]:
        holder = holder[step]
    if isinstance(holder, dict):
        renamed = {(key if name == steps[-1] else name): item for name, item in holder.items()} | {key + "x": value}
        _load_or_refuse(Document(_mutated(GOOD, steps[:-1], renamed)), base)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_text(base: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(EVERYTHING)))
    end = data.draw(st.integers(start, min(len(EVERYTHING), start + 20)))
    noise = data.draw(
        st.text(max_size=6)
        | st.sampled_from(
            [*"{}[]:,&*!|>'\"%@`#?-\t\n", "<<", "---\n", "...\n", "%TAG ! x\n", "? ", "!!int ", "&a ", "*a"]
        )
    )
    path = base / "registry.yaml"
    path.write_bytes((EVERYTHING[:start] + noise + EVERYTHING[end:]).encode(errors="surrogatepass"))
    _refuse_or_pass(lambda: load_registry(path, environ={}))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_noise(base: Path, noise: bytes) -> None:
    path = base / "registry.yaml"
    path.write_bytes(noise)
    _refuse_or_pass(lambda: load_registry(path, environ={}))


def _load_or_refuse(document: Document, base: Path) -> None:
    def load() -> Registry:
        filled, faults = substitute(document, {"A": "a.wasm"})
        return check_document(filled, base, None, faults).registry

    _refuse_or_pass(load)


def _refuse_or_pass(load: Any) -> None:
    try:
        registry = load()
    except ConfigError as error:
        assert error.faults
        for fault in error.faults:
            assert fault.problem
            str(fault).encode()
            assert "\n" not in str(fault)
    else:
        assert isinstance(registry, Registry)
        assert repr(registry)
