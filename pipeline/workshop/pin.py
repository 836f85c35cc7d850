"""Writes a module's sha256 into the registry entries that use it. All other bytes of the file, comments included, stay as they are."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.registry.document import Document, Spot, Steps
from pipeline.registry.reading import parse_document, read_document
from schemas.errors import ConfigError, Fault

_SCALAR = re.compile(r"""[ \t]*("[^"\n]*"|'[^'\n]*'|[^\s,{}#]+)?""")


def pin(registry: Path, module: Path, sha256: str) -> list[str]:
    """Pin every transformer of this registry whose `module` is this file. Returns their names; does not write when nothing changes.

    Raises ConfigError when the registry cannot be read, no transformer uses the module, or the place cannot be edited safely.
    """
    document = read_document(registry)
    names = users(document, registry, module)
    if not names:
        problem = f"no transformer here has the module {module}"
        raise ConfigError(Fault(problem, "add one with `module:`, relative to the registry file", str(registry)))
    text = before = registry.read_bytes().decode("utf-8")
    for name in names:
        text = _pinned(text, str(registry), name, sha256)
    if text != before:
        _check_only_pins_changed(document, parse_document(text, str(registry)), names, sha256)
        registry.write_bytes(text.encode())
    return names


def pinned(registry: Path, module: Path) -> dict[str, str | None]:
    """The transformers of this registry that use this module, and what they pin. Raises ConfigError."""
    document = read_document(registry)
    entries = document.data["transformers"] if users(document, registry, module) else {}
    return {name: entries[name].get("sha256") for name in users(document, registry, module)}


def users(document: Document, registry: Path, module: Path) -> list[str]:
    """Names of the transformers whose `module` is this file."""
    data = document.data
    entries = data.get("transformers") if isinstance(data, dict) else None
    if not isinstance(entries, dict):
        return []
    return [name for name, entry in entries.items() if _uses(entry, registry.resolve().parent, module.resolve())]


def _uses(entry: object, folder: Path, module: Path) -> bool:
    written = entry.get("module") if isinstance(entry, dict) else None
    return isinstance(written, str) and (folder / written).resolve() == module


def _pinned(text: str, file: str, name: str, sha256: str) -> str:
    document = parse_document(text, file)
    entry: Steps = ("transformers", name)
    lines = text.splitlines(keepends=True)
    if (*entry, "sha256") in document.keys:
        return _replaced(lines, document.keys[(*entry, "sha256")], sha256)
    return _inserted(lines, document.keys[(*entry, "module")], sha256)


def _replaced(lines: list[str], key: Spot, sha256: str) -> str:
    """The scalar behind the key `sha256`, which stands on the key's own line."""
    line = lines[key.line - 1]
    start = line.index(":", key.column - 1) + 1
    old = _SCALAR.match(line, start)
    end = old.end(1) if old is not None and old[1] else start
    lines[key.line - 1] = f'{line[:start]} "{sha256}"{line[end:]}'
    return "".join(lines)


def _inserted(lines: list[str], key: Spot, sha256: str) -> str:
    """A line of its own below the key `module`; in a mapping in braces, an item before it."""
    line = lines[key.line - 1]
    before = line[: key.column - 1]
    if before.strip():
        lines[key.line - 1] = f'{before}sha256: "{sha256}", {line[key.column - 1 :]}'
    else:
        ending = "\r\n" if line.endswith("\r\n") else "\n"
        lines[key.line - 1] = line if line.endswith("\n") else line + ending
        lines.insert(key.line, f'{before}sha256: "{sha256}"{ending}')
    return "".join(lines)


def _check_only_pins_changed(before: Document, after: Document, names: list[str], sha256: str) -> None:
    for name in names:
        before.data["transformers"][name]["sha256"] = sha256
    if before.data != after.data:
        remedy = "write it by hand: " + "; ".join(f'transformers.{name}.sha256: "{sha256}"' for name in names)
        raise ConfigError(Fault("the pin cannot be written without touching something else", remedy, before.file))
