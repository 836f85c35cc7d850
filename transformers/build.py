"""Rebuilds the shipped guests, and the host's own codec, and compares them, byte for byte, with the committed modules.

`build.py` builds into a temporary folder and exits 1 when any hash differs from a folder's `SHA256SUMS` or from the module
itself; `build.py --write` replaces both. Exit 2 means that a toolchain is missing, and says what to install. Builds do not
depend on the folder they run in: paths are remapped, nothing carries a time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from toolchains import MissingToolchainError, Rust, find_rust, find_zig, version_report

HERE = Path(__file__).resolve().parent
RUST_GUESTS = ("enrich-order", "mask-pii")
C_GUESTS = ("passthrough", "saboteur", "uppercase")
HOST_CRATES = ("record-codec",)
"""Not transformers: what the host runs for itself."""
FOLDERS = {"guests": HERE / "modules", "host": HERE.parent / "sandbox" / "records"}
BUILD_SECONDS_MAX = 900

MEMORY_BYTES_MAX = 256 << 20
"""Declared maximum: the largest profile's limit. Guests start with a few pages; the host's own limit is what holds."""
RUST_STACK_BYTES = 64 << 10
C_STACK_BYTES = 16 << 10


def build_rust(rust: Rust, target: Path) -> dict[str, bytes]:
    """The Rust guests, with a standard library built for them."""
    workspace = HERE
    subprocess.run(
        [rust.cargo, "fetch", "--locked"], cwd=workspace, env=_cargo_environment(rust, target, ()), check=True
    )
    command = [rust.cargo, "build", "--locked", "--release", "--target", "wasm32-unknown-unknown"]
    command += ["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"]
    flags = _rust_flags(rust, workspace)
    environment = _cargo_environment(rust, target, flags)
    subprocess.run(command, cwd=workspace, env=environment, check=True, timeout=BUILD_SECONDS_MAX)
    built = target / "wasm32-unknown-unknown" / "release"
    names = [crate.replace("-", "_") for crate in (*RUST_GUESTS, *HOST_CRATES)]
    return {f"{name}.wasm": (built / f"{name}.wasm").read_bytes() for name in names}


def _rust_flags(rust: Rust, workspace: Path) -> tuple[str, ...]:
    registries = sorted((rust.cargo_home / "registry" / "src").iterdir())
    remapped = [(registry, "crates") for registry in registries]
    remapped += [(rust.library_source, "rust"), (workspace, "guests")]
    return (
        f"-Clinker={rust.linker}",
        "-Ctarget-feature=+simd128",  # the scanner's blocks; an engine with `simd: false` refuses the modules
        f"-Clink-arg=-zstack-size={RUST_STACK_BYTES}",
        f"-Clink-arg=--max-memory={MEMORY_BYTES_MAX}",
        *(f"--remap-path-prefix={path}={name}" for path, name in remapped),
    )


def _cargo_environment(rust: Rust, target: Path, flags: tuple[str, ...]) -> dict[str, str]:
    """The caller's environment without what would change the build."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RUST", "CARGO_"))}
    return inherited | {
        "PATH": f"{Path(rust.cargo).parent}:/usr/bin:/bin",
        "CARGO_HOME": str(rust.cargo_home),
        "CARGO_TARGET_DIR": str(target),
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags),
        "RUSTC": rust.rustc,
        "RUSTC_BOOTSTRAP": "1",  # build-std is unstable
    }


def build_c(zig: Path, scratch: Path) -> dict[str, bytes]:
    """The C guests."""
    return {f"{guest}.wasm": _build_c_guest(zig, guest, scratch) for guest in C_GUESTS}


def _build_c_guest(zig: Path, guest: str, scratch: Path) -> bytes:
    module = scratch / f"{guest}.wasm"
    command = [str(zig), "cc", "-target", "wasm32-freestanding", "-mcpu=generic+bulk_memory"]
    command += ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-g0", "-nostdlib", "-I."]
    command += ["-Wl,--no-entry", f"-Wl,-z,stack-size={C_STACK_BYTES}", f"-Wl,--max-memory={MEMORY_BYTES_MAX}"]
    command += ["-o", str(module), f"{guest}/{guest}.c"]
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(scratch / "cache"), "ZIG_LOCAL_CACHE_DIR": str(scratch / "cache")}
    subprocess.run(
        command, cwd=HERE / "guests" / "c", env={**os.environ, **caches}, check=True, timeout=BUILD_SECONDS_MAX
    )
    return module.read_bytes()


def build_all(scratch: Path) -> dict[str, bytes]:
    """Every shipped module by file name. Raises MissingToolchainError before anything is built."""
    rust, zig = find_rust(), find_zig()
    return build_c(zig, scratch) | build_rust(rust, scratch / "target")


def by_folder(modules: dict[str, bytes]) -> dict[Path, dict[str, bytes]]:
    """The modules by the folder they are committed in."""
    host = {f"{crate.replace('-', '_')}.wasm" for crate in HOST_CRATES}
    return {
        FOLDERS["guests"]: {name: code for name, code in modules.items() if name not in host},
        FOLDERS["host"]: {name: code for name, code in modules.items() if name in host},
    }


def sums_text(modules: dict[str, bytes]) -> str:
    """`SHA256SUMS` as sha256sum writes it."""
    return "".join(f"{hashlib.sha256(code).hexdigest()}  {name}\n" for name, code in sorted(modules.items()))


def write(modules: dict[str, bytes], folder: Path) -> None:
    """Replaces the committed modules and their sums."""
    for name, code in modules.items():
        (folder / name).write_bytes(code)
    (folder / "SHA256SUMS").write_text(sums_text(modules))


def differences(modules: dict[str, bytes], folder: Path) -> list[str]:
    """What the committed folder has otherwise than `modules`, one line each."""
    committed = {path.name: path.read_bytes() for path in folder.glob("*.wasm")}
    found = [f"{name}: committed, but nothing builds it" for name in sorted(committed.keys() - modules.keys())]
    for name, code in sorted(modules.items()):
        built = hashlib.sha256(code).hexdigest()
        have = hashlib.sha256(committed[name]).hexdigest() if name in committed else "nothing"
        if have != built:
            found.append(f"{name}: built {built}, committed {have}")
    sums = folder / "SHA256SUMS"
    if not sums.exists() or sums.read_text() != sums_text(modules):
        found.append("SHA256SUMS: not the sums of what was built")
    return found


def main() -> int:
    """Builds, then writes or compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the committed modules")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="penstock-guests-"))
    try:
        modules = build_all(scratch)
    except MissingToolchainError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(scratch)
    return _write(modules) if arguments.write else _compare(modules)


def _write(modules: dict[str, bytes]) -> int:
    for folder, built in by_folder(modules).items():
        write(built, folder)
    print(sums_text(modules), end="")
    return 0


def _compare(modules: dict[str, bytes]) -> int:
    found = [one for folder, built in by_folder(modules).items() for one in differences(built, folder)]
    if not found:
        print(f"{len(modules)} guests rebuilt, all as committed")
        return 0
    print(*found, version_report(), sep="\n", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
