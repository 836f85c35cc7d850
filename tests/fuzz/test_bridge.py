"""The memory bridge: every host function with any numbers and any memory. No input reads or writes outside, on neither call path."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.calls import CallsName
from tests.fuzz.bridge import SIZE, Fenced, access, imports, strike
from tests.fuzz.effort import FACTOR, examples
from tests.hostile.puppet import ARENA, call
from tests.hostile.rig import World, grant

EDGE = st.sampled_from([0, 1, 7, 8, SIZE - 8, SIZE - 1, SIZE, SIZE + 1, 2**31, 2**32 - 8, 2**32 - 1, 2**32, 2**64 - 1])
NUMBERS = st.integers(0, 64) | EDGE | st.integers(0, 2 * SIZE) | st.integers(-(2**63), 2**64 - 1)
IMPORTS = imports()


@pytest.mark.parametrize("one", IMPORTS, ids=lambda one: f"{one.module}.{one.name}")
def test_a_host_function_stays_inside_whatever_it_is_given(one: object) -> None:
    @examples(60)
    @given(content=st.binary(max_size=400), numbers=st.lists(NUMBERS, min_size=9, max_size=9))
    def strikes(content: bytes, numbers: list[int]) -> None:
        strike(one, Fenced(content), numbers[: len(one.parameters)])  # type: ignore[attr-defined,arg-type]

    strikes()


@examples(2_000)
@given(
    content=st.binary(max_size=200),
    how=st.integers(0, 5),
    address=NUMBERS,
    length=NUMBERS,
    data=st.binary(max_size=80),
)
def test_each_function_of_the_bridge_is_a_slice_or_a_refusal(
    content: bytes, how: int, address: int, length: int, data: bytes
) -> None:
    access(Fenced(content), how, address, length, data)


class Loose(Fenced):
    """A planted fault: a memory that says it has one byte more than it has."""

    def size(self) -> int:
        return SIZE + 1


@pytest.mark.parametrize(("how", "length"), [(0, 1), (1, 1), (4, 1)])
def test_a_bound_that_is_off_by_one_is_seen(how: int, length: int) -> None:
    with pytest.raises(AssertionError):
        access(Loose(b""), how, SIZE, length, b"x")


def test_a_host_function_that_reads_or_writes_one_byte_too_much_is_seen() -> None:
    by_name = {one.name: one for one in IMPORTS}
    with pytest.raises(AssertionError, match="written outside"):
        strike(by_name["random"], Loose(b""), [SIZE, 1])
    with pytest.raises(AssertionError, match="read outside"):
        strike(by_name["log"], Looser(b""), [2, SIZE - 8, 32])


class Looser(Fenced):
    def size(self) -> int:
        return SIZE + 64


SIMPLE = (
    "log",
    "random",
    "wasi.fd_write",
    "wasi.random_get",
    "wasi.environ_get",
    "wasi.clock_time_get",
    "wasi.poll_oneoff",
)


@pytest.mark.parametrize("way", [CallsName.FAST, CallsName.PUBLIC])
def test_a_real_guest_with_any_numbers_is_answered(way: CallsName) -> None:
    world = World(way)
    try:
        tenants = {name: world.tenant(name, grants=[grant("log", "random", "clock")]) for name in SIMPLE}

        @examples(150)
        @given(
            name=st.sampled_from(SIMPLE), numbers=st.lists(NUMBERS, min_size=4, max_size=4), data=st.binary(max_size=64)
        )
        def calls(name: str, numbers: list[int], data: bytes) -> None:
            one = tenants[name]
            short = name.removeprefix("wasi.")
            count = {"log": 3, "random": 2, "random_get": 2, "environ_get": 2, "clock_time_get": 3}.get(short, 4)
            found = one.do(
                call(short, *(number & 0xFFFF_FFFF for number in numbers[:count])), data=data, look=(ARENA, 8)
            )
            assert one.report is not None
            assert len(found.returned) == 1
            assert sum(one.report.escape_patterns.values()) == one.report.escape_attempts

        calls()
    finally:
        world.close()


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: pip install 'penstock[fuzz]'")
def test_coverage_guided_fuzzing_finds_nothing() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", f"-runs={5_000 * FACTOR}", f"-seed={1 + FACTOR}", "-verbosity=0"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
