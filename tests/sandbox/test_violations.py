"""Every way one event can make a guest misbehave, amid innocents that must come through, on every tier."""

from __future__ import annotations

import pytest

from sandbox import Limits, Sandbox
from schemas.outcome import ViolationKind
from schemas.specs import EngineSettings, InstancePolicy, Tier
from tests.sandbox.guests import LIMITS, batch, guest, kinds, spec, values, violation, wat

FAST = LIMITS.with_(deadline_ms=100)

MISBEHAVIOUR = {
    "endless loop": (b"L", "deadline", "ran longer than its 100 ms"),
    "unreachable": (b"U", "trap", "unreachable"),
    "division by zero": (b"Z", "trap", "divide by zero"),
    "load outside memory": (b"B", "bounds", "outside its memory"),
    "endless recursion": (b"S", "stack", "overflowed its 512KiB stack"),
    "null in the table": (b"N", "trap", "uninitialized element"),
    "wrong type in the table": (b"G", "trap", "type mismatch"),
    "memory hog": (b"M", "memory", "memory full (memory 4MiB of 4MiB)"),
    "memory hog that says so": (b"O", "memory", "memory: no more"),
    "gives up": (b"F", "trap", "the guest gave up: custom: gave up"),
    "cursor one too far": (b"W", "trap", "unreachable"),
    "2 MiB of output": (b"9", "output-too-large", "bytes"),
    "a str for a result": (b"#", "bad-output", "got `str`"),
}


@pytest.mark.parametrize(("command", "kind", "message"), MISBEHAVIOUR.values(), ids=MISBEHAVIOUR.keys())
def test_one_event_is_condemned_and_its_neighbours_pass(
    sandbox: Sandbox, command: bytes, kind: str, message: str
) -> None:
    transformer = sandbox.load(spec(limits=FAST), guest("saboteur"))
    report = transformer.run(batch([b"r", b"k", command, b"d", b"r"]))
    assert kinds(report.outcomes) == ["emitted", "emitted", kind, "dropped", "emitted"]
    assert values(report.outcomes[0]) == values(report.outcomes[4]) == [b"R"]
    verdict = violation(report.outcomes[2])
    assert message in verdict.message
    assert verdict.transformer == "guest"
    assert verdict.module_sha256 == transformer.sha256
    assert verdict.limits == "memory=4MiB deadline=100ms"
    assert verdict.attempt >= 2
    assert not report.exhausted


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("command", [b"U", b"#", b"9"])
def test_wherever_it_sits(sandbox: Sandbox, command: bytes, place: int) -> None:
    commands = [b"r"] * 5
    commands[place] = command
    report = sandbox.load(spec(), guest("saboteur")).run(batch(commands))
    assert [n for n, kind in enumerate(kinds(report.outcomes)) if kind != "emitted"] == [place]


@pytest.mark.parametrize("tier", [Tier.BASELINE, Tier.INTERPRETER])
@pytest.mark.parametrize("instance", list(InstancePolicy))
def test_every_tier_and_policy_comes_to_the_same_verdicts(tier: Tier, instance: InstancePolicy) -> None:
    commands = [b"k", *(command for command, _, _ in MISBEHAVIOUR.values()), b"r"]
    expected = ["emitted", *(kind for _, kind, _ in MISBEHAVIOUR.values()), "emitted"]
    with Sandbox(cache=False) as sandbox:
        chosen = spec(limits=FAST, instance=instance, engine=EngineSettings(tier=tier))
        report = sandbox.load(chosen, guest("saboteur")).run(batch(commands))
    assert kinds(report.outcomes) == expected


def test_a_lone_event_has_its_verdict_at_the_first_attempt(sandbox: Sandbox) -> None:
    report = sandbox.load(spec(), guest("saboteur")).run(batch([b"U"]))
    assert violation(report.outcomes[0]).attempt == 1
    assert report.crossings == 1


