"""`${VAR}`: filled in once, and never shown again."""

from __future__ import annotations

import json
import traceback

import pytest
from ruamel.yaml import YAML

from pipeline.registry.environ import substitute
from pipeline.registry.reading import parse_document
from schemas.errors import ConfigError

from .conftest import Faults, Load

SECRET = "hunter2-of-the-environment"


def filled(value: str, **environ: str) -> object:
    document, faults = substitute(parse_document(f"a: {{b: [{value!r}]}}\n", "r.yaml"), environ)
    assert not faults
    return document.data["a"]["b"][0]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("${A}", "one"),
        ("x-${A}-${B}", "x-one-two"),
        ("${NONE:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${EMPTY}", ""),
        ("${NONE:-}", ""),
        ("${A:-fallback}", "one"),
        ("$${A}", "${A}"),
        ("$$", "$"),
        ("cost: $5", "cost: $5"),
        ("orders.*$", "orders.*$"),
        ("${DOLLAR}", "${A}"),
    ],
)
def test_replacement(written: str, expected: str) -> None:
    assert filled(written, A="one", B="two", EMPTY="", DOLLAR="${A}") == expected


@pytest.mark.parametrize("written", ["${", "${A", "${}", "${1}", "${A-b}", "${A B}", "${ÄÖ}"])
def test_what_names_no_variable_is_a_fault(written: str) -> None:
    document = parse_document(f"a: {written!r}\n", "r.yaml")
    _, faults = substitute(document, {})
    assert "names no variable" in faults[("a",)].problem


def test_a_missing_variable_is_named_with_its_place(faults: Faults, minimal: str) -> None:
    (fault,) = faults(minimal + "kafka: {brokers: 'x:1', group: '${TEAM}'}\n")
    assert (fault.path, fault.line, fault.column) == ("kafka.group", 6, 32)
    assert fault.problem == "the environment variable TEAM is not set"
    assert "${TEAM:-" in fault.remedy


def test_a_missing_password_is_one_fault_and_not_also_a_missing_key(faults: Faults, minimal: str) -> None:
    security = "{protocol: SASL_SSL, mechanism: PLAIN, username: u, password: '${PASSWORD}'}"
    (fault,) = faults(minimal + f"kafka: {{security: {security}}}\n")
    assert fault.path == "kafka.security.password"


def test_a_variable_that_holds_no_text(faults: Faults, minimal: str) -> None:
    (fault,) = faults(minimal + "kafka: {group: '${TEAM}'}\n", environ={"TEAM": "\udcff"})
    assert "does not hold UTF-8" in fault.problem


def test_numbers_and_flags_may_come_from_the_environment(load: Load, minimal: str) -> None:
    text = (
        minimal
        + "create_topics: {partitions: '${N}'}\ndefaults: {pooling: '${P}', limits: {memory: '${M}'}, tier: '${T}'}\n"
    )
    registry = load(text, environ={"N": "6", "P": "false", "M": "8MiB", "T": "baseline"})
    assert registry.create_topics is not None
    assert registry.create_topics.partitions == 6
    assert registry.transformers["mask"].limits.memory_bytes == 8 << 20
    assert not registry.transformers["mask"].engine.pooling


TAKES_ANY_TEXT = {
    "kafka.group",
    "kafka.control_topic",
    "routes.orders.from",
    "routes.orders.also_to",
    "routes.orders.headers.drop",
}
PLACES = [
    "version",
    "kafka.brokers", "kafka.group", "kafka.security", "kafka.security.protocol", "kafka.security.mechanism",
    "kafka.security.ca", "kafka.security.check_hostname", "kafka.client", "kafka.compression", "kafka.control_topic",
    "kafka.session_timeout", "delivery", "create_topics", "create_topics.partitions", "shutdown_timeout", "retry_limit",
    "defaults", "defaults.limits", "defaults.limits.memory", "defaults.instance", "defaults.quarantine.after",
    "defaults.capabilities.grant", "defaults.features.simd", "defaults.tier", "defaults.batch.bytes",
    "transformers.mask", "transformers.mask.module", "transformers.mask.sha256", "transformers.mask.limits.profile",
    "transformers.mask.encoding", "transformers.mask.config", "routes.orders", "routes.orders.from",
    "routes.orders.through", "routes.orders.also_to", "routes.orders.start", "routes.orders.timestamps",
    "routes.orders.headers.drop", "routes.orders.batch.events", "routes.orders.oversize",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("secret", [SECRET, f"/{SECRET}(/", f"{SECRET}\n{SECRET}", f"1{SECRET}"])
def test_a_value_of_the_environment_is_in_no_fault(load: Load, minimal: str, place: str, secret: str) -> None:
    try:
        load(_with(minimal, place, "${SECRET}"), environ={"SECRET": secret})
    except ConfigError as error:
        shown = "".join(traceback.format_exception(error)) + repr(error.faults)
        assert "hunter2" not in shown
    else:
        assert place in TAKES_ANY_TEXT


@pytest.mark.parametrize(
    "place",
    [
        "kafka.security.password",
        "kafka.client.client_id",
        "transformers.mask.config.salt",
        "routes.orders.headers.add.token",
    ],
)
def test_a_registry_shows_no_secrets(load: Load, minimal: str, place: str) -> None:
    text = _with(minimal, place, "${SECRET}")
    if "security" in place:
        text = _with(
            text,
            "kafka.security",
            {"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "u", "password": "${SECRET}"},
        )
    registry = load(text, environ={"SECRET": SECRET})
    assert "hunter2" not in repr(registry) + str(registry)


def _with(text: str, place: str, value: object) -> str:
    data = YAML(typ="safe", pure=True).load(text)
    *way, last = place.split(".")
    holder = data
    for step in way:
        holder = holder.setdefault(step, {})
    holder[last] = value
    return json.dumps(data)
