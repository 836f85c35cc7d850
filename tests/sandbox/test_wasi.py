"""WASI's shim: what a guest is given instead of a system, and that whatever it asks, the host neither raises nor reads astray."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox import Sandbox
from sandbox.calls import CallsName
from sandbox.host import WASI, HostImport
from sandbox.host.wasi import wasi_imports
from sandbox.host.wasi_errno import Errno
from sandbox.host.wasi_streams import VECTORS_MAX
from sandbox.host.wasi_time import MONOTONIC_LEAST_NS, STAND_IN_REALTIME_NS, SUBSCRIPTIONS_MAX
from schemas.errors import ModuleFault
from schemas.outcome import LogLine, Report
from tests.sandbox.guests import LIMITS, REUSED, Bench, batch, kinds, spec, values, violation, wat

FUNCTIONS = {name: one for (_, name), one in wasi_imports().items()}
ANSWER = 4102
"""The guest's answer: 1 KiB of its memory from here."""
MEMORY = 2 << 16
PATIENT = LIMITS.with_(deadline_ms=60_000)
OUTSIDE = (MEMORY, MEMORY - 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF)


def _import(one: HostImport) -> str:
    parameters = "".join(f" {kind}" for kind in one.parameters)
    result = f" (result {one.result})" if one.result else ""
    return f'(import "{WASI}" "{one.name}" (func ${one.name} (param{parameters}){result}))'


IMPORTS = "".join(map(_import, FUNCTIONS.values()))


def asking(body: str, data: bytes = b"") -> bytes:
    """A guest that does `body` for each batch of one and answers with its memory; `data` lies at 1024."""
    text = "".join(f"\\{byte:02x}" for byte in data)
    return wat(f"""(module {IMPORTS}
      (memory (export "memory") 2)
      (data (i32.const 1024) "{text}") (data (i32.const 4096) "\\91\\92\\01\\c5\\04\\00")
      (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 65536))
      (func (export "penstock_v1_transform") (param i32 i32) (result i64)
        {body}
        (i64.const {4096 << 32 | 6 + 1024})))""")


def call(name: str, *arguments: int, at: int = 0) -> str:
    """Calls a function, and puts its errno at this byte of the answer."""
    passed = "".join(
        f" ({kind}.const {value})" for kind, value in zip(FUNCTIONS[name].parameters, arguments, strict=True)
    )
    return f"(i32.store (i32.const {ANSWER + at}) (call ${name}{passed}))"


def answer(bench: Bench, body: str, data: bytes = b"", capabilities: frozenset[str] = frozenset()) -> bytes:
    report = run(bench, body, data, capabilities)
    (value,) = values(report.outcomes[0])
    assert value is not None
    return value


def run(bench: Bench, body: str, data: bytes = b"", capabilities: frozenset[str] = frozenset()) -> Report:
    return bench.sandbox.load(spec(capabilities=capabilities), asking(body, data)).run(batch([b"x"]))


def errno(raw: bytes, at: int = 0) -> Errno:
    return Errno(struct.unpack_from("<I", raw, at)[0])


