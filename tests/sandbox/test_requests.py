"""Imports with a request and an answer: bounds, codes, deadlines and counts, from a guest's point of view."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import pytest

from sandbox.host import Denied
from sandbox.host.requests import HostFailure, HostRequest, request_import
from schemas.abi import ERROR_DEADLINE, ERROR_DENIED, ERROR_INVALID, ERROR_TOO_LARGE, ERROR_UNAVAILABLE
from schemas.capabilities import Capability, Grant, Grants
from schemas.outcome import HostUse, Outcome, Report
from tests.sandbox.guests import FOLDER, LIMITS, Bench, batch, kinds, spec, values, violation, wat

GRANTED = Grants.of({"key-value"})


@dataclass
class Echo:
    """A host function that answers with what it was asked, as often as it was called."""

    bench: Bench | None = None
    calls: int = 0
    takes_ms: int = 0
    deny: Denied | None = None
    failure: HostFailure | None = None
    remaining: list[float] = field(default_factory=list)

    def __call__(self, request: HostRequest) -> object:
        self.calls += 1
        self.remaining.append(request.remaining_ms())
        request.admit()
        request.scope, request.bytes = "here", 7
        if self.takes_ms:
            assert self.bench is not None
            self.bench.tick(self.takes_ms)
        if self.deny is not None:
            raise self.deny
        if self.failure is not None:
            raise self.failure
        return request.value


@pytest.fixture
def echo() -> Echo:
    return Echo()


Run = Callable[..., Report]


@pytest.fixture
def run(make_bench: Callable[..., Bench], echo: Echo) -> Run:
    bench = make_bench(extra_imports=(request_import("echo", Capability.KEY_VALUE, echo),))
    echo.bench = bench
    text = re.sub(r"\(;include (\w+);\)", lambda found: (FOLDER / f"{found[1]}.wat").read_text(), _source("echo"))
    loaded: dict[Grants, object] = {}

    def run(*asked: bytes, grants: Grants = GRANTED) -> Report:
        if id(grants) not in loaded:
            loaded[id(grants)] = bench.sandbox.load(spec(capabilities=grants), wat(text)).session()  # type: ignore[index]
        return loaded[id(grants)].run(batch(asked))  # type: ignore[index,attr-defined,no-any-return]

    return run


def _source(name: str) -> str:
    return (FOLDER / "requester.wat").read_text().replace("NAME", name)


def ask(value: object, room: int = 200, times: int = 1, raw: bytes | None = None) -> bytes:
    return struct.pack("<IB", room, times) + (msgspec.msgpack.encode(value) if raw is None else raw)


def answered(outcome: Outcome) -> tuple[int, int, bytes]:
    """The status, how often the room was too small, and the answer's bytes."""
    (value,) = values(outcome)
    assert value is not None
    status, small = struct.unpack_from("<ii", value)
    return status, small, value[8:]


def test_the_answer_stands_where_the_guest_wants_it(run: Run) -> None:
    status, _, answer = answered(run(ask({"a": [1, None, b"x"]})).outcomes[0])
    assert msgspec.msgpack.decode(answer[:status]) == {"a": [1, None, b"x"]}


def test_an_answer_that_does_not_fit_is_kept_for_who_asks_again(run: Run, echo: Echo) -> None:
    report = run(ask("y" * 300, room=8, times=2))
    status, small, answer = answered(report.outcomes[0])
    assert (small, msgspec.msgpack.decode(answer[:status])) == (1, "y" * 300)
    assert echo.calls == 1
    assert [(use.allowed, use.scope) for use in report.uses] == [(1, "here")]


def test_another_request_in_between_is_another_call(run: Run, echo: Echo) -> None:
    report = run(ask("y" * 300, room=8), ask("z"), ask("y" * 300, room=8))
    assert [answered(one)[0] for one in report.outcomes] == [ERROR_TOO_LARGE, 2, ERROR_TOO_LARGE]
    assert echo.calls == 3


def test_too_little_room_for_the_size_is_not_written_to(run: Run) -> None:
    status, _, answer = answered(run(ask("y" * 300, room=3)).outcomes[0])
    assert (status, answer) == (ERROR_TOO_LARGE, b"\0\0\0")


