"""What routes need of a schema registry, found out before any of them starts: that it answers, and the schemas of what is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.schema_registry.missing import INSTALL, missing_extra
from schemas.change import DecodeError
from schemas.errors import ConfigError, Fault
from schemas.formats.named import make_format
from schemas.formats.schemas import RegisteredSchema, SchemaKind, Schemas
from schemas.specs import FormatSpec, Registry, RouteSpec

if TYPE_CHECKING:  # its client takes a fifth of a second; most registries need none
    from pipeline.schema_registry.client import RegistryClient

NEEDS_REGISTRY: Final[Mapping[str, SchemaKind]] = {
    "debezium-avro": SchemaKind.AVRO,
    "debezium-protobuf": SchemaKind.PROTOBUF,
    "debezium-json-schema": SchemaKind.JSON,
}
"""Formats, and the language of their schemas."""


@dataclass(frozen=True, slots=True)
class RouteSchemas:
    """The port `Schemas` as one route has it: what it writes has the schemas that were settled when it started."""

    _client: Schemas
    _settled: Mapping[str, RegisteredSchema] = field(default_factory=dict)
    """By subject."""

    def by_id(self, schema_id: int) -> RegisteredSchema:
        """See `Schemas`."""
        return self._client.by_id(schema_id)

    def by_subject(self, subject: str, version: int | None = None) -> RegisteredSchema | None:
        """See `Schemas`."""
        settled = self._settled.get(subject) if version is None else None
        return settled or self._client.by_subject(subject, version)

    def register(self, subject: str, kind: SchemaKind, text: str) -> RegisteredSchema:
        """See `Schemas`."""
        return self._client.register(subject, kind, text)

    def descriptors(self, schema: RegisteredSchema) -> bytes:
        """See `Schemas`."""
        return self._client.descriptors(schema)


def needs_registry(route: RouteSpec) -> bool:
    """Whether one of its formats has its schemas in a registry."""
    return not NEEDS_REGISTRY.keys().isdisjoint((route.format_in.name, route.format_out.name))


def open_schemas(registry: Registry, spec: FormatSpec | None = None, *, doubts: bool = False) -> RegistryClient | None:
    """The client, when a route (or this format) needs one; to be closed. `doubts`: see there. Raises ConfigError."""
    needed = (spec is not None and spec.name in NEEDS_REGISTRY) or any(map(needs_registry, registry.routes.values()))
    if registry.schema_registry is None or not needed:
        return None
    if (absent := missing_extra()) is not None:
        raise ConfigError(Fault(f"a schema registry needs the Python package {absent}", INSTALL))
    from pipeline.schema_registry.client import RegistryClient

    return RegistryClient(registry.schema_registry, doubts=doubts)


@contextmanager
def reading(registry: Registry, spec: FormatSpec | None = None) -> Iterator[Schemas | None]:
    """The schema registry for somebody who only reads (`penstock try`), a route or values of this format. Raises ConfigError."""
    client = open_schemas(registry, spec)
    try:
        yield client
    finally:
        if client is not None:
            client.close()


def settle(registry: Registry, client: RegistryClient) -> dict[str, RouteSchemas]:
    """Each route's schemas, by its name; those that are to be registered now are. Raises ConfigError with all faults, TransportError."""
    client.probe()
    settled: dict[str, RouteSchemas] = {}
    faults: list[Fault] = []
    for route in registry.routes.values():
        found: dict[str, RegisteredSchema] = {}
        for subject, file in _written(route):
            try:
                found[subject] = _settled(route.format_out, subject, file, client)
            except ConfigError as error:
                faults += [Fault(one.problem, one.remedy, path=f"routes.{route.name}.format") for one in error.faults]
            except DecodeError as error:
                faults.append(Fault(f"{subject}: {error}", path=f"routes.{route.name}.format"))
        settled[route.name] = RouteSchemas(client, found)
    if faults:
        raise ConfigError(*faults)
    return settled


def _written(route: RouteSpec) -> Iterator[tuple[str, Path | None]]:
    """Subjects whose schemas a route writes by, and the files that they are in, when they are."""
    out = route.format_out
    if out == route.format_in or out.name not in NEEDS_REGISTRY:
        return
    rekeyed = make_format(route.format_in).keys != make_format(out).keys
    for topic in sorted(route.destinations):
        yield f"{topic}-value", out.schema
        if rekeyed:
            yield f"{topic}-key", out.key_schema


def _settled(spec: FormatSpec, subject: str, file: Path | None, client: RegistryClient) -> RegisteredSchema:
    kind = NEEDS_REGISTRY[spec.name]
    key = "schema" if subject.endswith("-value") else "key_schema"
    if file is None:
        found = client.by_subject(subject)
        if found is None:
            remedy = f"register one, or name a file: out: {{name: {spec.name}, {key}: FILE, register: true}}"
            raise ConfigError(Fault(f"the schema registry has no schema for {subject}", remedy))
        if found.kind is not kind:
            raise ConfigError(Fault(f"the schema of {subject} is {found.kind}, and {spec.name} writes {kind}"))
        return found
    text = file.read_text()
    if spec.register:
        return client.register(subject, kind, text)
    known = client.registered(subject, kind, text)
    if known is None:
        raise ConfigError(
            Fault(f"{file.name} is not registered for {subject}", "add register: true, or register it yourself")
        )
    return known
