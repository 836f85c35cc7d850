"""Everything that can be wrong with a registry: each rule broken alone, at its place, with something to do; and all at once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from schemas.errors import Fault

from .conftest import Faults

HEAD = "version: 1\n"
TRANSFORMERS = "transformers:\n  mask: {module: a.wasm}\n"
ROUTES = "routes:\n  orders: {from: shop.orders, through: [mask], to: orders.out}\n"


def transformer(entry: str) -> str:
    return HEAD + "transformers:\n  mask: {module: a.wasm, " + entry + "}\n" + ROUTES


def route(entry: str, rest: str = "from: shop.orders, through: [mask], to: orders.out") -> str:
    return HEAD + TRANSFORMERS + "routes:\n  orders: {" + rest + (", " if rest and entry else "") + entry + "}\n"


def kafka(entry: str) -> str:
    return HEAD + TRANSFORMERS + ROUTES + "kafka: {" + entry + "}\n"


def top(entry: str) -> str:
    return HEAD + TRANSFORMERS + ROUTES + entry + "\n"


def granted(entry: str) -> str:
    return transformer("capabilities: {grant: [{" + entry + "}]}")


def credential(entry: str) -> str:
    return granted("http: {hosts: [a.example], credentials: {" + entry + "}}")


GRANT = "transformers.mask.capabilities.grant[0]"
CREDENTIALS = GRANT + ".http.credentials"
SASL = "protocol: SASL_SSL, mechanism: PLAIN, username: u, password: p"
OAUTH = "protocol: SASL_SSL, mechanism: OAUTHBEARER"
CLIENT = OAUTH + ", token_endpoint: 'https://x/y', client_id: c"
ENDPOINT = OAUTH + ", client_id: c, client_secret: s, token_endpoint: "
RULES = [
    # text, path, part of the problem, part of the remedy
    (TRANSFORMERS + ROUTES, "version", "'version' is missing", "version: 1"),
    ("version: 2\n" + TRANSFORMERS + ROUTES, "version", "'2'", "1"),
    (HEAD + TRANSFORMERS, "routes", "'routes' is missing", "add routes"),
    (HEAD + ROUTES + "transformers: {}\n", "transformers", "is empty", "name at least one"),
    (top("kafkas: {}"), "kafkas", "unknown key", "'kafka'"),
    (top("delivery: exactly_once"), "delivery", "'exactly_once'", "'exactly-once'"),
    (top("shutdown_timeout: 30"), "shutdown_timeout", "without a unit", "250ms"),
    (top("shutdown_timeout: 0s"), "shutdown_timeout", "out of range", "1s and 1h"),
    (top("retry_limit: forever"), "retry_limit", "not a duration", "2h"),
    (top("create_topics: {partitions: 0}"), "create_topics.partitions", "out of range", "between 1"),
    (top("create_topics: {partition: 1}"), "create_topics.partition", "unknown key", "'partitions'"),
    (top("defaults: {module: a.wasm}"), "defaults.module", "unknown key", "limits"),
    (top("defaults: 5"), "defaults", "not a mapping", "key: value"),
    # transformers
    (HEAD + "transformers:\n  mask: {}\n" + ROUTES, "transformers.mask.module", "'module' is missing", "module: modules/"),
    (HEAD + "transformers:\n  mask: a.wasm\n" + ROUTES, "transformers.mask", "not a mapping", "key: value"),
    (top("").replace("mask", "Mask"), "transformers.Mask", "'Mask' is not a name", "a-z"),
    (top("").replace("mask", "m" * 64), "transformers." + "m" * 64, "is not a name", "63"),
    (transformer("limit: standard"), "transformers.mask.limit", "unknown key", "'limits'"),
    (transformer("limits: standart"), "transformers.mask.limits", "'standart' is not a profile", "standard"),
    (transformer("limits: {profile: huge}"), "transformers.mask.limits.profile", "not a profile", "trusted"),
    (transformer("limits: {dead_line: 1s}"), "transformers.mask.limits.dead_line", "unknown key", "'deadline'"),
    (transformer("limits: {deadline: 5}"), "transformers.mask.limits.deadline", "without a unit", "250ms"),
    (transformer("limits: {deadline: 9ms}"), "transformers.mask.limits.deadline", "out of range", "10ms and 5m"),
    (transformer("limits: {memory: 4mb}"), "transformers.mask.limits.memory", "unknown unit", "power of 1024"),
    (transformer("limits: {memory: 8GiB}"), "transformers.mask.limits.memory", "out of range", "64KiB and 4GiB"),
    (transformer("limits: {memory: 1MiB, allocation: 2MiB}"), "transformers.mask.limits.allocation", "larger than the memory", "lower"),
    (transformer("limits: {fuel: 1s}"), "transformers.mask.limits.fuel", "not a whole number", "without a unit"),
    (transformer("limits: {fuel: true}"), "transformers.mask.limits.fuel", "not a whole number", "without a unit"),
    (transformer("encoding: row"), "transformers.mask.encoding", "not an encoding", "encoding: raw"),
    (transformer("instance: per-bach"), "transformers.mask.instance", "'per-bach'", "'per-batch'"),
    (transformer("on_violation: dead_letter"), "transformers.mask.on_violation", "'dead_letter'", "'dead-letter'"),
    (transformer("tier: optimising"), "transformers.mask.tier", "'optimising'", "'optimizing'"),
    (transformer("quarantine: {after: 20}"), "transformers.mask.quarantine.after", "not a rate", "20 in 1m"),
    (transformer("quarantine: {after: 0 in 1m}"), "transformers.mask.quarantine.after", "out of range", "1s to 24h"),
    (transformer("quarantine: {action: stop}"), "transformers.mask.quarantine.action", "'stop'", "pause"),
    (transformer("capabilities: {grant: [log, clok]}"), "transformers.mask.capabilities.grant[1]", "'clok'", "'clock'"),
    (granted("clock: {per: 1m}"), GRANT, "`per` without `uses`", "add uses:"),
    (granted("files: {}"), GRANT + ".files", "names no folder", "deny:"),
    (granted('files: {read: ["a\\0b"]}'), GRANT + ".files.read[0]", "NUL", "take it out"),
    (granted("environment: []"), GRANT + ".environment", "names no variable", "name one"),
    (granted("environment: [TZ, A=B]"), GRANT + ".environment[1]", "'A=B' is no variable's name", "TZ"),
    (granted("http: {hosts: 0x7f.1}"), GRANT + ".http.hosts", "no address of four decimal parts", "an address"),
    (granted("http: {hosts: ['*.127.0.0.1']}"), GRANT + ".http.hosts[0]", "nothing below an address", "*.example.com"),
    (granted("http: {hosts: ['*.']}"), GRANT + ".http.hosts[0]", "'*.' is no host", "*.example.com"),
    (granted("http: {hosts: [a.example:443:1]}"), GRANT + ".http.hosts[0]", "not a host's name or address", "under `ports`"),
    (granted("http: {hosts: ['fe80::1%eth0']}"), GRANT + ".http.hosts[0]", "an address with a zone", "behind the %"),
    (granted("http: {hosts: [a.example], ports: []}"), GRANT + ".http.ports", "no request is allowed", "leave it out"),
    (granted("http: {hosts: [a.example], methods: []}"), GRANT + ".http.methods", "no request is allowed", "name one"),
    (granted("http: {hosts: [a.example], methods: [GET, connect]}"), GRANT + ".http.methods[1]", "CONNECT is never", "take"),
    (credential("b.example: {value: x}"), CREDENTIALS + ".b.example", "not among `hosts`", "hosts:"),
    (credential("'*.example': {value: x}"), CREDENTIALS + ".*.example", "for what is no host", "without stars"),
    (credential("a.example: {value: x, header: 'a b'}"), CREDENTIALS + ".a.example.header", "'a b' is no header", "X-Api-Key"),
    (credential("a.example: {value: x, header: Transfer-Encoding}"), CREDENTIALS + ".a.example.header", "no header that can be added", "frame"),
    (credential('a.example: {value: "x\\n"}'), CREDENTIALS + ".a.example.value", "has a line end", "read from files"),
    (transformer("capabilities: 7"), "transformers.mask.capabilities", "not a mapping", "key: value"),
    (transformer("features: {simd: maybe}"), "transformers.mask.features.simd", "neither true nor false", "true"),
    (transformer("features: {gc: true}"), "transformers.mask.features.gc", "unknown key", "simd"),
    (transformer("features: {relaxed_simd: true, simd: false}"), "transformers.mask.features.relaxed_simd", "needs simd", "simd: true"),
    (transformer("tier: baseline, features: {relaxed_simd: true}"), "transformers.mask.features.relaxed_simd", "baseline tier", "optimizing"),
    (transformer("tier: baseline, nan_canonicalization: true"), "transformers.mask.nan_canonicalization", "baseline tier", "optimizing"),
    (transformer("tier: interpreter, features: {threads: true}"), "transformers.mask.features.threads", "interpreter tier", "optimizing"),
    (transformer("sha256: abc"), "transformers.mask.sha256", "'abc' is not a sha256", "64 hexadecimal"),
    (transformer("sha256: '" + "0" * 64 + "'"), "transformers.mask.sha256", "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476", "sha256"),
    (transformer("config: [1]"), "transformers.mask.config", "not a mapping", "key: value"),
    (transformer("config: {n: 18446744073709551616}"), "transformers.mask.config.n", "wider than 64 bits", "quotes"),
    (transformer("function: ''"), "transformers.mask.function", "is empty", "leave the key out"),
    (transformer('function: "a\\u0007b"'), "transformers.mask.function", "not an export's name", "printable"),
    # routes
    (route("", "through: [mask], to: o"), "routes.orders.from", "'from' is missing", "from: shop"),
    (route("fromm: x"), "routes.orders.fromm", "unknown key", "'from'"),
    (route("format: avroo"), "routes.orders.format", "is not a format", "debezium-json"),
    (route("format: {in: debezium-json, out: jsonn}"), "routes.orders.format.out", "is not a format", "did you mean json"),
    (route("", "from: [], through: [mask], to: o"), "routes.orders.from", "is empty", "at least one"),
    (route("", "from: a, through: [], to: o"), "routes.orders.through", "is empty", "at least one"),
    (route("", "from: a, through: [mask, maks], to: o"), "routes.orders.through[1]", "'maks' is not a transformer", "'mask'"),
    (route("", "from: a b, through: [mask], to: o"), "routes.orders.from", "'a b' is not a topic name", "letters"),
    (route("", "from: [a, ..], through: [mask], to: o"), "routes.orders.from[1]", "'..' is not a topic name", "not . or .."),
    (route("", "from: [a, a], through: [mask], to: o"), "routes.orders.from[1]", "named twice", "keep one"),
    (route("", "from: [a, /b/], through: [mask], to: o"), "routes.orders.from[1]", "stands alone", "/a|b/"),
    (route("", "from: /b, through: [mask], to: o"), "routes.orders.from", "not a /regular expression/", "slashes"),
    (route("", "from: '/b(/', through: [mask], to: o"), "routes.orders.from", "not a regular expression", "slashes"),
    (route("", "from: '/(?=b)c/', through: [mask], to: o"), "routes.orders.from", "linear time", "slashes"),
    (route("", "from: a, through: [mask], to: a"), "routes.orders.to", "own sources", "another topic"),
    (route("", "from: /a.*/, through: [mask], to: ab"), "routes.orders.to", "own sources", "narrow"),
    (route("also_to: [x, shop.orders]"), "routes.orders.also_to[1]", "own sources", "another topic"),
    (route("dead_letter: shop.orders"), "routes.orders.dead_letter", "own sources", "another topic"),
    (route("dead_letter: orders.out"), "routes.orders.dead_letter", "also a destination", "of their own"),
    (route("", "from: a, through: [mask], to: " + "o" * 245), "routes.orders.to", "too long", "dead_letter"),
    (route("", r"from: '/.*\.dead-letter|a/', through: [mask], to: o"), "routes.orders.to", "dead-letter topic is among", "narrow"),
    (route("also_to: penstock.control"), "routes.orders.also_to", "control topic", "another topic"),
    (route("", "from: /p.*/, through: [mask], to: o"), "routes.orders.from", "control topic", "narrow"),
    (route("to: __consumer_offsets", "from: a, through: [mask]"), "routes.orders.to", "Kafka keeps", "your own"),
    (route("start: yesterday"), "routes.orders.start", "not a point in time", "ISO 8601"),
    (route("start: 1700000000"), "routes.orders.start", "looks like seconds", "1000"),
    (route("start: 2026-01-01T00:00:00"), "routes.orders.start", "time zone", "add Z"),
    (route("timestamps: keep"), "routes.orders.timestamps", "'keep'", "preserve"),
    (route("oversize: cut"), "routes.orders.oversize", "'cut'", "truncate"),
    (route("headers: {remove: [a]}"), "routes.orders.headers.remove", "unknown key", "drop"),
    (route("headers: {add: {a: 5}}"), "routes.orders.headers.add.a", "not text", "quotes"),
    (route("headers: {add: {penstock.x: a}}"), "routes.orders.headers.add.penstock.x", "keeps for itself", "another name"),
    (route("group: a b"), "routes.orders.group", "'a b'", "no spaces"),
    (route("batch: {bytes: 64MiB}"), "routes.orders.batch.bytes", "does not fit transformer mask", "lower"),
    (route("batch: {bytes: 1MiB, in_flight: 64KiB}"), "routes.orders.batch.in_flight", "less than one batch", "raise"),
    (route("batch: {events: 500, commit_events: 10}"), "routes.orders.batch.commit_events", "less than one batch", "raise"),
    (route("batch: {commit_interval: 31s}"), "routes.orders.batch.commit_interval", "half of the transaction timeout", "lower"),
    (route("batch: {size: 5}"), "routes.orders.batch.size", "unknown key", "bytes"),
    # kafka
    (kafka("brokers: localhost"), "kafka.brokers", "'localhost' is not host:port", "localhost:9092"),
    (kafka("brokers: ['a:1', 'b:70000']"), "kafka.brokers[1]", "'b:70000'", "localhost:9092"),
    (kafka("brokers: []"), "kafka.brokers", "is empty", "at least one"),
    (kafka("compression: brotli"), "kafka.compression", "'brotli'", "zstd"),
    (kafka("client: {enable_auto_commit: true}"), "kafka.client.enable_auto_commit", "would lose events", "leave it out"),
    (kafka("client: {bootstrap_servers: x}"), "kafka.client.bootstrap_servers", "key of its own", "kafka.brokers"),
    (kafka("client: {max_batch_size: 5, max_request_size: 4}"), "kafka.client.max_batch_size", "larger than", "lower"),
    (kafka("security: {protocol: SSL_SASL}"), "kafka.security.protocol", "'SSL_SASL'", "SASL_SSL"),
    (kafka("security: {protocol: SASL_SSL}"), "kafka.security.protocol", "'SASL_SSL' needs a mechanism", "SCRAM"),
    (kafka("security: {protocol: SASL_SSL, mechanism: GSSAPI}"), "kafka.security.mechanism", "'GSSAPI'", "SCRAM-SHA-256"),
    (kafka("security: {protocol: SASL_SSL, mechanism: OAUTHBEARER}"), "kafka.security.mechanism", "needs tokens", "token_file"),
    (kafka("security: {" + OAUTH + ", token_file: a.wasm, token_endpoint: 'https://x/y'}"), "kafka.security.token_file", "more than one", "or token_endpoint"),
    (kafka("security: {" + OAUTH + ", token_file: none}"), "kafka.security.token_file", "no file 'none'", "relative"),
    (kafka("security: {" + OAUTH + ", token_file: a.wasm, scope: s}"), "kafka.security.scope", "without token_endpoint", "leave it out"),
    (kafka("security: {" + OAUTH + ", token_endpoint: 'https://x/y', client_secret: s}"), "kafka.security.token_endpoint", "needs a client_id", "add"),
    (kafka("security: {" + CLIENT + "}"), "kafka.security.token_endpoint", "the client's secret", "client_secret_file"),
    (kafka("security: {" + ENDPOINT + "'http://x/y'}"), "kafka.security.token_endpoint", "not encrypted", "https"),
    (kafka("security: {" + ENDPOINT + "x/y}"), "kafka.security.token_endpoint", "'x/y' is not a URL", "https://"),
    (kafka("security: {" + CLIENT + ", client_secret: s, client_secret_file: a.wasm}"), "kafka.security.client_secret", "_file as well", "one of them"),
    (kafka("security: {" + CLIENT + ", client_secret: s, token_ca: a.wasm}"), "kafka.security.token_ca", "not a PEM file", "convert"),
    (kafka("security: {" + SASL + ", token_file: a.wasm}"), "kafka.security.token_file", "without mechanism OAUTHBEARER", "leave it out"),
    (kafka("security: {protocol: SSL, mechanism: PLAIN}"), "kafka.security.mechanism", "no effect", "SASL_SSL"),
    (kafka("security: {protocol: SASL_SSL, mechanism: PLAIN, username: u}"), "kafka.security", "password is missing", "KAFKA_PASSWORD"),
    (kafka("security: {protocol: SASL_SSL, mechanism: PLAIN, username: '', password: p}"), "kafka.security.username", "is empty", "KAFKA_USERNAME"),
    (kafka("security: {password: p}"), "kafka.security.password", "no effect", "SASL_SSL"),
    (kafka("security: {" + SASL + ", ca: none.pem}"), "kafka.security.ca", "no file 'none.pem'", "relative"),
    (kafka("security: {" + SASL + ", ca: a.wasm}"), "kafka.security.ca", "not a PEM file", "convert"),
    (kafka("security: {protocol: SSL, cert: good.pem}"), "kafka.security.cert", "cert without key", "add key"),
    (kafka("security: {protocol: SSL, key_password: x}"), "kafka.security.key_password", "no key", "leave it out"),
    (kafka("security: {ca: good.pem}"), "kafka.security.ca", "no effect with protocol PLAINTEXT", "SSL"),
    (kafka("rebalance_timeout: 10s"), "kafka.rebalance_timeout", "deadline 5s of transformer mask", "raise it to 1m"),
    (kafka("session_timeout: 2m"), "kafka.session_timeout", "longer than rebalance_timeout", "lower"),
    (kafka("max_poll_interval: 40s"), "kafka.max_poll_interval", "longer than max_poll_interval", "raise"),
    (kafka("request_timeout: 2m"), "kafka.request_timeout", "longer than transaction_timeout", "lower"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "problem", "remedy"), RULES, ids=[f"{rule[1]}: {rule[2]}" for rule in RULES])
def test_one_rule_broken_is_one_fault(
    faults: Faults, folder: Path, text: str, path: str, problem: str, remedy: str
) -> None:
    (folder / "good.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (fault,) = faults(text)
    assert fault.path == path
    assert problem in fault.problem
    assert remedy in fault.remedy
    assert fault.file.endswith("registry.yaml")
    assert fault.line is not None
    assert _stands_there(text, fault)


def _stands_there(text: str, fault: Fault) -> bool:
    """The line named is one that holds a part of the path."""
    assert fault.line is not None
    line = text.splitlines()[fault.line - 1]
    steps = fault.path.replace("[", ".[").split(".")
    return fault.line == 1 or any(step in line for step in steps)


def test_two_routes_may_not_share_a_group_over_one_topic(faults: Faults) -> None:
    two = "  again: {from: %s, through: [mask], to: b, group: penstock-orders}\n"
    for source in ("shop.orders", "[x, shop.orders]", "/shop.*/"):
        (fault,) = faults(HEAD + TRANSFORMERS + ROUTES + two % source)
        assert fault.path == "routes.again.group"
        assert "orders and again have the same consumer group" in fault.problem


def test_two_patterns_in_one_group_might_meet(faults: Faults) -> None:
    two = "routes:\n  a: {from: /x.*/, through: [mask], to: y, group: g}\n  b: {from: %s, through: [mask], to: z, group: g}\n"
    for source in ("/w.*/", "[w, xx]"):
        (fault,) = faults(HEAD + TRANSFORMERS + two % source)
        assert fault.path == "routes.b.group"


def test_a_large_registry_full_of_faults_is_checked_in_seconds(faults: Faults) -> None:
    routes = "".join(f"  r{i}: {{from: a{i}, through: [x{i}], to: b, colour: red, group: g}}\n" for i in range(2_000))
    entries = "".join(f"  t{i}: {{module: a.wasm, colour: red}}\n" for i in range(2_000))
    started = time.thread_time()
    found = faults(HEAD + "transformers:\n" + entries + "routes:\n" + routes)
    assert len(found) == 6_000
    assert time.thread_time() - started < 30


def test_routes_may_share_a_topic_or_a_group(load: object) -> None:
    other = "  again: {from: shop.orders, through: [mask], to: b}\n  third: {from: x, through: [mask], to: b, group: penstock-orders}\n"
    assert len(load(HEAD + TRANSFORMERS + ROUTES + other).routes) == 3  # type: ignore[operator]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no file"),
        (b"", "empty file"),
        (b"(module)", "WebAssembly text"),
        (b"\x7fELF....", "does not begin with"),
        (b"\0asm\x0c\0\1\0", "a component of a version other than 13"),
        (b"\0asm\2\0\0\0", "version other than 1"),
        (b"\0as", "does not begin with"),
    ],
)
def test_a_module_that_is_none(faults: Faults, folder: Path, content: bytes | None, problem: str) -> None:
    if content is None:
        (folder / "a.wasm").unlink()
    else:
        (folder / "a.wasm").write_bytes(content)
    (fault,) = faults(HEAD + TRANSFORMERS + ROUTES)
    assert (fault.path, fault.line) == ("transformers.mask.module", 3)
    assert problem in fault.problem
    assert "'a.wasm'" in fault.problem
    assert str(folder) not in fault.problem


def test_a_module_that_is_a_folder_or_a_pipe(faults: Faults, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    for name, problem in ((".", "is a directory"), ("pipe", "not a regular file"), ("x" * 5000, "4096"), ("a\\0b", "")):
        (fault,) = faults(HEAD + f'transformers:\n  mask: {{module: "{name}"}}\n' + ROUTES)
        assert fault.path == "transformers.mask.module"
        assert problem in fault.problem


def test_all_faults_at_once_in_the_order_of_the_file(faults: Faults) -> None:
    text = """\
