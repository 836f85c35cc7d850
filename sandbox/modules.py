"""Reads, verifies and inspects modules before anything of them runs.

Threat: a module is a stranger's file. Its size is bounded before it is read, its hash is compared with the operator's pin, and
its exports and imports are compared with the ABI and with what was granted; each refusal names the item and what to do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from wasmtime import FuncType, MemoryType, Module

from sandbox.calls import Exports
from sandbox.host import WASI, HostImport, known_imports
from sandbox.sections import COMPONENT, MalformedModuleError, is_component, read_metadata
from sandbox.text import cut, printable
from schemas import abi
from schemas.errors import ModuleFault
from schemas.specs import InstancePolicy, TransformerSpec


class UngrantedImport(ModuleFault):
    """The module imports what it was not granted, or what no host has."""


MODULE_BYTES_MAX = 32 << 20
MAGIC = b"\0asm\x01\0\0\0"
EXPORTS_MAX = 10_000
IMPORTS_MAX = 1_000
NAME_CHARACTERS_MAX = 100
SECTION_IMPORT = 2
SECTION_MEMORY = 5
SECTION_EXPORT = 7
SECTION_START = 8

_I64 = "(i32, i32) -> i64"
_SIGNATURES = {
    abi.ALLOC: "(i32) -> i32",
    abi.CONFIGURE: "(i32, i32) -> i32",
    abi.CURSOR: "() -> i32",
    abi.INITIALIZE: "() -> ()",
}


@dataclass(frozen=True, slots=True)
class ModuleBytes:
    """A module as it was read."""

    name: str
    wasm: bytes
    sha256: str

    @property
    def is_component(self) -> bool:
        """It is a component instead of a core module."""
        return is_component(self.wasm)


@dataclass(frozen=True, slots=True)
class ModuleShape:
    """What the sandbox needs to know about a compiled module."""

    exports: Exports
    imports: tuple[HostImport, ...]
    has_start: bool
    memories: int
    memory_bytes_declared: int | None
    """The module's own maximum, when it has one."""


def read(spec: TransformerSpec, wasm: bytes | None = None) -> ModuleBytes:
    """The module's bytes, from `wasm` or from the spec's file, with their hash checked against the pin. Raises ModuleFault."""
    content = wasm if wasm is not None else _read_file(spec.name, spec.module)
    module = identify(spec.name, content)
    if spec.sha256 is not None and spec.sha256.lower() != module.sha256:
        raise ModuleFault(
            spec.name,
            f"its sha256 is {module.sha256}, the registry pins {spec.sha256}",
            f"set transformers.{spec.name}.sha256 to the new hash if the change is meant",
        )
    return module


def identify(name: str, wasm: bytes) -> ModuleBytes:
    """Bounds, magic number and hash. Raises ModuleFault."""
    if len(wasm) > MODULE_BYTES_MAX:
        raise ModuleFault(name, f"the module has {len(wasm)} bytes, {MODULE_BYTES_MAX} is the most")
    if not wasm.startswith((MAGIC, COMPONENT)):
        remedy = "build it for wasm32-unknown-unknown, or as a component; text files are not taken"
        raise ModuleFault(name, "not a WebAssembly module", remedy)
    return ModuleBytes(name, wasm, hashlib.sha256(wasm).hexdigest())


def usual_instance(module: Path) -> InstancePolicy:
    """How long a guest of the module in this file lives unless somebody says so."""
    try:
        with module.open("rb") as file:
            start = file.read(len(MAGIC))
    except (OSError, ValueError):
        start = b""
    return suited_instance(start)


def suited_instance(wasm: bytes) -> InstancePolicy:
    """`reused` for a component, whose start costs more than a batch; else `per-batch`."""
    return InstancePolicy.REUSED if is_component(wasm) else InstancePolicy.PER_BATCH


