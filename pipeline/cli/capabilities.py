"""`penstock capabilities`: what the transformers of a registry ask for, may reach and really use."""

from __future__ import annotations

import hashlib
import json as jsonlib
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.capability_audit import Finding, Granted, asked_for, findings
from pipeline.cli.ceiling import CeilingOption, ceiling
from pipeline.cli.trial_view import plain
from pipeline.events_file import EventLine, read_events
from pipeline.observe.host_calls import Calls, HostCalls, fetch_host_calls
from pipeline.registry import Located, load_located
from pipeline.registry.shape import did_you_mean
from sandbox import Sandbox, Transformer
from sandbox.inspection import inspect_module
from sandbox.modules import read
from sandbox.sections import MalformedModuleError
from schemas.capabilities import Capability
from schemas.errors import ConfigError, Fault, ModuleFault
from schemas.event import Batch
from schemas.specs import TransformerSpec

_FAULTS_MAX = 20
_TOPIC = "events"
_CELL = 60


def _complete(ctx: typer.Context, incomplete: str) -> list[str]:
    """Transformers of the registry that was named before."""
    with suppress(Exception):  # a completion that fails is silence
        known = load_located(Path(ctx.params["registry"])).registry.transformers
        return [name for name in known if name.startswith(incomplete)]
    return []


@dataclass(frozen=True, slots=True)
class Audit:
    """One transformer."""

    spec: TransformerSpec
    sha256: str
    findings: list[Finding]
    note: str = ""
    """Why its figures say less than they seem to."""


