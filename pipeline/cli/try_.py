"""`penstock try`: events of a file through one transformer, offline, and what it made of each."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer
from rich.console import Console

from pipeline.cli.ceiling import CeilingOption, ceiling
from pipeline.cli.trial_view import Trial, TrialView, outcome_name
from pipeline.events_file import EventLine, event_fields, read_events
from pipeline.registry import Located, load_located
from pipeline.registry.shape import did_you_mean
from pipeline.schema_registry import reading
from sandbox import Sandbox, Transformer
from schemas.errors import ConfigError, Fault, ModuleFault
from schemas.event import Batch, Event
from schemas.formats.named import make_format
from schemas.formats.schemas import Schemas
from schemas.outcome import Emitted, Violation
from schemas.specs import RouteSpec, TransformerSpec

_FAULTS_MAX = 20
_TOPIC = "events"
"""Of events that name none, when the route reads a pattern or there is no route."""


def try_(
    registry: Annotated[Path, typer.Argument(help="The registry file.", show_default=False)],
    transformer: Annotated[str, typer.Argument(help="The transformer's name in it.", show_default=False)],
    event: Annotated[
        str,
        typer.Option("--event", "-e", metavar="FILE|-", help="Events, one JSON object a line; - is standard input."),
    ],
    route: Annotated[
        str | None,
        typer.Option(
            help="Whose topics the transformer may name; without it, the first route that uses the transformer."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per event.")] = False,
    ceiling_: CeilingOption = None,
) -> None:
    """Run events through one transformer, offline: outcome, what changed, time and memory. No Kafka is asked.

    Each event runs alone, on a fresh guest, under the limits of the registry; `on_violation` is not applied. A line of the
    file is {"topic", "partition", "offset", "timestamp", "key", "value", "headers"}, all of them optional. A value may be text, or
    a JSON object; headers are pairs, [["name", "text"]]; bytes that are no text are written as key_base64, value_base64, and in
    headers as {"base64": "…"}.

    With --json, each line is {"outcome": "emitted" | "dropped" | "violation", "violation": kind or null, "message", "records",
    "elapsed_us", "memory_bytes_peak"}, where there is one also "code", "backtrace" and "logs". Records look like the file's
    lines, plus "to": their destination. Exit code 0 when everything ran, 2 when the registry, the module or a line was refused.

    Example: penstock try transformers/registry.yaml enrich-order --event orders.ndjson
    """
    located = load_located(registry)
    spec = _transformer(located, transformer)
    taken = _route(located, spec, route)
    with ExitStack() as held:
        stream = _open(event, held)
        loaded = _load(located, spec, held.enter_context(Sandbox(workers=1, ceiling=ceiling(ceiling_))))
        schemas = held.enter_context(reading(located.registry))
        show = _print_json if json else TrialView(Console(soft_wrap=True, highlight=False)).show
        for trial in _trials(located, loaded, taken, _events(stream, event, taken), schemas):
            show(trial)


def _transformer(located: Located, name: str) -> TransformerSpec:
    known = located.registry.transformers
    if name not in known:
        raise ConfigError(
            located.fault("transformers", problem=f"there is no transformer {name!r}", remedy=did_you_mean(name, known))
        )
    return known[name]


def _route(located: Located, spec: TransformerSpec, name: str | None) -> RouteSpec | None:
    """The route that was asked for, or the first that uses the transformer. Raises ConfigError when it does not use it."""
    routes = located.registry.routes
    users = [route for route in routes.values() if spec.name in route.through]
    if name is None:
        return users[0] if users else None
    if name not in routes:
        raise ConfigError(
            located.fault("routes", problem=f"there is no route {name!r}", remedy=did_you_mean(name, routes))
        )
    if routes[name] not in users:
        remedy = (
            f"it is used by: {', '.join(user.name for user in users)}"
            if users
            else "no route uses it: leave --route out"
        )
        raise ConfigError(
            located.fault("routes", name, "through", problem=f"route {name} does not use {spec.name}", remedy=remedy)
        )
    return routes[name]


def _open(event: str, held: ExitStack) -> BinaryIO:
    if event == "-":
        return sys.stdin.buffer
    try:
        return held.enter_context(Path(event).open("rb"))
    except OSError as error:
        raise ConfigError(
            Fault(
                f"cannot be read: {error.strerror or error}",
                "name a file of events, or - for standard input",
                file=event,
            )
        ) from error


def _load(located: Located, spec: TransformerSpec, sandbox: Sandbox) -> Transformer:
    try:
        return sandbox.load(spec)
    except ModuleFault as fault:
        raise _refused(located, fault) from fault


def _refused(located: Located, fault: ModuleFault) -> ConfigError:
    key = located.registry.transformers[fault.module].origin_key
    return ConfigError(located.fault("transformers", fault.module, key, problem=fault.problem, remedy=fault.remedy))


def _events(stream: BinaryIO, name: str, route: RouteSpec | None) -> Iterator[EventLine]:
    """The file's events. Raises ConfigError with every bad line: before the first event of a file that can be read twice, else at the end;
    and when there is no event at all, or a check that tries nothing would look like one that went well."""
    topic = route.sources[0] if route is not None and route.sources else _TOPIC
    shown = "<stdin>" if name == "-" else name
    if _is_file(stream):
        start = stream.tell()
        for _ in _checked(stream, shown, topic):
            pass
        stream.seek(start)
    tried = False
    for line in _checked(stream, shown, topic):
        tried = True
        yield line
    if not tried:
        raise ConfigError(Fault("holds no event", 'write one JSON object a line, e.g. {"value": "text"}', file=shown))


def _checked(stream: BinaryIO, name: str, topic: str) -> Iterator[EventLine]:
    faults: list[Fault] = []
    try:
        yield from read_events(stream, name, topic, faults, _FAULTS_MAX)
    except OSError as error:  # opened, and yet not to be read: a bad disk, a device
        faults.append(Fault(f"cannot be read to its end: {error.strerror or error}", "check the file", file=name))
    if len(faults) == _FAULTS_MAX:
        faults.append(Fault("there may be more: the rest was not read", file=name))
    if faults:
        raise ConfigError(*faults)


def _is_file(stream: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:  # not a file at all
        return False


def _trials(
    located: Located,
    transformer: Transformer,
    route: RouteSpec | None,
    lines: Iterator[EventLine],
    schemas: Schemas | None,
) -> Iterator[Trial]:
    """Each event alone, in a session of its own, so that time and memory are its own too."""
    topics = None if route is None else route.destinations
    format_ = None if route is None else make_format(route.format_in, schemas)
    for line in lines:
        with closing(transformer.session(allowed_topics=topics, format_=format_)) as session:
            try:
                report = session.run(Batch(line.source, [line.event]))
            except ModuleFault as fault:
                raise _refused(located, fault) from fault
        (outcome,) = report.outcomes
        yield Trial(line, outcome, report, None if route is None else route.to)


def _print_json(trial: Trial) -> None:
    typer.echo(msgspec.json.encode(as_json(trial)))


def as_json(trial: Trial) -> Mapping[str, Any]:
    """One line of `--json`."""
    outcome, report = trial.outcome, trial.report
    violation = outcome if isinstance(outcome, Violation) else None
    fields: dict[str, Any] = {
        "outcome": outcome_name(outcome),
        "violation": violation and violation.kind,
        "message": violation.message if violation else "",
        "records": [_record(event, trial) for event in outcome.events] if isinstance(outcome, Emitted) else [],
        "elapsed_us": report.elapsed_ns // 1_000,
        "memory_bytes_peak": report.memory_bytes_peak,
    }
    if violation and violation.code:
        fields["code"] = violation.code
    if violation and violation.backtrace:
        fields["backtrace"] = violation.backtrace
    if report.logs:
        fields["logs"] = report.logs
    return fields


def _record(event: Event, trial: Trial) -> dict[str, Any]:
    return {**event_fields(event, trial.line.source), "to": event.to or trial.to}
