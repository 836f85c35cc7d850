"""The same events come to the same outcomes whatever stands around a guest: the hostile guests at every level of isolation."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox import Sandbox
from sandbox.host import Gate, HostImport
from sandbox.host.requests import HostRequest, request_import
from sandbox.process.guest import ProcessPlan
from sandbox.session import Session
from schemas.capabilities import Capability, Grant, Grants, RandomScope
from schemas.errors import ModuleFault
from schemas.event import Batch, Event
from schemas.limits import Limits
from schemas.outcome import Emitted, Outcome, Report, Violation
from schemas.specs import EngineSettings, InstancePolicy, IsolationLevel, Tier, TransformerSpec
from tests.records.batches import records_of
from tests.sandbox.guests import FOLDER, LANE, LIMITS, batch, events, guest, kinds, spec, wat
from tests.sandbox.test_violations import FAST, MISBEHAVIOUR

LEVELS = list(IsolationLevel)
APART = [IsolationLevel.RUNTIME, IsolationLevel.PROCESS]
OWN = {"log", "clock", "random"}
SABOTEUR = [command for command, _, _ in MISBEHAVIOUR.values()] + [b"k", b"d", b"r", b"j", b"e", b"t", b"", b"x" * 3000]
PATIENT = LIMITS.with_(deadline_ms=5_000)
"""For cases that are not about time."""
NUMBERS = re.compile(r"after \d+\.\d ms")


def _asked(command: bytes, *words: int) -> bytes:
    return command + struct.pack(f"<{len(words)}I", *(word & 0xFFFFFFFF for word in words))


@dataclass(frozen=True)
class Case:
    """A guest, how it is loaded, and what it is given."""

    wasm: Callable[[], bytes]
    batches: list[list[bytes | None]]
    changes: dict[str, Any] = field(default_factory=dict)


def _named(name: str) -> Callable[[], bytes]:
    return lambda: guest(name)


def _requester() -> bytes:
    text = (FOLDER / "requester.wat").read_text().replace("NAME", "echo")
    return wat(re.sub(r"\(;include (\w+);\)", lambda found: (FOLDER / f"{found[1]}.wat").read_text(), text))


def _request(value: object, room: int = 200, times: int = 1) -> bytes:
    return struct.pack("<IB", room, times) + msgpack.packb(value)


EVERY_COMMAND = [b"k", *SABOTEUR, b"r"]
POINTERS = [(0xFFFFFFFF, 1), (2 << 16, 1), ((2 << 16) - 1, 2), (0, 0xFFFFFFFF)]
HOST_CALLS = [_asked(b"l", 3, 32, 20), _asked(b"l", 99, 32, 5), *(_asked(b"l", 2, *one) for one in POINTERS)]
CHANCE = [_asked(b"r", *one) for one in [(40_000, 16), *POINTERS, (0, 2 << 20)]]
FAILS = [_asked(b"f", 32, 5, 38, 4), *(_asked(b"f", *one, *one) for one in POINTERS)]
FRAMES = [
    b"",
    b"\x90",
    b"\x91\xc1",
    b"\xdd\xff\xff\xff\xff",
    b"\x91" * 600,
    msgpack.packb([[9]]),
    msgpack.packb([[1, "text"]]),
]
CASES = {
    "every violation": Case(_named("saboteur"), [EVERY_COMMAND], {"limits": FAST}),
    "every violation, per event": Case(
        _named("saboteur"), [EVERY_COMMAND], {"limits": FAST, "instance": InstancePolicy.PER_EVENT}
    ),
    "every violation, reused": Case(
        _named("saboteur"), [EVERY_COMMAND] * 2, {"limits": FAST, "instance": InstancePolicy.REUSED}
    ),
    "every violation, baseline": Case(
        _named("saboteur"), [EVERY_COMMAND], {"limits": FAST, "engine": EngineSettings(tier=Tier.BASELINE)}
    ),
    "every violation, interpreter": Case(
        _named("saboteur"), [EVERY_COMMAND], {"limits": FAST, "engine": EngineSettings(tier=Tier.INTERPRETER)}
    ),
    "fuel": Case(_named("saboteur"), [[b"r", b"L", b"r"]], {"limits": LIMITS.with_(fuel_per_event=20_000)}),
    "memory is kept by the reused": Case(
        _named("counter"), [[b"a"] * 3, [b"a", b"U", b"a"], [b"a"]], {"instance": InstancePolicy.REUSED}
    ),
    "answers that are none": Case(_named("parrot"), [[b"a", b"=" + frame, b"b"] for frame in FRAMES]),
    "answers outside of memory": Case(
        _named("parrot"), [[b"@" + struct.pack("<Q", address << 32 | length)] for address, length in POINTERS]
    ),
    "host calls": Case(_named("asker"), [HOST_CALLS, CHANCE[1:]], {"capabilities": frozenset(Capability)}),
    "giving up": Case(_named("asker"), [FAILS], {"capabilities": frozenset(Capability)}),
    "logs without end": Case(
        _named("asker"),
        [[_asked(b"l", 2, 32, 20)] * 9],
        {"capabilities": OWN, "limits": LIMITS.with_(log_bytes_per_batch=50)},
    ),
    "seeded chance": Case(
        _named("raffle"),
        [[b"a", b"b"], [b"c"]],
        {"capabilities": Grants((Grant(frozenset({Capability.RANDOM}), RandomScope(seed=7)),))},
    ),
    "uses that run out": Case(
        _named("asker"),
        [HOST_CALLS],
        {"capabilities": Grants((Grant(frozenset({Capability.LOG}), uses=2), Grant(frozenset(OWN - {"log"}))))},
    ),
    "uses that run out, strictly": Case(
        _named("asker"),
        [HOST_CALLS],
        {
            "capabilities": Grants(
                (Grant(frozenset({Capability.LOG}), uses=8), Grant(frozenset(OWN - {"log"}))), strict=True
            )
        },
    ),
    "requests": Case(
        _requester,
        [[_request(["a", 1]), _request(b"x" * 500, room=8, times=2), _request("denied"), b"\0\1\0\0\1\xc1"]],
        {"capabilities": {"key-value"}},
    ),
    "strictly denied": Case(
        _requester,
        [[_request("a"), _request("denied"), _request("b")]],
        {"capabilities": Grants((Grant(frozenset({Capability.KEY_VALUE})),), strict=True)},
    ),
    "frames in parts": Case(_named("saboteur"), [[b"k" * 100_000] * 64]),
    "results in parts": Case(
        _named("saboteur"), [[b"9"] * 4], {"limits": Limits(memory_bytes=64 << 20, output_bytes_per_event=3 << 20)}
    ),
    "change events": Case(
        _named("censor"),
        [[b'{"op":"c","after":{"name":"secret"},"source":{},"ts_ms":1}', b"no JSON", None]],
        {"encoding": "event"},
    ),
    "a component": Case(
        _named("component"),
        [[b"~", b"~!t", b"~!s", b"~!o", b"~!f", b"~!b", b"~!c", b"~!g"]],
        {"capabilities": {"log"}},
    ),
    "a module that fails at its start": Case(_named("phases"), [[b"a"]], {"config": {"act": 1}}),
}


def _echo(request: HostRequest) -> object:
    request.admit()
    if request.value == "denied":
        from sandbox.host import Denied

        raise Denied("not this one", "ask for another")
    request.scope, request.bytes = "here", 7
    return request.value


def _imports() -> list[HostImport]:
    """Time does not pass by `tick`: these run on the real clock."""
    return [
        request_import("echo", Capability.KEY_VALUE, _echo),
        HostImport("tick", ("i32",), None, lambda state, memory, ms: None, module="test"),
        HostImport("act", ("i32",), "i32", lambda state, memory, phase: 2 if phase == 1 else 0, module="test"),
    ]


@pytest.fixture(scope="module")
def everything() -> Iterator[Sandbox]:
    with Sandbox(cache=False, extra_imports=_imports(), isolation_budget_ms=20_000) as sandbox:
        yield sandbox
        assert sandbox.stats().active_instances == 0


def _what_came_of(sandbox: Sandbox, case: Case, level: IsolationLevel) -> list[Any]:
    try:
        changes = {"limits": PATIENT} | case.changes
        transformer = sandbox.load(spec(isolation=level, **changes), case.wasm())
    except ModuleFault as fault:
        return [type(fault).__name__, NUMBERS.sub("", str(fault))]
    session = transformer.session(frozenset({"other"}))
    try:
        return [seen(session.run(batch(values))) for values in case.batches]
    finally:
        session.close()


def seen(report: Report) -> dict[str, Any]:
    """All of a report but times, and but what depends on them: how often a deadline that a busy machine used up was tried again."""
    timed = any(kind == "deadline" for kind in kinds(report.outcomes))
    return {
        "outcomes": [_seen(one) for one in report.outcomes],
        "crossings": timed or report.crossings,
        "exhausted": report.exhausted,
        "memory": report.memory_bytes_peak,
        "fuel": report.fuel_used,
        "logs": list(report.logs),
        "suppressed": report.logs_suppressed,
        "calls": timed or report.host_calls,
        "uses": sorted(
            (use.capability, use.scope, timed or use.allowed, use.denied, timed or use.bytes) for use in report.uses
        ),
    }


def _seen(outcome: Outcome) -> object:
    if isinstance(outcome, Violation):
        without = {"elapsed_us", "attempt"} if outcome.kind == "deadline" else {"elapsed_us"}
        names = [name for name in outcome.__struct_fields__ if name not in without]
        return msgpack.packb([NUMBERS.sub("", str(getattr(outcome, name))) for name in names])
    return outcome


@pytest.mark.parametrize("name", CASES)
def test_every_level_comes_to_the_same_outcomes(everything: Sandbox, name: str) -> None:
    expected, *others = (_what_came_of(everything, CASES[name], level) for level in LEVELS)
    for found in others:
        assert found == expected


@pytest.fixture(scope="module")
def sessions(everything: Sandbox) -> Iterator[list[Session]]:
    opened = [
        everything.load(spec(f"{level}", isolation=level, limits=FAST), guest("saboteur")).session() for level in LEVELS
    ]
    yield opened
    for session in opened:
        session.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([one for one in SABOTEUR if one != b"L"]), max_size=12))
def test_whatever_is_mixed(sessions: list[Session], commands: list[bytes]) -> None:
    expected, *others = ([_verdict(one) for one in session.run(batch(commands)).outcomes] for session in sessions)
    for found in others:
        assert found == expected


def _verdict(outcome: Outcome) -> object:
    """Without the attempt, which depends on how far the pace has come in each session."""
    return (outcome.kind, outcome.code) if isinstance(outcome, Violation) else outcome


@pytest.mark.parametrize("level", APART)
def test_records_stay_records(everything: Sandbox, level: IsolationLevel) -> None:
    """A batch of Kafka's records goes the short way, and comes back by columns."""
    sent = records_of(events([b"k", b"r", b"d", b"j"] * 20))
    reports = [
        everything.load(spec(isolation=one), guest("saboteur")).run(Batch(LANE, sent))
        for one in (IsolationLevel.INSTANCE, level)
    ]
    expected, found = reports
    assert type(found.outcomes) is type(expected.outcomes)
    assert [_verdict(one) for one in found.outcomes] == [_verdict(one) for one in expected.outcomes]
    assert found.crossings == 1


