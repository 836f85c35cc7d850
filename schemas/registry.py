"""The registry file's shape: what may be written where, in which unit and range. Unknown keys are refused.

`schemas.specs` is what a checked file amounts to. Every optional key is None here when it was not written, so that whoever
resolves can tell "inherit" from a value. Reprs show no values that could be secrets.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from schemas.abi import ENCODINGS
from schemas.builtins import NAMES as BUILTINS
from schemas.capabilities import PROFILES as CAPABILITY_PROFILES
from schemas.contracts.compare import Compatibility
from schemas.fields import (
    TOPIC_PATTERN,
    Count,
    Flag,
    Group,
    HeaderName,
    HeaderValue,
    Name,
    RateText,
    Sha256,
    Source,
    Start,
    Text,
    Topic,
    duration,
    or_variable,
    refuse,
    size,
)
from schemas.formats.named import FORMATS
from schemas.grant_entries import CapabilitiesEntry, DatabaseSourceEntry
from schemas.limits import PROFILES
from schemas.shape import Shape
from schemas.specs import Delivery, InstancePolicy, IsolationLevel, OnBreak, OnViolation, QuarantineAction, Tier


def _profile_name(value: object) -> object:
    return {"profile": value} if isinstance(value, str) else value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _brokers(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _profile(value: object) -> object:
    if not isinstance(value, str) or value not in PROFILES:
        refuse("{shown} is not a profile", f"profiles are {', '.join(PROFILES)}")
    return value


def _encoding(value: object) -> object:
    if value not in ENCODINGS:
        refuse("{shown} is not an encoding", "use encoding: raw (the record's own bytes) or event (decoded)")
    return value


def _builtin(value: object) -> object:
    if not isinstance(value, str) or value not in BUILTINS:
        near = get_close_matches(str(value), BUILTINS, 1)
        choices = f"built-in transformers are {', '.join(BUILTINS)}"
        refuse("{shown} is not a built-in transformer", f"did you mean {near[0]}? ({choices})" if near else choices)
    return value


def _format(value: object) -> object:
    if not isinstance(value, str) or value not in FORMATS:
        near = get_close_matches(str(value), FORMATS, 1)
        refuse("{shown} is not a format", f"did you mean {near[0]}?" if near else f"formats are {', '.join(FORMATS)}")
    return value


def _format_name(value: object) -> object:
    return {"name": _format(value)} if isinstance(value, str) else value


def _one_or_more(value: object) -> object:
    if isinstance(value, str):
        return [{"schema": value}]
    return [value] if isinstance(value, dict) else value


def _both_sides(value: object) -> object:
    return {"in": _format(value)} if isinstance(value, str) else value


def _member_path(value: object) -> object:
    if not isinstance(value, str) or not _MEMBER_PATH.fullmatch(value):
        refuse("{shown} is no member of a change event", "write source.lsn, after.id, ts_ms, or headers.NAME")
    return value


def _by(value: object) -> object:
    return {"by": value} if isinstance(value, str) else value


_MEMBER_PATH = re.compile(r"(?:(?:before|after|source|transaction|headers)\.[^.\s][^\s]*|ts_ms)", re.ASCII)
_TEXT = {"type": "string"}
_SOURCE = {"type": "string", "pattern": or_variable(f"{TOPIC_PATTERN}|/.+/")}

Profile = Annotated[str, BeforeValidator(_profile), WithJsonSchema({"type": "string", "enum": list(PROFILES)})]
Encoding = Annotated[str, BeforeValidator(_encoding), WithJsonSchema({"type": "string", "enum": list(ENCODINGS)})]
BuiltinName = Annotated[str, BeforeValidator(_builtin), WithJsonSchema({"type": "string", "enum": list(BUILTINS)})]
FormatName = Annotated[str, BeforeValidator(_format), WithJsonSchema({"type": "string", "enum": list(FORMATS)})]
MemberPath = Annotated[str, BeforeValidator(_member_path)]
MemberPaths = Annotated[
    tuple[MemberPath, ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}),
]
Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}),
]
Sources = Annotated[
    tuple[Source, ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_SOURCE, {"type": "array", "items": _SOURCE, "minItems": 1}]}),
]
Chain = Annotated[
    tuple[Text, ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}),
]
Brokers = Annotated[
    tuple[Text, ...],
    BeforeValidator(_brokers),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}),
]
Topics = Annotated[
    tuple[Topic, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}),
]


def _also_profile(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"type": "string", "enum": list(PROFILES)})


def _also_single(schema: dict[str, Any]) -> None:
    many = next(one for one in schema["anyOf"] if one.get("type") == "array")
    schema["anyOf"][:0] = [{"type": "string"}, many["items"]]


def _also_format(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"type": "string", "enum": list(FORMATS)})


def _also_by(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"type": "string", "enum": ["source-transaction"]})


def _also_grants(schema: dict[str, Any]) -> None:
    profile = {"type": "string", "pattern": or_variable("|".join(CAPABILITY_PROFILES))}
    schema["anyOf"][:0] = [profile, {"type": "array"}]


class LimitsEntry(Shape):
    """Caps for one transformer. Starts from `profile`, else from what it inherits; the keys beside it replace single values."""

    profile: Profile | None = Field(default=None, description="Where the values not written here come from.")
    memory: Annotated[int, size("64KiB", "4GiB")] | None = Field(
        default=None, description="Linear memory, all memories together."
    )
    deadline: Annotated[int, duration("10ms", "5m")] | None = Field(
        default=None, description="Wall-clock time of one event, and of a whole healthy batch."
    )
    allocation: Annotated[int, size("4KiB", "1GiB")] | None = Field(
        default=None, description="Largest single block, so also the largest batch frame. At most `memory`."
    )
    fuel: Annotated[int, Count(1_000, 1 << 48)] | None = Field(
        default=None, description="Instructions (roughly) per event; null turns metering off."
    )
    output: Annotated[int, size("1KiB", "256MiB")] | None = Field(
        default=None, description="Bytes of all records made of one event."
    )
    log: Annotated[int, size("0B", "16MiB")] | None = Field(default=None, description="Log bytes kept per batch.")
    stack: Annotated[int, size("16KiB", "2MiB")] | None = Field(default=None, description="Wasm call stack.")
    table_elements: Annotated[int, Count(0, 10_000_000)] | None = Field(default=None, description="Elements per table.")
    tables: Annotated[int, Count(0, 100)] | None = Field(default=None, description="Tables per instance.")
    instances: Annotated[int, Count(1, 1)] | None = Field(
        default=None, description="Instances at a time; always 1 today."
    )
    memories: Annotated[int, Count(1, 16)] | None = Field(default=None, description="Memories per instance.")


class FeaturesEntry(Shape):
    """WebAssembly features a module may use."""

    simd: Flag | None = Field(default=None, description="128-bit SIMD. On by default.")
    relaxed_simd: Flag | None = Field(default=None, description="Relaxed SIMD; needs simd. Off by default.")
    bulk_memory: Flag | None = Field(default=None, description="memory.copy, memory.fill. On by default.")
    reference_types: Flag | None = Field(default=None, description="externref, several tables. On by default.")
    multi_value: Flag | None = Field(default=None, description="Functions with several results. On by default.")
    threads: Flag | None = Field(default=None, description="Atomics and shared memories. Off by default.")
    tail_call: Flag | None = Field(default=None, description="return_call. Off by default.")


class QuarantineEntry(Shape):
    """The breaker of one transformer."""

    after: RateText | None = Field(default=None, description="How many misbehaving events within how long trip it.")
    action: QuarantineAction | None = Field(default=None, description="What a tripped breaker does.")


class BatchEntry(Shape):
    """How much of a lane is transformed and committed at a time."""

    events: Annotated[int, Count(1, 100_000)] | None = Field(default=None, description="Events per batch.")
    bytes: Annotated[int, size("1KiB", "256MiB")] | None = Field(default=None, description="Bytes per batch.")
    linger: Annotated[int, duration("0ms", "1m")] | None = Field(
        default=None, description="How long a smaller batch waits for more."
    )
    commit_interval: Annotated[int, duration("10ms", "10m")] | None = Field(
        default=None, description="Time between two commits of a lane."
    )
    commit_events: Annotated[int, Count(1, 10_000_000)] | None = Field(
        default=None, description="Events after which a lane commits anyway."
    )
    in_flight: Annotated[int, size("64KiB", "16GiB")] | None = Field(
        default=None, description="Fetched but not yet written, all lanes of a route in one process together."
    )


class _Behaviour(Shape):
    """What a transformer may say for itself, and `defaults` for all of them."""

    limits: Annotated[LimitsEntry | None, BeforeValidator(_profile_name)] = Field(
        default=None,
        description="A profile's name, or a mapping whose keys replace single values.",
        json_schema_extra=_also_profile,
    )
    instance: InstancePolicy | None = Field(default=None, description="How long one guest instance lives.")
    isolation: IsolationLevel | None = Field(
        default=None,
        description="What stands around a guest: its instance, an engine of its own, or a process of its own.",
    )
    on_violation: OnViolation | None = Field(default=None, description="What happens to an event that could not pass.")
    quarantine: QuarantineEntry | None = None
    capabilities: CapabilitiesEntry | None = Field(
        default=None,
        description="What the module may ask of the host: a profile's name, a list of grants, or a mapping. Nothing without it.",
        json_schema_extra=_also_grants,
    )
    tier: Tier | None = Field(
        default=None, description="How the module is compiled: Cranelift, Winch or the Pulley interpreter."
    )
    features: FeaturesEntry | None = None
    pooling: Flag | None = Field(default=None, description="Pooled instances with copy-on-write memory. On by default.")
    debug: Flag | None = Field(
        default=None, description="File and line in backtraces when the module has DWARF. Off by default."
    )
    nan_canonicalization: Flag | None = Field(
        default=None, description="One bit pattern for every NaN, for exact replays. Off by default."
    )


class DefaultsEntry(_Behaviour):
    """What every transformer and route inherits unless it says otherwise."""

    batch: BatchEntry | None = None


def _module_or_builtin(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"required": ["module"]}, {"required": ["builtin"]}]


class TransformerEntry(_Behaviour):
    """One transformer: which module, under which limits."""

    model_config = ConfigDict(json_schema_extra=_module_or_builtin)

    builtin: BuiltinName | None = Field(
        default=None,
        description="One of the transformers that come with penstock, in place of `module` (docs/builtins.md).",
    )
    module: Text | None = Field(
        default=None, validate_default=True, description="The WebAssembly module, relative to the registry file."
    )
    sha256: Sha256 | None = Field(
        default=None, description="The module is refused when its bytes hash to something else."
    )
    config: dict[str, Any] | None = Field(
        default=None, repr=False, description="Handed to the guest's penstock_v1_configure, as msgpack."
    )
    encoding: Encoding | None = Field(
        default=None,
        description="How values are handed over: raw is the record's own bytes, event the Debezium change event in them. "
        "Without it, as the module says, else raw.",
    )
    function: Text | None = Field(default=None, description="The exported entry point, if not penstock_v1_transform.")

    @field_validator("module")
    @classmethod
    def _one_of_both(cls, module: str | None, info: ValidationInfo) -> str | None:
        if "builtin" not in info.data:
            return module  # it was refused, and says why
        if module is None and info.data["builtin"] is None:
            raise PydanticCustomError("missing", "neither")
        if module is not None and info.data["builtin"] is not None:
            refuse("both module and builtin are written", "keep one of them")
        return module


class HeadersEntry(Shape):
    """Changes to the headers of emitted records; all others are kept."""

    drop: Texts | None = Field(default=None, description="Names of headers to leave out.")
    add: dict[HeaderName, HeaderValue] | None = Field(
        default=None, repr=False, description="Headers to add, name to value."
    )


class FormatSideEntry(Shape):
    """How the values on one side of a route are written."""

    name: FormatName
    schema_file: Text | None = Field(
        default=None, alias="schema", description="File with the schema of what is written, relative to the registry."
    )
    register_schema: Flag | None = Field(
        default=None, alias="register", description="Put that schema into the schema registry when it is not there."
    )
    key_schema: Text | None = Field(
        default=None, description="File with the schema of the keys that are written, relative to the registry."
    )


FormatSide = Annotated[FormatSideEntry, BeforeValidator(_format_name)]


class FormatEntry(Shape):
    """The formats of a route's two sides."""

    source: FormatSide | None = Field(
        default=None, alias="in", description="Of the sources, and between the transformers; debezium-json by default."
    )
    out: FormatSide | None = Field(default=None, description="Of the destinations; as `in` by default.")