def vectors(*ranges: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<II", *one) for one in ranges)


def test_all_of_preview_1_links_without_a_capability(bench: Bench) -> None:
    assert len(FUNCTIONS) == 46
    assert kinds(run(bench, "").outcomes) == ["emitted"]


def test_a_function_that_wasi_does_not_have_is_refused_by_name(sandbox: Sandbox) -> None:
    module = wat(
        f"""(module (import "{WASI}" "path_unlock" (func)) (memory (export "memory") 1)
        (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 8))
        (func (export "penstock_v1_transform") (param i32 i32) (result i64) (i64.const 0)))"""
    )
    with pytest.raises(ModuleFault, match=r"imports wasi_snapshot_preview1\.path_unlock, which is no function of WASI"):
        sandbox.load(spec(), module)


def test_no_arguments_and_no_environment(bench: Bench) -> None:
    raw = answer(
        bench,
        call("args_sizes_get", ANSWER + 16, ANSWER + 20)
        + call("environ_sizes_get", ANSWER + 24, ANSWER + 28, at=4)
        + call("args_get", 0, 0, at=8)
        + call("environ_get", 0, 0, at=12),
    )
    assert raw[:32] == bytes(32)


def test_variables_are_those_that_the_host_lists(calls: CallsName, monkeypatch: pytest.MonkeyPatch) -> None:
    from sandbox.host import Services

    monkeypatch.setenv("SECRET", "x")
    body = call("environ_sizes_get", ANSWER + 16, ANSWER + 20) + call("environ_get", ANSWER + 32, ANSWER + 64, at=4)
    with Sandbox(calls=calls, cache=False, services=Services(environment={"TZ": "UTC", "LANG": "ł"})) as sandbox:
        (value,) = values(sandbox.load(spec(), asking(body)).run(batch([b"x"])).outcomes[0])
    assert value is not None
    assert struct.unpack_from("<IIxxxxxxxxII", value) == (0, 0, 2, 15)
    assert struct.unpack_from("<II", value, 32) == (ANSWER + 64, ANSWER + 72)
    assert value[64:79] == "LANG=ł\0TZ=UTC\0".encode()


HELLO = b"one\n\ntwo\r\nrest"


def write(fd: int, data: bytes) -> tuple[str, bytes]:
    """Writes `data` to a stream, in two ranges."""
    half = len(data) // 2
    ranges = vectors((1040, half), (1040 + half, len(data) - half))
    return call("fd_write", fd, 1024, 2, ANSWER + 8), ranges + data


@pytest.mark.parametrize(("fd", "level"), [(1, 2), (2, 3)])
def test_what_is_written_comes_out_as_lines_of_the_log(bench: Bench, fd: int, level: int) -> None:
    report = run(bench, *write(fd, HELLO), frozenset({"log"}))
    assert list(report.logs) == [LogLine(level, text) for text in ("one", "two", "rest")]
    (value,) = values(report.outcomes[0])
    assert value is not None
    assert struct.unpack_from("<I4xI", value) == (0, len(HELLO))


def test_a_guest_that_may_not_log_writes_into_the_void(bench: Bench) -> None:
    report = run(bench, *write(1, HELLO))
    assert kinds(report.outcomes) == ["emitted"]
    assert not report.logs


def test_what_is_written_is_bounded_like_the_log(make_bench: Callable[..., Bench]) -> None:
    body, data = write(1, b"0123456789abcdef\n" * 50)
    limits = LIMITS.with_(log_bytes_per_batch=64)
    module = asking(body, data)
    report = make_bench().sandbox.load(spec(limits=limits, capabilities=frozenset({"log"})), module).run(batch([b"x"]))
    assert len(report.logs) == 4
    assert report.logs_suppressed == 46


def test_a_line_is_cut_to_a_bound(bench: Bench) -> None:
    ranges = vectors((0, MEMORY - 8), (0, MEMORY - 8))
    report = run(bench, call("fd_write", 1, 1024, 2, ANSWER + 8), ranges, frozenset({"log"}))
    (value,) = values(report.outcomes[0])
    assert value is not None
    assert struct.unpack_from("<I4xI", value) == (0, 2 * (MEMORY - 8))
    assert sum(len(line.text) for line in report.logs) <= 16 << 10


def test_stdin_is_at_its_end(bench: Bench) -> None:
    raw = answer(bench, call("fd_read", 0, 1024, 1, ANSWER + 8), vectors((2048, 100)))
    assert struct.unpack_from("<I4xI", raw) == (0, 0)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("fd_write", (0, 1024, 1, ANSWER), Errno.BADF),
        ("fd_write", (3, 1024, 1, ANSWER), Errno.BADF),
        ("fd_read", (1, 1024, 1, ANSWER), Errno.BADF),
        ("fd_prestat_get", (3, ANSWER), Errno.BADF),
        ("fd_prestat_dir_name", (3, ANSWER, 10), Errno.BADF),
        ("path_open", (3, 0, 1024, 4, 0, 0, 0, 0, ANSWER), Errno.BADF),
        ("path_open", (0, 0, 1024, 4, 0, 0, 0, 0, ANSWER), Errno.NOTDIR),
        ("path_symlink", (1024, 4, 3, 1024, 4), Errno.BADF),
        ("path_symlink", (1024, 4, 1, 1024, 4), Errno.NOTDIR),
        ("fd_readdir", (1, 1024, 4, 0, ANSWER), Errno.NOTDIR),
        ("fd_seek", (1, 0, 0, ANSWER), Errno.SPIPE),
        ("fd_tell", (3, ANSWER), Errno.BADF),
        ("fd_renumber", (1, 2), Errno.NOTSUP),
        ("fd_allocate", (1, 0, 10), Errno.INVAL),
        ("fd_sync", (1,), Errno.SUCCESS),
        ("sock_accept", (0, 0, ANSWER), Errno.NOTSOCK),
        ("sock_shutdown", (7, 0), Errno.BADF),
        ("clock_time_get", (2, 0, ANSWER + 8), Errno.INVAL),
        ("clock_res_get", (9, ANSWER + 8), Errno.INVAL),
        ("random_get", (ANSWER, (1 << 20) + 1), Errno.INVAL),
        ("poll_oneoff", (1024, ANSWER + 8, 0, ANSWER + 4), Errno.INVAL),
        ("poll_oneoff", (1024, ANSWER + 8, SUBSCRIPTIONS_MAX + 1, ANSWER + 4), Errno.INVAL),
        ("fd_write", (1, 0, VECTORS_MAX + 1, ANSWER + 4), Errno.INVAL),
        ("fd_write", (1, 0, -1, ANSWER + 4), Errno.INVAL),
        ("sched_yield", (), Errno.SUCCESS),
    ],
)
def test_what_cannot_be_had_says_so(bench: Bench, name: str, arguments: tuple[int, ...], expected: Errno) -> None:
    assert errno(answer(bench, call(name, *arguments), vectors((2048, 4)))) is expected


