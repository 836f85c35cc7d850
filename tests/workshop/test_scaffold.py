"""`penstock new`: what it makes, what it refuses, and that a failure leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.assets import sdk_folder
from pipeline.workshop.languages import available, language
from pipeline.workshop.project import read_project
from pipeline.workshop.scaffold import RESERVED, create, vendored
from schemas.errors import ConfigError
from tests.workshop.tools import templated


@pytest.mark.parametrize("name", templated())
def test_every_language_makes_a_whole_project(tmp_path: Path, name: str) -> None:
    project = create(name, "mask-names", tmp_path / "new" / "folder")
    assert project.folder == tmp_path.resolve() / "new" / "folder" / "mask-names"
    assert (project.name, project.language) == ("mask-names", name)
    assert project.registry.is_file()
    assert list(project.cases.glob("*.yaml"))
    assert (project.folder / "README.md").is_file()
    texts = [path for path in project.folder.rglob("*") if path.is_file()]
    left = [path.name for path in texts if "{{" in path.name or b"{{name}}" in path.read_bytes()]
    assert not left
    assert not [path for path in project.folder.parent.iterdir() if path.name != "mask-names"]


@pytest.mark.parametrize("name", templated())
def test_the_sdk_comes_along(tmp_path: Path, name: str) -> None:
    project = create(name, "mask-names", tmp_path)
    for origin, target in vendored(sdk_folder(name)):
        assert (project.folder / target).exists(), target
        if origin.is_file():
            assert (project.folder / target).read_bytes() == origin.read_bytes()


def test_every_language_says_what_it_is() -> None:
    for name in available():
        assert language(name).name == name
        assert language(name).sdk.startswith(f"{name}/")


@pytest.mark.parametrize("name", ["a", "mask-names", "a1_b2", "x" * 63])
def test_a_good_name(tmp_path: Path, name: str) -> None:
    assert create("c", name, tmp_path).name == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "1st", "-a", "a-", "a--b", "a__b", "a b", "ä", "a/b", "..", ".", "a\n", "x" * 64, "a.b", "--help", "a\0"],
)
def test_a_name_that_will_not_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a name for a guest — 1 to 63 of"):
        create("c", name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(RESERVED)[::7])
def test_a_name_that_a_compiler_keeps(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"choose another: {name}-events"):
        create("c", name, tmp_path)
    assert create("c", f"{name}-events", tmp_path).name == f"{name}-events"


def test_an_empty_folder_is_taken_and_a_used_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert create("c", "empty", tmp_path).folder.is_dir()
    with pytest.raises(ConfigError, match="is a folder that is not empty"):
        create("c", "empty", tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is in use: not a folder"):
        create("c", "file", tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="is in use"):
        create("c", "link", tmp_path)
    assert (tmp_path / "file").read_text() == "mine"


def test_what_does_not_exist_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'rst' is not a language — did you mean 'rust'"):
        create("rst", "a", tmp_path)
    with pytest.raises(ConfigError, match="c has no template 'secure'"):
        create("c", "a", tmp_path, "secure")
    with pytest.raises(ConfigError, match="has no template"):
        create("c", "a", tmp_path, "../../rust/template")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written: .* — name another --into"):
        create("c", "a", tmp_path / "file" / "below")


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk runs full at the last file."""
    written = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == "penstock.h":
            raise OSError(28, os.strerror(28))
        return written(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises((OSError, ConfigError)):
        create("c", "a", tmp_path)
    assert not list(tmp_path.iterdir())


def test_two_at_once_make_one(tmp_path: Path) -> None:
    first = create("c", "a", tmp_path)
    (first.folder / "mine").write_text("mine")
    with pytest.raises(ConfigError):
        create("c", "a", tmp_path)
    assert (read_project(first.folder).folder / "mine").read_text() == "mine"
