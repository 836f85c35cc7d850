"""A whole route at every level of isolation: the same events come out, and the same dead letters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pipeline import PipelineDriver, RegistryBuilder
from sandbox import Sandbox
from schemas.dead_letter import DeadLetter
from schemas.event import Event
from schemas.specs import IsolationLevel
from tests.pipeline.rig import MODULES

SENT = ["fine", "reject", "trap", "loop", "memory", "stack", "drop", "emit", "fine"]
TIMES = re.compile(r"after \d+\.\d ms")


def what_comes_out(level: IsolationLevel) -> tuple[list[Event], list[tuple[object, ...]]]:
    builder = RegistryBuilder(MODULES)
    limits = {"profile": "untrusted", "deadline": "50ms"}
    builder.register("saboteur", module="saboteur.wasm", limits=limits, isolation=level.value)
    builder.register("uppercase", module="uppercase.wasm", isolation=level.value)
    builder.route("orders", sources="orders", through=["saboteur", "uppercase"], to="loud", dead_letter="dead")
    registry = builder.build()
    assert {one.isolation for one in registry.transformers.values()} == {level}
    with Sandbox(cache=False) as sandbox, PipelineDriver(registry, sandbox=sandbox) as driver:
        for number, name in enumerate(SENT):
            driver.send("orders", {"penstock_demo": name}, key=f"{number}")
        return driver.read("loud"), list(_letters(driver.dead_letters("orders")))


def _letters(letters: Iterable[tuple[Event, DeadLetter]]) -> Iterable[tuple[object, ...]]:
    for event, letter in letters:
        why = letter.violation
        said = TIMES.sub("", why.message)
        yield event.key, event.value, why.kind, said, why.code, why.module_sha256, why.memory_bytes_peak


def test_every_level_delivers_the_same() -> None:
    expected = what_comes_out(IsolationLevel.INSTANCE)
    assert len(expected[0]) >= 2 and len(expected[1]) >= 4
    assert what_comes_out(IsolationLevel.RUNTIME) == expected
    assert what_comes_out(IsolationLevel.PROCESS) == expected


def test_the_page_names_every_level() -> None:
    page = (Path(__file__).parents[2] / "docs" / "security" / "isolation.md").read_text()
    assert all(f"`{level}`" in page for level in IsolationLevel)
