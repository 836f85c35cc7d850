"""Makes a guest of a prebuilt runtime: keeps the imports that it may have, and gives it the memory that it begins with.

For runtimes that import everything a guest may ever ask for (transformers/sdk/javascript/runtime/imports.h). Each import is called
from one exported function whose body is that call and nothing else. Imports that are not wanted become functions that trap. They go
to the front of the module's own functions: as functions are numbered imports first, no other function's number changes, and
nothing else in the code has to be touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sandbox.memory import PAGE_BYTES
from sandbox.sections import CORE, MalformedModuleError, Section, leb128, read_sections, unsigned
from schemas.abi import IMPORT_MODULE

WRAPPER = "penstock_host_"
"""Before an import's name: the export of the function that calls it."""
KEPT_EXPORTS = ("memory", "penstock_v1_", "penstock_snapshot")

_FUNCTION = 0
_PIECE = re.compile(rb"[^\0](?:\0{0,15}[^\0])*")
"""Data without long runs of zeros, which are there anyway."""
_TRAP = b"\0\0\x0b"  # no locals, unreachable, end


@dataclass(frozen=True, slots=True)
class _Import:
    name: str
    type: int


@dataclass(frozen=True, slots=True)
class _Export:
    name: bytes
    kind: int
    index: int


def select_imports(runtime: bytes, wanted: Collection[str]) -> bytes:
    """The runtime with these imports of `penstock` (and `fail`) only. Raises MalformedModuleError when it is no such runtime."""
    return _with_imports(runtime, wanted)


# ---- Imports.


def _with_imports(wasm: bytes, wanted: Collection[str]) -> bytes:
    parts = {one.kind: one.content(wasm) for one in read_sections(wasm) if one.kind != "custom"}
    types, imports = list(_types(parts.get("type", b"\0"))), list(_imports(parts.get("import", b"\0")))
    if not imports or imports[0].name != "fail":
        raise MalformedModuleError("is no runtime of penstock's: its first import is not penstock.fail")
    exports = list(_exports(parts["export"]))
    kept = [at for at, one in enumerate(imports) if at == 0 or one.name in wanted]
    order = [*kept, *(at for at in range(len(imports)) if at not in kept)]
    traps = len(imports) - len(kept)
    bodies = [_TRAP] * traps + _rewired(list(_bodies(parts["code"])), exports, imports, types, kept)
    functions = [imports[at].type for at in order[len(kept) :]] + list(_numbers(parts["function"]))
    replaced = {
        "import": _vector([_import(imports[at]) for at in kept]),
        "function": _vector([leb128(number) for number in functions]),
        "export": _vector([_export(one) for one in exports if one.name.decode().startswith(KEPT_EXPORTS)]),
        "code": _vector([leb128(len(body)) + body for body in bodies]),
    }
    return _replaced(wasm, replaced, lambda names: _renumbered(names, order))


def _rewired(
    bodies: list[bytes],
    exports: Sequence[_Export],
    imports: Sequence[_Import],
    types: Sequence[int],
    kept: Sequence[int],
) -> list[bytes]:
    """The functions' bodies with each import's caller calling its new number, or trapping."""
    callers = {one.name.decode(): one.index - len(imports) for one in exports if one.kind == _FUNCTION}
    for at, one in enumerate(imports[1:], 1):
        caller = callers.get(WRAPPER + one.name)
        if caller is None:
            raise MalformedModuleError(f"is no runtime of penstock's: no export {WRAPPER}{one.name}")
        bodies[caller] = _call(kept.index(at), types[one.type]) if at in kept else _TRAP
    return bodies


def _call(function: int, parameters: int) -> bytes:
    """A body that hands its parameters on."""
    code = b"".join(b"\x20" + leb128(at) for at in range(parameters))
    return b"\0" + code + b"\x10" + leb128(function) + b"\x0b"


def _types(section: bytes) -> Iterator[int]:
    """How many parameters each type has."""
    count, at = unsigned(section, 0)
    for _ in range(count):
        parameters, at = unsigned(section, at + 1)
        results, at = unsigned(section, at + parameters)
        at += results
        yield parameters


def _imports(section: bytes) -> Iterator[_Import]:
    count, at = unsigned(section, 0)
    for _ in range(count):
        module, at = _name(section, at)
        name, at = _name(section, at)
        if module.decode() != IMPORT_MODULE or section[at] != _FUNCTION:
            raise MalformedModuleError(f"imports {module.decode()}.{name.decode()}, which no guest is given")
        index, at = unsigned(section, at + 1)
        yield _Import(name.decode(), index)