class ContractEntry(Shape):
    """What the rows of a route are said to look like, and what happens to events that look otherwise."""

    schema_source: Text = Field(
        alias="schema",
        description="File with a JSON Schema (.json), an Avro (.avsc) or a Protobuf schema (.proto), or a Python type, package.module:Name.",
    )
    tables: Texts | None = Field(
        default=None, description="Tables it is about, as source.table has them; all by default."
    )
    compatible: Compatibility | None = Field(
        default=None, description="What a writer's schema must be to this one; forward by default."
    )
    on_break: OnBreak | None = Field(default=None, description="What happens to an event that breaks it.")


class DedupeEntry(Shape):
    """Events that came before, within a window of their partition, are dropped."""

    by: MemberPaths = Field(
        description="Members of the change event (source.lsn, after.id) or headers (headers.id) that make an event itself, "
        "beside its record key, operation and table."
    )
    window: Annotated[int, duration("1s", "7d")] = Field(description="How far back, by the records' timestamps.")
    events: Annotated[int, Count(1, 10_000_000)] | None = Field(
        default=None, description="How many offsets back at most; they are read again when a lane starts."
    )


class AtomicEntry(Shape):
    """Source transactions are emitted whole."""

    by: Literal["source-transaction"] = Field(description="What makes events one: the transaction in the source.")
    transactions: Topic | None = Field(
        default=None,
        description="The topic with BEGIN and END; by default the one of `from` that ends in .transaction.",
    )
    events: Annotated[int, Count(1, 10_000_000)] | None = Field(
        default=None, description="Of one transaction, at most; a larger one stops the lane."
    )
    size_bytes: Annotated[int, size("64KiB", "4GiB")] | None = Field(
        default=None, alias="bytes", description="Of one transaction, at most; a larger one stops the lane."
    )
    wait: Annotated[int, duration("1s", "1h")] | None = Field(
        default=None,
        description="How long a transaction that lacks something may hold up others when there is nothing more to read.",
    )