def test_a_stream_that_was_closed_is_closed(bench: Bench) -> None:
    raw = answer(
        bench,
        call("fd_close", 1)
        + call("fd_close", 1, at=4)
        + call("fd_write", 1, 1024, 0, ANSWER + 32, at=8)
        + call("fd_fdstat_get", 1, ANSWER + 40, at=12),
    )
    assert struct.unpack_from("<4I", raw) == (0, *[Errno.BADF] * 3)


def test_streams_are_character_devices(bench: Bench) -> None:
    raw = answer(bench, call("fd_fdstat_get", 0, ANSWER + 8) + call("fd_filestat_get", 2, ANSWER + 40, at=4))
    assert struct.unpack_from("<II", raw) == (0, 0)
    assert raw[8] == 2
    assert raw[40 + 16] == 2


CLOCKS = (
    call("clock_time_get", 0, 0, ANSWER + 16)
    + call("clock_time_get", 1, 0, ANSWER + 24, at=4)
    + call("clock_time_get", 1, 0, ANSWER + 32, at=8)
)


def test_the_clock_is_the_hosts_when_granted(bench: Bench) -> None:
    raw = answer(bench, CLOCKS, capabilities=frozenset({"clock"}))
    assert struct.unpack_from("<3I4x3Q", raw) == (0, 0, 0, 1_700_000_000_123_000_000, *[MONOTONIC_LEAST_NS + 42] * 2)


def test_the_clock_is_a_stand_in_otherwise(bench: Bench) -> None:
    raw = answer(bench, CLOCKS)
    expected = (STAND_IN_REALTIME_NS + 1000, MONOTONIC_LEAST_NS + 2000, MONOTONIC_LEAST_NS + 3000)
    assert struct.unpack_from("<3I4x3Q", raw) == (0, 0, 0, *expected)
    assert answer(bench, CLOCKS) == raw