def test_fuel_is_counted_per_event(sandbox: Sandbox) -> None:
    limits = LIMITS.with_(fuel_per_event=20_000)
    transformer = sandbox.load(spec(limits=limits), guest("saboteur"))
    report = transformer.run(batch([b"r", b"L", b"r"]))
    assert kinds(report.outcomes) == ["emitted", "fuel", "emitted"]
    verdict = violation(report.outcomes[1])
    assert "used up its 20000 units of fuel" in verdict.message
    assert verdict.limits.endswith("fuel=20000")
    assert report.fuel_used is not None and report.fuel_used > 20_000
    assert transformer.run(batch([b"r"] * 3)).fuel_used == transformer.run(batch([b"r"] * 3)).fuel_used


def test_fuel_is_not_reported_when_it_is_off(sandbox: Sandbox) -> None:
    assert sandbox.load(spec(), guest("saboteur")).run(batch([b"k"])).fuel_used is None


def test_a_backtrace_names_functions_and_is_bounded(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(), guest("saboteur"))
    trapped = violation(transformer.run(batch([b"U"])).outcomes[0])
    assert "work" in trapped.backtrace
    overflown = violation(transformer.run(batch([b"S"])).outcomes[0])
    assert "overflow" in overflown.backtrace
    assert len(overflown.backtrace) <= 4096


def test_what_a_guest_says_through_fail_is_its_code(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(), guest("saboteur"))
    assert violation(transformer.run(batch([b"F"])).outcomes[0]).code == "custom"
    said = violation(transformer.run(batch([b"O"])).outcomes[0])
    assert (said.kind, said.code) == (ViolationKind.MEMORY, "memory")


def test_a_rejection_is_a_judgement_with_the_guests_own_words(sandbox: Sandbox) -> None:
    report = sandbox.load(spec(), guest("saboteur")).run(batch([b"k", b"j", b"k"]))
    verdict = violation(report.outcomes[1])
    assert (verdict.kind, verdict.code, verdict.message) == (ViolationKind.REJECTED, "no", "bad")
    assert not verdict.kind.is_misbehaviour
    assert report.crossings == 1


def test_memory_and_time_are_measured(sandbox: Sandbox) -> None:
    report = sandbox.load(spec(limits=FAST), guest("saboteur")).run(batch([b"L", b"O"]))
    slow, hog = (violation(outcome) for outcome in report.outcomes)
    assert slow.elapsed_us >= 30_000
    assert hog.memory_bytes_peak == 4 << 20
    assert report.memory_bytes_peak >= 128 << 10
    assert report.elapsed_ns > 0


def test_a_deadline_is_never_early_and_hardly_late() -> None:
    with Sandbox(cache=False) as sandbox:
        transformer = sandbox.load(spec(limits=FAST), guest("saboteur"))
        for _ in range(5):
            elapsed_ms = violation(transformer.run(batch([b"L"])).outcomes[0]).elapsed_us / 1000
            assert 30 <= elapsed_ms < 130


def test_the_modules_own_maximum_counts_as_full_memory(sandbox: Sandbox) -> None:
    text = """(module (memory (export "memory") 1 3)
      (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 8))
      (func (export "penstock_v1_transform") (param i32 i32) (result i64)
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable))"""
    verdict = violation(sandbox.load(spec(limits=Limits()), wat(text)).run(batch([b"x"])).outcomes[0])
    assert verdict.kind is ViolationKind.MEMORY
    assert verdict.memory_bytes_peak == 3 << 16


def test_a_guests_words_cannot_steer_a_terminal(sandbox: Sandbox) -> None:
    name = "\\1b[2J\\e2\\80\\aeevil"
    text = f"""(module (import "penstock" "fail" (func $fail (param i32 i32 i32 i32)))
      (memory (export "memory") 1)
      (data (i32.const 16) "bad\\1b[31m\\0d\\00")
      (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
      (func $"{name}" (export "penstock_v1_transform") (param i32 i32) (result i64)
        (call $fail (i32.const 16) (i32.const 10) (i32.const 16) (i32.const 10)) (i64.const 0)))"""
    verdict = violation(sandbox.load(spec(), wat(text)).run(batch([b"x"])).outcomes[0])
    said = verdict.code + verdict.message + verdict.backtrace
    assert "bad" in said
    assert not any(character in said for character in "\x1b\r\0\u202e")
