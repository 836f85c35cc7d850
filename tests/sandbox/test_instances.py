"""How long an instance lives, and what it never does: live on after trouble, or serve two lanes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from sandbox import Sandbox
from schemas.event import Batch
from schemas.outcome import Emitted, Report
from schemas.specs import InstancePolicy
from tests.sandbox.guests import (
    LIMITS,
    PER_EVENT,
    REUSED,
    UNPOOLED,
    Bench,
    batch,
    guest,
    kinds,
    spec,
    values,
    violation,
)


def _seen(report: Report) -> list[int]:
    """How many events the instance had seen before each, as the counter guest tells."""
    passed = [outcome for outcome in report.outcomes if isinstance(outcome, Emitted)]
    return [value[0] for outcome in passed for value in values(outcome) if value]


def test_per_batch_every_batch_starts_from_fresh_memory(sandbox: Sandbox) -> None:
    session = sandbox.load(spec(), guest("counter")).session()
    assert [_seen(session.run(batch([b"a"] * 3))) for _ in range(3)] == [[0, 1, 2]] * 3
    session.close()


def test_per_event_no_event_sees_what_another_left(sandbox: Sandbox) -> None:
    session = sandbox.load(spec(instance=PER_EVENT), guest("counter")).session()
    report = session.run(batch([b"a"] * 5))
    assert _seen(report) == [0] * 5
    assert report.crossings == 5
    session.close()


def test_reused_goes_on_from_batch_to_batch(sandbox: Sandbox) -> None:
    session = sandbox.load(spec(instance=REUSED), guest("counter")).session()
    assert _seen(session.run(batch([b"a"] * 3))) == [0, 1, 2]
    assert _seen(session.run(batch([b"a"] * 2))) == [3, 4]
    session.close()


def test_reused_guests_belong_to_one_session(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(instance=REUSED), guest("counter"))
    one, two = transformer.session(), transformer.session()
    assert _seen(one.run(batch([b"a"] * 3))) == [0, 1, 2]
    assert _seen(two.run(batch([b"a"]))) == [0]
    one.close()
    two.close()


def test_a_reused_guest_is_retired_by_a_trap(sandbox: Sandbox) -> None:
    session = sandbox.load(spec(instance=REUSED), guest("counter")).session()
    session.run(batch([b"a"] * 3))
    report = session.run(batch([b"a", b"U"]))
    assert kinds(report.outcomes) == ["emitted", "trap"]
    assert _seen(report) == [0], "judged on a fresh guest, not on the one that knew three events"
    assert _seen(session.run(batch([b"a"]))) == [0]
    session.close()


def test_a_lone_event_on_a_worn_guest_is_judged_again_on_a_fresh_one(bench: Bench) -> None:
    """Unreachable from the second crossing of an instance on: batch effects of another kind."""
    crossings = 0

    def act(phase: int) -> int:
        nonlocal crossings
        if phase == 0:
            crossings = 0
        crossings += phase == 5
        return 2 if phase == 5 and crossings > 1 else 0

    bench.act = act
    session = bench.load("phases", instance=REUSED).session()
    for _ in range(4):
        assert kinds(session.run(batch([b"a"])).outcomes) == ["emitted"]
    session.close()


def test_a_reused_guest_that_answered_nonsense_is_retired(sandbox: Sandbox) -> None:
    session = sandbox.load(spec(instance=REUSED), guest("saboteur")).session()
    before = sandbox.stats().instances_created
    session.run(batch([b"k"]))
    session.run(batch([b"k"]))
    assert sandbox.stats().instances_created == before + 1
    session.run(batch([b"#"]))
    session.run(batch([b"k"]))
    assert sandbox.stats().instances_created >= before + 3
    session.close()


@pytest.mark.parametrize("instance", list(InstancePolicy))
def test_nothing_is_left_after_a_session(sandbox: Sandbox, instance: InstancePolicy) -> None:
    session = sandbox.load(spec(instance=instance), guest("saboteur")).session()
    session.run(batch([b"k", b"U", b"r"]))
    session.close()
    session.close()
    assert sandbox.stats().active_instances == 0


def test_reused_guests_do_not_use_up_the_pool() -> None:
    with Sandbox(workers=1, cache=False) as sandbox:
        pooled = sandbox.load(spec(), guest("counter"))
        reused = sandbox.load(spec(instance=REUSED), guest("counter"))
        sessions = [reused.session() for _ in range(4 * sandbox.stats().pool_slots)]
        for session in sessions:
            session.run(batch([b"a"]))
        assert sandbox.stats().active_instances == len(sessions)
        assert _seen(pooled.run(batch([b"a"]))) == [0]
        for session in sessions:
            session.close()


def test_unpooled_instances_do_the_same(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(engine=UNPOOLED), guest("saboteur"))
    assert kinds(transformer.run(batch([b"k", b"U", b"r"])).outcomes) == ["emitted", "trap", "emitted"]
    assert sandbox.stats().pool_slots == 0


def test_more_threads_than_slots_wait_and_all_come_to_their_verdicts(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(limits=LIMITS.with_(deadline_ms=10_000)), guest("saboteur"))
    sent = batch([b"r", b"U", b"k", b"j"] * 8)
    reports: list[Report] = []

    def work() -> None:
        for _ in range(5):
            reports.append(transformer.run(sent))

    _together(work, threads=20)
    assert len(reports) == 100
    assert {tuple(kinds(report.outcomes)) for report in reports} == {("emitted", "trap", "emitted", "rejected") * 8}


def test_what_one_thread_says_is_not_heard_on_another(sandbox: Sandbox) -> None:
    """Each thread's guest gives up or traps in its own way, at the same time."""
    transformer = sandbox.load(spec(), guest("saboteur"))
    wrong: list[object] = []

    def work(command: bytes, expected: str) -> Callable[[], None]:
        def run() -> None:
            for _ in range(40):
                got = kinds(transformer.run(batch([command])).outcomes)
                if got != [expected]:
                    wrong.append((command, got))

        return run

    jobs = [(b"F", "trap"), (b"O", "memory"), (b"B", "bounds"), (b"k", "emitted"), (b"j", "rejected"), (b"S", "stack")]
    threads = [threading.Thread(target=work(*job)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def _together(work: Callable[[], None], threads: int) -> None:
    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def test_an_empty_batch_needs_no_guest(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(), guest("saboteur"))
    before = sandbox.stats().instances_created
    report = transformer.run(Batch(batch([]).source, []))
    assert (list(report.outcomes), report.crossings, report.exhausted) == ([], 0, False)
    assert sandbox.stats().instances_created == before


def test_a_guest_that_leaks_is_replaced_and_its_batches_stay_whole(bench: Bench) -> None:
    """Each batch of 4 keeps 1 MiB of 4 for ever: the instance lasts three batches, and no batch is made smaller for it."""
    session = bench.load("clockwork", instance=REUSED).session()
    crossings = [session.run(batch([b"m\x04"] * 4)).crossings for _ in range(12)]
    assert set(crossings) == {1, 2}
    assert crossings.count(2) <= 4
    assert session.events_max >= 4
    session.close()


def test_the_attempts_on_a_worn_guest_count(sandbox: Sandbox) -> None:
    session = sandbox.load(spec(instance=REUSED), guest("counter")).session()
    session.run(batch([b"a"]))
    (verdict,) = session.run(batch([b"U"])).outcomes
    assert violation(verdict).attempt == 2
    session.close()
