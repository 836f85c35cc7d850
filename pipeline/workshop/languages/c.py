"""C, compiled by the clang that comes inside of zig, without any libc."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline.workshop import toolchains
from pipeline.workshop.compiler import run_compiler
from pipeline.workshop.errors import BuildError
from pipeline.workshop.project import Project

STACK_BYTES = 16 << 10


class Options(BaseModel):
    """`[build]` of a C guest."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    sources: list[str] = ["src/*.c"]
    """Patterns, relative to the project."""
    flags: list[str] = []
    """Further options for the compiler, behind penstock's own."""
    stack: int = STACK_BYTES
    """Bytes."""


class C:
    """See `Language`."""

    name = "c"
    sdk = "c/0.1.0"

    def missing(self) -> Sequence[str]:
        """Nothing: zig comes from PyPI, by hash."""
        return ()

    def build(self, project: Project, out: Path) -> str:
        """One call of the compiler."""
        options = project.options(Options)
        files = sources_of(project, options)
        command: list[str | Path] = [
            toolchains.zig(),
            "cc",
            "-target",
            "wasm32-freestanding",
            "-mcpu=generic+bulk_memory",
        ]
        command += ["-std=c11", "-Wall", "-Wextra", "-O2", "-g0", "-nostdlib"]
        command += [f"-I{project.sdk}", f"-ffile-prefix-map={project.sdk}=penstock"]
        command += ["-Wl,--no-entry", f"-Wl,-z,stack-size={options.stack}"]
        command += [f"-Wl,--max-memory={project.memory_bytes_max}", *options.flags, "-o", out, *files]
        return run_compiler(command, cwd=project.folder, environ=toolchains.zig_environment(), what="zig cc")

    def sources(self, project: Project) -> Sequence[Path]:
        """The C files, their folders' headers, and the SDK."""
        files = [project.folder / file for file in sources_of(project, project.options(Options))]
        headers = sorted({header for file in files for header in file.parent.glob("*.h")})
        return [*files, *headers, project.sdk]


def sources_of(project: Project, options: Options) -> list[str]:
    """The C files, relative to the project and in order. Raises BuildError when there is none."""
    found = {path for pattern in options.sources for path in project.folder.glob(pattern) if path.is_file()}
    if not found:
        raise BuildError(f"{project.folder}: no file matches {', '.join(options.sources)}")
    return sorted(str(path.relative_to(project.folder)) for path in found)


LANGUAGE = C()
