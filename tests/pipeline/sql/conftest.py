"""Executors over `tests/guests/clerk.wat`, whose time moves only when a guest moves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.sql import Call, ProcedureExecutor
from sandbox.calls import CallsName
from schemas.limits import Limits
from schemas.specs import Registry, TransformerSpec
from tests.sandbox.guests import Bench, guest

LIMITS = Limits(memory_bytes=4 << 20, deadline_ms=100, allocation_bytes_max=2 << 20)
Make = Callable[..., ProcedureExecutor]


@pytest.fixture
def calls_made() -> list[Call]:
    """What the executor's audit heard."""
    return []


@pytest.fixture
def make_executor(tmp_path: Path, calls_made: list[Call]) -> Iterator[Make]:
    """An executor of transformers by name; each is `clerk`, unless it names another `wasm`."""
    benches: list[Bench] = []
    made: list[ProcedureExecutor] = []

    def make(bench_options: dict[str, Any] | None = None, **transformers: dict[str, Any]) -> ProcedureExecutor:
        benches.append(Bench(CallsName.AUTO, options=bench_options or {}))
        specs = {}
        for name, changes in (transformers or {"clerk": {}}).items():
            path = tmp_path / f"{name}.wasm"
            path.write_bytes(changes.pop("wasm", None) or guest("clerk"))
            specs[name] = TransformerSpec(**{"name": name, "module": path, "limits": LIMITS} | changes)
        made.append(
            ProcedureExecutor(Registry(specs, {}), sandbox=benches[-1].sandbox, workers=4, audit=calls_made.append)
        )
        return made[-1]

    yield make
    for executor in made:
        executor.close()
    for bench in benches:
        assert bench.sandbox.stats().active_instances == 0
        bench.sandbox.close()


@pytest.fixture
def executor(make_executor: Make) -> ProcedureExecutor:
    return make_executor()
