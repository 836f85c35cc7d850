"""The `schema_registry` section, and what routes say of schemas: what needs what, and the files that are named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pipeline.registry.document import Document, Steps
from pipeline.schema_registry import NEEDS_REGISTRY, missing_extra, needs_registry
from pipeline.schema_registry.missing import INSTALL
from schemas.errors import Fault
from schemas.formats.schemas import SchemaKind, UnreadableSchema
from schemas.specs import FormatSpec, Registry, RouteSpec, SchemaRegistrySpec

SCHEMA_BYTES_MAX = 4 << 20
_SECTION: Steps = ("schema_registry",)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def schema_registry_faults(document: Document, registry: Registry) -> Iterator[Fault]:
    """Every broken rule about schemas that can be seen without the schema registry itself."""
    if registry.schema_registry is not None:
        yield from _section(document, registry.schema_registry)
    routes = [route for route in registry.routes.values() if needs_registry(route) or _names_schema(route)]
    absent = missing_extra() if routes else None
    for route in routes:
        yield from _route(document, route, registry, absent)


def _names_schema(route: RouteSpec) -> bool:
    return any(one.schema is not None or one.key_schema is not None for one in (route.format_in, route.format_out))


def _section(document: Document, spec: SchemaRegistrySpec) -> Iterator[Fault]:
    url, auth = _split(spec.url), (*_SECTION, "auth")
    if url is None or url.scheme not in ("http", "https") or not url.hostname:
        yield document.fault((*_SECTION, "url"), "{shown} is not a URL", "write http://host:port or https://host:port")
        return
    if url.username is not None or url.password is not None:
        remedy = 'write them as auth: {username: …, password: "${SCHEMA_REGISTRY_PASSWORD}"}'
        yield document.fault((*_SECTION, "url"), "the URL has a username or password in it", remedy)
    secret = spec.password is not None or spec.token is not None
    if secret and url.scheme == "http" and url.hostname not in _LOOPBACK:
        problem = "{shown} is not encrypted: the password or token could be read on the way"
        yield document.fault((*_SECTION, "url"), problem, "use https")
    if (spec.username is None) != (spec.password is None):
        present, absent = ("password", "username") if spec.username is None else ("username", "password")
        yield document.fault(auth, f"{present} without {absent}", f"add {absent}")
    if spec.token is not None and spec.username is not None:
        yield document.fault(auth, "both a user and a token", "keep one of them")
    if spec.ca_file is not None:
        if url.scheme == "http":
            yield document.fault((*_SECTION, "ca"), "has no effect with http", "use https, or leave it out")
        elif b"-----BEGIN" not in (content := _content(spec.ca_file) or b""):
            problem = "{shown} is not a PEM file: it has no -----BEGIN line" if content else "{shown} cannot be read"
            yield document.fault((*_SECTION, "ca"), problem, "name the PEM file of the authority")


def _route(document: Document, route: RouteSpec, registry: Registry, absent: str | None) -> Iterator[Fault]:
    steps: Steps = ("routes", route.name, "format")
    if needs_registry(route):
        names = dict.fromkeys((route.format_in.name, route.format_out.name))
        name = next(name for name in names if name in NEEDS_REGISTRY)
        if registry.schema_registry is None:
            remedy = "add schema_registry: {url: http://localhost:8081}"
            yield document.fault(steps, f"{name} needs a schema registry", remedy)
        elif absent is not None:
            yield document.fault(steps, f"{name} needs the Python package {absent}", INSTALL)
    if route.format_out != route.format_in:
        yield from _side(document, (*steps, "out"), route.format_out, absent)
    elif route.format_in.schema is not None or route.format_in.key_schema is not None:
        problem = "a schema has no effect here: values that are not converted keep their writers' schemas"
        yield document.fault(steps, problem, "write it under out")


def _side(document: Document, steps: Steps, spec: FormatSpec, absent: str | None) -> Iterator[Fault]:
    kind = NEEDS_REGISTRY.get(spec.name)
    files = [
        (key, path) for key, path in (("schema", spec.schema), ("key_schema", spec.key_schema)) if path is not None
    ]
    if kind is None:
        return
    if spec.register and not files:
        yield document.fault((*steps, "register"), "there is no schema to register", "add schema: FILE")
    for key, path in files:
        problem = _unusable(path, kind) if absent is None else None
        if problem is not None:
            yield document.fault((*steps, key), problem, f"name a file with a schema that {spec.name} writes by")


def _unusable(path: Path, kind: SchemaKind) -> str | None:
    """Why values cannot be written by this file; None when they can."""
    content = _content(path)
    if content is None:
        return "{shown} cannot be read, or is larger than 4 MiB"
    try:
        text = content.decode()
        match kind:
            case SchemaKind.AVRO:
                from schemas.formats.avro_types import read_schema as read_avro

                read_avro(text)
            case SchemaKind.JSON:
                from schemas.formats.json_schema import read_schema as read_json

                read_json(text, {})
            case SchemaKind.PROTOBUF:
                from pipeline.schema_registry.compiler import descriptor_set
                from schemas.formats.schemas import RegisteredSchema

                descriptor_set(RegisteredSchema(0, kind, text))
    except UnreadableSchema as error:
        return f"{{shown}}: {error}"
    except UnicodeDecodeError:
        return "{shown} is not UTF-8"
    return None


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.stat().st_size <= SCHEMA_BYTES_MAX else None
    except (OSError, ValueError):
        return None


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None
