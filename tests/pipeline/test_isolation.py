"""Fault isolation through whole lanes, with real guests: one bad child of three, a module that is at fault later on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

from pipeline.ports import LaneState
from sandbox import Sandbox
from sandbox.calls import CallsName
from schemas.outcome import ViolationKind
from schemas.specs import OnViolation
from tests.pipeline.rig import Rig, misdeed, spec
from tests.pipeline.virtual_time import run, until
from tests.sandbox.guests import LIMITS, Bench, guest

GOOD = [b'{"id":%d}' % number for number in range(20)]


def fan_out(*values: bytes) -> bytes:
    """A value that makes the parrot emit these, if its event crosses alone."""
    return b"=" + msgpack.packb([[2, [[None, b"k", value, None] for value in values]]])


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    for name in ("parrot", "phases"):
        (tmp_path / f"{name}.wasm").write_bytes(guest(name))
    return tmp_path


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("deed", "kind"),
    [("trap", ViolationKind.TRAP), ("loop", ViolationKind.DEADLINE), ("reject", ViolationKind.REJECTED)],
)
def test_one_bad_child_of_three_condemns_the_source_event_as_a_whole_and_once(
    sandbox: Sandbox, modules: Path, place: int, deed: str, kind: ViolationKind
) -> None:
    """One source event becomes three records in the first transformer; the second cannot take one of them."""
    parrot = replace(spec("parrot"), module=modules / "parrot.wasm")
    rig = Rig(sandbox, parrot, spec("saboteur"))
    children = [b'{"child":1}', b'{"child":2}', b'{"child":3}']
    bad = list(children)
    bad[place] = misdeed(deed)
    source = fan_out(*bad)
    rig.produce(GOOD[0], fan_out(*children), source, GOOD[1])
    run(rig.run_dry())
    assert rig.values() == [GOOD[0], *children, GOOD[1]]
    assert rig.values("dead") == [source], "the original record, once"
    (letter,) = rig.letters()
    assert (letter.violation.kind, letter.violation.transformer, letter.offset) == (kind, "saboteur", 2)
    (tally,) = {facts.tally.dead_lettered for facts in rig.observer.commits if facts.tally.dead_lettered}
    assert tally == 1


def test_a_bad_child_that_is_dropped_takes_its_siblings_along(sandbox: Sandbox, modules: Path) -> None:
    parrot = replace(spec("parrot"), module=modules / "parrot.wasm")
    rig = Rig(sandbox, parrot, spec("saboteur", on_violation=OnViolation.DROP))
    rig.produce(GOOD[0], fan_out(b"{}", misdeed("trap"), b"{}"), GOOD[1])
    run(rig.run_dry())
    assert (rig.values(), rig.values("dead")) == (GOOD[:2], [])


@pytest.fixture(params=[CallsName.FAST, CallsName.PUBLIC])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(request.param)
    yield made
    made.sandbox.close()
    assert made.sandbox.stats().active_instances == 0


def test_an_initialize_that_loops_at_the_tenth_instance_stops_the_lane_and_blames_no_event(
    bench: Bench, modules: Path
) -> None:
    """Every batch has a fresh instance: nine events pass, each in a batch of its own, and the tenth is not to blame."""
    starts = 0

    def act(phase: int) -> int:
        nonlocal starts
        starts += phase == 0
        return 1 if phase == 1 and starts >= 10 + before else 0

    before = 10**9  # not while it is loaded and tried out
    bench.act = act
    phases = replace(spec("phases"), module=modules / "phases.wasm", limits=LIMITS)
    rig = Rig(bench.sandbox, phases)
    before = starts

    async def scenario() -> None:
        async with rig.running() as runner:
            for number in range(9):
                rig.produce(GOOD[number])
                await until(lambda number=number: rig.committed() == number + 1)
            rig.produce(*GOOD[9:])
            await until(rig.stopped(runner))
            reason = next(iter(runner.lanes.values())).reason
            assert "phases" in reason and "_initialize" in reason and "ran longer than its 100 ms" in reason
            bench.act = lambda _: 0  # the module was mended
            await rig.release()
            await until(rig.is_dry)
            assert rig.state(runner) is LaneState.RUNNING

    run(scenario())
    assert rig.values() == GOOD
    assert rig.values("dead") == [], "no event is to blame"
