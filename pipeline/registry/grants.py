"""What the sections `capabilities` and `databases` amount to, and what must hold between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.registry.document import Document
from pipeline.registry.futile_grants import futile_faults
from pipeline.registry.shape import did_you_mean
from schemas.capabilities import (
    DATABASE,
    PROFILES,
    Capability,
    Credential,
    DatabaseScope,
    EnvironmentScope,
    FileScope,
    Grant,
    Grants,
    HttpScope,
    KeyValueScope,
    RandomScope,
    Scope,
    credential_owner,
)
from schemas.errors import Fault
from schemas.grant_entries import (
    CapabilitiesEntry,
    DatabaseEntry,
    DatabaseSourceEntry,
    FilesEntry,
    GrantEntry,
    HttpEntry,
)
from schemas.sealed import Sealed
from schemas.specs import DatabaseSpec, Registry

_HTTP = {
    "ports": "ports",
    "methods": "methods",
    "plain": "plain",
    "private": "private",
    "connections": "connections",
    "bytes_per_second": "bytes_per_second",
    "request": "request_bytes_max",
    "response": "response_bytes_max",
    "timeout": "timeout_ms",
    "redirects": "redirects",
}
_DATABASE = {
    "rows": "rows",
    "bytes": "bytes_max",
    "time": "time_ms",
    "cache": "cache_ttl_ms",
    "cache_entries": "cache_entries",
}
_KEY_VALUE = {"quota": "quota_bytes", "entries": "entries", "ttl": "ttl_ms"}
_FILES = {"file_size": "file_bytes_max", "descriptors": "descriptors"}


def grants(entry: CapabilitiesEntry | None, base: Path) -> Grants:
    """What a transformer is granted; relative paths start at `base`."""
    if entry is None:
        return Grants()
    profile = PROFILES[entry.profile or "minimal"]
    return Grants(
        grants=tuple(_grant(one, profile, base) for one in entry.grant),
        profile=entry.profile,
        strict=bool(entry.strict),
    )


def databases(entries: Mapping[str, DatabaseSourceEntry], base: Path) -> dict[str, DatabaseSpec]:
    """The registry's databases, by name."""
    return {name: _database(name, entry, base) for name, entry in entries.items()}


def grant_faults(document: Document, registry: Registry) -> Iterator[Fault]:
    """Connections that are not declared, databases that are not one, and grants that could do nothing."""
    for name, database in registry.databases.items():
        if (database.path is None) == (database.dsn is None):
            yield document.fault(
                ("databases", name), "is not one database", "write either sqlite: or postgresql: into it"
            )
    for transformer in registry.transformers.values():
        for index, one in enumerate(transformer.grants.grants):
            yield from futile_faults(document, ("transformers", transformer.name, "capabilities", "grant", index), one)
            scope = one.scope
            if isinstance(scope, DatabaseScope) and scope.connection not in registry.databases:
                steps = ("transformers", transformer.name, "capabilities", "grant", index, "database", "connection")
                yield document.fault(
                    steps, "{shown} is not in `databases`", did_you_mean(scope.connection, registry.databases)
                )


def _grant(entry: GrantEntry, profile: frozenset[Capability], base: Path) -> Grant:
    name, value = next((name, value) for name, value in entry if value is not None)
    allowed, scope = _scoped(name, value, profile, base)
    return Grant(allowed, scope, until_ms=value.until, uses=value.uses, per_ms=value.per)


def _scoped(
    name: str, value: Any, profile: frozenset[Capability], base: Path
) -> tuple[frozenset[Capability], Scope | None]:
    match name:
        case "files":
            return _files(value, base)
        case "http":
            return frozenset({Capability.NETWORK_CLIENT}), _http(value, base)
        case "database":
            return _actions(value, profile), _tables(value)
        case "environment":
            return frozenset({Capability.ENVIRONMENT}), EnvironmentScope(value.names)
        case "key_value":
            return frozenset({Capability.KEY_VALUE}), KeyValueScope(**_picked(value, _KEY_VALUE))
        case "random":
            return frozenset({Capability.RANDOM}), RandomScope(value.seed)
        case _:
            return frozenset({Capability(name)}), None


def _files(entry: FilesEntry, base: Path) -> tuple[frozenset[Capability], FileScope]:
    asked = {
        Capability.FILESYSTEM_READ: entry.read,
        Capability.FILESYSTEM_WRITE: entry.write,
        Capability.FILESYSTEM_CREATE: entry.write and entry.create,
        Capability.FILESYSTEM_DELETE: entry.write and entry.delete,
    }
    scope = FileScope(
        read=_paths(entry.read, base),
        write=_paths(entry.write, base),
        denied=_paths(entry.deny, base),
        **_picked(entry, _FILES),
    )
    return frozenset(name for name, given in asked.items() if given), scope


def _paths(texts: tuple[str, ...], base: Path) -> tuple[Path, ...]:
    return tuple((base / text).absolute() for text in texts)


def _http(entry: HttpEntry, base: Path) -> HttpScope:
    credentials = {
        host.lower().rstrip("."): Credential(one.header, Sealed(one.value, credential_owner(one.header)))
        for host, one in entry.credentials.items()
    }
    return HttpScope(
        hosts=entry.hosts,
        credentials=credentials,
        ca_file=base / entry.ca if entry.ca is not None else None,
        **_picked(entry, _HTTP),
    )


def _actions(entry: DatabaseEntry, profile: frozenset[Capability]) -> frozenset[Capability]:
    if entry.allow is None:
        return (profile & DATABASE) or frozenset({Capability.DATABASE_READ})
    return frozenset(Capability(f"database-{action}") for action in entry.allow)


def _tables(entry: DatabaseEntry) -> DatabaseScope:
    return DatabaseScope(entry.connection, entry.tables, dict(entry.keys), **_picked(entry, _DATABASE))


def _database(name: str, entry: DatabaseSourceEntry, base: Path) -> DatabaseSpec:
    kind = "sqlite" if entry.sqlite is not None else "postgresql"
    path = base / entry.sqlite if entry.sqlite is not None else None
    more = {name: given for name in ("connections", "outage") if (given := getattr(entry, name)) is not None}
    owner = DatabaseSpec(name, kind).owner
    dsn, password = (one and Sealed(one, owner) for one in (entry.postgresql, entry.password))
    return DatabaseSpec(name, kind, path, dsn, password, entry.role, **more)


def _picked(entry: object, names: Mapping[str, str]) -> dict[str, Any]:
    """Given values, under the names of the scope."""
    found = {there: getattr(entry, here) for here, there in names.items()}
    return {name: value for name, value in found.items() if value is not None}
