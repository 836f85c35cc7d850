"""What a guest may ask of the host. A guest starts with nothing; each name here must be granted in the registry.

A grant is a capability with a scope (which paths, hosts, tables, variables), an end, and a number of uses. What a transformer gets is
what its module asks for, of what the registry grants, of what the operator's ceiling leaves of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path

from schemas.sealed import Sealed, opened

MIB = 1 << 20


class Capability(StrEnum):
    """Everything there is to grant; the registry refuses any other name."""

    DATABASE_READ = "database-read"
    """Look rows up by key."""
    DATABASE_QUERY = "database-query"
    """Statements that only read."""
    DATABASE_WRITE = "database-write"
    """Statements that change rows."""
    DATABASE_TRANSACTION = "database-transaction"
    """Several statements that all happen or do not."""
    LOG = "log"
    CLOCK = "clock"
    RANDOM = "random"
    FILESYSTEM_READ = "filesystem-read"
    FILESYSTEM_WRITE = "filesystem-write"
    FILESYSTEM_CREATE = "filesystem-create"
    FILESYSTEM_DELETE = "filesystem-delete"
    NETWORK_CLIENT = "network-client"
    NETWORK_SERVER = "network-server"
    """There is no import for it, and no profile has it."""
    KEY_VALUE = "key-value"
    ENVIRONMENT = "environment"


DATABASE = frozenset(one for one in Capability if one.startswith("database-"))
FILESYSTEM = frozenset(one for one in Capability if one.startswith("filesystem-"))
SCOPED = frozenset(
    {*DATABASE, *FILESYSTEM, Capability.NETWORK_CLIENT, Capability.NETWORK_SERVER, Capability.ENVIRONMENT}
)
"""Without a scope there is nothing that these reach: every call is denied."""

PROFILES: Mapping[str, frozenset[Capability]] = {
    "minimal": frozenset(),
    "database-only": frozenset({Capability.DATABASE_READ, Capability.DATABASE_QUERY, Capability.LOG}),
    "standard": frozenset(
        {
            Capability.DATABASE_READ,
            Capability.DATABASE_WRITE,
            Capability.DATABASE_TRANSACTION,
            Capability.CLOCK,
            Capability.RANDOM,
        }
    ),
    "elevated": frozenset({*DATABASE, Capability.FILESYSTEM_READ, Capability.NETWORK_CLIENT}),
}
"""Those of the reference document, to the letter."""

NEEDED_FOR: Mapping[str, str] = {
    "log": "log",
    "now_ms": "clock",
    "monotonic_ns": "clock",
    "random": "random",
    "env_get": "environment",
    "file_read": "filesystem-read",
    "file_write": "filesystem-write",
    "http_request": "network-client",
    "kv_get": "key-value",
    "kv_put": "key-value",
    "kv_delete": "key-value",
    "lookup": "database-read",
    "lookup_many": "database-read",
    "db_query": "database-query",
    "db_execute": "database-write",
    "db_transaction": "database-transaction",
}
"""ABI v1's imports and the capability each needs."""

WANTED = tuple(dict.fromkeys(NEEDED_FOR.values()))
"""The names that a guest may say it wants."""


@dataclass(frozen=True, slots=True)
class FileScope:
    """Folders, and what of them may be touched. `denied` beats all of them."""

    read: tuple[Path, ...] = ()
    """Absolute folders or files, as the operator wrote them."""
    write: tuple[Path, ...] = ()
    denied: tuple[Path, ...] = ()
    """Nothing in these is reached, whatever else says so."""
    file_bytes_max: int = 10 * MIB
    """Larger files are neither read nor written."""
    descriptors: int = 32
    """Open at once, through WASI."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A header that the host adds to requests to one host; the guest never sees it, nor may it send one of that name."""

    header: str
    value: str | Sealed = field(repr=False)
    """Sealed for `credential_owner(header)`, or plain when it comes from code."""

    def reveal(self) -> str:
        """The value, for the moment in which it is sent. Raises SealBroken."""
        return opened(self.value, credential_owner(self.header))


def credential_owner(header: str) -> str:
    """Whose a credential's value is sealed as."""
    return f"credential {header.lower()}"


