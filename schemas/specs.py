"""What a checked registry amounts to: resolved, complete, immutable. `schemas.registry` is the file's shape; this is its meaning."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from schemas.capabilities import Grants
from schemas.contracts.compare import Compatibility
from schemas.limits import Limits
from schemas.sealed import Sealed


class OnViolation(StrEnum):
    """What a lane does with an event that could not pass."""

    DEAD_LETTER = "dead-letter"
    PASS_THROUGH = "pass-through"
    DROP = "drop"
    STOP = "stop"


class InstancePolicy(StrEnum):
    """How long one guest instance lives."""

    PER_BATCH = "per-batch"
    PER_EVENT = "per-event"
    REUSED = "reused"


class IsolationLevel(StrEnum):
    """What stands between a transformer's guests and everything else."""

    INSTANCE = "instance"
    """An instance with a memory of its own; the engine is shared with transformers of the same settings."""
    RUNTIME = "runtime"
    """An engine of its own, and a pool of its own."""
    PROCESS = "process"
    """A process of its own, which the kernel lets do next to nothing (see `sandbox.process`)."""


class QuarantineAction(StrEnum):
    """What a tripped breaker does."""

    PAUSE = "pause"
    DEAD_LETTER_ALL = "dead-letter-all"
    PASS_THROUGH = "pass-through"


class Tier(StrEnum):
    """How a module is compiled: Cranelift, Winch, or the Pulley interpreter."""

    OPTIMIZING = "optimizing"
    BASELINE = "baseline"
    INTERPRETER = "interpreter"


class Delivery(StrEnum):
    """What a lane promises."""

    EXACTLY_ONCE = "exactly-once"
    AT_LEAST_ONCE = "at-least-once"


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A breaker: `after` misbehaving events within `window_s` trip it (see `ViolationKind.is_misbehaviour`)."""

    after: int = 20
    window_s: float = 60.0
    action: QuarantineAction = QuarantineAction.PAUSE


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine is built. Transformers with equal settings share one engine and its pool of instances."""

    tier: Tier = Tier.OPTIMIZING
    simd: bool = True
    relaxed_simd: bool = False
    bulk_memory: bool = True
    reference_types: bool = True
    multi_value: bool = True
    threads: bool = False
    tail_call: bool = False
    pooling: bool = True
    """Pooled instances with copy-on-write memory; off, every instance maps its own (slower, no cap on their number)."""
    debug: bool = False
    """Debug information in backtraces (file and line when the module has DWARF)."""
    nan_canonicalization: bool = False


class OnOutage(StrEnum):
    """What becomes of a guest's call while its database is out of reach."""

    TELL = "tell"
    """The guest is told, and decides."""
    WAIT = "wait"
    """Nobody decides: the lane does not go on before the database is back."""


@dataclass(frozen=True, slots=True)
class DatabaseSpec:
    """A database that guests may be granted, by the name the registry gives it."""

    name: str
    kind: str
    """`sqlite` or `postgresql`."""
    path: Path | None = None
    """SQLite's file."""
    dsn: str | Sealed | None = field(default=None, repr=False)
    """PostgreSQL's connection string or URI; it may hold a password."""
    password: str | Sealed | None = field(default=None, repr=False)
    """Both are sealed for `owner` when they come from a registry."""
    role: str | None = None
    """PostgreSQL: the role that every transaction takes on."""
    connections: int = 4
    """At most, in one process."""
    outage: OnOutage = OnOutage.TELL

    @property
    def owner(self) -> str:
        """Whose its secrets are sealed as."""
        return f"databases.{self.name}"


