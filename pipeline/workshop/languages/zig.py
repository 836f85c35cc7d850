"""Zig, compiled by the zig that PyPI has, for wasm32 without an operating system.

Debug information is left out of the module, the functions' names stay: backtraces in dead letters can be read, and no path of this
machine gets into the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipeline.workshop import toolchains
from pipeline.workshop.compiler import run_compiler
from pipeline.workshop.errors import BuildError
from pipeline.workshop.project import Project
from sandbox.sections import CORE, read_sections

STACK_BYTES = 64 << 10
SDK_ROOT = "penstock.zig"
MODES = {"safe": "ReleaseSafe", "small": "ReleaseSmall", "fast": "ReleaseFast", "debug": "Debug"}


class Options(BaseModel):
    """`[build]` of a Zig guest."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    root: str = "src/main.zig"
    """The root source file, relative to the project."""
    optimize: Literal["safe", "small", "fast", "debug"] = "safe"
    """Zig's release modes. `safe` keeps the checks: an index out of range is a panic with a text, where `small` and `fast` go on with
    whatever lies there."""
    flags: list[str] = []
    """Further options for the compiler, behind penstock's own."""
    stack: int = STACK_BYTES
    """Bytes."""


class Zig:
    """See `Language`."""

    name = "zig"
    sdk = "zig/0.1.0"

    def missing(self) -> Sequence[str]:
        """Nothing: zig comes from PyPI, by hash."""
        return ()

    def build(self, project: Project, out: Path) -> str:
        """One call of the compiler."""
        options = project.options(Options)
        if not (project.folder / options.root).is_file():
            raise BuildError(f"{project.folder}: there is no {options.root}", "name the root file in [build]: root = …")
        command: list[str | Path] = [toolchains.zig(), "build-exe", "-target", "wasm32-freestanding"]
        command += ["-mcpu=generic+bulk_memory", f"-O{MODES[options.optimize]}", "-fsingle-threaded", "-fno-strip"]
        command += ["-fno-entry", "-rdynamic", "--stack", str(options.stack)]
        command += [f"--max-memory={project.memory_bytes_max}", "--name", out.stem, *options.flags]
        command += ["--dep", "penstock", f"-Mroot={options.root}", f"-Mpenstock={project.sdk / SDK_ROOT}"]
        command += [f"-femit-bin={out}"]
        said = run_compiler(command, cwd=project.folder, environ=toolchains.zig_environment(), what="zig")
        out.write_bytes(without_debug_information(out.read_bytes()))
        for left in out.parent.glob(f"{out.name}.o"):
            left.unlink()
        return said

    def sources(self, project: Project) -> Sequence[Path]:
        """The folder of the root file, and the SDK."""
        return [(project.folder / project.options(Options).root).parent, project.sdk]


def without_debug_information(wasm: bytes) -> bytes:
    """The module without its `.debug_…` sections. Raises MalformedModuleError when it is none."""
    kept, begin = [CORE], len(CORE)
    for section in read_sections(wasm):
        if not section.name.startswith(".debug_"):
            kept.append(wasm[begin : section.end])
        begin = section.end
    return b"".join(kept)


LANGUAGE = Zig()