class RouteEntry(Shape):
    """One route: where from, through what, where to."""

    sources: Sources = Field(
        alias="from", description="A topic, a list of topics, or one /regular expression/ over whole names."
    )
    through: Chain = Field(description="Names of transformers, in order.")
    to: Topic = Field(description="Destination topic.")
    also_to: Topics | None = Field(default=None, description="Other topics that guests may name.")
    dead_letter: Topic | None = Field(default=None, description="Where violations go; `{to}.dead-letter` by default.")
    start: Start | None = Field(
        default=None, description="Where a first start begins: earliest, latest, or a point in time."
    )
    timestamps: Literal["preserve", "now"] | None = Field(
        default=None, description="Keep the source's timestamps, or set new ones."
    )
    format: Annotated[FormatEntry | None, BeforeValidator(_both_sides)] = Field(
        default=None,
        description="How values are written: one name for both sides, or `in` and `out` (docs/formats.md).",
        json_schema_extra=_also_format,
    )
    dedupe: DedupeEntry | None = None
    atomic: Annotated[AtomicEntry | None, BeforeValidator(_by)] = Field(
        default=None,
        description="`source-transaction`, or a mapping: what belongs together is emitted in one Kafka transaction.",
        json_schema_extra=_also_by,
    )
    contract: Annotated[tuple[ContractEntry, ...] | None, BeforeValidator(_one_or_more)] = Field(
        default=None,
        description="One contract, or a list of them for different tables; a text is its schema.",
        json_schema_extra=_also_single,
    )
    headers: HeadersEntry | None = None
    oversize: Literal["stop", "truncate"] | None = Field(
        default=None, description="What happens to a dead letter too large for its topic."
    )
    group: Group | None = Field(default=None, description="Consumer group; `{kafka.group}-{route}` by default.")
    batch: BatchEntry | None = None


