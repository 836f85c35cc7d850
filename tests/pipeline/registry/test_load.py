"""What a good file amounts to: profiles, defaults, and everything that is fitted to something else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pipeline.registry import load_registry
from sandbox.host.network.rules import objection
from sandbox.host.network.urls import read_url
from schemas.capabilities import HttpScope
from schemas.limits import PROFILES
from schemas.specs import (
    BatchPolicy,
    CreateTopics,
    Delivery,
    InstancePolicy,
    IsolationLevel,
    KafkaSpec,
    OnViolation,
    Quarantine,
    QuarantineAction,
    Tier,
)

from .conftest import MODULE, Load

PEM = "-----BEGIN CERTIFICATE-----\n"
EVERYTHING = f"""\
version: 1
kafka:
  brokers: ["a:9092", "[::1]:9093"]
  group: shop
  security:
    {{protocol: SASL_SSL, mechanism: SCRAM-SHA-512, username: u, password: p, ca: ca.pem, cert: ca.pem, key: ca.pem, key_password: k, check_hostname: false}}
  client: {{max_request_size: 500000}}
  compression: none
  control_topic: shop.control
  transaction_timeout: 2m
  request_timeout: 50s
  rebalance_timeout: 90s
  max_poll_interval: 10m
  session_timeout: 20s
delivery: at-least-once
defaults:
  limits: {{profile: untrusted, log: 1KiB}}
  on_violation: drop
  instance: per-event
  isolation: runtime
  quarantine: {{after: 5 in 10s}}
  capabilities: {{grant: [log]}}
  features: {{tail_call: true}}
  batch: {{events: 100, linger: 5ms}}
transformers:
  mask:
    module: a.wasm
    sha256: "{hashlib.sha256(MODULE).hexdigest().upper()}"
    config: {{fields: [{{path: email}}], n: null}}
    encoding: raw
    function: transform_event
    instance: reused
    isolation: process
    on_violation: stop
    tier: interpreter
    features: {{simd: false}}
    pooling: false
    debug: true
    nan_canonicalization: true
    capabilities: {{grant: [clock, random]}}
    quarantine: {{action: dead-letter-all}}
    limits: {{deadline: 1s, fuel: 100000, output: 2MiB, stack: 64KiB, table_elements: 5, tables: 1, instances: 1, memories: 3}}
  plain: {{module: a.wasm}}
  big: {{module: a.wasm, limits: trusted}}
routes:
  orders:
    from: [shop.orders, shop.lines]
    through: [mask, plain]
    to: orders.out
    also_to: orders.flagged
    dead_letter: orders.dead
    start: 2026-01-31T08:00:00Z
    timestamps: now
    headers: {{drop: [trace], add: {{source: shöp}}}}
    oversize: truncate
    group: orders-group
    batch: {{bytes: 64KiB, commit_interval: 1s, commit_events: 500, in_flight: 1MiB}}
  rest: {{from: "/shop\\\\.rest\\\\..*/", through: plain, to: rest.out}}
