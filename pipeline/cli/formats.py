"""The format of a topic's values, for commands that read a topic without a route."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pipeline.registry import load_registry
from pipeline.schema_registry import NEEDS_REGISTRY, reading
from schemas.errors import ConfigError, Fault
from schemas.formats.format import Format
from schemas.formats.named import FORMATS, make_format
from schemas.specs import FormatSpec, Registry


def format_of(name: str | None, registry: Path | None, topic: str, held: ExitStack) -> Format:
    """The format of this name, else as the registry's routes have it for the topic, else Debezium's JSON. Raises ConfigError."""
    if name is not None and name not in FORMATS:
        raise ConfigError(Fault(f"{name!r} is not a format", f"formats are {', '.join(FORMATS)}", path="--format"))
    loaded = load_registry(registry) if registry is not None else None
    spec = FormatSpec(name) if name else _of_topic(loaded, topic)
    schemas = held.enter_context(reading(loaded, spec)) if loaded is not None else None
    if spec.name in NEEDS_REGISTRY and schemas is None:
        remedy = "name a registry file with schema_registry: by --registry"
        raise ConfigError(Fault(f"{spec.name} needs a schema registry", remedy, path="--format"))
    return make_format(spec, schemas)


def _of_topic(registry: Registry | None, topic: str) -> FormatSpec:
    for route in () if registry is None else registry.routes.values():
        if topic in route.sources or topic == route.dead_letter:
            return route.format_in
        if topic in route.destinations:
            return route.format_out
    return FormatSpec()
