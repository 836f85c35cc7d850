"""Builds a project: the language's compiler, wasm-opt where guest.toml asks for it, the `penstock` section, a trial load.

wasm-opt runs only when guest.toml says `wasm_opt = "…"`, and it is the one that the TypeScript SDK's lock file pins, from npm. If it ran
wherever it happened to be installed, the same sources would hash differently on two machines, and a pin in a registry would hold on
one of them only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.workshop import toolchains
from pipeline.workshop.compiler import run_compiler
from pipeline.workshop.errors import BuildError, MissingToolchainError
from pipeline.workshop.languages import QuickLanguage, language
from pipeline.workshop.project import Project
from sandbox import Sandbox
from sandbox.guest import RefusedConfig
from sandbox.sections import MalformedModuleError, Metadata, append_metadata, read_metadata
from schemas.capabilities import Capability
from schemas.errors import ModuleFault
from schemas.limits import PROFILES
from schemas.specs import TransformerSpec


@dataclass(frozen=True, slots=True)
class Built:
    """A module that was built, checked and written."""

    project: Project
    size_bytes: int
    sha256: str
    metadata: Metadata
    seconds: float
    changed: bool
    """Whether the file held something else before."""
    said: str = ""
    """By the compiler: warnings."""


def build(project: Project, module: Path | None = None, *, quickly: bool = False) -> Built:
    """Build, check and write the project's module, or another file in its place; the old one stays when any of it fails.

    Raises MissingToolchainError, BuildError (with what the compiler said, or why the module is no guest), ConfigError.
    """
    started = time.monotonic()
    target = module or project.module
    wasm, metadata, said = compile_project(project, quickly=quickly)
    check_guest(project, wasm, metadata)
    before = target.read_bytes() if target.is_file() else None
    if before != wasm:
        _write(target, wasm)
    digest = hashlib.sha256(wasm).hexdigest()
    return Built(project, len(wasm), digest, metadata, time.monotonic() - started, before != wasm, said)


def compile_project(project: Project, *, quickly: bool = False) -> tuple[bytes, Metadata, str]:
    """The module with its section, what that says, and what the compiler said. Nothing is written to the project.

    `quickly` is for `penstock dev`: the module does the same, and may be larger and slower than the one that is meant to run.
    """
    tools = language(project.language)
    compile_ = tools.build_quickly if quickly and isinstance(tools, QuickLanguage) else tools.build
    missing = [*tools.missing(), *_missing_wasm_opt(project)]
    if missing:
        raise MissingToolchainError(project.language, missing)
    with tempfile.TemporaryDirectory(prefix="penstock-build-") as scratch:
        out = Path(scratch) / "out" / f"{project.name}.wasm"
        out.parent.mkdir()
        said = (compile_(project, out) or "").strip()
        if not out.is_file():
            raise BuildError(f"{project.name}: the build ended well and wrote no module")
        if project.wasm_opt and not quickly:
            _optimize(project, out)
        wasm = out.read_bytes()
    wanted = Metadata(
        name=project.name,
        version=project.version,
        sdk=tools.sdk,
        encoding=project.encoding,
        capabilities=project.capabilities,
    )
    return *_with_section(project, wasm, wanted), said


def _missing_wasm_opt(project: Project) -> list[str]:
    absent = project.wasm_opt and not all(map(shutil.which, ("node", "npm")))
    return [toolchains.install_command(toolchains.NODE)] if absent else []


def _optimize(project: Project, out: Path) -> None:
    command = [*toolchains.wasm_opt(), *project.wasm_opt, "-o", str(out), str(out)]
    run_compiler(command, cwd=out.parent, what="wasm-opt")


def _with_section(project: Project, wasm: bytes, wanted: Metadata) -> tuple[bytes, Metadata]:
    """The section is appended when the build wrote none; one that says otherwise than guest.toml is refused."""
    try:
        own = read_metadata(wasm)
        if own is None:
            return append_metadata(wasm, wanted), wanted
    except MalformedModuleError as error:
        raise BuildError(f"{project.name}: what was built cannot be used: {error}") from None
    differing = [
        f"{key} is {_shown(getattr(own, key))} in the module, {_shown(getattr(wanted, key))} in guest.toml"
        for key in ("name", "version", "encoding", "capabilities")
        if _comparable(getattr(own, key)) != _comparable(getattr(wanted, key))
    ]
    if differing:
        raise BuildError(f"{project.name}: the sources say otherwise than guest.toml: {'; '.join(differing)}")
    return wasm, own


def _comparable(value: object) -> object:
    return frozenset(value) if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else f"'{value}'"


def check_guest(project: Project, wasm: bytes, metadata: Metadata) -> None:
    """Load the module as `run` would, with everything it wants. Raises BuildError with the reason when it is no guest."""
    spec = TransformerSpec(
        name=project.name,
        module=project.module,
        encoding=metadata.encoding,
        limits=PROFILES["trusted"],
        capabilities=frozenset(metadata.capabilities).intersection(Capability),
    )
    try:
        with closing(Sandbox(workers=1)) as sandbox:
            sandbox.load(spec, wasm)
    except RefusedConfig:  # it asks for a config, which its registry gives it
        return
    except ModuleFault as fault:
        raise BuildError(f"{project.name}: what was built is no guest: {fault.problem}", _remedy(fault)) from None


def _remedy(fault: ModuleFault) -> str:
    """The registry is not what has to grant: guest.toml says what the guest wants."""
    _, found, names = fault.remedy.partition(".capabilities: ")
    return f"add it to guest.toml: capabilities = {names}" if found else fault.remedy


def _write(path: Path, wasm: bytes) -> None:
    """Whoever reads the file meanwhile sees the old module or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(wasm)
            Path(part).chmod(0o644)
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BuildError(f"{path} cannot be written: {error.strerror}") from None
