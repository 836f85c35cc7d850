"""Rebuilds the shipped guests, the built-ins, the host's own codec and the example of every language, and compares them with what is committed.

`build.py` builds into a temporary folder and exits 1 when any hash differs from a folder's `SHA256SUMS` or from the module
itself; `build.py --write` replaces both. Names behind it (`shipped`, `builtins`, or languages) build those only. Exit 2 means that a toolchain is
missing, and says what to install. Builds start from nothing and do not depend on the folder they run in: compilers' caches are
temporary, paths are remapped, nothing carries a time. The examples are built as `penstock build` builds any project.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # this tree's own workshop, whatever else is installed

from pipeline.workshop import toolchains  # noqa: E402
from pipeline.workshop.build import compile_project  # noqa: E402
from pipeline.workshop.errors import BuildError, MissingToolchainError  # noqa: E402
from pipeline.workshop.languages import available, rust  # noqa: E402
from pipeline.workshop.project import Project, read_project  # noqa: E402
from transformers.javascript_runtime import RUNTIME, build_runtime  # noqa: E402

SHIPPED = "shipped"
BUILTINS = "builtins"
"""The built-in transformers: each folder of `transformers/builtins/` with a guest.toml."""
ENGINE = "javascript-runtime"
"""What JavaScript guests are made of, for the SDK."""
EXAMPLE = "enrich-order"
RUST_GUESTS = ("enrich-order", "mask-pii")
C_GUESTS = ("passthrough", "saboteur", "uppercase")
HOST_CRATES = ("record-codec",)
"""Not transformers: what the host runs for itself."""
MODULES = HERE / "modules"
LANGUAGES = MODULES / "languages"
BUILTIN_MODULES = MODULES / "builtins"
HOST = HERE.parent / "sandbox" / "records"
NOT_KEPT = frozenset({"enrich_order_python.wasm"})
"""18 MB, and other bytes each time: componentize-py keeps CPython's memory as it is after the imports, with a random hash seed and
the times of unpacked files in it. It is built, and no hash of it is committed; `tests/transformers/python` builds it again and
compares what it does: with the golden cases, and byte for byte with what the guest in Rust emits.
"""
BUILD_SECONDS_MAX = 900

MEMORY_BYTES_MAX = 256 << 20
"""Declared maximum: the largest profile's limit. Guests start with a few pages; the host's own limit is what holds."""
C_STACK_BYTES = 16 << 10


def build_rust() -> dict[str, bytes]:
    """The Rust guests, as `penstock build` makes them, and the crates that are no guests."""
    guests = [read_project(HERE / "guests" / "rust" / guest) for guest in RUST_GUESTS]
    built = {guest.name: compile_project(guest)[0] for guest in guests}
    tools, settings = rust.debian(), rust.Settings(memory_bytes_max=MEMORY_BYTES_MAX)
    built |= {crate: rust.cargo_build(tools, HERE, crate, settings) for crate in HOST_CRATES}
    return {f"{name.replace('-', '_')}.wasm": code for name, code in built.items()}


def build_c(zig: Path, scratch: Path) -> dict[str, bytes]:
    """The C guests."""
    return {f"{guest}.wasm": _build_c_guest(zig, guest, scratch) for guest in C_GUESTS}


def _build_c_guest(zig: Path, guest: str, scratch: Path) -> bytes:
    module = scratch / f"{guest}.wasm"
    command = [str(zig), "cc", "-target", "wasm32-freestanding", "-mcpu=generic+bulk_memory"]
    command += ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-g0", "-nostdlib", "-I../../sdk/c"]
    command += ["-Wl,--no-entry", f"-Wl,-z,stack-size={C_STACK_BYTES}", f"-Wl,--max-memory={MEMORY_BYTES_MAX}"]
    command += ["-o", str(module), f"{guest}/{guest}.c"]
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(scratch / "cache"), "ZIG_LOCAL_CACHE_DIR": str(scratch / "cache")}
    subprocess.run(
        command, cwd=HERE / "guests" / "c", env={**os.environ, **caches}, check=True, timeout=BUILD_SECONDS_MAX
    )
    return module.read_bytes()


def build_shipped(scratch: Path) -> dict[Path, bytes]:
    """The shipped guests and the host's codec, by the place they are committed at. Raises MissingToolchainError before anything is built."""
    toolchains.find_rust()
    zig = toolchains.zig()
    host = {f"{crate.replace('-', '_')}.wasm" for crate in HOST_CRATES}
    built = build_c(zig, scratch) | build_rust()
    return {(HOST if name in host else MODULES) / name: code for name, code in built.items()}


def build_builtins() -> dict[Path, bytes]:
    """Every built-in, as `penstock build` makes it."""
    projects = [read_project(file.parent) for file in sorted((HERE / "builtins").glob("*/guest.toml"))]
    return {BUILTIN_MODULES / f"{project.name}.wasm": compile_project(project)[0] for project in projects}


def examples() -> dict[str, Project]:
    """The example project of every language that has one."""
    folders = {name: HERE / "guests" / name / EXAMPLE for name in available()}
    return {name: read_project(folder) for name, folder in folders.items() if (folder / "guest.toml").is_file()}