@dataclass(frozen=True, slots=True)
class TransformerSpec:
    """One transformer: which module, under which limits."""

    name: str
    module: Path
    builtin: str | None = None
    """The name of the built-in transformer that `module` is, when it is one (see `schemas.builtins`)."""
    sha256: str | None = None
    """Lower-case hex pin; the module is refused when its bytes hash to something else."""
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Handed to the guest; it may carry secrets (a salt, a token): not printed."""
    encoding: str | None = None
    """One of `schemas.abi.ENCODINGS`; None is what the module's section `penstock` says, else `raw`."""
    instance: InstancePolicy | None = None
    """None is what suits the module: `per-batch` for a core module, `reused` for a component, which starts slowly."""
    isolation: IsolationLevel = IsolationLevel.INSTANCE
    limits: Limits = field(default_factory=Limits)
    engine: EngineSettings = field(default_factory=EngineSettings)
    function: str = "penstock_v1_transform"
    capabilities: Grants | Collection[str] = field(default_factory=Grants)
    """What is granted; names alone are grants without scope or end."""
    databases: Mapping[str, DatabaseSpec] = field(default_factory=dict)
    """Those of the registry, by name; the sandbox may have others."""
    state_dir: Path | None = None
    """Where its key-value store lies; None is where the sandbox says."""
    on_violation: OnViolation = OnViolation.DEAD_LETTER
    quarantine: Quarantine = field(default_factory=Quarantine)

    @property
    def origin(self) -> str:
        """Which module it is, in words: `builtin mask`, or the file."""
        return str(self.module) if self.builtin is None else f"builtin {self.builtin}"

    @property
    def origin_key(self) -> str:
        """The key of the registry's entry that says which module it is."""
        return "module" if self.builtin is None else "builtin"

    @property
    def grants(self) -> Grants:
        """What is granted, in full."""
        return Grants.of(self.capabilities)


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How much of a lane is transformed and committed at a time."""

    events_max: int = 2_000
    bytes_max: int = 1 << 20
    """Key, value and header bytes of one batch; one larger event still forms a batch of its own."""
    linger_ms: int = 0
    """How long a smaller batch waits for more events."""
    commit_interval_ms: int = 100
    commit_events_max: int = 50_000
    in_flight_bytes_max: int = 64 << 20
    """Fetched but not yet written, all lanes of a route in one process together."""


@dataclass(frozen=True, slots=True)
class CreateTopics:
    """Create missing topics with this shape."""

    partitions: int = 1
    replication_factor: int = 1


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """How the values on one side of a route are written."""

    name: str = "debezium-json"
    schema: Path | None = None
    """Of what is written, where the format needs one and the values do not bring it."""
    register: bool = False
    """Put that schema into the schema registry when it is not there."""
    key_schema: Path | None = None
    """Of the keys that are written, likewise."""


@dataclass(frozen=True, slots=True)
class DedupeSpec:
    """Events that came before are dropped."""

    by: tuple[str, ...]
    """Paths in the change event (`source.lsn`, `after.id`), or `headers.NAME`."""
    window_ms: int
    """By the records' timestamps."""
    events: int = 100_000
    """Offsets of a partition that are looked back on, however long the window."""


@dataclass(frozen=True, slots=True)
class AtomicSpec:
    """Source transactions are emitted whole."""

    transaction_topic: str
    """Where Debezium writes BEGIN and END."""
    events_max: int = 100_000
    """Of one transaction."""
    size_bytes_max: int = 64 << 20
    """Likewise; keys, values and headers."""
    wait_s: float = 60.0
    """How long a transaction that lacks something may hold up others when there is nothing more to read."""

    @property
    def prefix(self) -> str:
        """Of the topics that the transactions are about."""
        return self.transaction_topic.removesuffix(".transaction")


class OnBreak(StrEnum):
    """What a lane does with an event that breaks its route's contract."""

    PARK = "park"
    """The lane stops before it."""
    DEAD_LETTER = "dead-letter"