@pytest.mark.parametrize(
    "raw", [b"", b"\xc1", b"\x92\x01", b"\x91" * 5000, b"\xa2\xff\xff"], ids=["empty", "unused", "cut", "deep", "text"]
)
def test_what_is_no_msgpack_is_invalid(run: Run, echo: Echo, raw: bytes) -> None:
    report = run(ask(None, raw=raw[:4000]))
    assert answered(report.outcomes[0])[0] == ERROR_INVALID
    assert echo.calls == 0


def test_a_denied_call_is_a_code_and_is_counted(run: Run, echo: Echo) -> None:
    echo.deny = Denied("not that one")
    report = run(ask(1), ask(2))
    assert [answered(one)[0] for one in report.outcomes] == [ERROR_DENIED, ERROR_DENIED]
    assert report.uses == [HostUse("key-value", "here", 0, 2, 2 + 2 * 7, 0)]


def test_strict_makes_a_denied_call_a_violation(run: Run, echo: Echo) -> None:
    echo.deny = Denied("not that one", "grant it")
    strict = Grants((Grant(frozenset({Capability.KEY_VALUE})),), strict=True)
    report = run(ask(1), grants=strict)
    found = violation(report.outcomes[0])
    assert (str(found.kind), found.message) == ("capability", "denied: not that one (grant it)")
    assert sum(use.denied for use in report.uses) == report.crossings


def test_a_failure_is_its_code(run: Run, echo: Echo) -> None:
    echo.failure = HostFailure(ERROR_UNAVAILABLE, "gone")
    report = run(ask(1))
    assert answered(report.outcomes[0])[0] == ERROR_UNAVAILABLE
    assert (report.uses[0].allowed, report.uses[0].denied) == (1, 0)


def test_an_answer_over_a_cap_names_no_size(run: Run, echo: Echo) -> None:
    echo.failure = HostFailure(ERROR_TOO_LARGE, "too many rows")
    status, small, answer = answered(run(ask(1, room=8)).outcomes[0])
    assert (status, small, answer[:4]) == (ERROR_TOO_LARGE, 1, b"\0\0\0\0")
    assert echo.calls == 1


def test_uses_run_out_and_come_back_with_the_window(make_bench: Callable[..., Bench], run: Run, echo: Echo) -> None:
    three = Grants((Grant(frozenset({Capability.KEY_VALUE}), uses=3),))
    report = run(*[ask(1)] * 5, grants=three)
    assert [answered(one)[0] for one in report.outcomes] == [1, 1, 1, ERROR_DENIED, ERROR_DENIED]


def test_calls_share_the_guests_deadline(run: Run, echo: Echo) -> None:
    """Each takes 30 ms of 100: the fourth finds 10 left, and the guest is stopped behind it."""
    echo.takes_ms = 30
    report = run(ask(1))
    assert kinds(report.outcomes) == ["emitted"]
    assert echo.remaining == [LIMITS.deadline_ms]
    echo.remaining.clear()
    report = run(*[ask(1)] * 3)
    assert echo.remaining == [100, 70, 40]


def test_a_call_behind_the_deadline_is_not_made(run: Run, echo: Echo) -> None:
    echo.takes_ms = LIMITS.deadline_ms
    report = run(ask("y", times=3))
    assert kinds(report.outcomes) == ["deadline"]
    assert echo.calls == report.crossings


def test_what_breaks_inside_is_ours_and_not_the_guests(run: Run, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostRequest, "admit", lambda self: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        run(ask(1))


def test_the_codes_are_told_apart() -> None:
    codes = {ERROR_DENIED, ERROR_TOO_LARGE, ERROR_UNAVAILABLE, ERROR_DEADLINE, ERROR_INVALID, -2}
    assert codes == {-1, -2, -3, -4, -5, -6}


def test_sums_stay_with_the_transformer(make_bench: Callable[..., Bench], echo: Echo) -> None:
    bench = make_bench(extra_imports=(request_import("echo", Capability.KEY_VALUE, echo),))
    text = re.sub(r"\(;include (\w+);\)", lambda found: (FOLDER / f"{found[1]}.wat").read_text(), _source("echo"))
    transformer = bench.sandbox.load(spec(capabilities=GRANTED), wat(text))
    for _ in range(3):
        transformer.run(batch([ask(1)]))
    (total,) = transformer.gate.totals().values()
    assert (total.allowed, total.denied) == (3, 0)