def build_example(project: Project) -> dict[Path, bytes]:
    """The same as `penstock build` makes of it."""
    code, _, _ = compile_project(project)
    return {LANGUAGES / f"{EXAMPLE.replace('-', '_')}_{project.language}.wasm": code}


def builders(names: Sequence[str], scratch: Path) -> dict[str, Callable[[], dict[Path, bytes]]]:
    """What to build, by name: everything, unless names say what. Raises SystemExit for a name that is none."""
    found: dict[str, Callable[[], dict[Path, bytes]]] = {
        SHIPPED: lambda: build_shipped(scratch),
        BUILTINS: build_builtins,
    }
    found[ENGINE] = lambda: {RUNTIME: build_runtime(scratch)}
    found |= {name: lambda project=project: build_example(project) for name, project in examples().items()}
    unknown = [name for name in names if name not in found]
    if unknown:
        sys.exit(f"nothing is called {', '.join(unknown)}: choose of {', '.join(found)}")
    return {name: build for name, build in found.items() if not names or name in names}


def build_all(chosen: dict[str, Callable[[], dict[Path, bytes]]]) -> tuple[dict[Path, bytes], list[Exception]]:
    """Every module that could be built, and why the others could not."""
    modules: dict[Path, bytes] = {}
    errors: list[Exception] = []
    for name, build in chosen.items():
        print(f"building {name}", file=sys.stderr)
        try:
            modules |= build()
        except (BuildError, MissingToolchainError) as error:
            errors.append(error)
    return modules, errors


def sums_of(folder: Path) -> dict[str, str]:
    """What a folder's `SHA256SUMS` says, by file name."""
    sums = folder / "SHA256SUMS"
    lines = sums.read_text().splitlines() if sums.exists() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def sums_text(sums: dict[str, str]) -> str:
    """`SHA256SUMS` as sha256sum writes it."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))


def digests(modules: dict[str, bytes]) -> dict[str, str]:
    """Their hashes."""
    return {name: hashlib.sha256(code).hexdigest() for name, code in modules.items()}


def write(modules: dict[str, bytes], folder: Path) -> None:
    """Replaces the committed modules and their sums; those of modules that were not built stay."""
    folder.mkdir(exist_ok=True)
    for name, code in modules.items():
        (folder / name).write_bytes(code)
    kept = {name: code for name, code in modules.items() if name not in NOT_KEPT}
    (folder / "SHA256SUMS").write_text(sums_text(sums_of(folder) | digests(kept)))


def differences(modules: dict[str, bytes], folder: Path, *, whole: bool = True) -> list[str]:
    """What the committed folder has otherwise than `modules`, one line each. `whole`: everything in it was built."""
    committed = digests({path.name: path.read_bytes() for path in folder.glob("*.wasm") if path.name not in NOT_KEPT})
    sums, built = sums_of(folder), digests({name: code for name, code in modules.items() if name not in NOT_KEPT})
    stray = sorted(committed.keys() - built.keys()) if whole else []
    found = [f"{name}: committed, but nothing builds it" for name in stray]
    for name, digest in sorted(built.items()):
        have = committed.get(name, "nothing")
        if have != digest:
            found.append(f"{name}: built {digest}, committed {have}")
    expected = built if whole else sums | built
    if sums != expected:
        found.append("SHA256SUMS: not the sums of what was built")
    return found


def by_folder(modules: dict[Path, bytes]) -> dict[Path, dict[str, bytes]]:
    """The modules by the folder they are committed in."""
    folders = sorted({place.parent for place in modules})
    return {
        folder: {place.name: code for place, code in modules.items() if place.parent == folder} for folder in folders
    }


def main() -> int:
    """Builds, then writes or compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the committed modules")
    parser.add_argument("names", nargs="*", help="`shipped`, `builtins` or languages; all of them by default")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="penstock-guests-"))
    os.environ[toolchains.BUILD_CACHE] = str(scratch / "caches")
    errors: list[Exception] = []
    try:
        chosen = builders(arguments.names, scratch)
        if arguments.write and ENGINE in chosen:  # the guests that come after it are made of the new one
            engine, errors = build_all({ENGINE: chosen.pop(ENGINE)})
            _write(engine)
        modules, more = build_all(chosen)
        errors += more
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(*errors, sep="\n", end="\n" if errors else "", file=sys.stderr)
    if errors:
        return 2 if any(isinstance(error, MissingToolchainError) for error in errors) else 1
    return _write(modules) if arguments.write else _compare(modules, whole=not arguments.names)


def _write(modules: dict[Path, bytes]) -> int:
    for folder, built in by_folder(modules).items():
        write(built, folder)
        print(sums_text(digests(built)), end="")
    return 0


def _compare(modules: dict[Path, bytes], *, whole: bool) -> int:
    found = [one for folder, built in by_folder(modules).items() for one in differences(built, folder, whole=whole)]
    if not found:
        kept = [path for path in modules if path.name not in NOT_KEPT]
        others = ", ".join(sorted(path.name for path in modules if path.name in NOT_KEPT))
        print(
            f"{len(kept)} guests rebuilt, all as committed"
            + (f"; {others} is built, and has no hash" if others else "")
        )
        return 0
    print(*found, toolchains.version_report(), sep="\n", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
