"""The whole loop as a new user walks it, in an empty folder, for every language: new, build, test, check, inspect, pin, change."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from pipeline.workshop.project import read_project
from pipeline.workshop.scaffold import templates
from tests.workshop.tools import need, penstock, templated

NAME = "mask-names"
OTHER_BYTES = {"python"}
"""componentize-py keeps CPython's memory as it is after the imports: with its hash seed and the times of files."""


def ran(*arguments: str, cwd: Path) -> str:
    done = penstock(*arguments, cwd=cwd)
    assert done.returncode == 0, f"penstock {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def kinds() -> list[tuple[str, ...]]:
    """What `penstock new` is told, for every template there is."""
    plain = [(language,) for language in templated()]
    return plain + [(language, "--template", name) for language in templated() for name in templates(language)]


@pytest.mark.parametrize("kind", kinds(), ids=" ".join)
def test_new_build_test_check(tmp_path: Path, kind: tuple[str, ...]) -> None:
    language = kind[0]
    need(language)
    made = ran("new", *kind, NAME, cwd=tmp_path)
    assert "penstock build" in made
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    folder = tmp_path / NAME

    built = ran("build", NAME, cwd=tmp_path)
    project = read_project(folder)
    sha256 = hashlib.sha256(project.module.read_bytes()).hexdigest()
    assert built.startswith(f"{NAME}  ")
    assert f"  sha256 {sha256}\n" in built

    assert re.search(r"\d+ passed", ran("test", cwd=folder))
    assert ran("check", "registry.yaml", cwd=folder).splitlines()[-1] == "ok registry.yaml"

    found = json.loads(ran("inspect", str(project.module), "--json", cwd=tmp_path))
    assert found["refused"] == []
    assert found["sha256"] == sha256
    assert found["metadata"]["name"] == NAME
    assert found["metadata"]["sdk"].startswith(f"{language}/")
    assert found["capabilities"] == list(project.capabilities)

    copy = tmp_path / "a copy elsewhere" / "of it"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("build"))
    ran("build", cwd=copy)
    moved = hashlib.sha256(read_project(copy).module.read_bytes()).hexdigest()
    assert moved == sha256 or language in OTHER_BYTES, "two folders, one hash"

    ran("build", "--pin", cwd=folder)
    again = hashlib.sha256(project.module.read_bytes()).hexdigest()
    assert again == sha256 or language in OTHER_BYTES, "two builds, one hash"
    assert again in (folder / "registry.yaml").read_text()
    ran("check", "registry.yaml", cwd=folder)


def test_a_missing_toolchain_is_named_by_new_and_by_build(tmp_path: Path) -> None:
    """On a system with apt-get, and without Node.js."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "apt-get").write_text("#!/bin/sh\nexit 1\n")
    (tools / "apt-get").chmod(0o755)
    made = penstock("new", "typescript", NAME, cwd=tmp_path, PATH=str(tools))
    assert made.returncode == 0, made.stderr
    assert re.search(r"first, the toolchain:\n  (sudo )?apt-get install -y nodejs npm\n", made.stdout)
    built = penstock("build", NAME, cwd=tmp_path, PATH=str(tools))
    assert built.returncode == 2
    assert re.search(r"install it with:\n  (sudo )?apt-get install -y nodejs npm\n$", built.stderr)
    said = json.loads(penstock("build", NAME, "--json", cwd=tmp_path, PATH=str(tools)).stdout)
    assert [line.removeprefix("sudo ") for line in said["install"]] == ["apt-get install -y nodejs npm"]
    assert not (tmp_path / NAME / "build").exists()