@pytest.mark.parametrize("level", LEVELS)
def test_an_unchanged_event_is_the_very_same(everything: Sandbox, level: IsolationLevel) -> None:
    sent: list[Event] = events([b"k", b"k"])
    report = everything.load(spec(isolation=level), guest("saboteur")).run(Batch(LANE, sent))
    for event, outcome in zip(sent, report.outcomes, strict=True):
        assert isinstance(outcome, Emitted) and outcome.events[0] is event


def test_a_runtime_is_shared_with_nobody(everything: Sandbox) -> None:
    def engine(name: str, level: IsolationLevel) -> object:
        plan = everything.prepare(spec(name, isolation=level), guest("saboteur"))
        return plan.guests.link.plan.engine  # type: ignore[union-attr]

    assert engine("a", IsolationLevel.INSTANCE) is engine("b", IsolationLevel.INSTANCE)
    assert engine("a", IsolationLevel.RUNTIME) is not engine("b", IsolationLevel.RUNTIME)
    assert engine("a", IsolationLevel.RUNTIME) is not engine("a", IsolationLevel.INSTANCE)
    assert engine("a", IsolationLevel.RUNTIME) is engine("a", IsolationLevel.RUNTIME)


@pytest.mark.parametrize("end", ["", "(drop (i32.load (i32.const -8)))"], ids=["passes", "traps"])
def test_what_refused_addresses_looked_like_is_told_at_every_level(end: str) -> None:
    wasm = wat(f"""(module (import "penstock" "log" (func $log (param i32 i32 i32)))
      (import "penstock" "kv_get" (func $get (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 8) "\\91\\c0")
      (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
      (func (export "penstock_v1_transform") (param i32 i32) (result i64)
        (call $log (i32.const 1) (i32.const 0xfffffff0) (i32.const 32))
        (call $log (i32.const 1) (i32.const 0) (i32.const 3))
        (drop (call $get (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 0)))
        {end} (i64.const 0x800000002)))""")
    found = []
    for level in IsolationLevel:
        with Sandbox(cache=False) as sandbox:
            grants = Grants.of(["log", "key-value"])
            report = sandbox.load(spec(isolation=level, capabilities=grants), wasm).run(batch([b"a"]))
            assert (report.escape_attempts, dict(report.escape_patterns)) == (3, {"wraps": 1, "null": 2})
            found.append(dict(sandbox.stats().escape_patterns))
    assert found == [{"wraps": 1, "null": 2} | ({"own-access": 1} if end else {})] * 3