create_topics: {{partitions: 3}}
shutdown_timeout: 45s
retry_limit: 1m
"""


def test_the_smallest_registry_gets_the_defaults(load: Load, folder: Path) -> None:
    registry = load()
    assert registry.kafka == KafkaSpec(rebalance_timeout_ms=60_000)
    assert registry.delivery is Delivery.EXACTLY_ONCE
    assert registry.create_topics is None
    assert registry.path == folder / "registry.yaml"
    transformer, route = registry.transformers["mask"], registry.routes["orders"]
    assert transformer.limits == PROFILES["standard"]
    assert transformer.module == folder / "a.wasm"
    assert (route.sources, route.through, route.to) == (("shop.orders",), ("mask",), "orders.out")
    assert (route.dead_letter, route.group, route.start) == ("orders.out.dead-letter", "penstock-orders", "earliest")
    assert route.preserve_timestamps
    assert not route.truncate_oversize
    assert route.batch == BatchPolicy()


def test_everything_that_can_be_written(load: Load, folder: Path) -> None:
    (folder / "ca.pem").write_text(PEM)
    registry = load(EVERYTHING)
    kafka, security = registry.kafka, registry.kafka.security
    assert kafka.brokers == ("a:9092", "[::1]:9093")
    assert (kafka.group, kafka.compression, kafka.control_topic) == ("shop", None, "shop.control")
    assert kafka.client == {"max_request_size": 500_000}
    assert (kafka.transaction_timeout_ms, kafka.request_timeout_ms, kafka.rebalance_timeout_ms) == (
        120_000,
        50_000,
        90_000,
    )
    assert (kafka.max_poll_interval_ms, kafka.session_timeout_ms) == (600_000, 20_000)
    assert (security.protocol, security.mechanism, security.username, security.password) == (
        "SASL_SSL",
        "SCRAM-SHA-512",
        "u",
        "p",
    )
    assert (security.ca_file, security.key_password, security.check_hostname) == (folder / "ca.pem", "k", False)
    assert (registry.delivery, registry.create_topics) == (Delivery.AT_LEAST_ONCE, CreateTopics(3, 1))
    assert (registry.shutdown_timeout_s, registry.retry_limit_s) == (45.0, 60.0)


def test_a_transformer_says_everything_for_itself(load: Load, folder: Path) -> None:
    (folder / "ca.pem").write_text(PEM)
    mask = load(EVERYTHING).transformers["mask"]
    assert mask.sha256 == hashlib.sha256(MODULE).hexdigest()
    assert mask.config == {"fields": [{"path": "email"}], "n": None}
    assert (mask.function, mask.instance, mask.on_violation) == (
        "transform_event",
        InstancePolicy.REUSED,
        OnViolation.STOP,
    )
    assert mask.quarantine == Quarantine(5, 10.0, QuarantineAction.DEAD_LETTER_ALL)
    assert mask.grants.names == {"clock", "random"}
    engine = mask.engine
    assert (engine.tier, engine.simd, engine.tail_call, engine.pooling) == (Tier.INTERPRETER, False, True, False)
    assert engine.debug
    assert engine.nan_canonicalization
    expected = PROFILES["untrusted"].with_(
        deadline_ms=1_000, fuel_per_event=100_000, output_bytes_per_event=2 << 20, stack_bytes=64 << 10,
        table_elements=5, tables=1, instances=1, memories=3, log_bytes_per_batch=1024,
    )  # fmt: skip
    assert mask.limits == expected


def test_defaults_are_inherited_key_by_key(load: Load, folder: Path) -> None:
    (folder / "ca.pem").write_text(PEM)
    registry = load(EVERYTHING)
    plain, big = registry.transformers["plain"], registry.transformers["big"]
    assert plain.limits == PROFILES["untrusted"].with_(log_bytes_per_batch=1024)
    assert plain.grants.names == {"log"}
    assert (plain.instance, plain.on_violation) == (InstancePolicy.PER_EVENT, OnViolation.DROP)
    levels = {name: one.isolation for name, one in registry.transformers.items()}
    assert levels == {"mask": IsolationLevel.PROCESS, "plain": IsolationLevel.RUNTIME, "big": IsolationLevel.RUNTIME}
    assert big.limits == PROFILES["trusted"], "a profile replaces what is inherited"


def test_routes(load: Load, folder: Path) -> None:
    (folder / "ca.pem").write_text(PEM)
    orders, rest = load(EVERYTHING).routes.values()
    assert orders.sources == ("shop.orders", "shop.lines")
    assert orders.also_to == ("orders.flagged",)
    assert orders.destinations == {"orders.out", "orders.flagged"}
    assert (orders.dead_letter, orders.group, orders.start) == ("orders.dead", "orders-group", "1769846400000")
    assert not orders.preserve_timestamps
    assert orders.truncate_oversize
    assert orders.drop_headers == {"trace"}
    assert orders.add_headers == (("source", "shöp".encode()),)
    assert orders.batch == BatchPolicy(100, 64 << 10, 5, 1_000, 500, 1 << 20)
    assert (rest.sources, rest.pattern, rest.group) == ((), r"shop\.rest\..*", "shop-rest")


@pytest.mark.parametrize(
    ("limits", "allocation_bytes"),
    [("{memory: 1MiB}", 1 << 19), ("{memory: 128MiB}", 16 << 20), ("{memory: 1MiB, allocation: 1MiB}", 1 << 20)],
)
def test_an_unwritten_allocation_fits_the_memory(load: Load, minimal: str, limits: str, allocation_bytes: int) -> None:
    registry = load(minimal + f"defaults: {{limits: {limits}}}\n")
    assert registry.transformers["mask"].limits.allocation_bytes_max == allocation_bytes


def test_an_unwritten_batch_fits_every_transformer_of_the_chain(load: Load, minimal: str) -> None:
    registry = load(minimal + "defaults: {limits: {memory: 1MiB}}\n")
    assert registry.routes["orders"].batch.bytes_max == 1 << 17


def test_the_rebalance_timeout_leaves_room_for_the_slowest_deadline(load: Load, minimal: str) -> None:
    assert load(minimal + "defaults: {limits: untrusted}\n").kafka.rebalance_timeout_ms == 30_000
    kafka = load(minimal + "defaults: {limits: trusted}\n").kafka
    assert kafka.rebalance_timeout_ms == 3 * 4 * 30_000
    assert kafka.max_poll_interval_ms == 3 * 4 * 30_000


def test_fuel_that_defaults_turn_on_can_be_turned_off(load: Load, minimal: str) -> None:
    text = (
        minimal.replace("{module: a.wasm}", "{module: a.wasm, limits: {fuel: null}}")
        + "defaults: {limits: {fuel: 5000}}\n"
    )
    assert load(text).transformers["mask"].limits.fuel_per_event is None


def test_brokers_and_anything_else_can_be_overridden(load: Load, minimal: str) -> None:
    text = minimal + "kafka: {brokers: '${UNSET}', group: g}\n"
    registry = load(
        text, brokers="other:1,more:2", overrides={"routes.orders.start": "latest", "create_topics.partitions": 5}
    )
    assert registry.kafka.brokers == ("other:1", "more:2")
    assert registry.kafka.group == "g"
    assert registry.routes["orders"].start == "latest"
    assert registry.create_topics == CreateTopics(5, 1)


def test_the_shipped_registry_is_sound() -> None:
    shipped = Path(__file__).parents[3] / "transformers" / "registry.yaml"
    registry = load_registry(shipped, environ={})
    assert set(registry.transformers) == {"mask-pii", "enrich-order", "saboteur", "passthrough"}
    assert registry.kafka.brokers == ("localhost:9092",)
    orders = registry.routes["orders"]
    assert orders.through == ("saboteur", "mask-pii", "enrich-order")
    assert orders.destinations == {"orders.enriched", "orders.flagged"}
    assert registry.transformers["enrich-order"].config["flag_topic"] in orders.also_to


def test_hosts_may_be_addresses_of_both_versions(load: Load) -> None:
    grant = "[{http: {hosts: ['::1', '[2001:DB8:0::7]', 192.0.2.7, api.example.com], private: true}}]"
    text = f"version: 1\ntransformers:\n  mask: {{module: a.wasm, capabilities: {grant}}}\nroutes: {{}}\n"
    (scope,) = (one.scope for one in load(text).transformers["mask"].grants.grants)
    assert isinstance(scope, HttpScope)
    assert scope.hosts == ("::1", "2001:db8::7", "192.0.2.7", "api.example.com")
    assert objection(scope, read_url("https://[::1]/"), "GET") is None
