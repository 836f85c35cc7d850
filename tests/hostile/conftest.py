"""Worlds on both ways to call into wasmtime, closed with nobody left inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox.calls import CallsName
from tests.hostile.rig import World

MakeWorld = Callable[..., World]


@pytest.fixture(params=[CallsName.FAST, CallsName.PUBLIC])
def calls(request: pytest.FixtureRequest) -> CallsName:
    """For what is about pointers and codes; everything else is the same on both."""
    chosen: CallsName = request.param
    return chosen


def _worlds(way: CallsName) -> Iterator[MakeWorld]:
    made: list[World] = []

    def make(**options: Any) -> World:
        made.append(World(way, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
        assert one.sandbox.stats().active_instances == 0


@pytest.fixture
def make_world(calls: CallsName) -> Iterator[MakeWorld]:
    yield from _worlds(calls)


@pytest.fixture
def make_fast_world() -> Iterator[MakeWorld]:
    yield from _worlds(CallsName.FAST)
