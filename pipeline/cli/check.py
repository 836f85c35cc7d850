"""`penstock check` and `penstock registry schema`: what the registry file says, and everything that is wrong with it."""

from __future__ import annotations

import hashlib
import json as jsonlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.assets import shop_registry
from pipeline.cli.ceiling import CeilingOption, ceiling
from pipeline.cli.trial_view import plain
from pipeline.kafka.client import kafka_faults
from pipeline.registry import Located, load_located, load_transformers, registry_schema
from sandbox import Sandbox
from sandbox.modules import usual_instance
from sandbox.process.confinement import Posture
from schemas.errors import ConfigError, Fault
from schemas.specs import FormatSpec, IsolationLevel, Registry, RouteSpec, TransformerSpec
from schemas.units import format_duration

_EXIT_FAULTS = 2

registry_app = typer.Typer(name="registry", help="About the registry file.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Findings:
    """What `check` found: a registry when it could be read, and every fault."""

    registry: Registry | None
    faults: tuple[Fault, ...]
    postures: Mapping[str, Posture] = field(default_factory=dict)
    """What holds the processes of those transformers that have their own, on this machine."""


def check(
    registry: Annotated[Path, typer.Argument(help="The registry file.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    ceiling_: CeilingOption = None,
) -> None:
    """Check a registry exactly as `run` loads it, and print every fault at once.

    Loads and configures every module in the sandbox; asks no broker. Exit code 2 when there are faults.

    Example: penstock check transformers/registry.yaml
    """
    findings = find(registry, ceiling(ceiling_))
    if json:
        typer.echo(jsonlib.dumps(as_json(findings), indent=2, ensure_ascii=False))
    else:
        _print(findings, registry, Console(soft_wrap=True, highlight=False))
    if findings.faults:
        raise typer.Exit(_EXIT_FAULTS)


@registry_app.command()
def schema() -> None:
    """Print the JSON Schema of the registry file, for editors.

    Example: penstock registry schema > registry.schema.json
    """
    typer.echo(jsonlib.dumps(registry_schema(), indent=2))


@registry_app.command()
def example() -> None:
    """Print where the shop's registry is that `penstock demo` runs, to be looked at, checked, tried or copied.

    Example: penstock check "$(penstock registry example)"
    """
    typer.echo(shop_registry())


def find(path: Path, most: Collection[str] | None = None) -> Findings:
    """Load the registry and all of its modules, under the ceiling `most`. Never raises for what is wrong with them."""
    try:
        located = load_located(path)
    except ConfigError as error:
        return Findings(None, error.faults)
    faults = [*_client_faults(located)]
    with closing(Sandbox(ceiling=most)) as sandbox:
        try:
            loaded = load_transformers(located, sandbox)
        except ConfigError as error:
            loaded = {}
            faults += error.faults
        postures = {name: one.posture for name, one in loaded.items() if one.posture is not None}
    ordered = sorted(faults, key=lambda fault: (fault.line or 0, fault.column or 0))
    return Findings(located.registry, tuple(ordered), postures)


def _client_faults(located: Located) -> Iterator[Fault]:
    """What the Kafka client itself would refuse, at its place in the file."""
    for fault in kafka_faults(located.registry.kafka):
        yield located.placed(fault)


def as_json(findings: Findings) -> dict[str, Any]:
    """The report as plain data. Shows no secrets: configs, passwords and client options are left out."""
    registry = findings.registry
    return {
        "ok": not findings.faults,
        "faults": [asdict(fault) for fault in findings.faults],
        "routes": [_route(route) for route in registry.routes.values()] if registry else [],
        "transformers": [_transformer(spec, findings) for spec in registry.transformers.values()] if registry else [],
    }


def _route(route: RouteSpec) -> dict[str, Any]:
    return {
        "name": route.name,
        "from": f"/{route.pattern}/" if route.pattern is not None else list(route.sources),
        "through": list(route.through),
        "to": route.to,
        "also_to": list(route.also_to),
        "dead_letter": route.dead_letter,
        "group": route.group,
        "start": route.start,
        "format": {"in": route.format_in.name, "out": route.format_out.name},
        "contracts": [
            {
                "schema": one.schema,
                "tables": sorted(one.tables),
                "compatible": one.compatible.value,
                "on_break": one.on_break.value,
            }
            for one in route.contracts
        ],
        "dedupe": asdict(route.dedupe) if route.dedupe else None,
        "atomic": asdict(route.atomic) if route.atomic else None,
        "batch": asdict(route.batch),
    }


def _transformer(spec: TransformerSpec, findings: Findings) -> dict[str, Any]:
    posture = findings.postures.get(spec.name)
    return {
        "name": spec.name,
        "module": str(spec.module),
        "builtin": spec.builtin,
        "sha256": _sha256(spec.module),
        "pinned": spec.sha256 is not None,
        "limits": asdict(spec.limits),
        "instance": (spec.instance or usual_instance(spec.module)).value,
        "isolation": spec.isolation.value,
        "posture": posture.describe() if posture is not None else None,
        "tier": spec.engine.tier.value,
        "function": spec.function,
        "capabilities": sorted(spec.grants.names),
        "on_violation": spec.on_violation.value,
        "quarantine": asdict(spec.quarantine),
    }


def _sha256(module: Path) -> str | None:
    try:
        with module.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def _print(findings: Findings, path: Path, console: Console) -> None:
    for fault in findings.faults:
        place = ":".join(str(part) for part in (fault.file, fault.line, fault.column) if part)
        console.print(f"[bold]{escape(_printable(place))}[/]  [cyan]{escape(fault.path)}[/]")
        console.print(f"  [red]{escape(fault.problem)}[/]")
        if fault.remedy:
            console.print(f"  [dim]→[/] {escape(fault.remedy)}")
    count = len(findings.faults)
    if count:
        console.print(f"\n[bold red]{count} fault{'s' if count > 1 else ''}[/] in {escape(_printable(str(path)))}")
    elif findings.registry is not None:
        _print_parts(findings, findings.registry, console)
        console.print(f"[bold green]ok[/] {escape(_printable(str(path)))}")


def _printable(name: str) -> str:
    """A file's name may hold anything, also what a terminal would obey."""
    return plain(name, len(name))


def _print_parts(findings: Findings, registry: Registry, console: Console) -> None:
    width = max(len(name) for name in (*registry.transformers, *registry.routes))
    console.print("[bold]transformers[/]")
    for spec in registry.transformers.values():
        console.print(f"  {spec.name:<{width}}  {escape(_transformer_line(spec))}")
        if (posture := findings.postures.get(spec.name)) is not None:
            console.print(f"  {'':<{width}}  [dim]its processes have {escape(posture.describe())}[/]")
    console.print("[bold]routes[/]")
    for route in registry.routes.values():
        console.print(f"  {route.name:<{width}}  {escape(_route_line(route))}")
        for line in (*_host_work(route), f"dead letters to {route.dead_letter}, group {route.group}"):
            console.print(f"  {'':<{width}}  [dim]{escape(line)}[/]")


def _transformer_line(spec: TransformerSpec) -> str:
    digest = (_sha256(spec.module) or "")[:12] + (" (pinned)" if spec.sha256 else "")
    digest = digest if spec.builtin is None else f"{spec.origin}, {digest}"
    instance = spec.instance or usual_instance(spec.module)
    granted = f", may use {', '.join(sorted(spec.grants.names))}" if spec.grants.names else ""
    return f"{digest}  {spec.limits.describe()}  {instance}, {_apart(spec)}{spec.engine.tier}, {spec.on_violation}{granted}"


def _apart(spec: TransformerSpec) -> str:
    """How it is kept apart, where that is more than an instance."""
    return "" if spec.isolation is IsolationLevel.INSTANCE else f"its own {spec.isolation}, "


def _host_work(route: RouteSpec) -> Iterator[str]:
    """What penstock itself does with the route's events, where that is more than to pass them on."""
    formats = (route.format_in.name, route.format_out.name)
    if formats != (FormatSpec().name,) * 2:
        yield f"values are {' → '.join(dict.fromkeys(formats))}"
    for contract in route.contracts:
        about = f" of {', '.join(sorted(contract.tables))}" if contract.tables else ""
        yield f"rows{about} are held to {contract.schema}, compatible {contract.compatible}, else {contract.on_break}"
    if route.dedupe is not None:
        yield f"doubles by {', '.join(route.dedupe.by)} within {format_duration(route.dedupe.window_ms)} are dropped"
    if route.atomic is not None:
        yield f"source transactions stay whole, by {route.atomic.transaction_topic}"


def _route_line(route: RouteSpec) -> str:
    sources = f"/{route.pattern}/" if route.pattern is not None else ", ".join(route.sources)
    return " → ".join((sources, *route.through, ", ".join((route.to, *route.also_to))))
