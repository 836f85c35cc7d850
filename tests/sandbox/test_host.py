"""What guests may ask of the host, and that whatever they ask, the host neither raises nor reads astray."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from sandbox import Sandbox, Transformer
from sandbox.calls import CallsName
from sandbox.host import HostImport, HostState
from sandbox.memory import GuestMemory
from schemas.capabilities import Capability, Grant, Grants, RandomScope
from schemas.outcome import LogLine
from tests.sandbox.guests import LIMITS, Bench, batch, guest, kinds, spec, values, violation, wat

ALL = frozenset(Capability)
TEXT, LENGTH = 32, len("hello from the guest")
OUTSIDE = [(0xFFFFFFFF, 1), (2 << 16, 1), ((2 << 16) - 1, 2), (0, 0xFFFFFFFF), (0x80000000, 0x80000000)]


def _ask(command: bytes, *words: int) -> bytes:
    return command + struct.pack(f"<{len(words)}I", *(word & 0xFFFFFFFF for word in words))


def _asker(bench: Bench, log_bytes: int = 16_384) -> Transformer:
    return bench.load("asker", capabilities=ALL, limits=LIMITS.with_(log_bytes_per_batch=log_bytes))


def test_log_lines_are_reported_with_their_level(bench: Bench) -> None:
    report = _asker(bench).run(batch([_ask(b"l", 3, TEXT, LENGTH), b"", _ask(b"l", 99, TEXT, 5)]))
    assert list(report.logs) == [LogLine(3, "hello from the guest"), LogLine(4, "hello")]
    assert report.logs_suppressed == 0
    assert report.host_calls == 2


def test_log_bytes_are_bounded_per_batch(bench: Bench) -> None:
    report = _asker(bench, log_bytes=2 * LENGTH).run(batch([_ask(b"l", 2, TEXT, LENGTH)] * 5))
    assert len(report.logs) == 2
    assert report.logs_suppressed == 3


def test_empty_lines_are_bounded_too(bench: Bench) -> None:
    report = _asker(bench, log_bytes=64).run(batch([_ask(b"l", 2, TEXT, 0)] * 100))
    assert len(report.logs) == 4
    assert report.logs_suppressed == 96


def test_log_bytes_are_bounded_over_all_crossings_of_a_batch(bench: Bench) -> None:
    """The last event's `fail` makes every other event run several times."""
    sent = [_ask(b"l", 2, TEXT, LENGTH)] * 8 + [_ask(b"f", 0, 0, 0, 0)]
    report = _asker(bench, log_bytes=5 * LENGTH).run(batch(sent))
    assert sum(len(line.text) for line in report.logs) <= 5 * LENGTH
    assert report.crossings > 2


def test_what_failed_crossings_logged_is_not_told_twice(bench: Bench) -> None:
    sent = [_ask(b"l", 2, TEXT, LENGTH), b"", _ask(b"f", 0, 0, 0, 0)]
    assert len(_asker(bench).run(batch(sent)).logs) == 1


@pytest.mark.parametrize(("address", "length"), OUTSIDE)
def test_a_log_line_outside_memory_is_no_line(bench: Bench, address: int, length: int) -> None:
    report = _asker(bench).run(batch([_ask(b"l", 2, address, length)]))
    assert kinds(report.outcomes) == ["emitted"]
    assert all(len(line.text) <= 4096 for line in report.logs)
    if address >= 2 << 16:
        assert not report.logs
        assert bench.sandbox.stats().escape_attempts == 1


def test_time_comes_from_where_the_sandbox_was_told(bench: Bench) -> None:
    (value,) = values(_asker(bench).run(batch([b"c"])).outcomes[0])
    assert value is not None
    assert struct.unpack("<qq", value) == (1_700_000_000_123, 42)


def test_randomness_is_written_into_the_guest(bench: Bench) -> None:
    (value,) = values(_asker(bench).run(batch([_ask(b"r", 2048, 32)])).outcomes[0])
    assert value == struct.pack("<i", 0)


@pytest.mark.parametrize(("address", "length"), OUTSIDE)
def test_randomness_outside_memory_is_an_error_code(bench: Bench, address: int, length: int) -> None:
    (value,) = values(_asker(bench).run(batch([_ask(b"r", address, length)])).outcomes[0])
    assert value in {struct.pack("<i", -2), struct.pack("<i", -3)}


