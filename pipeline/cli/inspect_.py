"""`penstock inspect`: what a module is, and why penstock would refuse it."""

from __future__ import annotations

import json as jsonlib
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.trial_view import plain
from sandbox import Sandbox
from sandbox.guest import RefusedConfig
from sandbox.inspection import Inspection, Item, Memory, inspect_module
from sandbox.modules import MODULE_BYTES_MAX
from sandbox.sections import SECTION, MalformedModuleError, Section
from schemas.capabilities import Capability
from schemas.errors import ConfigError, Fault, ModuleFault, PenstockError
from schemas.limits import PROFILES, format_bytes
from schemas.specs import TransformerSpec

_EXIT_REFUSED = 1
_SHOWN_MAX = 60
_SECTIONS_SHOWN = 20


def inspect(
    module: Annotated[Path, typer.Argument(help="The module.", metavar="MODULE.wasm", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Show what a module is: exports, imports, memory, metadata, hash and size; and why penstock would refuse it.

    Imports show the capability that each needs. The module is loaded as `run` would do it, with every capability this host has: what
    penstock refuses it for is said. Exit code 1 for a module that is refused, 2 for a file that is no module.

    Example: penstock inspect build/mask-names.wasm
    """
    wasm = _read(module)
    try:
        found = inspect_module(wasm)
    except MalformedModuleError as error:
        raise ConfigError(
            Fault(str(error), "name a .wasm file, as `penstock build` writes it", _shown(module))
        ) from None
    refusal = found.faults or refusals(module.stem, wasm)
    if json:
        typer.echo(jsonlib.dumps(as_json(found, refusal), indent=2, ensure_ascii=False))
    else:
        _print(found, module, refusal)
    if refusal:
        raise typer.Exit(_EXIT_REFUSED)


def _shown(path: Path) -> str:
    return plain(str(path), len(str(path)))


def _read(path: Path) -> bytes:
    try:
        if not path.is_file() and path.exists():  # opening a pipe would wait for ever
            raise ConfigError(Fault("is not a regular file", "name a .wasm file", _shown(path)))
        with path.open("rb") as file:
            return file.read(MODULE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a file name"
        raise ConfigError(Fault(f"cannot be read: {why}", "name a .wasm file", _shown(path))) from None


def refusals(name: str, wasm: bytes) -> tuple[str, ...]:
    """Why `run` would refuse the module, however much it is granted; empty when it would take it."""
    spec = TransformerSpec(
        name=name,
        module=Path(name),
        limits=PROFILES["trusted"],
        capabilities=frozenset(capability.value for capability in Capability),
    )
    try:
        with closing(Sandbox(workers=1)) as sandbox:
            sandbox.load(spec, wasm)
    except RefusedConfig:  # it was given none; its registry has one
        return ()
    except ModuleFault as fault:
        return (f"{fault.problem} — {fault.remedy}" if fault.remedy else fault.problem,)
    except PenstockError as error:
        return (str(error),)
    return ()


def as_json(found: Inspection, refusal: tuple[str, ...]) -> dict[str, Any]:
    """`--json`."""
    return {
        "kind": found.kind,
        "bytes": found.size_bytes,
        "sha256": found.sha256,
        "abi": found.abi,
        "metadata": msgspec.to_builtins(found.metadata),
        "capabilities": list(found.capabilities),
        "memories": [asdict(memory) for memory in found.memories],
        "exports": [{"name": one.name, "type": one.type} for one in found.exports],
        "imports": [asdict(one) for one in found.imports],
        "sections": [{"kind": one.kind, "name": one.name, "bytes": one.size} for one in found.sections],
        "refused": list(refusal),
    }


def _print(found: Inspection, path: Path, refusal: tuple[str, ...]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(found):
        facts.add_row(Text(name, "bold"), Text(value))
    console.print(Text(_shown(path), "bold"))
    console.print(facts)
    _print_items(console, "exports", found.exports)
    _print_items(console, "imports", found.imports)
    _print_sections(console, found)
    for reason in refusal:
        console.print(Text.assemble(("refused: ", "bold red"), plain(reason, len(reason))))
    if not refusal:
        console.print("[bold green]ok[/] penstock would run it")


def _facts(found: Inspection) -> list[tuple[str, str]]:
    said = found.metadata
    facts = [("kind", found.kind), ("size", f"{found.size_bytes:,} bytes"), ("sha256", found.sha256)]
    facts += [("guest ABI", "none" if found.abi is None else f"v{found.abi}")]
    facts += [("memory", _memory(one)) for one in found.memories]
    if said is None:
        facts += [("metadata", "none: it has no section `penstock`")]
    else:
        facts += [("name", plain(f"{said.name} {said.version}", _SHOWN_MAX)), ("SDK", plain(said.sdk, _SHOWN_MAX))]
        facts += [("encoding", said.encoding)]
    wanted = ", ".join(plain(one, _SHOWN_MAX) for one in found.capabilities)
    return [*facts, ("wants", wanted or "no capability")]


def _memory(memory: Memory) -> str:
    most = "no maximum of its own" if memory.bytes_max is None else f"at most {format_bytes(memory.bytes_max)}"
    notes = [note for note, holds in (("64-bit", memory.is_64), ("shared", memory.is_shared)) if holds]
    return ", ".join([f"{format_bytes(memory.bytes_min)} at start", most, *notes])


def _print_items(console: Console, title: str, items: tuple[Item, ...]) -> None:
    console.print(Text(title if items else f"{title}: none", "bold"))
    table = Table.grid(padding=(0, 2))
    for one in items[:_SHOWN_MAX]:
        needed = f"needs {one.capability}" if one.capability else ""
        table.add_row(Text(f"  {plain(one.name, 200)}"), Text(one.type), Text(needed, "yellow"))
    console.print(table)
    if len(items) > _SHOWN_MAX:
        console.print(f"  … and {len(items) - _SHOWN_MAX} more (--json lists all)")


def _print_sections(console: Console, found: Inspection) -> None:
    console.print(Text("sections", "bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    shown = _largest(found.sections)
    for one in shown:
        label = f"  {one.kind} {plain(one.name, 200)}" if one.name else f"  {one.kind}"
        table.add_row(Text(label), Text(f"{one.size:,}"), Text(f"{100 * one.size / found.size_bytes:.0f} %", "dim"))
    console.print(table)
    if len(found.sections) > len(shown):
        rest = sum(one.size for one in found.sections) - sum(one.size for one in shown)
        console.print(f"  and {len(found.sections) - len(shown)} smaller ones, {rest:,} bytes (--json lists all)")


def _largest(sections: tuple[Section, ...]) -> list[Section]:
    """In their order; ours is always among them. A component has hundreds."""
    if len(sections) <= _SECTIONS_SHOWN:
        return list(sections)
    least = sorted((one.size for one in sections), reverse=True)[_SECTIONS_SHOWN - 1]
    kept = [one for one in sections if one.size > least or one.name == SECTION]
    return kept or list(sections[:_SECTIONS_SHOWN])
