"""A module at fault by itself is refused, or stops its lane; no event is ever blamed for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.modules import MODULE_BYTES_MAX
from sandbox.sections import Metadata, append_metadata
from schemas.errors import ConfigError, ModuleFault
from schemas.specs import TransformerSpec
from tests.sandbox.guests import LIMITS, REUSED, Bench, batch, guest, kinds, spec, violation, wat

PHASES = {"start": 0, "_initialize": 1, "configure": 2, "alloc": 3, "cursor": 4}
NAMES = (
    "its start function",
    "`_initialize`",
    "`penstock_v1_configure`",
    "`penstock_v1_alloc`",
    "`penstock_v1_cursor`",
)
LOOP, UNREACHABLE, REFUSE, OUTSIDE, RECURSE, FAIL, HOG = range(1, 8)
TRANSFORM = 5


def _misbehave(phase: int, action: int) -> Callable[[int], int]:
    return lambda asked: action if asked == phase else 0


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES.keys())
@pytest.mark.parametrize(
    ("action", "why"),
    [(LOOP, "ran longer than its 100 ms"), (UNREACHABLE, "unreachable"), (RECURSE, "512KiB stack")],
    ids=["loops", "traps", "recurses"],
)
def test_a_module_that_misbehaves_before_any_event_is_refused(bench: Bench, phase: int, action: int, why: str) -> None:
    bench.act = _misbehave(phase, action)
    with pytest.raises(ModuleFault, match=why) as caught:
        bench.load("phases")
    if phase != PHASES["alloc"]:  # configure asks for a block first, and then it is configure's own failure
        assert NAMES[phase] in str(caught.value)


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES.keys())
@pytest.mark.parametrize("action", [LOOP, UNREACHABLE], ids=["loops", "traps"])
def test_a_module_that_misbehaves_later_stops_the_lane_and_blames_no_event(
    bench: Bench, phase: int, action: int
) -> None:
    session = bench.load("phases").session()
    assert kinds(session.run(batch([b"a", b"b"])).outcomes) == ["emitted", "emitted"]
    bench.act = _misbehave(phase, action)
    with pytest.raises(ModuleFault):
        session.run(batch([b"a", b"b"]))
    bench.act = lambda _: 0
    assert kinds(session.run(batch([b"a"])).outcomes) == ["emitted"], "the session itself is not damaged"
    session.close()


def test_a_module_that_misbehaves_at_its_tenth_instance(bench: Bench) -> None:
    starts = 0

    def act(phase: int) -> int:
        nonlocal starts
        starts += phase == 0
        return UNREACHABLE if phase == 1 and starts == 10 else 0

    bench.act = act
    session = bench.load("phases").session()
    for _ in range(8):
        assert kinds(session.run(batch([b"a"])).outcomes) == ["emitted"]
    with pytest.raises(ModuleFault, match="_initialize"):
        session.run(batch([b"a"]))
    session.close()


def test_a_fault_while_a_batch_is_taken_apart_is_still_the_modules(bench: Bench) -> None:
    session = bench.load("phases").session()
    crossed = False

    def act(phase: int) -> int:
        nonlocal crossed
        if phase == TRANSFORM:
            crossed = True
            return UNREACHABLE
        return UNREACHABLE if phase == 1 and crossed else 0

    bench.act = act
    with pytest.raises(ModuleFault):
        session.run(batch([b"a", b"b"]))
    session.close()


def test_a_refused_configuration(bench: Bench) -> None:
    bench.act = _misbehave(PHASES["configure"], REFUSE)
    with pytest.raises(ModuleFault, match=r"refused its configuration \(status 3\) — check transformers.phases.config"):
        bench.load("phases", config={"currency": "EUR"})


@pytest.mark.parametrize(("action", "why"), [(REFUSE, "gives no block"), (OUTSIDE, "outside its memory")])
def test_an_alloc_that_never_gives_a_good_block(bench: Bench, action: int, why: str) -> None:
    bench.act = _misbehave(PHASES["alloc"], action)
    with pytest.raises(ModuleFault, match=why):
        bench.load("phases")


@pytest.mark.parametrize("action", [REFUSE, FAIL, HOG], ids=["returns 0", "says memory", "is out of memory"])
def test_a_block_refused_for_its_size_is_the_large_events_violation(bench: Bench, action: int) -> None:
    """Small frames are served: configure's, the probe's, and those of the small events."""
    transformer = bench.load("phases")
    blocks = 0

    def act(phase: int) -> int:
        nonlocal blocks
        blocks = 0 if phase == 0 else blocks + (phase == PHASES["alloc"])
        return action if phase == PHASES["alloc"] and blocks == 2 else 0  # the first is for the config

    bench.act = act
    verdict = violation(transformer.run(batch([b"x" * 5000])).outcomes[0])
    assert verdict.kind == "memory"
    assert "no block of 50" in verdict.message


@pytest.mark.parametrize("action", [UNREACHABLE, LOOP])
def test_an_alloc_that_traps_or_loops_is_the_modules_fault_even_for_a_large_event(bench: Bench, action: int) -> None:
    transformer = bench.load("phases")
    asked = 0

    def act(phase: int) -> int:
        nonlocal asked
        asked += phase == PHASES["alloc"]
        return action if phase == PHASES["alloc"] and asked == 2 else 0

    bench.act = act
    with pytest.raises(ModuleFault, match="penstock_v1_alloc"):
        transformer.run(batch([b"x" * 5000]))


def test_an_event_larger_than_the_largest_allocation_never_reaches_the_guest(sandbox: Sandbox) -> None:
    transformer = sandbox.load(spec(limits=LIMITS.with_(allocation_bytes_max=10_000)), guest("saboteur"))
    report = transformer.run(batch([b"k", b"k" * 20_000, b"k"]))
    assert kinds(report.outcomes) == ["emitted", "memory", "emitted"]
    assert "the largest allocation is 10000B" in violation(report.outcomes[1]).message


def test_an_event_that_does_not_fit_the_memory(sandbox: Sandbox) -> None:
    limits = LIMITS.with_(memory_bytes=256 << 10, allocation_bytes_max=1 << 20)
    report = sandbox.load(spec(limits=limits), guest("saboteur")).run(batch([b"k", b"k" * 300_000, b"k"]))
    assert kinds(report.outcomes) == ["emitted", "memory", "emitted"]


def test_a_worn_guest_is_replaced_before_the_module_is_blamed(bench: Bench) -> None:
    """The reused guest's allocator fails from the third batch of an instance on; a fresh instance serves the batch."""
    served = 0

    def act(phase: int) -> int:
        nonlocal served
        if phase == 0:
            served = 0
        served += phase == PHASES["alloc"]
        return UNREACHABLE if phase == PHASES["alloc"] and served > 4 else 0

    bench.act = act
    session = bench.load("phases", instance=REUSED).session()
    for _ in range(10):
        assert kinds(session.run(batch([b"a", b"b"])).outcomes) == ["emitted", "emitted"]
    session.close()