class SecurityEntry(Shape):
    """How to reach the brokers."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] | None = None
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    username: str | None = Field(default=None, repr=False)
    password: str | None = Field(default=None, repr=False)
    ca: Text | None = Field(
        default=None, description="PEM file of the authority that signed the brokers' certificates."
    )
    cert: Text | None = Field(default=None, description="PEM file of the client's own certificate; needs key.")
    key: Text | None = Field(default=None, description="PEM file of the client's private key; needs cert.")
    key_password: str | None = Field(default=None, repr=False)
    check_hostname: Flag | None = Field(
        default=None, description="Whether the broker's certificate must name the host. True by default."
    )
    token_file: Text | None = Field(
        default=None,
        description="For OAUTHBEARER: file with a token, read for every login; someone else keeps it fresh.",
    )
    token_endpoint: Text | None = Field(
        default=None, description="For OAUTHBEARER: OAuth 2.0 token endpoint, asked with the client's credentials."
    )
    client_id: Text | None = Field(default=None, description="Who this client is to the token endpoint.")
    client_secret: str | None = Field(default=None, repr=False)
    client_secret_file: Text | None = Field(default=None, description="File with the client's secret.")
    scope: Text | None = Field(default=None, description="Scope that tokens are asked for.")
    token_ca: Text | None = Field(
        default=None, description="PEM file of the authority that signed the token endpoint's certificate."
    )


class KafkaEntry(Shape):
    """The cluster."""

    brokers: Brokers | None = Field(default=None, description="host:port, comma-separated or a list.")
    group: Group | None = Field(default=None, description="Prefix of the routes' consumer groups.")
    security: SecurityEntry | None = None
    client: dict[str, Any] | None = Field(default=None, repr=False, description="Further aiokafka options.")
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] | None = Field(
        default=None, description="lz4 by default."
    )
    control_topic: Topic | None = Field(
        default=None, description="Compacted topic that remembers which lanes are stopped."
    )
    transaction_timeout: Annotated[int, duration("1s", "15m")] | None = None
    request_timeout: Annotated[int, duration("1s", "10m")] | None = None
    rebalance_timeout: Annotated[int, duration("6s", "1h")] | None = None
    max_poll_interval: Annotated[int, duration("10s", "24h")] | None = None
    session_timeout: Annotated[int, duration("6s", "30m")] | None = None


class SchemaRegistryAuthEntry(Shape):
    """Who penstock is to the schema registry: a user with a password, or a token."""

    username: str | None = Field(default=None, repr=False)
    password: str | None = Field(default=None, repr=False)
    token: str | None = Field(default=None, repr=False, description="Sent as `Authorization: Bearer`.")


class SchemaRegistryEntry(Shape):
    """Where the schemas of debezium-avro, debezium-protobuf and debezium-json-schema are."""

    url: Text = Field(description="Of a registry that speaks Confluent's API: http://localhost:8081.")
    auth: SchemaRegistryAuthEntry | None = Field(default=None, description="Username and password, or a token.")
    ca: Text | None = Field(
        default=None, description="PEM file of the authority that signed the registry's certificate."
    )
    timeout: Annotated[int, duration("100ms", "1m")] | None = Field(
        default=None, description="How long one attempt may take; there are three. 5s by default."
    )


class CreateTopicsEntry(Shape):
    """Create missing topics with this shape."""

    partitions: Annotated[int, Count(1, 10_000)] | None = None
    replication_factor: Annotated[int, Count(1, 100)] | None = None


class RegistryFile(Shape):
    """A registry: the transformers, and the routes that use them."""

    version: Literal[1] = Field(description="Version of this format.")
    kafka: KafkaEntry | None = None
    delivery: Delivery | None = Field(default=None, description="What a lane promises; exactly-once by default.")
    defaults: DefaultsEntry | None = None
    transformers: dict[Name, TransformerEntry] = Field(min_length=1)
    routes: dict[Name, RouteEntry] = Field(description="`{}` for transformers that are only called (docs/sql.md).")
    create_topics: CreateTopicsEntry | None = Field(
        default=None, description="Create missing topics; without it they are an error."
    )
    shutdown_timeout: Annotated[int, duration("1s", "1h")] | None = Field(
        default=None, description="How long a drain may take; 30s by default."
    )
    databases: dict[Name, DatabaseSourceEntry] = Field(
        default_factory=dict, description="Databases that transformers may be granted, by name."
    )
    schema_registry: SchemaRegistryEntry | None = None
    state: Text | None = Field(
        default=None, description="Folder for key-value stores, relative to the registry file; `.penstock` by default."
    )
    retry_limit: Annotated[int, duration("1s", "24h")] | None = Field(
        default=None, description="How long a transport error is retried before the process gives up; 2m by default."
    )