def test_a_clock_goes_on_while_the_guest_lives(bench: Bench) -> None:
    transformer = bench.sandbox.load(spec(instance=REUSED), asking(CLOCKS))
    with closing(transformer.session()) as session:
        times = []
        for _ in range(3):
            (value,) = values(session.run(batch([b"x"])).outcomes[0])
            assert value is not None
            times.append(struct.unpack_from("<Q", value, 32)[0])
    assert times == sorted(set(times))


def test_chance_is_the_hosts_when_granted(bench: Bench) -> None:
    raw = answer(bench, call("random_get", ANSWER + 8, 16), capabilities=frozenset({"random"}))
    assert raw[8:24] == bytes(range(16))


def test_chance_is_a_stand_in_otherwise(bench: Bench) -> None:
    body = call("random_get", ANSWER + 8, 16) + call("random_get", ANSWER + 24, 16, at=4)
    raw = answer(bench, body)
    assert len({bytes(16), raw[8:24], raw[24:40]}) == 3
    assert answer(bench, body) == raw


def alarm(timeout: int, clock: int = 1, flags: int = 0, userdata: int = 7) -> bytes:
    return struct.pack("<QB7xI4xQQH6x", userdata, 0, clock, timeout, 0, flags)


def readiness(kind: int, fd: int, userdata: int = 8) -> bytes:
    return struct.pack("<QB7xI28x", userdata, kind, fd)


def poll(*wishes: bytes) -> tuple[str, bytes]:
    body = call("poll_oneoff", 1024, ANSWER + 64, len(wishes), ANSWER + 8)
    return body + call("clock_time_get", 1, 0, ANSWER + 16, at=4), b"".join(wishes)


def told(raw: bytes) -> list[tuple[int, int, int]]:
    """userdata, errno and kind of each event."""
    assert errno(raw) is Errno.SUCCESS
    (count,) = struct.unpack_from("<I", raw, 8)
    return [struct.unpack_from("<QHB", raw, 64 + 32 * at) for at in range(count)]


@pytest.mark.parametrize("capabilities", [frozenset[str](), frozenset({"clock"})])
def test_sleeping_takes_no_time_and_moves_the_clock(bench: Bench, capabilities: frozenset[str]) -> None:
    hour_ns = 3600 * 10**9
    raw = answer(bench, *poll(alarm(hour_ns), alarm(2 * hour_ns, userdata=9)), capabilities)
    assert told(raw) == [(7, 0, 0)]
    began = MONOTONIC_LEAST_NS + (42 if capabilities else 1000)
    assert struct.unpack_from("<Q", raw, 16) == (began + hour_ns,)


def test_an_alarm_for_a_moment_that_has_passed(bench: Bench) -> None:
    raw = answer(bench, *poll(alarm(5, flags=1), alarm(5, clock=0, flags=1, userdata=9)))
    assert told(raw) == [(7, 0, 0), (9, 0, 0)]
    assert struct.unpack_from("<Q", raw, 16) == (MONOTONIC_LEAST_NS + 1000,)


def test_sleeping_for_ever_does_not_overflow(bench: Bench) -> None:
    body, data = poll(alarm(2**64 - 1))
    raw = answer(bench, body + body, data)
    assert told(raw) == [(7, 0, 0)]
    assert struct.unpack_from("<Q", raw, 16) == (2**63 - 1,)


def test_streams_are_ready_at_once(bench: Bench) -> None:
    wishes = (alarm(10**12), readiness(1, 0), readiness(2, 1, 9), readiness(2, 5, 10), readiness(7, 1, 11))
    raw = answer(bench, *poll(*wishes))
    assert told(raw) == [(8, 0, 1), (9, 0, 2), (10, Errno.BADF, 2), (11, Errno.INVAL, 0)]
    assert struct.unpack_from("<Q", raw, 16) == (MONOTONIC_LEAST_NS + 1000,)