def _exports(section: bytes) -> Iterator[_Export]:
    count, at = unsigned(section, 0)
    for _ in range(count):
        name, at = _name(section, at)
        index, end = unsigned(section, at + 1)
        yield _Export(name, section[at], index)
        at = end


def _bodies(section: bytes) -> Iterator[bytes]:
    count, at = unsigned(section, 0)
    for _ in range(count):
        length, at = unsigned(section, at)
        yield section[at : at + length]
        at += length


def _numbers(section: bytes) -> Iterator[int]:
    count, at = unsigned(section, 0)
    for _ in range(count):
        number, at = unsigned(section, at)
        yield number


def _import(one: _Import) -> bytes:
    return _text(IMPORT_MODULE.encode()) + _text(one.name.encode()) + bytes([_FUNCTION]) + leb128(one.type)


def _export(one: _Export) -> bytes:
    return _text(one.name) + bytes([one.kind]) + leb128(one.index)


def _renumbered(names: bytes, order: Sequence[int]) -> bytes:
    """The section `name` with the imports' names at their new numbers; the names of all else stay where they are."""
    out, at = bytearray(), 0
    while at < len(names):
        kind = names[at]
        length, start = unsigned(names, at + 1)
        at = start + length
        content = names[start:at]
        if kind == 1:
            content = _renumbered_functions(content, order)
        out += bytes([kind]) + leb128(len(content)) + content
    return bytes(out)


def _renumbered_functions(content: bytes, order: Sequence[int]) -> bytes:
    found: dict[int, bytes] = {}
    count, at = unsigned(content, 0)
    for _ in range(count):
        index, at = unsigned(content, at)
        found[index], at = _name(content, at)
    moved = {new: found[old] for new, old in enumerate(order) if old in found}
    entries = sorted((found | moved).items())
    return _vector([leb128(index) + _text(name) for index, name in entries])


def without_export(wasm: bytes, name: str) -> bytes:
    """The module without this export. Raises MalformedModuleError."""
    section = next(one.content(wasm) for one in read_sections(wasm) if one.kind == "export")
    kept = [_export(one) for one in _exports(section) if one.name.decode() != name]
    return _replaced(wasm, {"export": _vector(kept)})


# ---- Memory.


def with_memory(wasm: bytes, image: bytes) -> bytes:
    """The module with this as the memory it begins with. Raises MalformedModuleError."""
    kinds = {one.kind for one in read_sections(wasm)}
    pieces = [_piece(found.start(), found.group()) for found in _PIECE.finditer(image)]
    replaced = {"memory": b"\x01\0" + leb128(len(image) // PAGE_BYTES), "data": _vector(pieces)}
    if "data count" in kinds:
        replaced["data count"] = leb128(len(pieces))
    return _replaced(wasm, replaced)


def _piece(address: int, data: bytes) -> bytes:
    return b"\0\x41" + _signed(address) + b"\x0b" + leb128(len(data)) + data


# ---- Writing sections.


def _replaced(
    wasm: bytes, contents: Mapping[str, bytes], rename: Callable[[bytes], bytes] = lambda names: names
) -> bytes:
    """The module with these sections' contents, and with its section `name` passed through `rename`."""
    out = bytearray(CORE)
    for one in read_sections(wasm):
        if one.kind in contents:
            out += _section(wasm, one, contents[one.kind])
        elif one.kind == "custom" and one.name == "name":
            out += _section(wasm, one, _text(b"name") + rename(one.content(wasm)))
        else:
            out += wasm[one.end - one.size : one.end]
    return bytes(out)


def _section(wasm: bytes, one: Section, content: bytes) -> bytes:
    number = wasm[one.end - one.size : one.end - one.size + 1]
    return number + leb128(len(content)) + content


def _vector(items: Sequence[bytes]) -> bytes:
    return leb128(len(items)) + b"".join(items)


def _text(text: bytes) -> bytes:
    return leb128(len(text)) + text


def _name(content: bytes, at: int) -> tuple[bytes, int]:
    length, start = unsigned(content, at)
    return content[start : start + length], start + length


def _signed(number: int) -> bytes:
    """A positive number as a signed LEB128."""
    out = bytearray()
    while number >= 0x40:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
