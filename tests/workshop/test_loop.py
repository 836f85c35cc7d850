"""`penstock test`, `--fuzz` and `bench` on a project from `penstock new`, from inside of it and from its parent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.workshop import toolchains
from pipeline.workshop.errors import MissingToolchainError
from tests.workshop.loop import penstock
from tests.workshop.tools import absent, need


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two projects, both built."""
    need("c")
    try:
        toolchains.zig()
    except MissingToolchainError as error:
        absent(error)
    folder = tmp_path_factory.mktemp("parent")
    for name in ("one", "two"):
        assert penstock("new", "c", name, at=folder).code == 0
    assert penstock("build", at=folder).code == 0
    return folder


def test_cases_of_one_and_of_all(parent: Path) -> None:
    both = penstock("test", at=parent)
    assert (both.code, both.err) == (0, "")
    assert "one  one/cases/one.yaml" in both.out and "two  two/cases/two.yaml" in both.out
    inside = penstock("test", at=parent / "two")
    assert inside.code == 0
    assert "two  cases/two.yaml" in inside.out and "one" not in inside.out.replace("one.yaml", "")
    named = penstock("test", "one", "--json", at=parent)
    assert {case["transformer"] for case in json.loads(named.out)["cases"]} == {"one"}


def test_what_fuzzing_finds_lies_in_the_project(parent: Path) -> None:
    source = parent / "two" / "src" / "two.c"
    before = source.read_text()
    source.write_text(before.replace("return byte >=", "if (byte == 104) __builtin_trap(); return byte >="))
    try:
        stale = penstock("test", "two", at=parent)
        assert stale.code == 0
        assert "sources are newer than the module" in stale.err
        assert penstock("build", "two", at=parent).code == 0
        done = penstock("test", "two", "--fuzz", 50, "--seed", 1, "--json", at=parent)
        assert done.code == 1
        assert "newer" not in done.err
        (finding,) = json.loads(done.out)["fuzz"][0]["findings"]
        assert (finding["kind"], finding["event"]["value"]) == ("trap", "h")
        assert finding["case"].startswith("two/found/trap-")
        assert (parent / finding["case"]).is_file()
    finally:
        source.write_text(before)
        assert penstock("build", "two", at=parent).code == 0


def test_what_it_costs(parent: Path) -> None:
    done = penstock("bench", "one", "--json", at=parent)
    assert done.code == 0, done.err
    assert json.loads(done.out)["name"] == "one"
    which = penstock("bench", at=parent)
    assert which.code == 2
    assert "which one? — name one of: one, two" in which.err


def test_what_is_not_built_is_said(parent: Path, tmp_path: Path) -> None:
    assert penstock("new", "c", "fresh", at=tmp_path).code == 0
    for command in ("test", "bench"):
        done = penstock(command, "fresh", at=tmp_path)
        assert done.code == 2
        assert "fresh is not built yet — penstock build fresh" in done.err


def test_a_pin_that_does_not_fit_is_said(parent: Path) -> None:
    registry = parent / "one" / "registry.yaml"
    before = registry.read_text()
    registry.write_text(before.replace("    limits:", f'    sha256: "{"0" * 64}"\n    limits:', 1))
    try:
        done = penstock("test", "one", at=parent)
        assert done.code == 2
        assert "the module's sha256 is" in done.err and f"{os.sep}registry.yaml:" in done.err
    finally:
        registry.write_text(before)