@pytest.mark.parametrize("code", [0, 3, -1])
def test_exiting_is_a_trap_that_says_what_was_last_written(bench: Bench, code: int) -> None:
    body, data = write(2, b"warming up\nsorry: no more")
    report = run(bench, f"{body} (call $proc_exit (i32.const {code})) unreachable", data)
    verdict = violation(report.outcomes[0])
    assert (verdict.kind, verdict.code) == ("trap", "exit")
    assert f"it exited with code {code}; stderr:\nwarming up\nsorry: no more" in verdict.message
    assert not report.logs


@pytest.mark.parametrize(
    ("said", "kind"), [("assertion failed: x > 0", "trap"), ("fatal error: out of memory", "memory")]
)
def test_aborting_tells_what_was_last_written(bench: Bench, said: str, kind: str) -> None:
    body, data = write(2, said.encode())
    verdict = violation(run(bench, f"{body} unreachable", data).outcomes[0])
    assert (verdict.kind, verdict.code) == (kind, "")
    assert verdict.message.endswith(f"; stderr:\n{said}")


def test_of_a_runtimes_report_the_beginning_is_told(bench: Bench) -> None:
    text = "\n".join([*(f"line {at}" for at in range(40)), "panic: no luck", *(f"frame {at}" for at in range(100))])
    body, data = write(2, text.encode())
    verdict = violation(run(bench, f"{body} unreachable", data).outcomes[0])
    assert "stderr:\npanic: no luck\nframe 0\nframe 1\n" in verdict.message
    body, data = write(2, text.replace("panic", "sorry").encode())
    verdict = violation(run(bench, f"{body} unreachable", data).outcomes[0])
    assert "stderr:\nframe 76\n" in verdict.message


def test_raising_a_signal_is_a_trap(bench: Bench) -> None:
    verdict = violation(run(bench, call("proc_raise", 6)).outcomes[0])
    assert "it raised signal 6" in verdict.message


def test_a_runtime_that_is_out_of_memory_says_so(bench: Bench) -> None:
    body, data = write(2, b"runtime: out of memory: cannot allocate\n")
    verdict = violation(run(bench, f"{body} (call $proc_exit (i32.const 2))", data).outcomes[0])
    assert (verdict.kind, verdict.code) == ("memory", "memory")


POINTERS = {
    "args_sizes_get": ("oo", "ao"),
    "environ_sizes_get": ("oa", "ao"),
    "fd_fdstat_get": ("1o",),
    "fd_filestat_get": ("1o",),
    "fd_read": ("0o1a", "0v1o"),
    "fd_write": ("1o1a", "1v1o"),
    "clock_time_get": ("10o",),
    "clock_res_get": ("1o",),
    "random_get": ("o8",),
    "poll_oneoff": ("oa1a", "ao1a", "aa1o"),
}
"""Per function: which arguments are outside of memory (o), fit for an answer (a), a vector (v), or plain digits."""


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize(("name", "how"), [(name, how) for name, hows in POINTERS.items() for how in hows])
def test_a_range_outside_memory_is_a_fault_and_is_counted(bench: Bench, name: str, how: str, outside: int) -> None:
    meaning = {"o": outside, "a": ANSWER + 64, "v": 1024}
    arguments = [meaning[one] if one in meaning else int(one) for one in how]
    assert errno(answer(bench, call(name, *arguments), vectors((2048, 4)))) is Errno.FAULT
    assert bench.sandbox.stats().escape_attempts == 1


@pytest.mark.parametrize("one", [(MEMORY, 1), (MEMORY - 1, 2), (0xFFFFFFFF, 0xFFFFFFFF), (8, 0xFFFFFFFF)])
@pytest.mark.parametrize(("name", "fd"), [("fd_write", 1), ("fd_read", 0)])
def test_a_vector_outside_memory_is_a_fault(bench: Bench, name: str, fd: int, one: tuple[int, int]) -> None:
    raw = answer(bench, call(name, fd, 1024, 2, ANSWER + 8), vectors((2048, 4), one))
    assert errno(raw) is Errno.FAULT