def test_a_cursor_outside_memory_is_no_cursor(bench: Bench) -> None:
    bench.act = lambda phase: {4: OUTSIDE, TRANSFORM: UNREACHABLE}.get(phase, 0)
    report = bench.load("phases").run(batch([b"a", b"b"]))
    assert kinds(report.outcomes) == ["trap", "trap"]


OK_ALLOC = '(func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 8))'
OK_TRANSFORM = '(func (export "penstock_v1_transform") (param i32 i32) (result i64) (i64.const 0))'
OK_MEMORY = '(memory (export "memory") 1)'

REFUSED = {
    "no memory": (OK_ALLOC + OK_TRANSFORM, "exports nothing as `memory`"),
    "memory is a function": (
        OK_ALLOC + OK_TRANSFORM + '(func (export "memory"))',
        "exports something else as `memory`",
    ),
    "no alloc": (OK_MEMORY + OK_TRANSFORM, "does not export `penstock_v1_alloc`"),
    "no transform": (OK_MEMORY + OK_ALLOC, "does not export `penstock_v1_transform`"),
    "alloc of another type": (
        OK_MEMORY + OK_TRANSFORM + '(func (export "penstock_v1_alloc") (param i64) (result i32) (i32.const 8))',
        r"as \(i64\) -> i32; ABI v1 has \(i32\) -> i32",
    ),
    "transform of another type": (
        OK_MEMORY + OK_ALLOC + '(func (export "penstock_v1_transform") (param i32 i32) (result i32) (i32.const 8))',
        r"as \(i32, i32\) -> i32; ABI v1 has \(i32, i32\) -> i64",
    ),
    "transform is a global": (
        OK_MEMORY + OK_ALLOC + '(global (export "penstock_v1_transform") i32 (i32.const 8))',
        "not a function",
    ),
    "cursor of another type": (
        OK_MEMORY + OK_ALLOC + OK_TRANSFORM + '(func (export "penstock_v1_cursor") (result i64) (i64.const 8))',
        "penstock_v1_cursor",
    ),
    "_initialize of another type": (
        OK_MEMORY + OK_ALLOC + OK_TRANSFORM + '(func (export "_initialize") (param i32))',
        "_initialize",
    ),
    "a WASI of another age": (
        '(import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32)))'
        + OK_MEMORY
        + OK_ALLOC
        + OK_TRANSFORM,
        r"imports wasi_unstable.fd_write; .* — build it for WASI preview 1",
    ),
    "a function of WASI with another type": (
        '(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i64) (result i32)))'
        + OK_MEMORY
        + OK_ALLOC
        + OK_TRANSFORM,
        r"imports wasi_snapshot_preview1.fd_write as \(i32, i32, i32, i64\) -> i32; the host has",
    ),
    "an import of our module that does not exist": (
        '(import "penstock" "format_disk" (func))' + OK_MEMORY + OK_ALLOC + OK_TRANSFORM,
        "imports penstock.format_disk, which this host does not have",
    ),
    "an import of another type": (
        '(import "penstock" "fail" (func (param i32)))' + OK_MEMORY + OK_ALLOC + OK_TRANSFORM,
        r"imports penstock.fail as \(i32\) -> \(\); the host has",
    ),
    "an imported memory": (
        '(import "env" "memory" (memory 1))' + OK_ALLOC + OK_TRANSFORM + '(export "memory" (memory 0))',
        "imports env.memory",
    ),
    "more memory than the limit": ('(memory (export "memory") 100)' + OK_ALLOC + OK_TRANSFORM, "limits"),
    "a table larger than the limit": (OK_MEMORY + "(table 20000 funcref)" + OK_ALLOC + OK_TRANSFORM, "guest: "),
    "two memories": (OK_MEMORY + "(memory 1)" + OK_ALLOC + OK_TRANSFORM, "compiled"),
    "a 64-bit memory": ('(memory (export "memory") i64 1)' + OK_ALLOC + OK_TRANSFORM, "compiled"),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_a_module_that_is_not_as_the_abi_says_is_refused_by_name(sandbox: Sandbox, text: str, why: str) -> None:
    with pytest.raises(ModuleFault, match=why) as caught:
        sandbox.load(spec(), wat(f"(module {text})"))
    assert caught.value.module == "guest"


@pytest.mark.parametrize(
    ("item", "parameters", "capability"),
    [
        ("log", "(param i32 i32 i32)", "log"),
        ("now_ms", "(result i64)", "clock"),
        ("random", "(param i32 i32) (result i32)", "random"),
    ],
)
def test_an_ungranted_import_is_refused_with_the_line_to_add(
    sandbox: Sandbox, item: str, parameters: str, capability: str
) -> None:
    wasm = wat(f'(module (import "penstock" "{item}" (func {parameters})) {OK_MEMORY} {OK_ALLOC} {OK_TRANSFORM})')
    remedy = rf"grant it in the registry: transformers.guest.capabilities: \[{capability}\]"
    with pytest.raises(
        ModuleFault, match=rf"imports penstock.{item}, which needs the capability `{capability}` — {remedy}"
    ):
        sandbox.load(spec(), wasm)
    sandbox.load(spec(capabilities=frozenset({capability})), wasm)


def test_a_section_that_asks_for_more_than_is_granted_is_refused(sandbox: Sandbox) -> None:
    wasm = append_metadata(guest("parrot"), Metadata(name="parrot", capabilities=("log", "clock", "key-value")))
    with pytest.raises(ModuleFault, match=r"asks for `clock`, `key-value`, .*: \[clock, key-value\]"):
        sandbox.load(spec(capabilities={"log"}), wasm)
    sandbox.load(spec(capabilities={"log", "clock", "key-value", "random"}), wasm)


def test_nothing_is_granted_beyond_the_ceiling() -> None:
    with Sandbox(cache=False, ceiling={"log"}) as sandbox:
        with pytest.raises(ConfigError, match="grants `clock`, which the operator's ceiling does not leave") as caught:
            sandbox.load(spec(capabilities={"log", "clock"}), guest("parrot"))
        assert caught.value.faults[0].path == "transformers.guest.capabilities"
        with pytest.raises(ConfigError, match="ceiling"):
            sandbox.compile_module("parrot", guest("parrot"), capabilities={"clock"})
        sandbox.load(spec(capabilities={"log"}), guest("parrot"))


def test_config_for_a_module_that_takes_none(sandbox: Sandbox) -> None:
    with pytest.raises(ModuleFault, match="penstock_v1_configure"):
        sandbox.load(spec(config={"a": 1}), guest("counter"))


@pytest.mark.parametrize(
    "function", ["penstock_v1_alloc", "penstock_v1_configure", "penstock_v1_cursor", "_initialize"]
)
def test_the_function_is_none_of_the_abis_own(sandbox: Sandbox, function: str) -> None:
    """It would be called with a frame, as what it is not: raw words by position, which nothing checks any more."""
    with pytest.raises(ModuleFault, match=f"`{function}` is the ABI's own, and takes no frame"):
        sandbox.load(spec(function=function), guest("pupil"))


def test_the_function_may_have_another_name(sandbox: Sandbox) -> None:
    wasm = wat(f"(module {OK_MEMORY} {OK_ALLOC} {OK_TRANSFORM.replace('penstock_v1_transform', 'transform_event')})")
    sandbox.load(spec(function="transform_event"), wasm)
    with pytest.raises(ModuleFault, match="penstock_v1_transform"):
        sandbox.load(spec(), wasm)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0asm", b"(module)", b"\0asm\x0d\0\x01\0", b"\x7fELF" + bytes(100), guest("saboteur")[:-40]],
    ids=["empty", "cut short", "text", "component", "elf", "damaged"],
)
def test_what_is_no_module_is_refused(sandbox: Sandbox, content: bytes) -> None:
    with pytest.raises(ModuleFault):
        sandbox.load(spec(), content)


