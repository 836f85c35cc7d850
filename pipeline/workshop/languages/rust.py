"""Rust: a crate of kind `cdylib` for wasm32-unknown-unknown, built by Cargo.

Debian's toolchain is preferred when it is complete: its standard library is compiled along, for the module's own settings, and it is
what the committed modules are built with. A rustup toolchain with the target added does as well; its library is ready-made.

What was compiled before is kept between builds (`toolchains.build_cache`) and shared by all projects: the standard library takes a
minute, a changed line of a guest does not.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipeline.workshop import toolchains
from pipeline.workshop.compiler import run_compiler
from pipeline.workshop.errors import BuildError, MissingToolchainError
from pipeline.workshop.guest_file import MEMORY_BYTES_MAX
from pipeline.workshop.project import Project

STACK_BYTES = 64 << 10
TARGET = "wasm32-unknown-unknown"
ADD_TARGET = f"rustup target add {TARGET}"
_QUESTION_SECONDS_MAX = 30


class Options(BaseModel):
    """`[build]` of a Rust guest."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    toolchain: Literal["any", "debian", "rustup"] = "any"
    preset: Literal["default", "reference"] = "default"
    """`reference` uses no instruction beyond WebAssembly 1.0: no SIMD, no bulk memory. It takes Debian's toolchain."""
    flags: list[str] = []
    """Further options for rustc, behind penstock's own."""
    stack: int = STACK_BYTES
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between guests."""

    stack_bytes: int = STACK_BYTES
    memory_bytes_max: int = MEMORY_BYTES_MAX
    preset: str = "default"
    flags: tuple[str, ...] = ()

    def for_crate(self) -> tuple[str, ...]:
        """Options for the guest's own crate and its linking only: others would build the standard library anew."""
        sizes = f"-Clink-arg=-zstack-size={self.stack_bytes}", f"-Clink-arg=--max-memory={self.memory_bytes_max}"
        return *sizes, *self.flags


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Cargo, and how it is to be called."""

    cargo: str
    rustc: str
    linker: str | None
    library_source: Path | None
    """None when the standard library is ready-made."""
    cargo_home: Path

    def flags(self, settings: Settings) -> tuple[str, ...]:
        """Options for everything that is compiled. Paths outside of the project are remapped; those inside are relative anyway."""
        # `simd128` is for the SDK's JSON scanner; an engine with `simd: false` refuses such modules.
        features = "-Ctarget-cpu=mvp" if settings.preset == "reference" else "-Ctarget-feature=+simd128"
        return (
            *((f"-Clinker={self.linker}",) if self.linker else ()),
            features,
            *(f"--remap-path-prefix={path}={name}" for path, name in self._remapped()),
        )

    def _remapped(self) -> Iterator[tuple[Path, str]]:
        sources = self.cargo_home / "registry" / "src"
        if sources.is_dir():
            yield from ((registry, "crates") for registry in sorted(sources.iterdir()))
        if self.library_source is not None:
            yield self.library_source, "rust"

    def library_options(self) -> tuple[str, ...]:
        """How the standard library is built along."""
        if self.library_source is None:
            return ()
        return "-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"

    def environment(self, target: Path, flags: Sequence[str]) -> dict[str, str]:
        """The caller's environment without what would change the build."""
        dropped = ("RUST", "CARGO_") if self.library_source is not None else ("RUSTC", "RUSTFLAGS", "CARGO_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        own = {
            "PATH": f"{Path(self.cargo).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}",
            "CARGO_HOME": str(self.cargo_home),
            "CARGO_TARGET_DIR": str(target),
            "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags),
        }
        if self.library_source is not None:  # build-std is unstable
            own |= {"RUSTC": self.rustc, "RUSTC_BOOTSTRAP": "1"}
        return inherited | own


def debian() -> Toolchain:
    """Debian's own binaries by their full path. Raises MissingToolchainError."""
    found = toolchains.find_rust()
    return Toolchain(found.cargo, found.rustc, found.linker, found.library_source, found.cargo_home)


def rustup() -> Toolchain | None:
    """The first cargo on the PATH, when its rustc has the target's library; else None."""
    cargo, rustc = shutil.which("cargo"), shutil.which("rustc")
    if cargo is None or rustc is None or not (_sysroot(rustc) / "lib" / "rustlib" / TARGET / "lib").is_dir():
        return None
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    return Toolchain(cargo, rustc, None, None, home)


def _sysroot(rustc: str) -> Path:
    question = [rustc, "--print", "sysroot"]
    try:
        told = subprocess.run(question, capture_output=True, text=True, check=True, timeout=_QUESTION_SECONDS_MAX)
    except (OSError, subprocess.SubprocessError):
        return Path(os.devnull)
    return Path(told.stdout.strip())