def test_lengths_that_add_up_to_more_than_a_number_holds(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    limits = LIMITS.with_(memory_bytes=16 << 20)
    ranges = b"".join(vectors((0, 8 << 20)) for _ in range(600))
    body = "(drop (memory.grow (i32.const 200)))" + call("fd_write", 1, 8192, 600, ANSWER + 8)
    module = wat(
        f"""(module {IMPORTS} (memory (export "memory") 2)
        (data (i32.const 8192) "{"".join(f"{chr(92)}{byte:02x}" for byte in ranges)}")
        (data (i32.const 4096) "\\91\\92\\01\\c5\\04\\00")
        (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 65536))
        (func (export "penstock_v1_transform") (param i32 i32) (result i64) {body} (i64.const {4096 << 32 | 1030})))"""
    )
    (value,) = values(bench.sandbox.load(spec(limits=limits), module).run(batch([b"x"])).outcomes[0])
    assert value is not None
    assert errno(value) is Errno.INVAL


def _wrapped(one: HostImport) -> str:
    parameters = " ".join(f"(param {kind})" for kind in one.parameters)
    result = f"(result {one.result})" if one.result else ""
    passed = " ".join(f"(local.get {at})" for at in range(len(one.parameters)))
    return f'(func (export "call_{one.name}") {parameters} {result} (call ${one.name} {passed}))'


WORDS = b"".join(struct.pack("<I", word) for word in (0, 1, 2, 8, 1024, MEMORY - 1, MEMORY, 2**31, 2**32 - 1)) * 28
TEXT = "".join(f"\\{byte:02x}" for byte in WORDS)
WRAPPED = f"""(module {IMPORTS} (memory (export "memory") 2) (data (i32.const 1024) "{TEXT}")
    {"".join(map(_wrapped, FUNCTIONS.values()))})"""


@pytest.fixture
def wrapped(sandbox: Sandbox) -> Iterator[Sandbox]:
    sandbox.compile_module("wasi", wat(WRAPPED), PATIENT)
    sandbox.compile_module("granted", wat(WRAPPED), PATIENT, capabilities=frozenset({"log", "clock", "random"}))
    yield sandbox


NARROW = st.sampled_from([0, 1, 2, 3, 255, 1020, 1024, 1040, MEMORY - 1, MEMORY, 2**31 - 1, -(2**31), -8, -1])
WIDE = st.sampled_from([0, 1, 2**63 - 1, -(2**63), -1]) | st.integers(-(2**63), 2**63 - 1)
CALLS = st.sampled_from([one for one in FUNCTIONS.values() if one.result]).flatmap(
    lambda one: st.tuples(
        st.just(one.name),
        st.tuples(*((NARROW | st.integers(-(2**31), 2**31 - 1)) if kind == "i32" else WIDE for kind in one.parameters)),
    )
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(asked=CALLS, module=st.sampled_from(["wasi", "granted"]))
def test_any_call_with_any_arguments_is_answered(
    wrapped: Sandbox, asked: tuple[str, tuple[int, ...]], module: str
) -> None:
    name, arguments = asked
    if name == "proc_raise":
        return
    (result,) = wrapped.execute(module, f"call_{name}", arguments)
    assert Errno(int(result)) in Errno


def test_a_module_without_a_memory_gets_no_answer(sandbox: Sandbox) -> None:
    text = f"(module {IMPORTS} {''.join(map(_wrapped, FUNCTIONS.values()))})"
    sandbox.compile_module("bare", wat(text), PATIENT)
    assert sandbox.execute("bare", "call_clock_time_get", (1, 0, 8)) == (Errno.FAULT,)
    assert sandbox.execute("bare", "call_fd_close", (1,)) == (Errno.SUCCESS,)