def test_a_module_that_needs_more_than_its_limits_is_refused_in_the_same_words(everything: Sandbox) -> None:
    """At level `process` it used to be advised to give that level up."""
    large = wat("""(module (memory (export "memory") 65536)
      (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
      (func (export "penstock_v1_transform") (param i32 i32) (result i64) (i64.const 0)))""")
    said = set()
    for level in IsolationLevel:
        with pytest.raises(ModuleFault, match="needs more than its limits") as fault:
            everything.load(spec(isolation=level), large)
        said.add(str(fault.value))
    assert len(said) == 1, said


def test_sessions_at_once_have_a_process_each() -> None:
    with Sandbox(cache=False) as sandbox:
        transformer = sandbox.load(
            spec(isolation=IsolationLevel.PROCESS, instance=InstancePolicy.REUSED), guest("counter")
        )
        sessions = [transformer.session() for _ in range(3)]
        for session in sessions:
            assert kinds(session.run(batch([b"a"])).outcomes) == ["emitted"]
        guests = sandbox_processes(transformer.session())
        assert len(guests.processes.pids()) == 3
        for session in sessions:
            session.close()


def sandbox_processes(session: Session) -> ProcessPlan:
    plan = session._plan.guests
    assert isinstance(plan, ProcessPlan)
    return plan


