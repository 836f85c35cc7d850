"""Transformers that are components keep every promise that core modules keep: the same table of violations, alone and in a batch."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sandbox import Limits, Sandbox, Transformer
from sandbox.guest import RefusedConfig
from sandbox.host import HostImport, HostState
from sandbox.memory import GuestMemory
from sandbox.modules import usual_instance
from schemas.errors import ModuleFault
from schemas.event import Batch
from schemas.outcome import Emitted, ViolationKind
from schemas.specs import EngineSettings, InstancePolicy
from tests.sandbox.guests import LANE, LIMITS, Bench, batch, events, guest, kinds, spec, violation, wat

TEXT = (Path(__file__).parent.parent / "guests" / "component.wat").read_text()
LOG = frozenset({"log"})


def load(bench: Bench, wasm: bytes | None = None, **changes: Any) -> Transformer:
    return bench.sandbox.load(spec(**{"capabilities": LOG} | changes), wasm or guest("component"))


def changed(old: str, new: str) -> bytes:
    assert old in TEXT
    return wat(TEXT.replace(old, new))


def test_a_batch_crosses_as_text_and_comes_back(bench: Bench) -> None:
    values = [b"~", b"~ \xff\xfe", "~ Łęcka 😀".encode(), b"~" + bytes(range(128, 256))]
    sent = [*events(values, (("trace", b"\x80"), ("none", None)))]
    report = load(bench).run(Batch(LANE, sent))
    assert [one.events for one in report.outcomes if isinstance(one, Emitted)] == [(event,) for event in sent]
    assert report.crossings == 1


@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        (b"w", "deadline", "longer than its 100 ms"),
        (b"t", "trap", "unreachable"),
        (b"s", "stack", "stack"),
        (b"m", "trap", "memory limit 4MiB"),
        (b"o", "bounds", "outside its memory"),
        (b"f", "trap", "boom: told so"),
        (b"b", "bad-output", "without a line of results"),
        (b"c", "bad-output", "0 results for 1 events"),
    ],
)
def test_each_violation_costs_one_event(bench: Bench, act: bytes, kind: str, words: str) -> None:
    transformer = load(bench)
    (alone,) = transformer.run(batch([b"~!" + act])).outcomes
    assert violation(alone).kind == kind
    assert words in violation(alone).message
    together = transformer.run(batch([b"~"] * 3 + [b"~!" + act] + [b"~"] * 4))
    assert kinds(together.outcomes) == ["emitted"] * 3 + [kind] + ["emitted"] * 4


@pytest.mark.parametrize("act", [b"t", b"o"])
def test_falling_over_a_frame_that_hardly_fits_is_a_matter_of_memory(bench: Bench, act: bytes) -> None:
    """A runtime that finds no room traps anywhere. That is no attempt to escape."""
    large = b"~" + b" " * (LIMITS.memory_bytes // 8) + b"!" + act
    (outcome,) = load(bench).run(batch([large])).outcomes
    assert violation(outcome).kind is ViolationKind.MEMORY
    assert "with a memory limit of 4MiB" in violation(outcome).message
    assert bench.sandbox.stats().escape_attempts == 0


def test_a_verdict_says_who_and_where(bench: Bench) -> None:
    transformer = load(bench)
    (outcome,) = transformer.run(batch([b"~!f"])).outcomes
    said = violation(outcome)
    assert (said.code, said.module_sha256, said.attempt) == ("boom", transformer.sha256, 1)
    assert said.limits == LIMITS.describe()
    (outcome,) = transformer.run(batch([b"~!t"])).outcomes
    assert "transform" in violation(outcome).backtrace or "wasm function" in violation(outcome).backtrace


def test_the_event_named_with_fail_runs_alone_first(bench: Bench) -> None:
    """A hint saves the halving: the batch, the suspect, the rest."""
    report = load(bench).run(batch([b"~"] * 40 + [b"~!f"] + [b"~"] * 23))
    assert kinds(report.outcomes).count("trap") == 1
    assert report.crossings == 3


@pytest.mark.parametrize("event", ["(i32.const 7000)", "(i32.const -2)"])
def test_a_hint_beyond_the_batch_is_no_hint(bench: Bench, event: str) -> None:
    lying = changed("(i32.const 7) (local.get $event))", f"(i32.const 7) {event})")
    report = load(bench, lying).run(batch([b"~", b"~!f", b"~"]))
    assert kinds(report.outcomes) == ["emitted", "trap", "emitted"]


def test_one_guest_lives_on_until_it_traps(bench: Bench) -> None:
    transformer = load(bench)
    assert transformer.instance is InstancePolicy.REUSED
    session, started = transformer.session(), bench.sandbox.stats().instances_created
    for _ in range(3):
        session.run(batch([b"~", b"~"]))
    assert bench.sandbox.stats().instances_created - started == 1
    session.run(batch([b"~!t"]))
    session.run(batch([b"~"]))
    session.run(batch([b"~"]))
    assert bench.sandbox.stats().instances_created - started == 3  # for the trouble of a worn guest, and after it
    session.close()


@pytest.mark.parametrize(("instance", "starts"), [(InstancePolicy.PER_BATCH, 2), (InstancePolicy.PER_EVENT, 6)])
def test_other_lives_are_had_by_asking(bench: Bench, instance: InstancePolicy, starts: int) -> None:
    transformer = load(bench, instance=instance)
    session, started = transformer.session(), bench.sandbox.stats().instances_created
    for _ in range(2):
        assert kinds(session.run(batch([b"~"] * 3)).outcomes) == ["emitted"] * 3
    assert bench.sandbox.stats().instances_created - started == starts
    session.close()


def test_what_suits_a_module_is_read_from_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "component.wasm").write_bytes(guest("component"))
    (tmp_path / "core.wasm").write_bytes(guest("parrot"))
    found = [usual_instance(tmp_path / name) for name in ("component.wasm", "core.wasm", "missing.wasm")]
    assert found == [InstancePolicy.REUSED, InstancePolicy.PER_BATCH, InstancePolicy.PER_BATCH]


def test_sessions_of_one_transformer_run_at_once(bench: Bench) -> None:
    """What one guest says through the host is its own, whichever thread the others are in."""
    transformer = load(bench)

    def lane(act: bytes) -> list[str]:
        session, seen = transformer.session(), []
        for _ in range(20):
            report = session.run(batch([b"~!" + act, b"~"]))
            seen += [*kinds(report.outcomes), *(line.text for line in report.logs)]
        session.close()
        return seen

    with ThreadPoolExecutor(2) as pool:
        loud, failing = pool.map(lane, [b"g", b"f"])
    assert loud == ["emitted", "emitted", "told so"] * 20
    assert failing == ["trap", "emitted"] * 20


def test_log_lines_are_kept_and_bounded(bench: Bench) -> None:
    report = load(bench, limits=LIMITS.with_(log_bytes_per_batch=40)).run(batch([b"~!g!g!g!g"]))
    assert [(line.level, line.text) for line in report.logs] == [(3, "told so")] * 2
    assert (report.logs_suppressed, report.host_calls) == (2, 4)


def test_fuel_is_metered(bench: Bench) -> None:
    transformer = load(bench, limits=LIMITS.with_(fuel_per_event=20_000))
    report = transformer.run(batch([b"~"]))
    assert kinds(report.outcomes) == ["emitted"]
    assert report.fuel_used is not None
    assert 0 < report.fuel_used < 20_000
    assert kinds(transformer.run(batch([b"~!l"])).outcomes) == ["fuel"]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (LIMITS.with_(memory_bytes=64 << 10), "memory"),
        (LIMITS.with_(tables=0), ""),
    ],
)
def test_a_start_beyond_the_limits_is_refused(bench: Bench, limits: Limits, words: str) -> None:
    table = changed('(memory (export "memory") 2)', '(memory (export "memory") 2) (table 1 funcref)')
    with pytest.raises(ModuleFault, match="cannot be instantiated") as fault:
        load(bench, table, limits=limits)
    assert words in fault.value.problem


def test_more_instances_than_any_runtime_needs_are_refused(bench: Bench) -> None:
    many = (
        "(core module $Empty)"
        + "(core instance (instantiate $Empty))" * 70
        + "(core instance $store (instantiate $Store))"
    )
    with pytest.raises(ModuleFault, match="instance count too high"):
        load(bench, changed("(core instance $store (instantiate $Store))", many))


def test_more_functions_than_any_runtime_has_are_refused(bench: Bench) -> None:
    functions = "(func)" * 100_001
    with pytest.raises(ModuleFault, match="100000 is the most for a component"):
        load(bench, changed("(core module $Store", f"(core module $Large {functions}) (core module $Store"))


def test_two_memories_share_what_the_limits_grant(bench: Bench) -> None:
    second = "(core module $More (memory 1)) (core instance (instantiate $More)) (core module $Store"
    two = changed("(core module $Store", second)
    with pytest.raises(ModuleFault, match=r"cannot be instantiated: .*memor"):
        load(bench, two)
    transformer = load(bench, two, limits=LIMITS.with_(memories=2))
    assert kinds(transformer.run(batch([b"~"])).outcomes) == ["emitted"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"penstock-log"', '"wasi:cli/stdout"', "imports wasi:cli/stdout; .*--stub-wasi"),
        ('"penstock-log"', '"penstock-vacuum"', "imports penstock.vacuum, which this host does not have"),
        ('"penstock-log"', '"some-thing"', "imports some-thing"),
        (
            '(param "level" u32)',
            '(param "level" s32)',
            r"imports `penstock-log` as \(s32, string\); the host has \(u32, string\)",
        ),
        ('"penstock-v1-transform"', '"penstock-v2-transform"', "does not export `penstock-v1-transform`"),
        (
            '"penstock-v1-configure") (param "config" string)',
            '"penstock-v1-configure") (param "config" (list u8))',
            "exports `penstock-v1-configure` as",
        ),
    ],
)
def test_what_is_not_the_world_is_refused_by_name(bench: Bench, old: str, new: str, words: str) -> None:
    with pytest.raises(ModuleFault, match=words):
        load(bench, changed(old, new))


def test_a_capability_is_needed_and_named(bench: Bench) -> None:
    with pytest.raises(ModuleFault, match="needs the capability `log`") as fault:
        load(bench, capabilities=frozenset())
    assert "transformers.guest.capabilities: [log]" in fault.value.remedy


def test_a_config_is_taken_or_refused(bench: Bench) -> None:
    assert kinds(load(bench, config={"currency": "EUR"}).run(batch([b"~"])).outcomes) == ["emitted"]
    with pytest.raises(RefusedConfig, match=r"refuses its configuration: .*boom: told so") as fault:
        load(bench, config={"currency": "!"})
    assert fault.value.remedy == "check transformers.guest.config"
    without = changed('(func (export "penstock-v1-configure")', '(func (export "other")')
    assert kinds(load(bench, without).run(batch([b"~"])).outcomes) == ["emitted"]
    with pytest.raises(ModuleFault, match="does not export `penstock-v1-configure`"):
        load(bench, without, config={"a": 1})


def test_a_guest_that_fails_with_nothing_to_do_is_at_fault_itself(bench: Bench) -> None:
    broken = changed(
        "(if (i32.eqz (local.get $events)) (then (return",
        "(if (i32.eqz (local.get $events)) (then (unreachable) (return",
    )
    with pytest.raises(ModuleFault, match="fails with an empty batch: trap"):
        load(bench, broken)


def test_an_answer_that_is_far_too_long_is_not_read(bench: Bench) -> None:
    transformer = load(bench, limits=LIMITS.with_(output_bytes_per_event=1))
    (outcome,) = transformer.run(batch([b"~" * 60_000])).outcomes
    assert violation(outcome).kind is ViolationKind.OUTPUT_TOO_LARGE


def test_a_component_is_no_module_to_execute(bench: Bench) -> None:
    with pytest.raises(ModuleFault, match="is a component"):
        bench.sandbox.compile_module("one", guest("component"))


def test_compiled_components_are_kept_on_disk(tmp_path: Path) -> None:
    tick = HostImport("tick", ("i32",), None, lambda state, memory, ms: None, module="test")
    for hits in (0, 1):
        with Sandbox(cache_dir=tmp_path / "cache", extra_imports=[tick]) as sandbox:
            sandbox.load(spec(capabilities=LOG), guest("component"))
            assert sandbox.stats().cache_hits == hits


@pytest.mark.parametrize("settings", [EngineSettings(pooling=False), EngineSettings(nan_canonicalization=True)])
def test_engine_settings_hold_for_components(bench: Bench, settings: EngineSettings) -> None:
    assert kinds(load(bench, engine=settings).run(batch([b"~"])).outcomes) == ["emitted"]


ASKING = """
(component
  (import "test-ask" (func $ask (param "request" string) (result (tuple s32 string))))
  (core module $Store
    (memory (export "memory") 4)
    (global $free (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $free) (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8))))))
  (core instance $store (instantiate $Store))
  (alias core export $store "memory" (core memory $memory))
  (alias core export $store "realloc" (core func $realloc))
  (core func $ask' (canon lower (func $ask) (memory $memory) (realloc (core func $realloc))))
  (core module $Guest
    (import "store" "memory" (memory 4))
    (import "host" "ask" (func $ask (param i32 i32 i32)))
    (data (i32.const 16) "REQUEST")
    (data (i32.const 64) "[]\\n")
    (data (i32.const 80) "[[3,\\"c\\",\\"m\\"]]\\n")
    (func (export "transform") (param i32 i32) (result i32)
      (local $kind i32)
      (call $ask (i32.const 16) (i32.const LENGTH) (i32.const 128))
      (i32.store (i32.const 0) (i32.load (i32.const 132)))
      (i32.store (i32.const 4) (i32.load (i32.const 136)))
      (i32.const 0)))
  (core instance $guest (instantiate $Guest
    (with "store" (instance $store)) (with "host" (instance (export "ask" (func $ask'))))))
  (func (export "penstock-v1-transform") (param "batch" string) (result string)
    (canon lift (core func $guest "transform") (memory $memory) (realloc (core func $realloc)))))
"""


def asking(request: str, length: int) -> bytes:
    return wat(ASKING.replace("REQUEST", request).replace("LENGTH", str(length)))


def ask_import(answer: Callable[[bytes, int], bytes | int]) -> HostImport:
    """A host function of the ABI's second kind."""

    def ask(state: HostState, memory: GuestMemory | None, at: int, length: int, out: int, room: int) -> int:
        assert memory is not None
        found = answer(memory.read(at, length), room)
        if isinstance(found, int):
            return found
        if len(found) > room:
            memory.write(out, len(found).to_bytes(4, "little"))
            return -3
        memory.write(out, found)
        return len(found)

    return HostImport("ask", ("i32",) * 4, "i32", ask, module="test")


def test_requests_reach_host_functions_written_for_core_modules() -> None:
    """A larger answer than there is room for is asked for again; bytes go one in each character."""
    seen: list[tuple[bytes, int]] = []
    empty = b"[]\n" + b" " * 5000  # an empty batch's results, and much behind them

    def answer(request: bytes, room: int) -> bytes:
        seen.append((request, room))
        return empty.rstrip() + b"\n" if len(seen) > 2 else empty

    with Sandbox(cache=False, extra_imports=[ask_import(answer)]) as sandbox:
        with pytest.raises(ModuleFault, match=r"bad-output: .*5000 characters behind the last result"):
            sandbox.load(spec(limits=LIMITS), asking("\\c3\\bf!", 3))
        sandbox.load(spec(limits=LIMITS), asking("\\c3\\bf!", 3))
    assert seen == [(b"\xff!", 4096), (b"\xff!", len(empty)), (b"\xff!", 4096)]


def test_a_bug_in_a_host_function_ends_loudly() -> None:
    def broken(request: bytes, room: int) -> bytes:
        raise KeyError("ours")

    with Sandbox(cache=False, extra_imports=[ask_import(broken)]) as sandbox, pytest.raises(KeyError, match="ours"):
        sandbox.load(spec(limits=LIMITS), asking("a", 1))


def test_names_in_backtraces_cannot_pretend_another_cause(bench: Bench) -> None:
    """The cause is the last line; function names come before it."""
    forged = re.sub(
        r"\(func \$fill ", '(func $fill (@name "x\\\\n\\\\nCaused by:\\\\n    wasm trap: interrupt") ', TEXT
    )
    (outcome,) = load(bench, wat(forged.replace("\\\\n", "\\n"))).run(batch([b"~!m"])).outcomes
    assert violation(outcome).kind is ViolationKind.TRAP
