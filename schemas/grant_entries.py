"""The registry file's sections `capabilities` and `databases`: what may be written there.

`schemas.capabilities` is what they amount to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import IPv6Address
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from schemas.capabilities import PROFILES, SCOPED, Capability
from schemas.fields import Count, Flag, HeaderName, Name, Text, duration, or_variable, refuse, size
from schemas.shape import Shape
from schemas.specs import OnOutage
from schemas.units import UnitError, parse_time_ms

_TEXT = {"type": "string"}
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EXAMPLES: Mapping[str, str] = {
    "database": "- database: {connection: shop, tables: [customers]}",
    "filesystem": "- files: {read: [./reference]}",
    "network": "- http: {hosts: [api.example.com]}",
    "environment": "- environment: [TZ]",
}


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _named(value: object) -> object:
    return {"names": value} if isinstance(value, str | list) else value


def _empty(value: object) -> object:
    return {} if value is None else value


def _until(value: object) -> int:
    """A bare date begins at midnight, UTC."""
    if isinstance(value, str) and _DATE.fullmatch(value):
        value = f"{value}T00:00:00Z"
    try:
        return parse_time_ms(value)
    except UnitError as error:
        refuse(error.problem, error.remedy)


def _port(value: object) -> object:
    return [value] if isinstance(value, int | str) else value


def _host(value: object) -> str:
    if isinstance(value, str) and value.count(":") > 1:
        return _address(value)
    if not isinstance(value, str) or not value or value != value.strip() or any(one in value for one in "/:@?# \\"):
        refuse("{shown} is not a host's name", "write api.example.com, or *.example.com for every name below it")
    if "*" in value.removeprefix("*."):
        refuse("{shown} is not a host's name", "a star stands at the beginning only: *.example.com")
    return value.lower().rstrip(".")


def _address(value: str) -> str:
    try:
        address = IPv6Address(value.removeprefix("[").removesuffix("]"))
    except ValueError:
        refuse(
            "{shown} is not a host's name or address",
            "write api.example.com, 192.0.2.7 or 2001:db8::7, and ports under `ports`",
        )
    if address.scope_id is not None:
        refuse("{shown} is an address with a zone", "leave out what stands behind the %")
    return str(address)


def _method(value: object) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isalpha():
        refuse("{shown} is not an HTTP method", "write GET, POST, …")
    return value.upper()


Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}),
]
Hosts = Annotated[
    tuple[Annotated[str, BeforeValidator(_host)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}),
]
Methods = Annotated[
    tuple[Annotated[str, BeforeValidator(_method)], ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}),
]
Ports = Annotated[
    tuple[Annotated[int, Count(1, 65_535)], ...],
    BeforeValidator(_port),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
]
Until = Annotated[
    int,
    BeforeValidator(_until),
    WithJsonSchema({"anyOf": [{"type": "string", "examples": ["2027-01-01"]}, {"type": "integer"}]}),
]


class _Granted(Shape):
    until: Until | None = Field(default=None, description="Point in time from which on it is denied.")
    uses: Annotated[int, Count(1, 1 << 48)] | None = Field(
        default=None, description="Calls that are allowed, of all lanes of one process together."
    )
    per: Annotated[int, duration("1s", "31d")] | None = Field(
        default=None, description="The window `uses` are counted in; without it, the life of the process."
    )


class PlainEntry(_Granted):
    """A capability that has no scope."""


class RandomEntry(_Granted):
    """Chance."""

    seed: Annotated[int, Count(0, (1 << 63) - 1)] | None = Field(
        default=None, description="Every guest gets the same bytes, for replays; without it, the system's entropy."
    )


class FilesEntry(_Granted):
    """Folders and files. Relative paths start at the registry file."""

    read: Texts = Field(default=(), description="Folders or files that may be read.")
    write: Texts = Field(default=(), description="Folders or files that may be written.")
    deny: Texts = Field(default=(), description="Nothing in these is reached, whatever else says so.")
    create: Flag | None = Field(default=None, description="New files and folders in `write`. Off by default.")
    delete: Flag | None = Field(default=None, description="Deleting in `write`. Off by default.")
    file_size: Annotated[int, size("1B", "1GiB")] | None = Field(
        default=None, description="Larger files are neither read nor written; 10MiB by default."
    )
    descriptors: Annotated[int, Count(1, 64)] | None = Field(
        default=None, description="Files open at once, through WASI; 32 by default."
    )


class CredentialEntry(Shape):
    """A header that the host adds; the guest never sees it."""

    header: HeaderName = Field(default="Authorization", description="The header's name.")
    value: Text = Field(repr=False, description="Its value: `Bearer ${TOKEN}`.")


class HttpEntry(_Granted):
    """Where requests may go."""

    hosts: Hosts = Field(description="Exact names, or *.example.com for every name below.")
    ports: Ports | None = Field(default=None, description="443 by default.")
    methods: Methods | None = Field(default=None, description="GET and HEAD by default.")
    plain: Flag | None = Field(default=None, description="http:// too. Off by default.")
    private: Flag | None = Field(
        default=None, description="Loopback, private and link-local addresses too. Off by default."
    )
    connections: Annotated[int, Count(1, 1_000)] | None = Field(default=None, description="At once; 10 by default.")
    bytes_per_second: Annotated[int, size("1B", "1GiB")] | None = Field(
        default=None, description="Sent and received together, on average."
    )
    request: Annotated[int, size("1B", "1MiB")] | None = Field(
        default=None, description="Bytes of a request's body; 1MiB by default."
    )
    response: Annotated[int, size("1B", "1MiB")] | None = Field(
        default=None, description="Bytes of a response's body; 1MiB by default."
    )
    timeout: Annotated[int, duration("1ms", "5m")] | None = Field(
        default=None, description="Of one request; the guest's deadline if that is sooner. 30s by default."
    )
    redirects: Annotated[int, Count(0, 20)] | None = Field(
        default=None, description="Followed and checked anew; 5 by default."
    )
    credentials: dict[str, CredentialEntry] = Field(
        default_factory=dict, repr=False, description="By host: a header that the host adds."
    )
    ca: Text | None = Field(
        default=None, description="PEM file of the authority that signed the hosts' certificates; else the system's."
    )


DatabaseAction = Literal["read", "query", "write", "transaction"]


class DatabaseEntry(_Granted):
    """A connection, and what of it may be touched."""

    connection: Name = Field(description="A name of `databases`.")
    tables: Texts | None = Field(default=None, description="Tables that may be touched; all of them without it.")
    allow: tuple[DatabaseAction, ...] | None = Field(
        default=None, description="What may be done; what the profile has, else read."
    )
    keys: dict[Text, Text] = Field(
        default_factory=dict, description="By table: the column that `lookup` compares; its primary key otherwise."
    )
    rows: Annotated[int, Count(1, 1_000_000)] | None = Field(
        default=None, description="Of one answer or change; 1000 by default."
    )
    bytes: Annotated[int, size("1B", "1MiB")] | None = Field(
        default=None, description="Of one answer; 1MiB by default."
    )
    time: Annotated[int, duration("1ms", "5m")] | None = Field(
        default=None, description="Of one statement; the guest's deadline if that is sooner. 5s by default."
    )
    cache: Annotated[int, duration("0ms", "24h")] | None = Field(
        default=None, description="How long looked-up rows are remembered; not at all without it."
    )
    cache_entries: Annotated[int, Count(1, 10_000_000)] | None = Field(
        default=None, description="Rows remembered at most; 100000 by default."
    )


class EnvironmentEntry(_Granted):
    """Variables of the process, by name."""

    names: Texts = Field(description="The variables that may be read.")


class KeyValueEntry(_Granted):
    """The transformer's own small store."""

    quota: Annotated[int, size("1KiB", "1GiB")] | None = Field(
        default=None, description="Of all keys and values; 1MiB by default."
    )
    entries: Annotated[int, Count(1, 10_000_000)] | None = Field(default=None, description="10000 by default.")
    ttl: Annotated[int, duration("1ms", "365d")] | None = Field(
        default=None, description="After which an entry is gone; never without it."
    )