def test_no_credential_reaches_a_process(everything: Sandbox) -> None:
    from schemas.capabilities import Credential, HttpScope

    scope = HttpScope(hosts=("a.example",), credentials={"a.example": Credential("authorization", "hunter2")})
    granted = Grants((Grant(frozenset({Capability.NETWORK_CLIENT}), scope),))
    wanted: TransformerSpec = replace(spec(isolation=IsolationLevel.PROCESS), capabilities=granted)
    plan = everything.prepare(wanted, guest("saboteur")).guests
    assert isinstance(plan, ProcessPlan)
    assert b"hunter2" not in msgpack.packb(repr(plan.processes.boot)) and "a.example" not in repr(plan.processes.boot)


@pytest.mark.parametrize("level", LEVELS)
def test_a_narrower_gate_holds_in_a_process_too(everything: Sandbox, level: IsolationLevel) -> None:
    """A caller's profile leaves `random` and not the clock, whatever the transformer is granted."""
    narrow = Gate("narrow", Grants.of({"random"}))
    plan = everything.prepare(spec(isolation=level, capabilities=OWN), guest("asker"))
    session = Session(replace(plan, guests=replace(plan.guests, gate=narrow)))
    report = session.run(batch([b"c", _asked(b"r", 40_000, 4), _asked(b"l", 2, 32, 4)]))
    session.close()
    used = sorted((use.capability, use.allowed, use.denied) for use in report.uses)
    assert used == [("clock", 0, 2), ("log", 0, 1), ("random", 1, 0)]
    assert list(report.logs) == []
