"""TypeScript, in the dialect that AssemblyScript compiles. The compiler comes from npm, as the SDK's lock file pins it, and runs on node.

A build happens in a folder of its own: the project's sources in `src`, the SDK in `penstock`. So paths in the module are the same
wherever the project lies.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipeline.workshop import toolchains
from pipeline.workshop.compiler import run_compiler
from pipeline.workshop.errors import BuildError, MissingToolchainError
from pipeline.workshop.project import VENDORED, Project

SOURCES = "src"
NODE_MAJOR_LEAST = 20
"""What AssemblyScript asks for."""
_PAGE = 64 << 10
_QUESTION_SECONDS_MAX = 30
_OPTIONS = ("--runtime", "incremental", "--use", f"abort={VENDORED}/host/fail/abort")
"""The minimal runtime never collects by itself: a guest that is kept would grow."""
_RESTRICTED = ("sign-extension", "nontrapping-f2i", "bulk-memory", "mutable-globals")
"""What AssemblyScript uses beyond WebAssembly 1.0 unless it is told not to."""


class Options(BaseModel):
    """`[build]` of a TypeScript guest."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    entry: str = f"{SOURCES}/index.ts"
    """The file that calls `transformer` and exports `penstock/exports`; below `src`."""
    preset: Literal["default", "reference"] = "default"
    """`reference` uses no instruction beyond WebAssembly 1.0: no SIMD, no bulk memory."""
    flags: list[str] = ["-O3", "--debug"]
    """For the compiler. `--debug` keeps the functions' names: backtraces in dead letters need them."""


class TypeScript:
    """See `Language`."""

    name = "typescript"
    sdk = "typescript/0.1.0"

    def missing(self) -> Sequence[str]:
        """node and npm, from this system's packages."""
        if not all(map(shutil.which, ("node", "npm"))):
            return [toolchains.install_command(toolchains.NODE)]
        version = node_version()
        if version < NODE_MAJOR_LEAST:
            return [f"install Node.js {NODE_MAJOR_LEAST} or newer from https://nodejs.org (here is {version})"]
        return ()

    def build(self, project: Project, out: Path) -> str:
        """One call of asc."""
        options = project.options(Options)
        return self._compile(project, out, options, options.flags)

    def build_quickly(self, project: Project, out: Path) -> str:
        """Without optimizing, which is most of the time."""
        options = project.options(Options)
        return self._compile(project, out, options, [flag for flag in options.flags if not flag.startswith("-O")])

    def _compile(self, project: Project, out: Path, options: Options, flags: Sequence[str]) -> str:
        if not (project.folder / options.entry).is_file():
            raise BuildError(f"{project.folder / options.entry}: there is no such file")
        packages = toolchains.npm_packages(lock_folder(project))
        compiler = packages / "node_modules" / "assemblyscript" / "bin" / "asc.js"
        with tempfile.TemporaryDirectory(prefix="penstock-asc-") as scratch:
            _stage(project, Path(scratch))
            command: list[str | Path] = [_node(), compiler, options.entry, "--outFile", out.resolve(), *_OPTIONS]
            command += ["--maximumMemory", str(project.memory_bytes_max // _PAGE), *_features(options.preset)]
            return run_compiler([*command, *flags], cwd=Path(scratch), environ=_environment(), what="asc")

    def sources(self, project: Project) -> Sequence[Path]:
        """The project's sources and the SDK."""
        return [project.folder / SOURCES, project.sdk]


def node_version() -> int:
    """The major version of node; 0 when it does not say."""
    try:
        told = subprocess.run([_node(), "--version"], capture_output=True, text=True, timeout=_QUESTION_SECONDS_MAX)
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.match(r"v(\d+)\.", told.stdout)
    return int(found[1]) if found else 0


def _node() -> str:
    found = shutil.which("node")
    if found is None:
        raise MissingToolchainError("node", [toolchains.install_command(toolchains.NODE)])
    return found


def lock_folder(project: Project) -> Path:
    """Where the package-lock.json lies that says which compiler this project is built with."""
    return project.sdk


def _stage(project: Project, scratch: Path) -> None:
    """The project's sources and the SDK's, side by side."""
    shutil.copytree(project.folder / SOURCES, scratch / SOURCES, ignore=shutil.ignore_patterns("node_modules"))
    own = project.sdk / "assembly"
    shutil.copytree(
        own if own.is_dir() else project.sdk, scratch / VENDORED, ignore=shutil.ignore_patterns("node_modules")
    )


def _features(preset: str) -> list[str]:
    if preset == "reference":
        return [part for feature in _RESTRICTED for part in ("--disable", feature)]
    return ["--enable", "simd"]


def _environment() -> dict[str, str]:
    """The caller's environment without what would change node."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}


LANGUAGE = TypeScript()