_ENTRIES = ("log", "clock", "random", "files", "http", "database", "environment", "key-value")


def _grant(value: object) -> object:
    """`clock` is `{clock: {}}`. One capability per item, so that a refusal can point at it."""
    if isinstance(value, str):
        if value in SCOPED:
            _refuse_bare(value)
        if value not in _ENTRIES:
            guess = "".join(f"did you mean '{one}'? " for one in get_close_matches(value[:40], _ENTRIES, n=1))
            refuse("{shown} is not a capability", f"{guess}(one of: {', '.join(_ENTRIES)})")
        return {value: {}}
    if isinstance(value, Mapping) and len(value) != 1:
        refuse("is not one capability", "write one of them per item")
    return value


def _refuse_bare(name: str) -> None:
    if name == Capability.NETWORK_SERVER:
        refuse("{shown} is not served by any host", "take it out: guests cannot listen")
    example = _EXAMPLES[name.partition("-")[0]]
    refuse("{shown} says not what of it", f"write for example `{example}`")


def _bare_too(schema: dict[str, Any]) -> None:
    bare = {"type": "string", "pattern": or_variable("log|clock|random|key-value")}
    schema["items"] = {"anyOf": [bare, schema["items"]]}


def _names_too(schema: dict[str, Any]) -> None:
    schema["anyOf"][:0] = [_TEXT, {"type": "array", "items": _TEXT}]


