"""Which projects a command means: inside of one, from its parent, from a parent with several, and by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.assets import sdk_folder
from pipeline.cli.project_names import complete_language, complete_project
from pipeline.workshop.languages import available
from pipeline.workshop.project import find_projects, read_project
from schemas.errors import ConfigError


def make(folder: Path, name: str | None = None) -> Path:
    folder.mkdir(parents=True)
    text = f'name = "{name or folder.name}"\nversion = "1"\nlanguage = "c"\nmodule = "a.wasm"\n'
    (folder / "guest.toml").write_text(text)
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with two projects and something else."""
    make(tmp_path / "mask")
    make(tmp_path / "enrich-v2", "enrich")
    (tmp_path / "notes").mkdir()
    return tmp_path


def found(names: list[str], at: Path) -> list[str]:
    return [project.name for project in find_projects(names, at)]


def test_inside_of_a_project_it_is_that_one(shop: Path) -> None:
    (shop / "mask" / "src" / "deep").mkdir(parents=True)
    assert found([], shop / "mask") == ["mask"]
    assert found([], shop / "mask" / "src" / "deep") == ["mask"]
    assert found(["mask"], shop / "mask") == ["mask"]
    assert found(["enrich"], shop / "mask") == ["enrich"]  # a neighbour


def test_from_the_parent_it_is_all_of_them(shop: Path) -> None:
    assert found([], shop) == ["enrich", "mask"]


def test_by_name_by_folder_and_by_path(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert found(["mask", "enrich-v2"], shop) == ["mask", "enrich"]
    assert found(["enrich"], shop) == ["enrich"]
    assert found(["enrich", "./enrich-v2", str(shop / "enrich-v2")], shop) == ["enrich"]  # one project, once
    assert found([str(shop / "mask")], tmp_path_factory.mktemp("far")) == ["mask"]
    assert found(["."], shop / "mask") == ["mask"]


@pytest.mark.parametrize("name", ["maks", "", "a\0b", "x" * 5_000, "notes", "../.."])
def test_a_name_that_means_nothing(shop: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="there is no guest project") as refused:
        find_projects([name], shop)
    if name == "maks":
        assert "did you mean 'mask'?" in str(refused.value)


def test_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no guest project here — go to a folder with a guest\.toml"):
        find_projects([], tmp_path)


def test_the_mistakes_of_several_come_together(shop: Path) -> None:
    for name in ("mask", "enrich-v2"):
        (shop / name / "guest.toml").write_text("colour = 1\n")
    with pytest.raises(ConfigError) as refused:
        find_projects([], shop)
    assert {fault.file for fault in refused.value.faults} == {
        str(shop.resolve() / name / "guest.toml") for name in ("mask", "enrich-v2")
    }


def test_a_copy_of_the_sdk_in_the_project_goes_before_the_shipped_one(shop: Path) -> None:
    assert read_project(shop / "mask").sdk == sdk_folder("c")
    (shop / "mask" / "penstock").mkdir()
    assert read_project(shop / "mask").sdk == shop.resolve() / "mask" / "penstock"


def test_a_shell_is_offered_languages_and_projects(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    assert complete_language("") == list(available())
    assert complete_language("c") == ["c"]
    assert complete_project("") == ["enrich-v2", "mask"]
    assert complete_project("m") == ["mask"]
    (shop / "mask" / "guest.toml").write_text("broken")
    assert complete_project("m") == ["mask"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("penstock new c", ["c"]),
        ("penstock new rust x --template ", ["secure"]),
        ("penstock build ", ["enrich-v2", "mask"]),
        ("penstock build ma", ["mask"]),
    ],
)
def test_the_shells_completion_asks_for_them(shop: Path, line: str, offered: list[str]) -> None:
    words = line.split(" ")
    asked = {"_PENSTOCK_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    command = Path(sys.executable).parent / "penstock"
    done = subprocess.run([command], cwd=shop, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == offered, done.stderr
