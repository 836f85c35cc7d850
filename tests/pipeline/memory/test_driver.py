"""`PipelineDriver`: a registry's real chain and placement, one event at a time."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from pipeline import LaneHaltedError, PipelineDriver, RegistryBuilder
from pipeline.memory import driver as module
from schemas.errors import ConfigError
from schemas.event import TopicPartition
from schemas.outcome import DROPPED, Emitted, Violation, ViolationKind
from tests.pipeline.rig import MODULES

ROOT = MODULES.parents[1]


def trouble(name: str) -> dict[str, str]:
    return {"penstock_demo": name}


def builder(**saboteur: object) -> RegistryBuilder:
    made = RegistryBuilder(MODULES)
    made.register("saboteur", module="saboteur.wasm", limits="untrusted", **saboteur)
    made.register("uppercase", module="uppercase.wasm")
    return made.route("orders", sources="orders", through=["saboteur", "uppercase"], to="loud", dead_letter="dead")


def test_the_example_in_the_docstring_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    results = doctest.testmod(module)
    assert results.attempted >= 5
    assert results.failed == 0


def test_events_go_through_the_chain_with_key_headers_and_timestamp() -> None:
    with PipelineDriver(builder().build()) as driver:
        (sent,) = driver.send("orders", {"a": "b"}, key={"id": 1}, headers=[("t", "x"), ("n", None)], timestamp=77)
        (event,) = driver.read("loud")
        assert (event.key, event.value, event.timestamp) == (b'{"id":1}', b'{"A":"B"}', 77)
        assert event.headers == (("t", b"x"), ("n", None))
        assert sent.route == "orders"
        assert sent.outcome == Emitted((event,))
        assert driver.read("loud") == []


def test_payloads_are_bytes_text_json_or_tombstones() -> None:
    with PipelineDriver(builder().build()) as driver:
        for value in (b"\xff", "text", [1, "é"], None):
            driver.send("orders", value)
        assert [event.value for event in driver.read("loud")] == [b"\xff", b"TEXT", '[1,"é"]'.encode(), None]


def test_violations_and_drops() -> None:
    with PipelineDriver(builder().build()) as driver:
        (sent,) = driver.send("orders", trouble("reject"), key="k", headers=[("mine", "1")])
        ((event, letter),) = driver.dead_letters("orders")
        assert (event.key, event.value) == (b"k", b'{"penstock_demo":"reject"}')
        assert (letter.source, letter.offset) == (TopicPartition("orders", 0), 0)
        assert letter.headers == (("mine", b"1"),)
        assert isinstance(sent.outcome, Violation)
        assert letter.violation.code == sent.outcome.code == "demo-reject"
        assert driver.dead_letters("orders") == []
        (sent,) = driver.send("orders", trouble("drop"))
        assert sent.outcome is DROPPED
        assert driver.read("loud") == driver.read("dead") == []


@pytest.mark.parametrize("policy", ["drop", "pass-through"])
def test_tolerated_violations_are_told(policy: str) -> None:
    with PipelineDriver(builder(on_violation=policy).build()) as driver:
        (sent,) = driver.send("orders", trouble("trap"))
        assert [violation.kind for violation in sent.tolerated] == [ViolationKind.TRAP]
        assert (sent.outcome is DROPPED) == (policy == "drop")
        assert len(driver.read("loud")) == (policy == "pass-through")


def test_a_stopped_lane_takes_no_further_event_until_it_is_resumed() -> None:
    with PipelineDriver(builder(on_violation="stop").build(), partitions={"orders": 2}) as driver:
        (sent,) = driver.send("orders", trouble("trap"))
        assert sent.outcome is None
        assert sent.halt is not None
        with pytest.raises(LaneHaltedError, match="orders:orders/0 is stopped: saboteur at offset 0: trap"):
            driver.send("orders", "next")
        driver.send("orders", "elsewhere", partition=1)
        (again,) = driver.resume("orders")
        assert again.event == sent.event
        assert again.halt is not None, "nothing was changed, so it stops at the same event"
        with pytest.raises(LaneHaltedError):
            driver.send("orders", "next")
        assert [event.value for event in driver.read("loud")] == [b"ELSEWHERE"]


def test_quarantine_follows_the_drivers_clock() -> None:
    with PipelineDriver(builder(quarantine={"after": "2 in 1m", "action": "pause"}).build()) as driver:
        driver.send("orders", trouble("trap"))
        driver.advance(61)
        (sent,) = driver.send("orders", trouble("trap"))
        assert sent.halt is None
        driver.advance(59)
        (sent,) = driver.send("orders", trouble("trap"))
        assert isinstance(sent.outcome, Violation), "the event that trips the breaker still has its verdict"
        with pytest.raises(LaneHaltedError, match="paused: saboteur is quarantined"):
            driver.send("orders", "next")
        assert driver.resume("orders") == []
        driver.send("orders", "next")
        assert [event.value for event in driver.read("loud")] == [b"NEXT"]


def test_placement_and_timestamps_are_those_of_production() -> None:
    made = builder()
    made.route("now", sources="orders", through="uppercase", to="later", timestamps="now", headers={"add": {"x": "y"}})
    with PipelineDriver(made.build(), partitions={"orders": 3, "loud": 3, "later": 2}, time_ms=1_000) as driver:
        driver.advance(2.5)
        driver.send("orders", "a", partition=2, timestamp=5)
        assert [event.timestamp for event in driver.read("loud", partition=2)] == [5]
        (event,) = driver.read("later", partition=0)
        assert (event.timestamp, event.headers) == (3_500, (("x", b"y"),))
        (sent, _) = driver.send("orders", "b", key="21", partition=None)
        assert sent.source.partition == (-973932308 & 0x7FFFFFFF) % 3


def test_routes_feed_each_other_and_patterns_create_their_topics() -> None:
    made = builder()
    made.route("second", sources="/lou.|also/", through="saboteur", to="third")
    with PipelineDriver(made.build()) as driver:
        driver.send("orders", "x")
        driver.send("also", "y")
        assert [event.value for event in driver.read("third")] == [b"X", b"y"]


def test_routes_that_feed_each_other_without_end_are_an_error() -> None:
    made = builder().route("back", sources="loud", through="uppercase", to="orders")
    with PipelineDriver(made.build()) as driver, pytest.raises(RuntimeError, match="without end"):
        driver.send("orders", "x")


def test_unknown_names_are_refused_with_a_guess() -> None:
    with PipelineDriver(builder().build()) as driver:
        with pytest.raises(LookupError, match=r"no route reads or writes 'order'.*orders"):
            driver.send("order", "x")
        with pytest.raises(LookupError, match="no route reads 'loud'"):
            driver.send("loud", "x")
        with pytest.raises(LookupError, match=r"there is no route 'order'.*orders"):
            driver.dead_letters("order")
        with pytest.raises(LookupError, match="orders has partitions 0 to 0, not 1"):
            driver.send("orders", "x", partition=1)
        with pytest.raises(ValueError, match="forward"):
            driver.advance(-1)


def test_a_registry_file_is_loaded_as_run_loads_it(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(
        f"version: 1\ntransformers: {{up: {{module: {MODULES / 'uppercase.wasm'}}}}}\n"
        "routes: {r: {from: '${FROM}', through: [up], to: b}}\n"
    )
    with PipelineDriver(path, environ={"FROM": "a"}) as driver:
        driver.send("a", "x")
        assert [event.value for event in driver.read("b")] == [b"X"]
    with pytest.raises(ConfigError, match="FROM"):
        PipelineDriver(path, environ={})


def test_a_refused_module_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "bad.wasm").write_bytes(b"\0asm\1\0\0\0")
    made = RegistryBuilder(tmp_path).register("bad", module="bad.wasm").route("r", sources="a", through="bad", to="b")
    with pytest.raises(ConfigError, match=r"transformers.bad"):
        PipelineDriver(made.build())


def test_the_shops_own_registry_runs() -> None:
    with PipelineDriver(ROOT / "transformers" / "registry.yaml", environ={}) as driver:
        row = {"id": 7, "email": "a@example.com", "phone": "0123456789"}
        driver.send("shop.public.customers", {"op": "c", "before": None, "after": row})
        (event,) = driver.read("customers.masked")
        assert event.value is not None
        assert b"a@example.com" not in event.value
        assert b"6789" in event.value
