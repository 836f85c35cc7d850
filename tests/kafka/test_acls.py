"""Which rules a registry needs: nothing twice, nothing that another rule implies, and commands that a shell reads as meant."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.acls import acls
from pipeline.kafka.acls import ANONYMOUS, commands, default_principal, needed_acls
from schemas.errors import ConfigError
from schemas.specs import CreateTopics, Delivery, Registry, RouteSpec, Security

ROUTE = RouteSpec("orders", ("in",), (), "out", "dead", "shop-orders", also_to=("extra",))
REGISTRY = Registry(transformers={}, routes={"orders": ROUTE})
CONTROL = {"topic penstock.control Read", "topic penstock.control Write", "topic penstock.control Create"}
TOPICS = {"topic in Read", "topic out Write", "topic extra Write", "topic dead Write"} | CONTROL
GROUP = "group shop-orders Read"
TRANSACTIONS = "transactional-id in/* Write"


def shown(registry: Registry, *, checks: bool = False) -> set[str]:
    rules = needed_acls(registry, ["User:a"], checks=checks)
    assert len(set(rules)) == len(rules)
    return {f"{r.resource} {r.name}{'*' if r.pattern == 'prefixed' else ''} {r.operation}" for r in rules}


def with_route(**changes: object) -> Registry:
    return replace(REGISTRY, routes={"orders": replace(ROUTE, **changes)})  # type: ignore[arg-type]


def test_exactly_once_needs_its_transactional_ids() -> None:
    assert shown(REGISTRY) == TOPICS | {GROUP, TRANSACTIONS}


def test_at_least_once_needs_none() -> None:
    assert shown(replace(REGISTRY, delivery=Delivery.AT_LEAST_ONCE)) == TOPICS | {GROUP}


def test_topics_that_are_to_be_made_may_be_made() -> None:
    made = {f"topic {name} Create" for name in ("in", "out", "extra", "dead")}
    assert shown(replace(REGISTRY, create_topics=CreateTopics())) - shown(REGISTRY) == made


def test_a_pattern_becomes_prefixes_and_makes_nothing() -> None:
    registry = replace(with_route(sources=(), pattern=r"shop\..*|orders"), create_topics=CreateTopics())
    rules = shown(registry)
    assert {rule for rule in rules if rule.endswith("Read")} == {
        "topic shop.* Read",
        "topic orders Read",
        "topic penstock.control Read",
        GROUP,
    }
    assert {"transactional-id shop.* Write", "transactional-id orders/* Write"} <= rules
    assert not {"topic shop.* Create", "topic orders Create"} & rules


def test_a_pattern_without_a_beginning_needs_all_topics() -> None:
    rules = shown(with_route(sources=(), pattern=".*-cdc"))
    assert {"topic * Read", "transactional-id * Write"} <= rules


def test_checks_add_the_settings_of_each_topic_once() -> None:
    added = shown(REGISTRY, checks=True) - shown(REGISTRY)
    assert added == {f"topic {name} DescribeConfigs" for name in ("in", "out", "extra", "dead", "penstock.control")}


def test_what_two_routes_need_is_said_once_with_both_reasons() -> None:
    other = replace(ROUTE, name="lines", group="shop-lines")
    rules = needed_acls(replace(REGISTRY, routes={"orders": ROUTE, "lines": other}), ["User:a"])
    (reads,) = [rule for rule in rules if rule.name == "in" and rule.resource == "topic"]
    assert reads.why == "route orders reads it; route lines reads it"


def test_commands_are_one_for_each_resource_and_quoted() -> None:
    who = "User:CN=shop co,O=example"
    registry = with_route(sources=(), pattern=".*-cdc")
    lines = [shlex.split(line) for line in commands(needed_acls(registry, [who, "User:b"]), "broker:9092")]
    begin = ["kafka-acls.sh", "--bootstrap-server", "broker:9092", "--add", "--allow-principal"]
    assert [*begin, who, "--operation", "Read", "--topic", "*"] in lines
    control = ["--operation", "Read", "--operation", "Write", "--operation", "Create", "--topic", "penstock.control"]
    assert [*begin, "User:b", *control] in lines
    assert len(lines) == len({tuple(line) for line in lines}) == 2 * 7


@pytest.mark.parametrize(
    ("security", "principal"),
    [
        (Security(), ANONYMOUS),
        (Security("SSL"), ANONYMOUS),
        (Security("SASL_SSL", "PLAIN", "shop", "x"), "User:shop"),
        (Security("SSL", cert_file=Path("c")), None),
        (Security("SASL_SSL", "OAUTHBEARER"), None),
    ],
)
def test_who_the_client_is_to_the_broker(security: Security, principal: str | None) -> None:
    assert default_principal(security) == principal


def registry_file(folder: Path, security: str) -> Path:
    modules = Path(__file__).parents[2] / "transformers" / "modules"
    path = folder / "registry.yaml"
    path.write_text(f"""
version: 1
kafka: {{brokers: "broker:9092", security: {security}}}
transformers: {{copy: {{module: {modules}/passthrough.wasm}}}}
routes: {{orders: {{from: in, through: [copy], to: out}}}}
""")
    return path


def test_the_command_takes_the_registrys_own_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = registry_file(tmp_path, "{protocol: SASL_SSL, mechanism: PLAIN, username: shop, password: secret}")
    acls(path, principal=None, checks=False, json=False)
    said = capsys.readouterr().out
    assert all("--allow-principal User:shop" in line for line in said.splitlines())
    assert "secret" not in said and "<" not in said


@pytest.mark.parametrize("given", ["shop", "User:", ":shop"])
def test_what_is_no_principal_is_refused(given: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not a principal"):
        acls(registry_file(tmp_path, "{}"), principal=[given], checks=False, json=False)