@dataclass(frozen=True, slots=True)
class HttpScope:
    """Where requests may go."""

    hosts: tuple[str, ...] = ()
    """Exact names, or `*.example.com` for any name below (not `example.com` itself). Lower case."""
    ports: tuple[int, ...] = (443,)
    methods: tuple[str, ...] = ("GET", "HEAD")
    plain: bool = False
    """http:// is allowed beside https://."""
    private: bool = False
    """Loopback, private and link-local addresses are allowed. For tests and services in one's own network."""
    connections: int = 10
    """At once."""
    bytes_per_second: int | None = None
    """Sent and received, on average; a request that would exceed it waits, or runs into its deadline."""
    response_bytes_max: int = MIB
    request_bytes_max: int = MIB
    timeout_ms: int = 30_000
    """Of one request, redirects included; the guest's deadline if that is sooner."""
    redirects: int = 5
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    """By host."""
    ca_file: Path | None = None
    """PEM file of the authority that signed the hosts' certificates; the system's when None."""


@dataclass(frozen=True, slots=True)
class DatabaseScope:
    """A connection of the registry's `databases`, and what of it may be touched."""

    connection: str
    tables: tuple[str, ...] | None = None
    """`table` or `schema.table`; None is all of them."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The column that `lookup` compares, by table; its primary key when it is not here."""
    rows: int = 1_000
    """Of one answer; a statement that has more, or changes more, fails as a whole."""
    bytes_max: int = MIB
    """Of one answer."""
    time_ms: int = 5_000
    """Of one statement; the guest's deadline if that is sooner."""
    cache_ttl_ms: int = 0
    """How long looked-up rows (and that there was none) are remembered; 0 is not at all."""
    cache_entries: int = 100_000


@dataclass(frozen=True, slots=True)
class EnvironmentScope:
    """Variables of the process, by name."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyValueScope:
    """A transformer's own small store."""

    quota_bytes: int = MIB
    """Of all keys and values."""
    entries: int = 10_000
    ttl_ms: int | None = None
    """After which an entry is gone; None is never."""


@dataclass(frozen=True, slots=True)
class RandomScope:
    """Where chance comes from."""

    seed: int | None = None
    """None is the operating system's entropy; a number gives every guest the same bytes, for replays."""


Scope = FileScope | HttpScope | DatabaseScope | EnvironmentScope | KeyValueScope | RandomScope


@dataclass(frozen=True, slots=True)
class Grant:
    """One or several capabilities under one scope."""

    capabilities: frozenset[Capability]
    scope: Scope | None = None
    until_ms: int | None = None
    """Wall-clock time, milliseconds since the epoch, from which on it is denied."""
    uses: int | None = None
    """Host calls, allowed ones, of all lanes of one process together."""
    per_ms: int | None = None
    """The window that `uses` are counted in; None is the life of the process."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What the registry grants to one transformer."""

    grants: tuple[Grant, ...] = ()
    profile: str | None = None
    """Its capabilities are granted too, without a scope of their own; a grant beside it brings that."""
    strict: bool = False
    """A denied call makes its event a `capability` violation, instead of an error code that the guest may ignore."""

    @classmethod
    def of(cls, granted: Grants | Collection[str]) -> Grants:
        """From names alone: no scopes, no ends."""
        if isinstance(granted, Grants):
            return granted
        names = frozenset(Capability(name) for name in granted)
        return cls((Grant(names),)) if names else cls()

    @property
    def names(self) -> frozenset[Capability]:
        """Every capability granted, in scope or not."""
        granted = frozenset[Capability]().union(*(one.capabilities for one in self.grants))
        return granted | PROFILES[self.profile or "minimal"]

    def of_capability(self, capability: Capability) -> tuple[Grant, ...]:
        """The grants that allow it, in the order they were written; one without a scope when only the profile does."""
        found = tuple(one for one in self.grants if capability in one.capabilities)
        return found or ((Grant(frozenset({capability})),) if capability in self.names else ())

    def beyond(self, ceiling: Collection[str]) -> frozenset[Capability]:
        """What is granted and the ceiling does not leave."""
        return frozenset(one for one in self.names if one not in ceiling)


def describe_scope(scope: Scope | None) -> str:
    """One line for tables; no secrets."""
    match scope:
        case None:
            return ""
        case FileScope():
            parts = [f"read {path}" for path in scope.read] + [f"write {path}" for path in scope.write]
            return ", ".join(parts)
        case HttpScope():
            return ", ".join(scope.hosts)
        case DatabaseScope():
            return scope.connection if scope.tables is None else f"{scope.connection}: {', '.join(scope.tables)}"
        case EnvironmentScope():
            return ", ".join(scope.names)
        case _:
            changed = (f"{one.name}={getattr(scope, one.name)}" for one in fields(scope))
            return ", ".join(changed)
