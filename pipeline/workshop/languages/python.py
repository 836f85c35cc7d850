"""Python, built with componentize-py into a component that carries CPython with it and imports nothing of WASI."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline.workshop import toolchains
from pipeline.workshop.compiler import run_compiler
from pipeline.workshop.errors import BuildError
from pipeline.workshop.project import Project

ENTRY = "penstock_entry"
"""The module that the component is made of: the guest's module, then the SDK's exports."""
WORLD = "built"
"""The transformer's world with those of its capabilities: a guest imports what it asked for, and nothing else."""
KEPT_MAX = 8
"""Built modules of 18 MB each."""
RUN = "import sys; from componentize_py import script; sys.exit(script())"


class Options(BaseModel):
    """`[build]` of a Python guest."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    module: str = "transform"
    """The module with the `@transformer`."""
    path: list[str] = ["src"]
    """Folders, relative to the project, in which modules are looked for. Only what is pure Python can be built in."""


class Python:
    """See `Language`."""

    name = "python"
    sdk = "python/0.1.0"

    def missing(self) -> Sequence[str]:
        """Nothing: componentize-py comes from PyPI, by hash."""
        return ()

    def build(self, project: Project, out: Path) -> None:
        """Import the guest's module in CPython on WebAssembly, and keep what memory is like then."""
        options = project.options(Options)
        home = toolchains.wheel("componentize-py")
        with tempfile.TemporaryDirectory(prefix="penstock-python-") as scratch:
            tree = Path(scratch)
            _copy_sources(project, options, tree)
            worlds = _write_world(project, tree)
            kept = (
                toolchains.build_cache("componentize-py")
                / f"{_digest(tree, toolchains.pins()['pypi']['componentize-py']['version'])}.wasm"
            )
            if not kept.is_file():
                made = tree / "made.wasm"
                line: list[str | Path] = [*command(), "--quiet", "--wit-path", worlds, "--world", WORLD]
                line += ["componentize", "--stub-wasi", "--python-path", tree, ENTRY, "--output", made]
                run_compiler(line, cwd=tree, environ=environment(home), what="componentize-py")
                _keep(made, kept)
            shutil.copyfile(kept, out)

    def sources(self, project: Project) -> Sequence[Path]:
        """The folders of modules, and the SDK."""
        options = project.options(Options)
        return [*(project.folder / folder for folder in options.path), project.sdk]


def _copy_sources(project: Project, options: Options, tree: Path) -> None:
    """The guest's modules and the SDK, in a folder that has nothing else and no traces of other builds."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for folder in options.path:
        if not (project.folder / folder).is_dir():
            raise BuildError(f"{project.folder}: there is no folder {folder}", "name the right ones in [build] path")
        shutil.copytree(project.folder / folder, tree, ignore=ignored, dirs_exist_ok=True)
    found = tree.joinpath(*options.module.split("."))
    if not found.with_suffix(".py").is_file() and not (found / "__init__.py").is_file():
        raise BuildError(f"{project.folder}: no module {options.module} in {', '.join(options.path)}")
    shutil.copytree(project.sdk / "penstock_guest", tree / "penstock_guest", ignore=ignored, dirs_exist_ok=True)
    (tree / f"{ENTRY}.py").write_text(f"import {options.module}\nfrom penstock_guest.component import WitWorld\n")


def _digest(tree: Path, toolchain: str) -> str:
    """Of everything that a build is made of."""
    digest = hashlib.sha256(toolchain.encode())
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(tree).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _keep(made: Path, kept: Path) -> None:
    """Two builds are not the same bytes, so what was built of the same sources is used again. The oldest give way."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = Path(shutil.copyfile(made, kept.with_suffix(f".{os.getpid()}.part")))
    part.replace(kept)
    for old in sorted(kept.parent.glob("*.wasm"), key=lambda path: path.stat().st_mtime)[:-KEPT_MAX]:
        old.unlink(missing_ok=True)


def _write_world(project: Project, tree: Path) -> Path:
    """One world of several. (componentize-py merges worlds by itself, and panics where they have functions of their own.)"""
    folder = tree / "wit"
    shutil.copytree(project.sdk / "wit", folder)
    included = "".join(f"  include {name};\n" for name in ("transformer", *project.capabilities))
    (folder / f"{WORLD}.wit").write_text(f"package penstock:guest@1.0.0;\n\nworld {WORLD} {{\n{included}}}\n")
    return folder


def command() -> list[str]:
    """componentize-py, to be run in `environment`."""
    return [sys.executable, "-c", RUN]


def environment(home: Path) -> dict[str, str]:
    """Python's own variables would add modules of this machine to the guest."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "PIPENV"))
    }
    return {**kept, "PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}


LANGUAGE = Python()
