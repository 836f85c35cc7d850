"""What a user installs: the wheel and the sdist, and the wheel at work in an empty environment, far from any checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from pipeline.workshop import toolchains
from pipeline.workshop.errors import MissingToolchainError
from tests.workshop.tools import absent, need, templated

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "sandbox", "schemas")
EVENTS = 600
"""Of the demo: a few over the least it takes."""
ORDER = '{"topic":"shop.public.orders","value":{"op":"c","after":{"id":1,"amount":"2.50","status":"placed"}}}\n'


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and the sdist, built from this checkout by its own build backend."""
    folder = tmp_path_factory.mktemp("dist")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    for command in (pip, [sys.executable, "-c", f"import hatchling.build as b; b.build_sdist({str(folder)!r})"]):
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    (path,) = dist.glob("*.whl")
    return zipfile.ZipFile(path)


class Elsewhere:
    """An environment of its own with the wheel in it, and an empty directory to stand in.

    The dependencies are those of this environment, by a line in a .pth file (whose own .pth files, such as that of an
    editable install, are not followed); what is ours is the wheel's.
    """

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder, self.here = folder / "env", folder / "empty"
        self.here.mkdir()
        venv.create(self.folder, with_pip=False)
        ours = sysconfig.get_path("purelib", vars={"base": str(self.folder)})
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(self.folder),
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
        ]
        subprocess.run([*pip, str(wheel)], check=True, timeout=120, capture_output=True)
        (Path(ours) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.environ = {"PATH": "/usr/bin:/bin", "HOME": str(folder / "home"), "COLUMNS": "200", "LANG": "C.UTF-8"}

    def run(self, name: str, *options: str, stdin: str = "") -> str:
        done = subprocess.run(
            [self.folder / "bin" / name, *options],
            cwd=self.here,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def add(self, folder: Path) -> None:
        """A folder of packages, as if they were installed here."""
        ours = sysconfig.get_path("purelib", vars={"base": str(self.folder)})
        (Path(ours) / "more.pth").write_text(f"{folder}\n")

    def refused(self, *options: str, code: int) -> str:
        """What `penstock` complains of."""
        program = self.folder / "bin" / "penstock"
        done = subprocess.run(
            [program, *options],
            cwd=self.here,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr

    def penstock(self, *options: str, stdin: str = "") -> str:
        return self.run("penstock", *options, stdin=stdin)


@pytest.fixture(scope="module")
def elsewhere(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    (path,) = dist.glob("*.whl")
    return Elsewhere(tmp_path_factory.mktemp("elsewhere"), path)


def test_what_runs_is_the_wheels(elsewhere: Elsewhere) -> None:
    files = elsewhere.run(
        "python", "-c", "import pipeline, sandbox, schemas; print(*(m.__file__ for m in (pipeline, sandbox, schemas)))"
    )
    assert all(Path(file).is_relative_to(elsewhere.folder) for file in files.split())


def test_the_demo_accounts_for_every_event_and_leaves_nothing_behind(elsewhere: Elsewhere) -> None:
    said = json.loads(elsewhere.penstock("demo", "--events", str(EVENTS), "--json"))
    assert said["produced"] == EVENTS == sum(said[outcome] for outcome in ("emitted", "dropped", "dead_lettered"))
    assert list(elsewhere.here.iterdir()) == []


def test_check_and_try_with_the_shipped_registry(elsewhere: Elsewhere) -> None:
    registry = elsewhere.penstock("registry", "example").strip()
    assert Path(registry).is_relative_to(elsewhere.folder)
    assert elsewhere.penstock("check", registry).splitlines()[-1] == f"ok {registry}"
    tried = json.loads(elsewhere.penstock("try", registry, "enrich-order", "--event", "-", "--json", stdin=ORDER))
    assert tried["outcome"] == "emitted"
    assert elsewhere.penstock("--version") == f"penstock {metadata_of(elsewhere)}\n"
    assert list(elsewhere.here.iterdir()) == []


def test_a_guest_is_made_and_built_far_from_any_checkout(elsewhere: Elsewhere) -> None:
    need("c")
    try:
        tools = toolchains.wheel("ziglang")
    except MissingToolchainError as error:
        absent(error)
    elsewhere.environ |= {"PENSTOCK_NO_FETCH": "1"}
    elsewhere.penstock("new", "c", "shout")
    told = elsewhere.refused("build", "shout", code=2)
    assert "install it with:\n  pip install 'penstock[guests]'\n" in told
    elsewhere.add(tools)  # as that command would
    elsewhere.penstock("build", "shout", "--pin")
    assert "ok shout/registry.yaml" in elsewhere.penstock("check", "shout/registry.yaml")
    assert "passed" in elsewhere.penstock("test", "shout")
    said = json.loads(elsewhere.penstock("inspect", "shout/build/shout.wasm", "--json"))
    assert (said["metadata"]["name"], said["refused"]) == ("shout", [])
    assert {path.name for path in elsewhere.here.iterdir()} == {"shout"}
    shutil.rmtree(elsewhere.here / "shout")


@pytest.mark.parametrize("language", templated())
def test_every_language_builds_with_what_the_wheel_ships(
    elsewhere: Elsewhere, language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The toolchains are those that this checkout has fetched; SDK, template and pins are the wheel's."""
    need(language)
    kept = toolchains.cache_folder()
    kept.mkdir(exist_ok=True)
    (tmp_path / "penstock").mkdir()
    (tmp_path / "penstock" / "toolchains").symlink_to(kept)
    users = {"PATH": os.environ["PATH"], "HOME": str(Path.home()), "XDG_CACHE_HOME": str(tmp_path)}
    monkeypatch.setattr(elsewhere, "environ", elsewhere.environ | users | {"PENSTOCK_NO_FETCH": "0"})
    name = f"guest-in-{language}"
    elsewhere.penstock("new", language, name)
    elsewhere.penstock("build", name)
    said = json.loads(elsewhere.penstock("inspect", *map(str, (elsewhere.here / name).glob("build/*.wasm")), "--json"))
    assert (said["metadata"]["name"], said["refused"]) == (name, [])
    shutil.rmtree(elsewhere.here / name)


def test_the_extra_brings_what_the_toolchains_pin() -> None:
    pinned = {name: pin["version"] for name, pin in toolchains.pins()["pypi"].items()}
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["guests"]
    assert dict(line.split("==") for line in extra) == pinned


def metadata_of(elsewhere: Elsewhere) -> str:
    return elsewhere.run("python", "-c", "from importlib.metadata import version; print(version('penstock'))").strip()


def sources() -> set[str]:
    """Every file of ours that belongs into a wheel, as git knows them."""
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.split() if (ROOT / name).is_file()}


def test_the_wheel_has_all_of_ours_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    shipped = {name for name in names if name.startswith("pipeline/shipped/")}
    assert sources() <= names
    extra = names - shipped - sources()
    assert not [name for name in extra if not (ROOT / name).is_file()]  # not yet committed at most
    assert {name.partition("/")[0] for name in names} == set(PACKAGES)
    assert all(f"{package}/py.typed" in names for package in PACKAGES)


def test_the_shipped_modules_are_those_that_the_registry_names(wheel: zipfile.ZipFile) -> None:
    text = wheel.read("pipeline/shipped/registry.yaml").decode()
    assert text == (ROOT / "transformers" / "registry.yaml").read_text()
    for module in re.findall(r"^\s*module: (\S+)", text, re.MULTILINE):
        assert wheel.read(f"pipeline/shipped/{module}") == (ROOT / "transformers" / module).read_bytes()


def test_the_sdks_are_shipped_and_nothing_that_compilers_left_there(wheel: zipfile.ZipFile) -> None:
    folder = "pipeline/shipped/sdk/"
    shipped = {name.removeprefix(folder) for name in wheel.namelist() if name.startswith(folder)}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "transformers/sdk"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert shipped == {name.removeprefix("transformers/sdk/") for name in listed if (ROOT / name).is_file()}
    assert wheel.read("pipeline/shipped/toolchain.toml") == (ROOT / "transformers" / "toolchain.toml").read_bytes()


def test_the_metadata_says_who_it_is(wheel: zipfile.ZipFile) -> None:
    folder = next(name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name)
    said: Message = message_from_bytes(wheel.read(f"{folder}/METADATA"))
    assert (said["Name"], said["License-Expression"], said["Requires-Python"]) == ("penstock", "Apache-2.0", ">=3.11")
    assert said["Description-Content-Type"] == "text/markdown"
    assert wheel.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert "penstock = pipeline.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    needed = [need for need in said.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert _names(needed) == _names(_declared())


def _declared() -> list[str]:
    declared: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return declared


def _names(requirements: Sequence[str]) -> set[str]:
    return {re.split(r"[<>=!~ \[;]", need)[0].lower().replace(".", "-") for need in requirements}


def test_the_sdist_can_be_built_and_tested_from(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert sources() <= names
    assert {"LICENSE", "README.md", "pyproject.toml", "Makefile", "transformers/registry.yaml"} <= names
    assert "tests/e2e/test_wheel.py" in names
    assert not [name for name in names if name.partition("/")[0] in (".services", ".toolchains", ".venv", ".git")]
