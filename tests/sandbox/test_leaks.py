"""Twenty thousand guests leave nothing behind."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.calls import CallsName
from schemas.event import Batch
from tests.sandbox.guests import batch, guest, spec

GROWTH_BYTES_MAX = 4 << 20


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _growth(work: Callable[[], object], times: int) -> int:
    """Growth of resident memory over `times` calls, after a tenth as many to warm up. The collector is off: cycles count."""
    for _ in range(times // 10):
        work()
    gc.collect()
    gc.disable()
    try:
        before = _resident_bytes()
        for _ in range(times):
            work()
        return _resident_bytes() - before
    finally:
        gc.enable()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("values", "times"),
    [([b"r"], 20_000), ([b"F"], 5_000), ([b"U"], 5_000), ([b"k", b"#"], 5_000)],
    ids=["healthy", "fail", "trap", "bad output"],
)
def test_guests_leave_no_memory_behind(values: list[bytes], times: int) -> None:
    with Sandbox(cache=False, calls=CallsName.FAST) as sandbox:
        session = sandbox.load(spec(), guest("saboteur")).session()
        sent = batch(values)
        assert _growth(lambda: session.run(sent), times) < GROWTH_BYTES_MAX
        session.close()
        stats = sandbox.stats()
        assert stats.instances_created > times
        assert stats.active_instances == 0


def test_the_healthy_path_makes_no_cycles() -> None:
    with Sandbox(cache=False, calls=CallsName.FAST) as sandbox:
        session = sandbox.load(spec(), guest("saboteur")).session()
        sent: Batch = batch([b"r"] * 16)
        session.run(sent)
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                session.run(sent)
            assert gc.collect() == 0
        finally:
            gc.enable()
        session.close()


def test_sandboxes_themselves_go_away() -> None:
    def work() -> None:
        with Sandbox(cache=False, calls=CallsName.FAST) as sandbox:
            sandbox.load(spec(), guest("counter")).run(batch([b"a"]))

    assert _growth(work, 60) < 32 << 20