def _read_file(name: str, path: Path) -> bytes:
    try:
        if not path.is_file() and path.exists():  # opening a pipe would wait for ever
            raise ModuleFault(name, f"cannot read {path}: it is not a regular file", "check `module:`")
        with path.open("rb") as file:
            return file.read(MODULE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a file name"
        raise ModuleFault(name, f"cannot read {printable(str(path))}: {why}", "check `module:`") from None


def inspect(
    spec: TransformerSpec, module: Module, wasm: bytes, granted: Mapping[tuple[str, str], HostImport]
) -> ModuleShape:
    """Compare the module with ABI v1 and with what it was granted. Raises ModuleFault."""
    check_bounds(spec.name, wasm)
    positions = {export.name: at for at, export in enumerate(module.exports)}
    kinds = {export.name: export.type for export in module.exports}
    memory = _memory_of(spec.name, kinds.get(abi.MEMORY))
    wanted = (abi.ALLOC, spec.function, abi.CONFIGURE, abi.CURSOR, abi.INITIALIZE)
    required = {abi.ALLOC, spec.function} | ({abi.CONFIGURE} if spec.config else set())
    if spec.function in _SIGNATURES:  # of another type: it must never be called with a frame
        remedy = f"set transformers.{spec.name}.function to one that takes and gives frames, or leave it out"
        raise ModuleFault(spec.name, f"`{spec.function}` is the ABI's own, and takes no frame", remedy)
    for name in wanted:
        _check_export(spec.name, name, kinds.get(name), required=name in required)
    functions = tuple(positions.get(name, -1) for name in wanted)
    return ModuleShape(
        exports=Exports(memory=positions[abi.MEMORY], functions=functions),
        imports=resolve_imports(spec.name, module, granted),
        has_start=has_start(wasm),
        memories=count_memories(wasm),
        memory_bytes_declared=memory,
    )


def check_bounds(name: str, wasm: bytes) -> None:
    """Refuse a valid module with absurdly many imports or exports before they are listed. Raises ModuleFault."""
    found = sections(wasm)
    for section, most, what in ((SECTION_IMPORT, IMPORTS_MAX, "imports"), (SECTION_EXPORT, EXPORTS_MAX, "exports")):
        count = _unsigned(found[section], 0)[0] if section in found else 0
        if count > most:
            raise ModuleFault(name, f"has {count} {what}; {most} is the most")


def _memory_of(name: str, kind: object) -> int | None:
    if not isinstance(kind, MemoryType):
        found = "nothing" if kind is None else "something else"
        raise ModuleFault(name, f"exports {found} as `memory`; ABI v1 needs its linear memory there")
    if kind.is_64 or kind.is_shared:
        raise ModuleFault(name, "its memory is 64-bit or shared; ABI v1 needs a plain 32-bit memory")
    return None if kind.limits.max is None else kind.limits.max * kind.page_size


def _check_export(name: str, export: str, kind: object, *, required: bool) -> None:
    if kind is None:
        if required:
            remedy = "see docs/guest-abi.md" if export != abi.CONFIGURE else "it cannot take `config:`; remove that"
            raise ModuleFault(name, f"does not export `{export}`", remedy)
        return
    expected = _SIGNATURES.get(export, _I64)
    actual = signature(kind) if isinstance(kind, FuncType) else "not a function"
    if actual != expected:
        raise ModuleFault(name, f"exports `{export}` as {_short(actual)}; ABI v1 has {expected}")


def signature(kind: FuncType) -> str:
    """`(i32, i32) -> i64`."""
    parameters = ", ".join(str(one) for one in kind.params)
    return f"({parameters}) -> {', '.join(str(one) for one in kind.results) or '()'}"


def resolve_imports(name: str, module: Module, granted: Mapping[tuple[str, str], HostImport]) -> tuple[HostImport, ...]:
    """The host functions that the module imports. Raises ModuleFault for one that was not granted or does not exist."""
    found: dict[tuple[str, str], HostImport] = {}
    for wanted in module.imports:
        key = (wanted.module, wanted.name or "")
        one = granted.get(key)
        if one is None:
            raise ungranted(name, *key)
        actual = signature(wanted.type) if isinstance(wanted.type, FuncType) else "not a function"
        if actual != one.signature:
            problem = f"imports {'.'.join(key)} as {_short(actual)}; the host has {one.signature}"
            raise ModuleFault(name, problem)
        found[key] = one
    return tuple(found.values())


def check_asked(spec: TransformerSpec, wasm: bytes) -> None:
    """Compare what the module's section `penstock` says it wants with what it gets. Raises UngrantedImport.

    A section that cannot be read asks for nothing: it is the imports that need capabilities, and those are checked by themselves.
    """
    try:
        said = read_metadata(wasm)
    except MalformedModuleError:
        return
    granted = spec.grants.names
    missing = [one for one in (said.capabilities if said is not None else ()) if one not in granted]
    if missing:
        names = ", ".join(f"`{_short(one)}`" for one in missing)
        lines = ", ".join(_short(one) for one in missing)
        remedy = f"grant it in the registry: transformers.{spec.name}.capabilities: [{lines}]"
        raise UngrantedImport(spec.name, f"asks for {names}, which the registry does not grant", remedy)


def ungranted(name: str, module: str, item: str, advice: str = "") -> UngrantedImport:
    """The refusal of an import that was not granted, or that no host has; `advice` is for those of other modules."""
    known = known_imports().get((module, item))
    what = f"imports {_short(module)}.{_short(item)}" if module else f"imports {_short(item)}"
    if known is not None:
        return UngrantedImport(
            name,
            f"{what}, which needs the capability `{known.capability}`",
            f"grant it in the registry: transformers.{name}.capabilities: [{known.capability}]",
        )
    if module == WASI:
        return UngrantedImport(name, f"{what}, which is no function of WASI preview 1", "build it for wasip1")
    if module == abi.IMPORT_MODULE:
        names = ", ".join(sorted(one for place, one in known_imports() if place == module))
        return UngrantedImport(name, f"{what}, which this host does not have", f"it has {names}")
    return UngrantedImport(
        name, f"{what}; the host offers the modules `{abi.IMPORT_MODULE}` and `{WASI}` only", advice or _advice(module)
    )


def _advice(module: str) -> str:
    if module.startswith("wasi"):
        return f"build it for WASI preview 1 (`{WASI}`), or without WASI"
    return "remove the import"


def _short(text: str) -> str:
    """A name of the module's choosing, fit for a message."""
    return cut(printable(text), NAME_CHARACTERS_MAX)


def sections(wasm: bytes) -> dict[int, bytes]:
    """Known sections by id, of a module that wasmtime has validated (custom sections are left out)."""
    found: dict[int, bytes] = {}
    at = len(MAGIC)
    while at < len(wasm):
        kind = wasm[at]
        length, at = _unsigned(wasm, at + 1)
        if kind:
            found[kind] = wasm[at : at + length]
        at += length
    return found


def has_start(wasm: bytes) -> bool:
    """Instantiating runs guest code."""
    return SECTION_START in sections(wasm)


def count_memories(wasm: bytes) -> int:
    """Memories that the module defines."""
    section = sections(wasm).get(SECTION_MEMORY)
    return _unsigned(section, 0)[0] if section else 0


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def compiler_version() -> str:
    """Which wasmtime compiles."""
    return version("wasmtime")