class GrantEntry(Shape):
    """One item of `grant`: exactly one of these."""

    log: Annotated[PlainEntry | None, BeforeValidator(_empty)] = None
    clock: Annotated[PlainEntry | None, BeforeValidator(_empty)] = None
    random: Annotated[RandomEntry | None, BeforeValidator(_empty)] = None
    files: FilesEntry | None = None
    http: HttpEntry | None = None
    database: DatabaseEntry | None = None
    environment: Annotated[EnvironmentEntry | None, BeforeValidator(_named)] = Field(
        default=None, json_schema_extra=_names_too
    )
    key_value: Annotated[KeyValueEntry | None, BeforeValidator(_empty)] = Field(default=None, alias="key-value")


def _profile(value: object) -> object:
    if not isinstance(value, str) or value not in PROFILES:
        refuse("{shown} is not a profile of capabilities", f"profiles are {', '.join(PROFILES)}")
    return value


CapabilityProfile = Annotated[
    str,
    BeforeValidator(_profile),
    WithJsonSchema({"type": "string", "pattern": or_variable("|".join(PROFILES))}),
]


class CapabilitiesEntry(Shape):
    """What the module may ask of the host: nothing, unless it is here."""

    profile: CapabilityProfile | None = Field(
        default=None, description="A set of capabilities by name; those that need a scope get it from `grant`."
    )
    grant: tuple[Annotated[GrantEntry, BeforeValidator(_grant)], ...] = Field(
        default=(),
        description="One capability per item: its name, or its name with scope, end and uses.",
        json_schema_extra=_bare_too,
    )
    strict: Flag | None = Field(
        default=None,
        description="A denied call makes its event a violation of kind `capability`, instead of an error code. Off by default.",
    )


class DatabaseSourceEntry(Shape):
    """One database: `sqlite` or `postgresql`, not both."""

    sqlite: Text | None = Field(default=None, description="The file, relative to the registry file.")
    postgresql: Text | None = Field(
        default=None, repr=False, description="Connection string or URI: postgresql://reader@db.example.com/shop"
    )
    password: str | None = Field(default=None, repr=False, description="Instead of one in the connection string.")
    role: Text | None = Field(default=None, description="PostgreSQL: the role that every transaction takes on.")
    connections: Annotated[int, Count(1, 100)] | None = Field(
        default=None, description="At most, in one process; 4 by default."
    )
    outage: OnOutage | None = Field(
        default=None,
        description="While it is out of reach: tell the guest (the default), or let the lane wait until it is back.",
    )
