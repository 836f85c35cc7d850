"""A lane's life over the in-memory broker: how it starts, what it does about failures, and what survives a restart."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from pipeline.control import Control
from pipeline.ports import LaneState
from sandbox import Sandbox
from schemas.errors import FencedError, TransportError
from schemas.outcome import ViolationKind
from schemas.specs import BatchPolicy, Delivery, OnViolation, Quarantine, QuarantineAction
from tests.pipeline.rig import LANE, Rig, misdeed, spec
from tests.pipeline.virtual_time import LoopClock, run, until

GOOD = [b'{"id":%d}' % number for number in range(20)]
BROKEN = TransportError("the broker went away")


def test_a_lane_fences_then_reads_the_committed_offset_then_seeks(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.produce(*GOOD)
    run(rig.run_dry())
    assert [call for call in rig.faults.calls if call in ("open", "locate", "seek")] == ["open", "locate", "seek"]
    assert rig.values() == GOOD
    assert rig.committed() == len(GOOD)


def test_a_committed_lane_goes_on_where_it_was(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.produce(*GOOD[:10])
    run(rig.run_dry())
    rig.produce(*GOOD[10:])
    run(rig.run_dry())
    assert rig.values() == GOOD


@pytest.mark.parametrize("start", ["latest", "earliest", "6"])
def test_a_first_start_begins_where_the_route_says(sandbox: Sandbox, start: str) -> None:
    rig = Rig(sandbox, start=start)
    rig.produce(*GOOD[:5])
    rig.broker.produce("in", GOOD[5], partition=0, timestamp=7)

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(lambda: rig.state(runner) is LaneState.RUNNING)
            rig.produce(*GOOD[6:8])
            await until(rig.is_dry)

    run(scenario())
    assert rig.values() == GOOD[{"latest": 6, "earliest": 0, "6": 5}[start] : 8]


@pytest.mark.parametrize("method", ["open", "locate", "seek", "write", "commit"])
@pytest.mark.parametrize("error", [BROKEN, FencedError("someone else was here")])
def test_after_a_transport_error_the_lane_starts_anew_and_nothing_is_lost_or_doubled(
    sandbox: Sandbox, method: str, error: Exception
) -> None:
    rig = Rig(sandbox)
    rig.produce(*GOOD)
    rig.faults.plan(method, error, error)
    run(rig.run_dry())
    assert rig.values() == GOOD
    assert rig.faults.calls.count("open") >= 3
    assert rig.faults.calls.count("close") == rig.faults.calls.count("open")
    assert [state for state, _ in rig.observer.states].count(LaneState.RETRYING) == 2
    assert rig.observer.held == (0, 0)


def test_a_commit_that_succeeded_although_it_failed_is_not_repeated(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.produce(*GOOD)
    rig.faults.plan("committed", BROKEN)
    run(rig.run_dry())
    assert rig.values() == GOOD


def test_at_least_once_repeats_but_never_loses(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, delivery=Delivery.AT_LEAST_ONCE)
    rig.produce(*GOOD)
    rig.faults.plan("commit", BROKEN)
    run(rig.run_dry())
    values = rig.values()
    assert sorted(set(values), key=values.index) == GOOD
    assert len(values) > len(GOOD)


def test_pauses_between_attempts_grow_and_have_jitter(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.faults.plan("open", *[BROKEN] * 9)
    times: list[float] = []

    async def scenario() -> None:
        rig.produce(*GOOD)
        async with rig.running():
            while not rig.is_dry():
                if len(times) < rig.faults.calls.count("open"):
                    times.append(LoopClock().monotonic())
                await asyncio.sleep(0.001)

    run(scenario())
    pauses = [after - before for before, after in itertools.pairwise(times)]
    for number, pause in enumerate(pauses):
        longest = min(10.0, 0.1 * 2**number)
        assert longest / 2 - 0.01 <= pause <= longest + 0.01
    assert len({round(pause / min(10.0, 0.1 * 2**number), 3) for number, pause in enumerate(pauses)}) > 3


def test_a_lane_that_cannot_get_on_gives_up_after_the_retry_limit(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.faults.plan("open", *[BROKEN] * 500)
    ended: list[float] = []

    async def scenario() -> None:
        try:
            async with rig.running():
                await until(lambda: not rig.vitals.is_joined)
        finally:
            ended.append(LoopClock().monotonic())

    with pytest.raises(BaseExceptionGroup) as raised:
        run(scenario())
    (error,) = raised.value.exceptions
    assert isinstance(error, TransportError)
    assert not error.retriable
    assert "the broker went away" in str(error)
    assert rig.retry_limit_s <= ended[0] <= rig.retry_limit_s + 12


def test_progress_starts_the_retry_limit_anew(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.retry_limit_s = 30.0
    rig.faults.plan("commit", *([BROKEN] * 8 + [None]) * 3)

    async def scenario() -> None:
        async with rig.running():
            for start in (0, 5, 10):
                rig.produce(*GOOD[start : start + 5])
                await until(rig.is_dry)

    run(scenario())
    assert rig.values() == GOOD[:15]


def test_an_error_nobody_can_retry_ends_the_route(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.produce(*GOOD)
    rig.faults.plan("write", TransportError("not authorized", retriable=False))
    with pytest.raises(BaseExceptionGroup) as raised:
        run(rig.run_dry())
    assert str(raised.value.exceptions[0]) == "not authorized"
    assert rig.values() == []
    assert rig.committed() == 0


def test_an_error_of_one_topic_stops_only_the_lane(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.produce(*GOOD)
    rig.faults.plan("write", TransportError("out: not authorized", retriable=False, topic="out"))

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))
            assert runner.lanes[LANE].reason == "out: not authorized"

    run(scenario())
    assert rig.committed() == 0


@pytest.mark.parametrize("method", ["write", "commit"])
def test_a_dead_letter_that_cannot_be_written_stops_the_lane_without_commit(sandbox: Sandbox, method: str) -> None:
    rig = Rig(sandbox)
    rig.produce(misdeed("reject"))
    rig.faults.plan(method, TransportError("dead: not authorized", retriable=False, topic="dead"))

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))

    run(scenario())
    assert rig.committed() == 0
    assert rig.values("dead") == []


@pytest.mark.parametrize(
    ("policy", "out", "dead", "tally"),
    [
        (OnViolation.DEAD_LETTER, [0, 2], 1, ("dead_lettered", 1)),
        (OnViolation.PASS_THROUGH, [0, 1, 2], 0, ("passed_through", 1)),
        (OnViolation.DROP, [0, 2], 0, ("dropped", 1)),
        (OnViolation.STOP, [0], 0, ("emitted", 1)),
    ],
)
@pytest.mark.parametrize(
    ("deed", "kind"),
    [("trap", ViolationKind.TRAP), ("reject", ViolationKind.REJECTED), ("loop", ViolationKind.DEADLINE)],
)
def test_each_policy_on_violation(
    sandbox: Sandbox,
    policy: OnViolation,
    out: list[int],
    dead: int,
    tally: tuple[str, int],
    deed: str,
    kind: ViolationKind,
) -> None:
    rig = Rig(sandbox, spec(on_violation=policy))
    values = [b'{"id":0}', misdeed(deed, 1), b'{"id":2}']
    rig.produce(*values)

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(lambda: rig.is_dry() or rig.stopped(runner)())

    run(scenario())
    assert rig.values() == [values[number] for number in out]
    assert [letter.violation.kind for letter in rig.letters()] == [kind] * dead
    assert rig.committed() == (1 if policy is OnViolation.STOP else 3)
    assert sum(getattr(facts.tally, tally[0]) for facts in rig.observer.commits) == tally[1]


def test_a_stopped_lane_says_why_stays_so_across_restarts_and_is_released_by_resume(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, spec(on_violation=OnViolation.STOP))
    rig.produce(GOOD[0], misdeed("trap"), GOOD[1])

    async def stops() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))
            assert "saboteur at offset 1: trap" in runner.lanes[LANE].reason

    async def stays_stopped() -> None:
        async with rig.running() as runner:
            await asyncio.sleep(60)
            assert rig.state(runner) is LaneState.STOPPED
            assert "saboteur at offset 1: trap" in runner.lanes[LANE].reason

    async def is_released() -> None:
        async with rig.running() as runner:
            await rig.release()
            await until(rig.is_dry)
            assert rig.state(runner) is LaneState.RUNNING

    run(stops())
    opened = rig.faults.calls.count("open")
    run(stays_stopped())
    assert rig.faults.calls.count("open") == opened
    assert rig.values() == GOOD[:1]
    rig.change(spec(on_violation=OnViolation.DEAD_LETTER))
    run(stays_stopped())
    run(is_released())
    assert rig.values() == GOOD[:2]
    assert len(rig.letters()) == 1

    async def forgotten() -> Control:
        return await rig.control()

    assert run(forgotten()).notes() == []


def test_a_released_lane_stops_again_at_the_same_event_when_nothing_was_changed(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, spec(on_violation=OnViolation.STOP))
    rig.produce(GOOD[0], misdeed("reject"), GOOD[1])

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))
            await rig.release()
            await until(lambda: rig.faults.calls.count("open") == 2)
            await until(rig.stopped(runner))

    run(scenario())
    assert [state for state, _ in rig.observer.states].count(LaneState.STOPPED) == 2
    assert rig.values() == GOOD[:1]
    assert rig.committed() == 1


def test_a_halt_that_cannot_be_noted_holds_and_is_noted_later(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, spec(on_violation=OnViolation.STOP))
    rig.produce(misdeed("trap"), GOOD[0])
    rig.faults.plan("put", BROKEN, BROKEN)

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))
            await asyncio.sleep(1)
            assert not (await rig.control()).notes()
            await asyncio.sleep(60)
            assert rig.state(runner) is LaneState.STOPPED
            assert [note.state for note in (await rig.control()).notes()] == [LaneState.STOPPED]

    run(scenario())
    assert rig.values() == []


def quarantine(action: QuarantineAction) -> Quarantine:
    return Quarantine(after=2, window_s=60.0, action=action)


def test_quarantine_pauses_the_lane_until_it_is_resumed(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, spec(quarantine=quarantine(QuarantineAction.PAUSE)))
    rig.produce(GOOD[0], misdeed("trap"), misdeed("trap"))

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.paused(runner))
            rig.produce(GOOD[1], misdeed("trap"), GOOD[2])
            await asyncio.sleep(60)
            assert rig.values() == GOOD[:1]
            assert "2 events misbehaved within 60 s" in runner.lanes[LANE].reason
        async with rig.running() as runner:
            await asyncio.sleep(60)
            assert rig.state(runner) is LaneState.PAUSED
            await rig.release()
            await until(rig.is_dry)

    run(scenario())
    assert rig.values() == GOOD[:3]
    assert len(rig.letters()) == 3


@pytest.mark.parametrize("action", [QuarantineAction.DEAD_LETTER_ALL, QuarantineAction.PASS_THROUGH])
def test_quarantine_goes_around_the_transformer_also_after_a_restart(
    sandbox: Sandbox, action: QuarantineAction
) -> None:
    rig = Rig(sandbox, spec(quarantine=quarantine(action)), spec("uppercase"))
    rig.produce(GOOD[0], misdeed("trap"), misdeed("trap"))
    run(rig.run_dry())
    rig.produce(GOOD[1], misdeed("trap"))
    run(rig.run_dry())
    loud = [value.upper() for value in (GOOD[0], GOOD[1], misdeed("trap"))]
    codes = [letter.violation.code for letter in rig.letters()]
    if action is QuarantineAction.PASS_THROUGH:
        assert rig.values() == loud
        assert codes == ["", ""]
    else:
        assert rig.values() == loud[:1]
        assert codes == ["", "", "quarantined", "quarantined"]
        assert {letter.violation.kind for letter in rig.letters()} == {ViolationKind.TRAP}

    async def resumed() -> None:
        async with rig.running():
            await rig.release()
            await asyncio.sleep(1)
            rig.produce(misdeed("reject"), GOOD[2])
            await until(rig.is_dry)

    run(resumed())
    assert rig.values()[-1] == GOOD[2].upper()
    assert rig.letters()[-1].violation.kind is ViolationKind.REJECTED


def test_records_that_are_gone_stop_the_lane_and_are_named(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.produce(*GOOD[:10])
    run(rig.run_dry())
    rig.produce(*GOOD[10:])
    rig.broker.partition(LANE).delete_before(15)

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))
            assert "offsets 10 to 14" in runner.lanes[LANE].reason
            rig.broker.committed[("g", LANE)] = 15
            await rig.release()
            await until(rig.is_dry)

    run(scenario())
    assert rig.values() == [*GOOD[:10], *GOOD[15:]]


def test_a_topic_made_anew_stops_the_lane(sandbox: Sandbox) -> None:
    rig = Rig(sandbox)
    rig.broker.committed[("g", LANE)] = 7
    rig.produce(*GOOD[:3])

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))
            assert "the log ends at 3" in runner.lanes[LANE].reason

    run(scenario())
    assert rig.values() == []


def test_retention_that_overtakes_a_running_lane_stops_it(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, batch=BatchPolicy(events_max=2))
    rig.produce(*GOOD[:2])

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.is_dry)
            rig.broker.partition(LANE).events.extend(rig.broker.partition(LANE).events * 4)
            rig.broker.partition(LANE).delete_before(8)
            rig.broker.wake()
            await until(rig.stopped(runner))

    run(scenario())
    assert rig.values() == GOOD[:2]
    assert rig.committed() == 2


BIG = b'"' + b"x" * 3_000 + b'"'


def test_output_that_does_not_fit_its_topic_is_dead_lettered(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, sizes={"out": 1_000})
    rig.produce(GOOD[0], BIG, GOOD[1], BIG)
    run(rig.run_dry())
    assert rig.values() == GOOD[:2]
    assert rig.values("dead") == [BIG, BIG]
    assert {letter.violation.kind for letter in rig.letters()} == {ViolationKind.OUTPUT_TOO_LARGE}
    assert [letter.offset for letter in rig.letters()] == [1, 3]


def test_output_that_does_not_fit_its_topic_is_dropped_where_violations_are(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, spec(on_violation=OnViolation.DROP), sizes={"out": 1_000})
    rig.produce(GOOD[0], BIG, GOOD[1])
    run(rig.run_dry())
    assert (rig.values(), rig.values("dead")) == (GOOD[:2], [])
    (tally,) = [facts.tally for facts in rig.observer.commits]
    assert (tally.emitted, tally.dropped, tally.by_violation) == (2, 1, {"output-too-large": 1})


def test_output_that_does_not_fit_its_topic_stops_the_lane_where_violations_do(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, spec(on_violation=OnViolation.STOP), sizes={"out": 1_000})
    rig.produce(GOOD[0], BIG, GOOD[1])

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))
            assert "saboteur at offset 1: a record of" in runner.lanes[LANE].reason

    run(scenario())
    assert rig.values("dead") == []
    rig.change(spec(on_violation=OnViolation.DEAD_LETTER))

    async def released() -> None:
        async with rig.running():
            await rig.release()
            await until(rig.is_dry)

    run(released())
    assert (rig.values(), rig.values("dead")) == (GOOD[:2], [BIG])


def test_a_dead_letter_that_does_not_fit_stops_the_lane(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, sizes={"out": 1_000, "dead": 2_000})
    rig.produce(GOOD[0], BIG)

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(rig.stopped(runner))
            assert "oversize: truncate" in runner.lanes[LANE].reason

    run(scenario())
    assert rig.committed() == 0
    assert rig.values("dead") == []


def test_oversize_truncate_cuts_the_dead_letter_and_says_so(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, sizes={"out": 1_000, "dead": 18_000}, truncate_oversize=True)
    huge = b'"' + b"x" * 30_000 + b'"'
    rig.produce(GOOD[0], huge, huge, GOOD[1])
    run(rig.run_dry())
    assert rig.values() == GOOD[:2]
    for event in rig.events("dead"):
        assert event.value
        assert huge.startswith(event.value)
        assert dict(event.headers)["penstock.truncated"] == b"value was 30002 bytes, headers 0"
    assert [letter.offset for letter in rig.letters()] == [1, 2]


def test_a_drain_commits_what_was_taken_up(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, batch=BatchPolicy(events_max=4, commit_interval_ms=60_000))
    rig.produce(*GOOD)

    async def scenario() -> None:
        async with rig.running() as runner:
            await until(lambda: "write" in rig.faults.calls)
            assert rig.committed() == 0
            lane = runner.lanes[LANE]
        assert lane.state is LaneState.CLOSED

    run(scenario())
    assert rig.committed() > 0
    assert rig.values() == GOOD[: rig.committed()]
    run(rig.run_dry())
    assert rig.values() == GOOD


def test_a_quiet_lane_commits_when_the_interval_is_over(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, batch=BatchPolicy(commit_interval_ms=500))
    times: list[float] = []

    async def scenario() -> None:
        async with rig.running():
            rig.produce(GOOD[0])
            await until(lambda: "write" in rig.faults.calls)
            times.append(LoopClock().monotonic())
            await until(rig.is_dry)
            times.append(LoopClock().monotonic())

    run(scenario())
    assert 0.4 < times[1] - times[0] < 0.6


def test_a_lane_says_whether_it_has_caught_up(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, batch=BatchPolicy(events_max=4))
    rig.produce(*(b"%d" % number for number in range(100)))
    run(rig.run_dry())
    assert not rig.caught_up[0] and rig.caught_up[-1]
    assert rig.caught_up == sorted(rig.caught_up)


def test_a_busy_lane_commits_by_size(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, batch=BatchPolicy(events_max=4, commit_interval_ms=60_000, commit_events_max=8))
    rig.produce(*GOOD[:16])
    run(rig.run_dry())
    assert [facts.offset for facts in rig.observer.commits] == [8, 16]


def test_what_becomes_of_a_batch_is_told_at_its_commit(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, spec(on_violation=OnViolation.DEAD_LETTER), batch=BatchPolicy(commit_interval_ms=100))
    rig.produce(GOOD[0], misdeed("drop"), misdeed("reject"), misdeed("trap"), GOOD[1])
    run(rig.run_dry())
    (facts,) = rig.observer.commits
    assert (facts.tally.emitted, facts.tally.dropped, facts.tally.dead_lettered) == (2, 1, 2)
    assert facts.tally.by_violation == {"rejected": 1, "trap": 1}
    assert (facts.records_out, facts.offset, facts.lag) == (4, 5, 0)


def test_tombstones_and_null_keys_pass(sandbox: Sandbox) -> None:
    rig = Rig(sandbox, spec("passthrough"))
    rig.broker.produce("in", None, key=b"k", partition=0)
    rig.broker.produce("in", None, key=None, partition=0)
    run(rig.run_dry())
    assert [(event.key, event.value) for event in rig.events()] == [(b"k", None), (None, None)]
