"""Finds the toolchains the guests are built with, and says what to install when one is missing.

Rust comes from Debian (`rustc-web`, whose sources build the standard library for wasm32), zig from PyPI into
`.toolchains/`, in a folder named after the hash of `toolchain.toml`: a changed pin is fetched anew, an unchanged one never.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINS = HERE / "toolchain.toml"
CACHE = HERE.parent / ".toolchains"

APT = "apt-get install rustc-web cargo-web rust-web-src lld"
DOWNLOAD_SECONDS_MAX = 600


class MissingToolchainError(Exception):
    """A guest cannot be built here; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Rust:
    """Debian's Rust for wasm."""

    cargo: str
    rustc: str
    linker: str
    library_source: Path
    cargo_home: Path


def find_rust() -> Rust:
    """Debian's own binaries by their full path: another toolchain earlier on PATH would build other bytes."""
    source = Path("/usr/lib/rustlib/src/rust")
    needed = [
        Path("/usr/bin/cargo"),
        Path("/usr/bin/rustc"),
        Path("/usr/bin/wasm-ld-14"),
        source / "library/Cargo.lock",
    ]
    missing = [str(path) for path in needed if not path.exists()]
    if missing:
        raise MissingToolchainError(f"no Rust toolchain for the guests: {', '.join(missing)} missing — {APT}")
    cargo, rustc, linker, _ = map(str, needed)
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    return Rust(cargo, rustc, linker, source, home)


def find_zig() -> Path:
    """The pinned zig, fetched with pip into `.toolchains/` the first time."""
    home = CACHE / f"zig-{hashlib.sha256(PINS.read_bytes()).hexdigest()[:16]}"
    zig = home / "ziglang" / "zig"
    if not zig.exists():
        _fetch_zig(home)
    return zig


def _fetch_zig(home: Path) -> None:
    pin = tomllib.loads(PINS.read_text())["pypi"]["ziglang"]
    CACHE.mkdir(exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=CACHE, prefix="zig-part-"))
    requirement = part / "requirements.txt"
    requirement.write_text(f"ziglang=={pin['version']} --hash=sha256:{pin['sha256']}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
    ]
    command += ["--target", str(part), "-r", str(requirement)]
    try:
        subprocess.run(command, check=True, timeout=DOWNLOAD_SECONDS_MAX)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(part)
        remedy = f"the PyPI package ziglang=={pin['version']} (linux x86-64) must be reachable with pip"
        raise MissingToolchainError(f"no C toolchain for the guests: {error} — {remedy}") from None
    part.replace(home)


def version_report() -> str:
    """Which of the pinned Debian packages are here in another version; that explains most differences."""
    pinned = tomllib.loads(PINS.read_text())["debian"]
    lines = [f"  {name}: pinned {version}, here {_installed(name)}" for name, version in pinned.items()]
    return "\n".join(["The modules were built with these versions (transformers/toolchain.toml):", *lines])


def _installed(package: str) -> str:
    query = ["dpkg-query", "--show", "--showformat=${Version}", package]
    try:
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "none"