def install_commands() -> list[str]:
    """What to run when there is neither."""
    if shutil.which("rustup"):
        return [ADD_TARGET]
    return [toolchains.install_command(toolchains.RUST, f"install rustup from https://rustup.rs, then: {ADD_TARGET}")]


def toolchain(wanted: str = "any") -> Toolchain:
    """The toolchain of this name, else the better one that is here. Raises MissingToolchainError."""
    if wanted == "debian" or (wanted == "any" and not toolchains.rust_missing()):
        return debian()
    found = rustup()
    if found is None:
        raise MissingToolchainError("Rust for wasm", [ADD_TARGET] if wanted == "rustup" else install_commands())
    return found


def cargo_build(chosen: Toolchain, folder: Path, crate: str, settings: Settings) -> bytes:
    """The module of this crate of the package or workspace in `folder`. Raises BuildError."""
    return _cargo_rustc(chosen, folder, crate, settings)[0]


def _cargo_rustc(chosen: Toolchain, folder: Path, crate: str, settings: Settings) -> tuple[bytes, str]:
    """The module, and what the compiler said all the same."""
    locked = ("--locked",) if _lock_of(folder) is not None else ()
    _fetch(chosen, folder, locked)
    flags = chosen.flags(settings)
    target = _target_folder(chosen, flags)
    environment = chosen.environment(target, flags)
    command = [chosen.cargo, "rustc", *locked, "--quiet", "--release", "--target", TARGET, *chosen.library_options()]
    command += ["--package", crate, "--lib", "--crate-type", "cdylib", "--", *settings.for_crate()]
    with _alone(target):
        said = run_compiler(command, cwd=folder, environ=environment, what="cargo")
        return (target / TARGET / "release" / f"{crate.replace('-', '_')}.wasm").read_bytes(), said


def _fetch(chosen: Toolchain, folder: Path, locked: Sequence[str]) -> None:
    """The first time: where crates are unpacked must be known before their paths can be remapped."""
    if not (chosen.cargo_home / "registry" / "src").is_dir():
        environment = chosen.environment(toolchains.build_cache("rust"), ())
        run_compiler([chosen.cargo, "fetch", "--quiet", *locked], cwd=folder, environ=environment, what="cargo fetch")


def _target_folder(chosen: Toolchain, flags: Sequence[str]) -> Path:
    """One for each way to build: Cargo would throw away the standard library each time the flags change."""
    way = hashlib.sha256("\0".join([chosen.rustc, *chosen.library_options(), *flags]).encode()).hexdigest()[:16]
    return toolchains.build_cache("rust") / way


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Two builds of crates with one name take turns: Cargo's own lock ends before the module is read."""
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".penstock-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lock_of(folder: Path) -> Path | None:
    """The Cargo.lock that holds for the package in this folder."""
    for place in (folder, *folder.parents):
        manifest = place / "Cargo.toml"
        if manifest.is_file() and "workspace" in tomllib.loads(manifest.read_text(encoding="utf-8")):
            lock = place / "Cargo.lock"
            return lock if lock.is_file() else None
    return None


class RustLanguage:
    """See `Language`."""

    name = "rust"
    sdk = "rust/0.1.0"

    def missing(self) -> Sequence[str]:
        """Debian's packages, or rustup's target."""
        return () if not toolchains.rust_missing() or rustup() is not None else install_commands()

    def build(self, project: Project, out: Path) -> str:
        """One call of Cargo, for the crate in the project's folder."""
        options = project.options(Options)
        chosen = toolchain("debian" if options.preset == "reference" else options.toolchain)
        settings = Settings(options.stack, project.memory_bytes_max, options.preset, tuple(options.flags))
        module, said = _cargo_rustc(chosen, project.folder, crate_of(project), settings)
        out.write_bytes(module)
        return said

    def sources(self, project: Project) -> Sequence[Path]:
        """The crate's sources and manifests, and the SDK."""
        return [project.folder / name for name in ("src", "Cargo.toml", "Cargo.lock", "build.rs")] + [project.sdk]


def crate_of(project: Project) -> str:
    """The package's name. Raises BuildError when the project has no manifest that says it."""
    manifest = project.folder / "Cargo.toml"
    try:
        return str(tomllib.loads(manifest.read_text(encoding="utf-8"))["package"]["name"])
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise BuildError(f"{manifest}: not the manifest of a crate: {error}") from None


LANGUAGE = RustLanguage()
