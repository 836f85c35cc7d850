"""What a module is, without running it: exports, imports, memories, sections, what it says about itself.

Threat: the module is a stranger's file that penstock may well refuse. Its size and the number of its sections, imports and exports
are bounded before it is compiled, nothing of it is instantiated, and names are made printable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from wasmtime import Config, Engine, FuncType, GlobalType, MemoryType, Module, TableType, WasmtimeError
from wasmtime import component as components

from sandbox.components.bridge import import_key, shown
from sandbox.components.shape import export_name
from sandbox.host import known_imports
from sandbox.modules import MODULE_BYTES_MAX, check_bounds, signature
from sandbox.sections import MalformedModuleError, Metadata, Section, is_component, read_metadata, read_sections
from sandbox.text import cut, printable
from schemas import abi
from schemas.capabilities import NEEDED_FOR
from schemas.errors import ModuleFault

NAME_CHARACTERS_MAX = 200
_FEATURES = ("memory64", "multi_memory", "relaxed_simd", "tail_call", "threads")
"""What a module may be made of and still be looked at; penstock refuses some of these."""


@dataclass(frozen=True, slots=True)
class Item:
    """One export or import."""

    name: str
    """Of an import with its module: `penstock.log`."""
    type: str
    """`(i32, i32) -> i64`, `memory 2..64 pages`, `global i32`."""
    capability: str | None = None
    """What an import needs; None where nothing has to be granted."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One linear memory; sizes in bytes."""

    bytes_min: int
    bytes_max: int | None
    """None: it declares no maximum, and only the host's limit holds."""
    is_64: bool
    is_shared: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found."""

    kind: str
    """`module` or `component`."""
    size_bytes: int
    sha256: str
    abi: int | None
    """The guest ABI's version, by the exports; None when it exports no transform of any."""
    metadata: Metadata | None
    exports: tuple[Item, ...]
    imports: tuple[Item, ...]
    memories: tuple[Memory, ...]
    sections: tuple[Section, ...]
    faults: tuple[str, ...]
    """Why it cannot even be looked at in full: it does not compile, its section is damaged."""

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What it wants: what its imports need, and what it says."""
        said = self.metadata.capabilities if self.metadata else ()
        needed = [one.capability for one in self.imports if one.capability]
        return tuple(sorted({*said, *needed}))


def inspect_module(wasm: bytes) -> Inspection:
    """Look at a core module or a component. Raises MalformedModuleError when these bytes are neither, or not a whole one."""
    if len(wasm) > MODULE_BYTES_MAX:
        raise MalformedModuleError(f"has {len(wasm)} bytes; {MODULE_BYTES_MAX} is the most")
    sections = read_sections(wasm)
    faults: list[str] = []
    metadata = _metadata(wasm, faults)
    exports, imports, memories = _interface(wasm, faults)
    return Inspection(
        kind="component" if is_component(wasm) else "module",
        size_bytes=len(wasm),
        sha256=hashlib.sha256(wasm).hexdigest(),
        abi=_abi(exports),
        metadata=metadata,
        exports=exports,
        imports=imports,
        memories=memories,
        sections=tuple(sections),
        faults=tuple(faults),
    )


def _metadata(wasm: bytes, faults: list[str]) -> Metadata | None:
    try:
        return read_metadata(wasm)
    except MalformedModuleError as error:
        faults.append(str(error))
        return None


def _abi(exports: Iterable[Item]) -> int | None:
    names = {one.name for one in exports}
    return 1 if names & {abi.TRANSFORM, export_name(abi.TRANSFORM)} else None


_Interface = tuple[tuple[Item, ...], tuple[Item, ...], tuple[Memory, ...]]


def _interface(wasm: bytes, faults: list[str]) -> _Interface:
    try:
        return _component(wasm) if is_component(wasm) else _core(wasm)
    except ModuleFault as fault:
        faults.append(fault.problem)
    except WasmtimeError as error:
        faults.append(f"cannot be compiled: {cut(printable(str(error).strip()), 1024)}")
    return (), (), ()


def _engine() -> Engine:
    config = Config()
    config.cranelift_opt_level = "none"  # it is looked at, not run
    for feature in _FEATURES:
        setattr(config, f"wasm_{feature}", True)
    return Engine(config)


def _core(wasm: bytes) -> _Interface:
    check_bounds("it", wasm)
    module = Module(_engine(), wasm)
    exports = tuple(Item(_name(one.name), _shown(one.type)) for one in module.exports)
    imports = tuple(
        Item(_name(f"{one.module}.{one.name}"), _shown(one.type), needs(one.module, one.name or ""))
        for one in module.imports
    )
    kinds: list[object] = [*(one.type for one in module.exports), *(one.type for one in module.imports)]
    return exports, imports, tuple(_memory(kind) for kind in kinds if isinstance(kind, MemoryType))


def _component(wasm: bytes) -> _Interface:
    engine = _engine()
    world = components.Component(engine, wasm).type
    exports, imports = world.exports(engine), world.imports(engine)
    return (
        tuple(Item(_name(name), _outer(one.ty)) for name, one in exports.items()),
        tuple(Item(_name(name), _outer(one.ty), needs(*import_key(name))) for name, one in imports.items()),
        (),
    )


def _outer(kind: object) -> str:
    """Of what stands between a component and its host."""
    if isinstance(kind, components.FuncType):
        return shown(kind)
    return type(kind).__name__.removesuffix("Type").removeprefix("Component").lower()


def needs(module: str, name: str) -> str | None:
    """The capability that an import needs; None where nothing has to be granted, or where no host has it."""
    known = known_imports().get((module, name))
    if known is not None:
        return known.capability
    if module == abi.IMPORT_MODULE:
        return NEEDED_FOR.get(name)
    return None


def _memory(kind: MemoryType) -> Memory:
    limits, page = kind.limits, kind.page_size
    most = None if limits.max is None else limits.max * page
    return Memory(limits.min * page, most, kind.is_64, kind.is_shared)


def _shown(kind: object) -> str:
    match kind:
        case FuncType():
            return signature(kind)
        case MemoryType():
            most = "" if kind.limits.max is None else kind.limits.max
            return f"memory {kind.limits.min}..{most} pages"
        case TableType():
            return f"table of {kind.element}"
        case GlobalType():
            return f"global {kind.content}{' mut' if kind.mutable else ''}"
        case _:
            return type(kind).__name__.removesuffix("Type").lower()


def _name(text: str) -> str:
    return cut(printable(text), NAME_CHARACTERS_MAX)
