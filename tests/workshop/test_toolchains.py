"""Tools found, fetched by hash, or asked for: never half there, never without its hash, never behind the user's back."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from pathlib import Path

import pytest

from pipeline.workshop import toolchains
from pipeline.workshop.errors import MissingToolchainError

NAME = "tinytool-1.0-py3-none-any.whl"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a pip that knows one package: ours."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(toolchains, "cache_folder", lambda: folder)
    monkeypatch.delenv(toolchains.NO_FETCH, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return folder


def pin_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sha256: str | None = None) -> None:
    """A wheel with one file, and the pins that name it."""
    info = "tinytool-1.0.dist-info"
    files = {
        "tinytool/tool": "it works",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tinytool\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(tmp_path / NAME, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD")))
    digest = sha256 or hashlib.sha256((tmp_path / NAME).read_bytes()).hexdigest()
    pins = tmp_path / "toolchain.toml"
    pins.write_text(f'[pypi]\ntinytool = {{ version = "1.0", sha256 = "{digest}" }}\n')
    monkeypatch.setattr(toolchains, "toolchain_pins", lambda: pins)


def test_what_is_missing_is_fetched_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pin_wheel(tmp_path, monkeypatch)
    home = toolchains.wheel("tinytool")
    assert (home / "tinytool" / "tool").read_text() == "it works"
    assert "fetching tinytool 1.0 from PyPI" in capsys.readouterr().err
    (tmp_path / NAME).unlink()
    assert toolchains.wheel("tinytool") == home
    assert capsys.readouterr().err == ""
    assert list(cache.iterdir()) == [home]


def test_other_bytes_than_the_pinned_are_refused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin_wheel(tmp_path, monkeypatch, sha256="0" * 64)
    with pytest.raises(MissingToolchainError) as refused:
        toolchains.wheel("tinytool")
    assert list(cache.iterdir()) == []
    assert refused.value.commands == ("pip install 'penstock[guests]'",)


def test_a_fetch_that_fails_says_why_and_what_to_do(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin_wheel(tmp_path, monkeypatch)
    (tmp_path / NAME).unlink()
    with pytest.raises(MissingToolchainError, match=r"tinytool 1\.0 from PyPI \(.*No matching distribution") as missing:
        toolchains.wheel("tinytool")
    assert "install it with: pip install 'penstock[guests]'" in str(missing.value)
    assert list(cache.iterdir()) == []


def test_nothing_is_fetched_where_that_is_forbidden(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin_wheel(tmp_path, monkeypatch)
    monkeypatch.setenv(toolchains.NO_FETCH, "1")
    with pytest.raises(MissingToolchainError):
        toolchains.wheel("tinytool")
    assert not cache.exists()


def test_the_environments_own_package_is_taken_when_it_is_the_pinned_version(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = tmp_path / "toolchain.toml"
    monkeypatch.setattr(toolchains, "toolchain_pins", lambda: pins)
    monkeypatch.setenv(toolchains.NO_FETCH, "1")
    version = toolchains.importlib.metadata.version("msgpack")
    pins.write_text(f'[pypi]\nmsgpack = {{ version = "{version}", sha256 = "{"0" * 64}" }}\n')
    assert (toolchains.wheel("msgpack") / "msgpack" / "__init__.py").is_file()
    pins.write_text(f'[pypi]\nmsgpack = {{ version = "{version}.99", sha256 = "{"0" * 64}" }}\n')
    with pytest.raises(MissingToolchainError):
        toolchains.wheel("msgpack")


def test_what_a_killed_fetch_left_is_removed_by_the_next(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin_wheel(tmp_path, monkeypatch)
    for name, age in (("part-old", 2 * toolchains.PART_SECONDS_MAX), ("part-new", 0)):
        (cache / name).mkdir(parents=True)
        (cache / name / "file").write_text("half of it")
        os.utime(cache / name, (time.time() - age,) * 2)
    home = toolchains.wheel("tinytool")
    assert {path.name for path in cache.iterdir()} == {home.name, "part-new"}


def test_an_environment_without_pip_is_told_another_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert toolchains.extra_command() == "pip install 'penstock[guests]'"
    monkeypatch.setattr(toolchains.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ensurepip" in toolchains.extra_command()
    (tmp_path / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "uv").chmod(0o755)
    assert toolchains.extra_command().startswith("uv pip install --python /")


@pytest.mark.parametrize(
    ("manager", "line"),
    [
        ("apt-get", "apt-get install -y golang-go"),
        ("dnf", "dnf install -y golang"),
        ("apk", "apk add go"),
        ("pacman", "pacman -S --needed go"),
        ("brew", "brew install go"),
    ],
)
def test_the_command_is_this_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: str, line: str) -> None:
    (tmp_path / manager).write_text("#!/bin/sh\n")
    (tmp_path / manager).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert toolchains.install_command(toolchains.GO) == line
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert toolchains.install_command(toolchains.GO) == (line if manager == "brew" else f"sudo {line}")


def test_a_system_without_a_known_manager_is_told_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install golang-go" in toolchains.install_command(toolchains.GO)
    assert toolchains.install_command(toolchains.GO, "see go.dev") == "see go.dev"


def test_tools_are_kept_in_the_tree_or_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert toolchains.cache_folder() == Path(__file__).resolve().parents[2] / ".toolchains"
    monkeypatch.setattr(toolchains, "checkout", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(toolchains.sys, "platform", "linux")
    assert toolchains.cache_folder() == tmp_path / "penstock" / "toolchains"
    monkeypatch.setenv(toolchains.BUILD_CACHE, str(tmp_path / "builds"))
    assert toolchains.build_cache("zig") == tmp_path / "builds" / "zig"
