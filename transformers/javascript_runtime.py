"""Builds the JavaScript SDK's `runtime.wasm`: QuickJS and the SDK's own C, by zig.

wasm-opt is not run over it: it inlines what calls the imports, which must stay functions of their own (pipeline/workshop/snapshots.py).

QuickJS's sources are in the crate `rquickjs-sys`, which Cargo fetches in the version and with the hash of the committed Cargo.lock.
Whoever builds a guest needs none of this: the runtime is part of the SDK.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.workshop import toolchains
from pipeline.workshop.compiler import run_compiler

SDK = Path(__file__).resolve().parent / "sdk"
RUNTIME = SDK / "javascript" / "runtime.wasm"
SOURCES = SDK / "javascript" / "runtime"
OWN = ("runtime", "event", "outcome", "values", "buffer", "imports", "system")
ENGINE = ("libregexp.c", "libunicode.c", "dtoa.c")
STACK_BYTES = 256 << 10
"""Of which the engine lets scripts use 160 KiB (runtime.c): deeper recursion is a RangeError."""


def build_runtime(scratch: Path) -> bytes:
    """The runtime. Raises MissingToolchainError and BuildError."""
    cargo = toolchains.find_rust().cargo
    zig = toolchains.zig()
    crates = scratch / "crates"
    fetch = [
        cargo,
        "vendor",
        "--quiet",
        "--locked",
        "--versioned-dirs",
        "--manifest-path",
        SOURCES / "Cargo.toml",
        crates,
    ]
    run_compiler(fetch, cwd=scratch, what="cargo vendor")
    (engine,) = (folder / "quickjs" for folder in crates.glob("rquickjs-sys-*"))
    out = scratch / "runtime.wasm"
    run_compiler(_compile(zig, engine, out), cwd=SOURCES, environ=toolchains.zig_environment(), what="zig cc")
    return out.read_bytes()


def _compile(zig: Path, engine: Path, out: Path) -> list[str | Path]:
    command: list[str | Path] = [zig, "cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-nostartfiles"]
    command += [
        "-mcpu=generic+bulk_memory+sign_ext+nontrapping_fptoint",
        "-std=gnu11",
        "-O2",
        "-g0",
        "-DNDEBUG",
        "-D_GNU_SOURCE",
    ]
    command += ["-fno-sanitize=all", "-ffunction-sections", "-fdata-sections", f"-I{engine}", "-I../../c"]
    command += [f"-ffile-prefix-map={engine}=quickjs", "-Wl,--no-entry", "-Wl,--gc-sections", "-Wl,--strip-debug"]
    command += [f"-Wl,-z,stack-size={STACK_BYTES}", "-Wno-unused-function", "-o", out]
    command += [f"{name}.c" for name in OWN]
    return [*command, "-w", "engine.c", *(engine / name for name in ENGINE)]
