"""The rebuild's own judgement: which differences it sees, and what it says when a toolchain is missing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.workshop import toolchains
from pipeline.workshop.errors import MissingToolchainError
from tests.transformers import shipped


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`transformers/build.py`, which is a script beside its module, not part of a package."""
    monkeypatch.syspath_prepend(str(shipped.ROOT / "transformers"))
    monkeypatch.delitem(sys.modules, "build", raising=False)
    yield importlib.import_module("build")
    sys.modules.pop("build", None)


def test_what_was_written_is_no_difference(build: ModuleType, tmp_path: Path) -> None:
    modules = {"b.wasm": b"2", "a.wasm": b"1"}
    build.write(modules, tmp_path)
    assert build.differences(modules, tmp_path) == []


def test_every_difference_is_named(build: ModuleType, tmp_path: Path) -> None:
    build.write({"same.wasm": b"1", "other.wasm": b"2", "stray.wasm": b"3"}, tmp_path)
    found = build.differences({"same.wasm": b"1", "other.wasm": b"9", "new.wasm": b"4"}, tmp_path)
    assert [line.split(":")[0] for line in found] == ["stray.wasm", "new.wasm", "other.wasm", "SHA256SUMS"]


def test_edited_sums_are_a_difference(build: ModuleType, tmp_path: Path) -> None:
    build.write({"a.wasm": b"1"}, tmp_path)
    (tmp_path / "SHA256SUMS").write_text("0000  a.wasm\n")
    assert [line.split(":")[0] for line in build.differences({"a.wasm": b"1"}, tmp_path)] == ["SHA256SUMS"]


def test_every_committed_module_has_a_guest(build: ModuleType) -> None:
    built = {f"{guest.replace('-', '_')}.wasm" for guest in (*build.RUST_GUESTS, *build.C_GUESTS)}
    assert built == {path.name for path in shipped.MODULES.glob("*.wasm")}


def test_a_part_of_the_folder_is_compared_alone(build: ModuleType, tmp_path: Path) -> None:
    build.write({"a.wasm": b"1", "b.wasm": b"2"}, tmp_path)
    assert build.differences({"a.wasm": b"1"}, tmp_path, whole=False) == []
    assert build.differences({"a.wasm": b"1"}, tmp_path)[0] == "b.wasm: committed, but nothing builds it"
    build.write({"b.wasm": b"3"}, tmp_path)
    assert build.differences({"a.wasm": b"1", "b.wasm": b"3"}, tmp_path) == []


def test_what_has_other_bytes_each_time_is_built_and_has_no_sum(build: ModuleType, tmp_path: Path) -> None:
    (name,) = build.NOT_KEPT
    build.write({name: b"1", "a.wasm": b"2"}, tmp_path)
    assert (tmp_path / name).read_bytes() == b"1"
    assert build.sums_of(tmp_path).keys() == {"a.wasm"}
    assert build.differences({name: b"3", "a.wasm": b"2"}, tmp_path) == []
    ignored = (shipped.ROOT / ".gitignore").read_text().splitlines()
    assert str((build.LANGUAGES / name).relative_to(shipped.ROOT)) in ignored


def test_a_name_that_nothing_has_is_refused(build: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nothing is called fortran: choose of shipped"):
        build.builders(["fortran"], tmp_path)


def test_every_languages_module_is_of_an_example_and_has_its_sum(build: ModuleType) -> None:
    examples = {f"enrich_order_{language}.wasm" for language in build.examples()}
    committed = {
        path.name: path.read_bytes() for path in build.LANGUAGES.glob("*.wasm") if path.name not in build.NOT_KEPT
    }
    assert committed.keys() <= examples
    sums = build.sums_of(build.LANGUAGES)
    assert {name: sums.get(name) for name in committed} == build.digests(committed)
    assert sums.keys() <= committed.keys()


def test_a_missing_toolchain_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchains.Path, "exists", lambda self: "wasm-ld" not in str(self))
    with pytest.raises(MissingToolchainError) as missing:
        toolchains.find_rust()
    assert "/usr/bin/wasm-ld-14 missing" in str(missing.value)
    assert missing.value.commands[0].endswith("rustc-web cargo-web rust-web-src lld")