@pytest.mark.parametrize(("address", "length"), OUTSIDE)
def test_fail_with_a_reason_outside_memory_still_fails(bench: Bench, address: int, length: int) -> None:
    verdict = violation(_asker(bench).run(batch([_ask(b"f", address, length, TEXT, 5)])).outcomes[0])
    assert verdict.kind == "trap"
    assert "hello" in verdict.message


def test_fail_is_always_granted(bench: Bench) -> None:
    verdict = violation(bench.load("saboteur").run(batch([b"F"])).outcomes[0])
    assert (verdict.code, verdict.kind) == ("custom", "trap")


def test_a_reason_is_cut_to_a_bound(bench: Bench) -> None:
    verdict = violation(_asker(bench).run(batch([_ask(b"f", 0, 100_000, 0, 100_000)])).outcomes[0])
    assert len(verdict.code) <= 128
    assert len(verdict.message) < 5000


EXTRA = """(module (import "test" "call" (func $call (param i32 i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 8))
  (func (export "penstock_v1_transform") (param i32 i32) (result i64)
    (drop (call $call (i32.const -1) (i64.const -2))) (i64.const 0)))"""


def _extra(function: Callable[..., int | None]) -> HostImport:
    return HostImport("call", ("i32", "i64"), "i64", function, module="test")


def test_integers_arrive_unsigned(calls: CallsName) -> None:
    seen: list[tuple[int, int]] = []

    def call(state: HostState, memory: GuestMemory | None, narrow: int, wide: int) -> int:
        seen.append((narrow, wide))
        return -5

    with Sandbox(calls=calls, cache=False, extra_imports=[_extra(call)]) as sandbox:
        sandbox.load(spec(), wat(EXTRA)).run(batch([b"x"]))
    assert seen[0] == (2**32 - 1, 2**64 - 2)


class Bug(Exception):
    """Ours."""


@pytest.mark.parametrize("error", [Bug("ours"), KeyboardInterrupt()])
def test_a_bug_in_a_host_function_ends_loudly_and_is_no_verdict(calls: CallsName, error: BaseException) -> None:
    def call(state: HostState, memory: GuestMemory | None, narrow: int, wide: int) -> int:
        raise error

    with Sandbox(calls=calls, cache=False, extra_imports=[_extra(call)]) as sandbox:
        transformer = sandbox.load(spec(), wat(EXTRA))
        with pytest.raises(type(error)) as caught:
            transformer.run(batch([b"x"]))
        assert caught.value is error
        assert sandbox.stats().active_instances == 0


def test_a_host_function_may_stop_its_guest(calls: CallsName) -> None:
    def call(state: HostState, memory: GuestMemory | None, narrow: int, wide: int) -> int:
        state.trap()
        return 0

    with Sandbox(calls=calls, cache=False, extra_imports=[_extra(call)]) as sandbox:
        report = sandbox.load(spec(), wat(EXTRA)).run(batch([b"x"]))
    assert kinds(report.outcomes) == ["trap"]


def test_the_clock_capability_alone_does_not_grant_randomness(sandbox: Sandbox) -> None:
    from schemas.errors import ModuleFault

    with pytest.raises(ModuleFault, match="imports penstock"):
        sandbox.load(spec(capabilities=frozenset({"clock", "log"})), guest("asker"))


def test_a_granted_seed_gives_every_crossing_the_same_bytes(make_bench: Callable[..., Bench]) -> None:
    def drawn(seed: int | None) -> list[bytes | None]:
        names = frozenset({Capability.LOG, Capability.CLOCK})
        grants = Grants((Grant(names), Grant(frozenset({Capability.RANDOM}), RandomScope(seed))))
        loaded = make_bench().load("raffle", capabilities=grants)
        reports = [loaded.run(batch([b"x", b"x"])) for _ in range(2)]
        return [one for report in reports for outcome in report.outcomes for one in values(outcome)]

    first, second, again, _ = drawn(7)
    assert first is not None
    assert first != second, "chance goes on within a crossing"
    assert first == again, "and begins anew with the next"
    assert drawn(8)[0] != first
    assert drawn(None)[0] == bytes(range(16)), "without a seed it comes from where the sandbox takes it"
