"""Compares a component with penstock's world before anything of it runs: its exports, its imports, what it is made of.

Threat: as in `sandbox/modules.py`. Besides, a component may make many instances of many core modules, and what the host keeps of
each grows with its functions, outside of any memory limit: both numbers are bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from wasmtime import Engine
from wasmtime.component import Component, FuncType, String

from sandbox.components.bridge import BridgedImport, bridge_of, import_key, matches, shown
from sandbox.host import HostImport
from sandbox.modules import ungranted
from sandbox.sections import COMPONENT, CORE, read_sections, unsigned
from sandbox.text import cut, printable
from schemas import abi
from schemas.errors import ModuleFault
from schemas.specs import TransformerSpec

INSTANCES_MAX: Final = 64
"""Core instances of one component; Python's runtime takes 38."""
FUNCTIONS_MAX: Final = 100_000
"""Functions of all its core modules together; Python's runtime has about 15,000."""
DEPTH_MAX: Final = 8
"""Components within components."""
IMPORTS_MAX: Final = 1_000
NAME_CHARACTERS_MAX: Final = 100
CODE_SECTION: Final = "function"


@dataclass(frozen=True, slots=True)
class ComponentShape:
    """What the sandbox needs to know about a compiled component."""

    transform: str
    """The export's name."""
    configure: str | None
    imports: tuple[BridgedImport, ...]


def inspect(
    spec: TransformerSpec,
    component: Component,
    engine: Engine,
    wasm: bytes,
    granted: Mapping[tuple[str, str], HostImport],
) -> ComponentShape:
    """Compare the component with the world and with what it was granted. Raises ModuleFault."""
    _check_size(spec.name, wasm)
    kind = component.type
    exports = {name: item.ty for name, item in kind.exports(engine).items()}
    transform, configure = export_name(spec.function), export_name(abi.CONFIGURE)
    _check_export(spec.name, transform, exports.get(transform), TRANSFORM, required=True)
    _check_export(spec.name, configure, exports.get(configure), CONFIGURE, required=bool(spec.config))
    imports = {name: item.ty for name, item in kind.imports(engine).items()}
    if len(imports) > IMPORTS_MAX:
        raise ModuleFault(spec.name, f"has {len(imports)} imports, {IMPORTS_MAX} is the most")
    return ComponentShape(
        transform=transform,
        configure=configure if configure in exports else None,
        imports=tuple(_resolve(spec.name, name, item, granted) for name, item in imports.items()),
    )


def export_name(function: str) -> str:
    """What a component calls this export: `penstock-v1-transform`."""
    return function.replace("_", "-")


TRANSFORM: Final = "(string) -> string"
CONFIGURE: Final = "(string)"
_TYPES: Final = {TRANSFORM: ((String(),), String()), CONFIGURE: ((String(),), None)}


def _check_export(name: str, export: str, kind: Any, wanted: str, *, required: bool) -> None:
    if kind is None:
        if required:
            remedy = "see docs/guest-abi.md" if wanted is TRANSFORM else "it cannot take `config:`; remove that"
            raise ModuleFault(name, f"does not export `{export}`", remedy)
        return
    actual = shown(kind) if isinstance(kind, FuncType) else "not a function"
    if not isinstance(kind, FuncType) or (tuple(one for _, one in kind.params), kind.result) != _TYPES[wanted]:
        raise ModuleFault(name, f"exports `{export}` as {_short(actual)}; ABI v1 has {wanted}")


def _resolve(name: str, wanted: str, kind: Any, granted: Mapping[tuple[str, str], HostImport]) -> BridgedImport:
    key = import_key(wanted)
    host = granted.get(key)
    if host is None:
        if key[0] == abi.IMPORT_MODULE:
            raise ungranted(name, *key)
        raise ungranted(
            name, "", wanted, "build it with `componentize-py componentize --stub-wasi`, or remove the import"
        )
    bridge = bridge_of(host)
    if not isinstance(kind, FuncType) or not matches(bridge, kind):
        actual = shown(kind) if isinstance(kind, FuncType) else "not a function"
        raise ModuleFault(name, f"imports `{_short(wanted)}` as {_short(actual)}; the host has {bridge.signature}")
    return BridgedImport(wanted, host)


def _check_size(name: str, wasm: bytes) -> None:
    count = count_functions(wasm)
    if count > FUNCTIONS_MAX:
        raise ModuleFault(name, f"has {count} functions, {FUNCTIONS_MAX} is the most for a component")


def count_functions(wasm: bytes, depth: int = 0) -> int:
    """Functions that the core modules within a component define, nested components included."""
    count = 0
    for section in read_sections(wasm):
        content = section.content(wasm) if section.kind in ("core module", "component", CODE_SECTION) else b""
        if section.kind == CODE_SECTION:
            count += unsigned(content, 0)[0]
        elif content and depth < DEPTH_MAX and content.startswith((CORE, COMPONENT)):
            count += count_functions(content, depth + 1)
        elif content:
            return FUNCTIONS_MAX + 1
    return count


def _short(text: str) -> str:
    return cut(printable(text), NAME_CHARACTERS_MAX)
