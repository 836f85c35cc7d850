"""A registry from code obeys the rules of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.registry import RegistryBuilder
from schemas.errors import ConfigError
from schemas.limits import PROFILES, Limits
from schemas.specs import Delivery, InstancePolicy, OnViolation

from .conftest import Load


def builder(folder: Path) -> RegistryBuilder:
    made = RegistryBuilder(folder)
    made.register("mask", module="a.wasm")
    made.route("orders", sources="shop.orders", through=["mask"], to="orders.out")
    return made


def test_the_same_registry_as_from_the_file(folder: Path, load: Load) -> None:
    built, loaded = builder(folder).build(), load()
    assert built.transformers == loaded.transformers
    assert built.routes == loaded.routes
    assert built.kafka == loaded.kafka
    assert built.path is None


def test_every_setting_of_the_file(folder: Path) -> None:
    made = RegistryBuilder(folder, kafka={"brokers": "b:1"}, delivery="at-least-once", shutdown_timeout="5s")
    made.register(
        "enrich_customer",
        module=folder / "a.wasm",
        limits={"profile": "untrusted", "deadline": "250ms"},
        config={"currency": "EUR", "note": None},
        function="transform_event",
        instance=InstancePolicy.REUSED,
        on_violation="drop",
    )
    made.route("r", sources=("a", "b"), through="enrich_customer", to="c", also_to=["d"], batch={"events": 5})
    registry = made.build()
    spec, route = registry.transformers["enrich_customer"], registry.routes["r"]
    assert registry.delivery is Delivery.AT_LEAST_ONCE
    assert registry.shutdown_timeout_s == 5.0
    assert spec.limits == PROFILES["untrusted"].with_(deadline_ms=250)
    assert spec.config == {"currency": "EUR", "note": None}
    assert (spec.function, spec.instance, spec.on_violation) == (
        "transform_event",
        InstancePolicy.REUSED,
        OnViolation.DROP,
    )
    assert (route.sources, route.through, route.also_to) == (("a", "b"), ("enrich_customer",), ("d",))
    assert route.batch.events_max == 5


@pytest.mark.parametrize("limits", [Limits(), Limits.conservative(), PROFILES["trusted"], Limits(fuel_per_event=5_000)])
def test_limits_as_a_value(folder: Path, limits: Limits) -> None:
    registry = builder(folder).register("mask", module="a.wasm", limits=limits).build()
    assert registry.transformers["mask"].limits == limits


def test_register_transformer_takes_name_module_function(folder: Path) -> None:
    registry = builder(folder).register_transformer("enrich", "a.wasm", "transform_event").build()
    assert registry.transformers["enrich"].function == "transform_event"


def test_all_faults_at_once_without_lines(folder: Path) -> None:
    made = RegistryBuilder(folder, kafka={"security": {"protocol": "SSL", "password": "hunter2"}})
    made.register("mask", module="none.wasm", limits="tiny", colour="red")
    made.route("orders", sources="a", through=["maks"], to="a")
    with pytest.raises(ConfigError) as caught:
        made.build()
    faults = caught.value.faults
    assert {fault.path for fault in faults} == {
        "kafka.security.password",
        "transformers.mask.module",
        "transformers.mask.limits",
        "transformers.mask.colour",
        "routes.orders.through[0]",
        "routes.orders.to",
    }
    assert all(fault.line is None and not fault.file for fault in faults)
    assert "'tiny' is not a profile" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_code_writes_dollars_as_they_are(folder: Path) -> None:
    registry = builder(folder).register("mask", module="a.wasm", config={"price": "${NOT_A_VARIABLE}"}).build()
    assert registry.transformers["mask"].config == {"price": "${NOT_A_VARIABLE}"}


def test_a_token_provider_can_be_handed_over(folder: Path) -> None:
    provider = object()
    security = {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"}
    made = RegistryBuilder(folder, kafka={"security": security, "client": {"sasl_oauth_token_provider": provider}})
    made.register("mask", module="a.wasm").route("orders", sources="a", through="mask", to="b")
    assert made.build().kafka.client["sasl_oauth_token_provider"] is provider


@pytest.mark.parametrize("config", [{1: "a"}, {"a": object()}, {"a": [{"b": {3: 4}}]}, {"a": 1 << 64}])
def test_a_config_that_cannot_be_handed_to_a_guest(folder: Path, config: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        builder(folder).register("mask", module="a.wasm", config=config).build()
    (fault,) = caught.value.faults
    assert fault.path.startswith("transformers.mask.config")
