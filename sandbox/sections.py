"""Reads and appends the custom sections of modules, and the one that is ours: `penstock`, in which a guest says who it is.

Threat: a module is a stranger's file. Nothing of it is compiled or run here; every length is checked against the bytes that are
there, so damaged input is one message, never a hang or an index error. Core modules and components have the same sections.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from sandbox.memory import PAGE_BYTES
from schemas.errors import PenstockError

SECTION = "penstock"
"""The custom section's name."""
METADATA_ABI = 1
CORE = b"\0asm\x01\0\0\0"
COMPONENT = b"\0asm\x0d\0\x01\0"
SECTIONS_MAX = 10_000
METADATA_BYTES_MAX = 64 << 10

_NAMES = (
    "custom",
    "type",
    "import",
    "function",
    "table",
    "memory",
    "global",
    "export",
    "start",
    "element",
    "code",
    "data",
    "data count",
    "tag",
)
_COMPONENT_NAMES = (
    "custom",
    "core module",
    "core instance",
    "core type",
    "component",
    "instance",
    "alias",
    "type",
    "canonical function",
    "start",
    "import",
    "export",
    "value",
)


class MalformedModuleError(PenstockError):
    """These bytes are no module, or not a whole one; the message says what is wrong and at which byte."""

    code = "malformed"


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a guest says about itself. Unknown keys are left to newer versions."""

    abi: int = METADATA_ABI
    name: str = ""
    version: str = ""
    sdk: str = ""
    """`rust/0.1.0`."""
    encoding: Literal["raw", "event"] = "raw"
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """One section, as it lies in the file."""

    kind: str
    """As the specification calls it: `code`, `data`, `custom`."""
    name: str
    """Of a custom section; empty for all others."""
    start: int
    """Where its content begins, behind its own head (and behind the name of a custom section)."""
    end: int
    size: int
    """All of its bytes, head included: the sizes of all sections and the 8 bytes of the preamble are the file's."""

    def content(self, wasm: bytes) -> bytes:
        """Its bytes within the file it was read from."""
        return wasm[self.start : self.end]


def is_component(wasm: bytes) -> bool:
    """Whether this is a component instead of a core module."""
    return wasm.startswith(COMPONENT)


def read_sections(wasm: bytes) -> list[Section]:
    """All sections of a core module or component, in order. Raises MalformedModuleError."""
    if not wasm.startswith((CORE, COMPONENT)):
        raise MalformedModuleError(_not_wasm(wasm))
    names = _COMPONENT_NAMES if is_component(wasm) else _NAMES
    return list(_walk(wasm, names))


def _not_wasm(wasm: bytes) -> str:
    if not wasm:
        return "the file is empty, not a WebAssembly module"
    if wasm[:4] == CORE[:4]:
        return f"not a version of WebAssembly that is known: {wasm[4:8].hex(' ')}"
    if wasm.lstrip()[:7] == b"(module":
        return "WebAssembly text, not a module: assemble it first"
    return "not a WebAssembly module: it does not begin with \\0asm"


def _walk(wasm: bytes, names: Sequence[str]) -> Iterator[Section]:
    at, count = len(CORE), 0
    while at < len(wasm):
        begin, count = at, count + 1
        if count > SECTIONS_MAX:
            raise MalformedModuleError(f"has more than {SECTIONS_MAX} sections")
        number = wasm[at]
        length, at = unsigned(wasm, at + 1)
        end = at + length
        if end > len(wasm):
            raise MalformedModuleError(f"ends within a section: byte {begin} announces {length} bytes")
        name = ""
        if number == 0:
            name, at = _text(wasm, at, end)
        kind = names[number] if number < len(names) else f"unknown ({number})"
        yield Section(kind, name, at, end, end - begin)
        at = end


def _text(wasm: bytes, at: int, end: int) -> tuple[str, int]:
    length, start = unsigned(wasm, at)
    if start + length > end:
        raise MalformedModuleError(f"a custom section's name does not fit into it, at byte {at}")
    return wasm[start : start + length].decode("utf-8", "replace"), start + length


def unsigned(wasm: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number of 32 bits at most, and the position behind it. Raises MalformedModuleError."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(wasm):
            raise MalformedModuleError(f"ends within a number, at byte {at}")
        byte = wasm[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise MalformedModuleError(f"a number is too long, at byte {at - 5}")


def custom_sections(wasm: bytes, name: str) -> list[bytes]:
    """The contents of every custom section of this name. Raises MalformedModuleError."""
    return [one.content(wasm) for one in read_sections(wasm) if one.kind == "custom" and one.name == name]


def append_custom(wasm: bytes, name: str, content: bytes) -> bytes:
    """The module with one more custom section at its end. Raises MalformedModuleError when it is no module."""
    read_sections(wasm)
    text = name.encode()
    body = leb128(len(text)) + text + content
    return wasm + b"\0" + leb128(len(body)) + body


def leb128(number: int) -> bytes:
    """An unsigned number as modules write it."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_metadata(wasm: bytes) -> Metadata | None:
    """What the module says about itself; None when it says nothing.

    Raises MalformedModuleError for bytes that are no module, and for a section that cannot be read: two of them, not JSON, of
    another ABI, or larger than 64 KiB.
    """
    found = custom_sections(wasm, SECTION)
    if not found:
        return None
    if len(found) > 1:
        raise MalformedModuleError(f"has {len(found)} custom sections `{SECTION}`; one is the most")
    (content,) = found
    if len(content) > METADATA_BYTES_MAX:
        raise MalformedModuleError(
            f"its section `{SECTION}` has {len(content)} bytes, {METADATA_BYTES_MAX} is the most"
        )
    try:
        metadata = msgspec.json.decode(content.rstrip(b"\0"), type=Metadata)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedModuleError(f"its section `{SECTION}` cannot be read: {error}") from None
    if metadata.abi != METADATA_ABI:
        raise MalformedModuleError(f"its section `{SECTION}` is of ABI {metadata.abi}; this version has {METADATA_ABI}")
    return metadata


def append_metadata(wasm: bytes, metadata: Metadata) -> bytes:
    """The module with its section `penstock`: compact JSON, keys in a fixed order. Raises MalformedModuleError."""
    return append_custom(wasm, SECTION, msgspec.json.encode(metadata))


def limit_memory(wasm: bytes, bytes_max: int) -> bytes:
    """The module with a maximum declared for its one memory, for linkers that have no option for it; an own one stays.

    `bytes_max` is a multiple of 64 KiB and no less than what the memory begins with. Raises MalformedModuleError.
    """
    for section in read_sections(wasm):
        if section.kind == "memory":
            content = section.content(wasm)
            count, at = unsigned(content, 0)
            flags, at = unsigned(content, at)
            pages_least, _ = unsigned(content, at)
            if count != 1 or flags != 0:
                return wasm
            if bytes_max < pages_least * PAGE_BYTES:
                least = pages_least * PAGE_BYTES
                raise MalformedModuleError(f"its memory begins with {least} bytes; {bytes_max} is no maximum for that")
            body = b"\x01\x01" + leb128(pages_least) + leb128(bytes_max // PAGE_BYTES)
            head = wasm[section.end - section.size : section.end - section.size + 1]
            return wasm[: section.end - section.size] + head + leb128(len(body)) + body + wasm[section.end :]
    return wasm