def test_a_module_is_read_from_its_file_and_pinned_by_hash(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "guest.wasm"
    path.write_bytes(guest("saboteur"))
    right = hashlib.sha256(guest("saboteur")).hexdigest()
    assert sandbox.load(TransformerSpec("guest", path, sha256=right, limits=LIMITS)).sha256 == right
    with pytest.raises(ModuleFault, match=f"its sha256 is {right}, the registry pins {'0' * 64}"):
        sandbox.load(TransformerSpec("guest", path, sha256="0" * 64, limits=LIMITS))


def test_a_missing_file_and_an_oversized_one(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(ModuleFault, match="No such file"):
        sandbox.load(TransformerSpec("guest", tmp_path / "none.wasm"))
    path = tmp_path / "large.wasm"
    with path.open("wb") as file:
        file.truncate(MODULE_BYTES_MAX + 1)
    with pytest.raises(ModuleFault, match=f"{MODULE_BYTES_MAX} is the most"):
        sandbox.load(TransformerSpec("guest", path))


@pytest.mark.parametrize(
    ("what", "text", "count"),
    [("exports", '(func (export "e{}"))', 10_001), ("imports", '(import "penstock" "i{}" (func))', 1_001)],
)
def test_absurd_numbers_of_imports_and_exports_are_refused_unlisted(
    sandbox: Sandbox, what: str, text: str, count: int
) -> None:
    many = "".join(text.format(n) for n in range(count))
    items = many + OK_MEMORY + OK_ALLOC + OK_TRANSFORM
    with pytest.raises(ModuleFault, match=f"has 1.* {what}; 1.* is the most"):
        sandbox.load(spec(), wat(f"(module {items})"))


def test_names_in_messages_are_short_and_harmless(sandbox: Sandbox) -> None:
    text = f'(import "\\1b[2J{"x" * 10_000}" "f" (func))' + OK_MEMORY + OK_ALLOC + OK_TRANSFORM
    with pytest.raises(ModuleFault) as caught:
        sandbox.load(spec(), wat(f"(module {text})"))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_another_encoding_than_raw_and_event_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigError, match="encoding: 'row' is not an encoding — use raw or event"):
        sandbox.load(spec(encoding="row"), guest("saboteur"))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("(i32.const 0)", "gives no block of 1024 bytes"),
        ("(i32.const -8)", "outside its memory"),
        ("unreachable", "`penstock_v1_alloc` failed: trap"),
        ("(loop $ever (br $ever)) (i32.const 8)", "`penstock_v1_alloc` failed: deadline"),
    ],
    ids=["gives nothing", "lies", "traps", "loops"],
)
def test_alloc_is_tried_at_load(sandbox: Sandbox, body: str, why: str) -> None:
    alloc = f'(func (export "penstock_v1_alloc") (param i32) (result i32) {body})'
    with pytest.raises(ModuleFault, match=why):
        sandbox.load(spec(limits=LIMITS.with_(deadline_ms=20)), wat(f"(module {OK_MEMORY} {alloc} {OK_TRANSFORM})"))


def test_a_stalled_start_is_tried_once_more(bench: Bench) -> None:
    """A machine that stood still for a moment must not stop a lane."""
    stalls = 0

    def act(phase: int) -> int:
        nonlocal stalls
        stalls += phase == PHASES["_initialize"]
        return LOOP if phase == PHASES["_initialize"] and stalls == 2 else 0

    transformer = bench.load("phases")
    bench.act = act
    for _ in range(3):
        assert kinds(transformer.run(batch([b"a"])).outcomes) == ["emitted"]
    assert stalls == 4