version: 1
kafka:
  brokers: nowhere
  security: {protocol: SASL_SSL, mechanism: PLAIN, username: u, password: "${NOPE}"}
  client: {acks: 1}
defaults: {limits: standrd}
transformers:
  mask:
    module: missing.wasm
    limits: {deadline: 250, memory: 4 megs}
    colour: red
  other: {module: a.wasm, tier: fast}
  third: {config: {a: 1}}
routes:
  orders:
    from: a
    through: [maks, third]
    to: a
    start: soon
  lines: {through: [mask, nobody], to: b}
"""
    found = faults(text)
    assert [(fault.line, fault.path) for fault in found] == [
        (3, "kafka.brokers"),
        (4, "kafka.security.password"),
        (5, "kafka.client.acks"),
        (6, "defaults.limits"),
        (9, "transformers.mask.module"),
        (10, "transformers.mask.limits.deadline"),
        (10, "transformers.mask.limits.memory"),
        (11, "transformers.mask.colour"),
        (12, "transformers.other.tier"),
        (13, "transformers.third.module"),
        (17, "routes.orders.through[0]"),
        (18, "routes.orders.to"),
        (19, "routes.orders.start"),
        (20, "routes.lines.from"),
        (20, "routes.lines.through[1]"),
    ]


def test_literal_secrets_are_not_repeated_either(faults: Faults) -> None:
    entries = [
        "security: {password: [hunter2]}",
        "security: {password: hunter2, pasword: hunter2}",
        "security: hunter2",
        "client: hunter2",
    ]
    for entry in entries:
        for fault in faults(kafka(entry)):
            assert "hunter2" not in repr(fault)