@dataclass(frozen=True, slots=True)
class ContractSpec:
    """What the rows of a route are said to look like."""

    schema: str
    """A schema file, relative to `base`, or a Python type, `package.module:Name`."""
    base: Path
    tables: frozenset[str] = frozenset()
    """Which tables it is about, as `source.table` has them; empty is all."""
    compatible: Compatibility = Compatibility.FORWARD
    """What a writer's schema must be to the contract's."""
    on_break: OnBreak = OnBreak.DEAD_LETTER


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One route: where from, through what, where to."""

    name: str
    sources: tuple[str, ...]
    """Topic names; empty when `pattern` is set."""
    through: tuple[str, ...]
    to: str
    dead_letter: str
    group: str
    """Consumer group of this route: `{group}-{route}` unless named."""
    pattern: str | None = None
    """Regular expression that a topic's whole name must match."""
    also_to: tuple[str, ...] = ()
    start: str = "earliest"
    """`earliest`, `latest`, or milliseconds since the epoch in decimal digits."""
    preserve_timestamps: bool = True
    drop_headers: frozenset[str] = frozenset()
    add_headers: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    truncate_oversize: bool = False
    """`oversize: truncate`: a dead letter too large for its topic is cut (and says so) instead of stopping the lane."""
    format_in: FormatSpec = field(default_factory=FormatSpec)
    """Of the sources, and of all values between the transformers."""
    format_out: FormatSpec = field(default_factory=FormatSpec)
    """Of the destinations; values are converted behind the last transformer when it is another."""
    dedupe: DedupeSpec | None = None
    contracts: tuple[ContractSpec, ...] = ()
    atomic: AtomicSpec | None = None
    batch: BatchPolicy = field(default_factory=BatchPolicy)

    @property
    def destinations(self) -> frozenset[str]:
        """Every topic this route's events may be emitted to (dead letters aside)."""
        return frozenset((self.to, *self.also_to))


@dataclass(frozen=True, slots=True)
class Security:
    """How to reach the brokers. `password` must never be printed; its repr is hidden."""

    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    check_hostname: bool = True
    token_file: Path | None = None
    """For OAUTHBEARER: a file with a token that someone else keeps fresh."""
    token_endpoint: str | None = None
    """For OAUTHBEARER: where tokens are fetched with the client's credentials."""
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    client_secret_file: Path | None = None
    scope: str | None = None
    token_ca_file: Path | None = None
    """The authority of the token endpoint's certificate; the system's when None."""


@dataclass(frozen=True, slots=True)
class KafkaSpec:
    """The cluster."""

    brokers: tuple[str, ...] = ("localhost:9092",)
    group: str = "penstock"
    security: Security = field(default_factory=Security)
    client: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further aiokafka options, passed to consumers and producers that know them (it may carry secrets: not printed)."""
    compression: str | None = "lz4"
    control_topic: str = "penstock.control"
    transaction_timeout_ms: int = 60_000
    request_timeout_ms: int = 40_000
    rebalance_timeout_ms: int = 30_000
    max_poll_interval_ms: int = 300_000
    session_timeout_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class SchemaRegistrySpec:
    """How to reach the schema registry."""

    url: str
    username: str | None = None
    password: str | Sealed | None = field(default=None, repr=False)
    token: str | Sealed | None = field(default=None, repr=False)
    """Both are sealed for `owner` when they come from a registry."""
    ca_file: Path | None = None
    timeout_ms: int = 5_000
    """Of one attempt; there are three."""

    @property
    def owner(self) -> str:
        """Whose its secrets are sealed as."""
        return "schema_registry"


@dataclass(frozen=True, slots=True)
class Registry:
    """A whole registry, resolved and checked."""

    transformers: Mapping[str, TransformerSpec]
    routes: Mapping[str, RouteSpec]
    kafka: KafkaSpec = field(default_factory=KafkaSpec)
    databases: Mapping[str, DatabaseSpec] = field(default_factory=dict)
    schema_registry: SchemaRegistrySpec | None = None
    state_dir: Path | None = None
    """Where key-value stores lie."""
    delivery: Delivery = Delivery.EXACTLY_ONCE
    create_topics: CreateTopics | None = None
    shutdown_timeout_s: float = 30.0
    retry_limit_s: float = 120.0
    """How long a transport error is retried (exponential, with jitter) before the process gives up with exit code 1."""
    path: Path | None = None
    """Where it was read from; None when built in code."""
