"""Every test that names `bench` or `sandbox` runs on both ways to reach wasmtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sandbox import Sandbox
from sandbox.calls import CallsName
from tests.sandbox.guests import Bench


@pytest.fixture(params=[CallsName.FAST, CallsName.PUBLIC])
def calls(request: pytest.FixtureRequest) -> CallsName:
    chosen: CallsName = request.param
    return chosen


@pytest.fixture
def sandbox(calls: CallsName) -> Iterator[Sandbox]:
    """Real time, no disk."""
    with Sandbox(calls=calls, cache=False) as one:
        yield one
        assert one.stats().active_instances == 0


@pytest.fixture
def make_bench(calls: CallsName) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**options: object) -> Bench:
        made.append(Bench(calls, options=options))
        return made[-1]

    yield make
    for one in made:
        one.sandbox.close()
        assert one.sandbox.stats().active_instances == 0


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """Time stands still unless a guest moves it."""
    return make_bench()