def capabilities(
    registry: Annotated[Path, typer.Argument(help="The registry file.", show_default=False)],
    transformers: Annotated[
        list[str] | None,
        typer.Argument(metavar="TRANSFORMER", help="Only these.", show_default=False, autocompletion=_complete),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL",
            help="Take what was used from a running service: its --admin address, e.g. http://127.0.0.1:9464.",
            show_default=False,
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Or run these events, one JSON object a line as for `penstock try`, through each transformer.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    ceiling_: CeilingOption = None,
) -> None:
    """Show what each transformer asks for, is granted and uses, and what least privilege would take away.

    Asked: by the module's section `penstock`, its imports, or functions of WASI that do more with a grant. Granted: by the registry.
    What was used and denied is counted by processes: name one with --from, or have sample events run with --events; their host
    calls are real, and happen. Without either, only what is asked and granted is shown.

    Exit code 0 when there is a report, whatever it says; 2 when the registry, a module or an event was refused, 1 when the service
    does not answer.

    Example: penstock capabilities registry.yaml --from http://127.0.0.1:9464
    """
    if from_ is not None and events is not None:
        raise ConfigError(Fault("takes its figures from one place", "leave --from or --events out", path="--events"))
    located, most = load_located(registry), ceiling(ceiling_)
    chosen = _chosen(located, transformers or [])
    service = fetch_host_calls(from_) if from_ is not None else None
    lines = None if events is None else _read(events)
    audits = [_audit(located, spec, most, service, lines) for spec in chosen]
    source = from_ if from_ is not None else None if events is None else str(events)
    if json:
        typer.echo(jsonlib.dumps(_as_json(audits, most, source), indent=2, ensure_ascii=False))
    else:
        _print(audits, source, Console(soft_wrap=True, highlight=False))


def _chosen(located: Located, names: list[str]) -> list[TransformerSpec]:
    known = located.registry.transformers
    for name in names:
        if name not in known:
            problem = f"there is no transformer {name!r}"
            raise ConfigError(located.fault("transformers", problem=problem, remedy=did_you_mean(name, known)))
    return [known[name] for name in names] or list(known.values())


def _audit(
    located: Located,
    spec: TransformerSpec,
    most: frozenset[Capability] | None,
    service: HostCalls | None,
    lines: list[EventLine] | None,
) -> Audit:
    try:
        wasm = read(spec).wasm
        asked = asked_for(inspect_module(wasm))
        calls: Mapping[Capability, Calls] | None = None
        note = ""
        if service is not None:
            calls = {one: service.of(spec.name, one) for one in Capability}
            note = _doubt(service.modules.get(spec.name), wasm)
        elif lines is not None:
            calls = _rehearsed(spec, lines, most)
    except MalformedModuleError as error:
        raise ConfigError(located.fault("transformers", spec.name, spec.origin_key, problem=str(error))) from None
    except ModuleFault as fault:
        place = ("transformers", spec.name, spec.origin_key)
        raise ConfigError(located.fault(*place, problem=fault.problem, remedy=fault.remedy)) from None
    except ConfigError as error:
        raise ConfigError(*(located.placed(fault) for fault in error.faults)) from None
    found = findings(spec.grants, asked, most, calls, time.time_ns() // 1_000_000)
    return Audit(spec, hashlib.sha256(wasm).hexdigest(), found, note)


def _doubt(running: str | None, wasm: bytes) -> str:
    if running is None:
        return "the service does not run it"
    return "" if running == hashlib.sha256(wasm).hexdigest() else f"the service runs another module: {running[:12]}"


def _rehearsed(
    spec: TransformerSpec, lines: list[EventLine], most: frozenset[Capability] | None
) -> Mapping[Capability, Calls]:
    """Each event alone, as `penstock try` runs it. Raises ModuleFault, ConfigError."""
    with closing(Sandbox(workers=1, ceiling=most)) as sandbox:
        transformer: Transformer = sandbox.load(spec)
        for line in lines:
            transformer.run(Batch(line.source, [line.event]))
        found: dict[Capability, Calls] = {}
        for (capability, _), use in transformer.gate.totals().items():
            sums = found.setdefault(capability, Calls())
            sums.allowed += use.allowed
            sums.denied += use.denied
            sums.bytes += use.bytes
            sums.seconds += use.elapsed_ns * 1e-9
        return found


def _read(path: Path) -> list[EventLine]:
    faults: list[Fault] = []
    try:
        with path.open("rb") as stream:
            lines = list(read_events(stream, str(path), _TOPIC, faults, _FAULTS_MAX))
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(Fault(f"cannot be read: {why}", "name a file of events", file=str(path))) from None
    if faults:
        raise ConfigError(*faults)
    if not lines:
        raise ConfigError(
            Fault("holds no event", 'write one JSON object a line, e.g. {"value": "text"}', file=str(path))
        )
    return lines


def _as_json(audits: list[Audit], most: frozenset[Capability] | None, source: str | None) -> dict[str, Any]:
    """The report as plain data. Scopes are shown as in tables: no credentials, no values."""
    return {
        "figures": source,
        "ceiling": None if most is None else sorted(most),
        "transformers": [_transformer(one) for one in audits],
    }


def _transformer(audit: Audit) -> dict[str, Any]:
    grants = audit.spec.grants
    return {
        "name": audit.spec.name,
        "builtin": audit.spec.builtin,
        "sha256": audit.sha256,
        "profile": grants.profile,
        "strict": grants.strict,
        "note": audit.note,
        "capabilities": [asdict(one) | {"effective": one.effective} for one in audit.findings],
    }


def _print(audits: list[Audit], source: str | None, console: Console) -> None:
    for audit in audits:
        console.print(Text.assemble((audit.spec.name, "bold"), *_head(audit)))
        if not audit.findings:
            console.print("  asks for nothing and is granted nothing")
            continue
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
        for title in ("  capability", "asked by", "granted", "effective", *(("used", "denied") if source else ())):
            table.add_column(title, header_style="dim", overflow="fold")
        for one in audit.findings:
            table.add_row(*_cells(one))
        console.print(table)
        for one in audit.findings:
            for words in one.advice:
                console.print(Text.assemble("  → ", (f"{one.capability}: ", "yellow"), words))
    if source is None:
        console.print(
            "What was used is not known here: name a running service with --from URL, or sample events with --events FILE."
        )


def _head(audit: Audit) -> Iterator[str]:
    grants = audit.spec.grants
    yield f"  {audit.sha256[:12]}" if audit.spec.builtin is None else f"  {audit.spec.origin}, {audit.sha256[:12]}"
    if grants.profile:
        yield f", profile {grants.profile}"
    if grants.strict:
        yield ", strict"
    if audit.note:
        yield f" ({plain(audit.note, _CELL)})"


def _cells(one: Finding) -> list[str]:
    granted = "; ".join(map(_shown, one.granted)) or "no"
    cells = [f"  {one.capability}", ", ".join(one.asked) or "nobody", granted, "yes" if one.effective else "no"]
    if one.calls is not None:
        cells += [str(one.calls.allowed) if one.calls.allowed else "never", str(one.calls.denied)]
    return cells


def _shown(grant: Granted) -> str:
    parts = [plain(grant.scope, _CELL) if grant.scope else "yes"]
    if grant.profile:
        parts.append(f"by profile {grant.profile}")
    if grant.uses is not None:
        parts.append(f"{grant.uses} uses" + (f" per {grant.per_ms} ms" if grant.per_ms is not None else ""))
    if grant.until:
        parts.append(f"{'ended' if grant.ended else 'until'} {grant.until}")
    return ", ".join(parts)
