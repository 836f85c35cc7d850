"""Module files: real modules damaged in every way, and files that never were modules. Refused with a ModuleFault, or they run contained."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Sandbox
from sandbox.sections import read_sections
from schemas.errors import ModuleFault
from schemas.outcome import Emitted
from tests.fuzz.children import ROOT, penstock, refused
from tests.fuzz.effort import FACTOR, chance, examples
from tests.sandbox.guests import LIMITS, batch, guest, spec

MODULES = ROOT / "transformers" / "modules"
QUICK = LIMITS.with_(deadline_ms=20)
SHIPPED = ("passthrough", "uppercase", "enrich_order")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(cache=False) as one:
        yield one
        assert one.stats().active_instances == 0


def _contained(sandbox: Sandbox, wasm: bytes) -> bool:
    """Load it and, when it loads, run it: verdicts for all events, or the module's own fault. Whether it loaded."""
    try:
        transformer = sandbox.load(spec(limits=QUICK), wasm)
    except ModuleFault as fault:
        assert fault.problem and len(str(fault)) < 10_000
        assert str(fault).replace("\n", "").replace("\t", "").isprintable(), str(fault)
        return False
    events = batch([b'{"after":{"id":1}}', b"", None, b"x" * 1_000])
    with closing(transformer.session()) as session:
        try:
            report = session.run(events)
        except ModuleFault:
            return True
        assert report.exhausted or len(report.outcomes) == len(events.events)
    return True


@pytest.mark.parametrize("name", SHIPPED)
def test_modules_with_flipped_bits(sandbox: Sandbox, name: str) -> None:
    wasm, drawn = (MODULES / f"{name}.wasm").read_bytes(), chance(name)
    loaded = 0
    for _ in range((40 if name != "enrich_order" else 6) * FACTOR):
        damaged = bytearray(wasm)
        for _ in range(drawn.randint(1, 4)):
            damaged[drawn.randrange(8, len(damaged))] ^= 1 << drawn.randrange(8)
        loaded += _contained(sandbox, bytes(damaged))
    assert loaded or name == "enrich_order", "none got as far as running: nothing was tried"


@pytest.mark.parametrize("name", ["passthrough", "uppercase"])
def test_modules_cut_short_at_every_length(sandbox: Sandbox, name: str) -> None:
    wasm = (MODULES / f"{name}.wasm").read_bytes()
    drawn = chance(name)
    sections = read_sections(wasm)
    last = max(at for at, section in enumerate(sections) if section.kind != "custom")
    whole = {section.end for section in sections[last:]}  # what follows says who the module is, not what it does
    assert all(_contained(sandbox, wasm[:length]) for length in whole)
    for length in sorted(drawn.sample(range(len(wasm)), min(len(wasm), 60 * FACTOR))):
        assert length in whole or not _contained(sandbox, wasm[:length])


@examples(60)
@given(data=st.data())
def test_modules_spliced_from_each_other(sandbox: Sandbox, data: st.DataObject) -> None:
    one, other = (guest(data.draw(st.sampled_from(("saboteur", "parrot", "clockwork", "counter")))) for _ in range(2))
    start = data.draw(st.integers(8, len(one)))
    end = data.draw(st.integers(start, len(one)))
    at = data.draw(st.integers(0, len(other)))
    _contained(sandbox, one[:start] + other[at : at + data.draw(st.integers(0, 400))] + one[end:])


@examples(80)
@given(noise=st.binary(max_size=300))
def test_noise_behind_a_modules_head(sandbox: Sandbox, noise: bytes) -> None:
    assert not _contained(sandbox, b"\0asm\1\0\0\0" + noise)


@examples(60)
@given(section=st.integers(0, 13), count=st.integers(0, 2**32 - 1), noise=st.binary(max_size=20))
def test_sections_that_claim_more_than_they_have(sandbox: Sandbox, section: int, count: int, noise: bytes) -> None:
    body = _leb(count) + noise
    assert not _contained(sandbox, b"\0asm\1\0\0\0" + bytes([section]) + _leb(len(body)) + body)
    assert not _contained(sandbox, b"\0asm\1\0\0\0" + bytes([section]) + _leb(count) + body)


def _leb(number: int) -> bytes:
    out = bytearray()
    while True:
        out.append(number & 0x7F | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(out)


def test_a_module_of_a_huge_function_and_one_of_a_hundred_thousand(sandbox: Sandbox) -> None:
    """Valid, within the 32 MiB, and compiled in bounded time or refused."""
    frame = guest("parrot")
    for body in (b"\x01" * (4 << 20) + b"\x0b", None):
        functions = 1 if body is not None else 100_000
        code = _leb(functions) + (_leb(len(body) + 1) + b"\0" + body if body is not None else b"\x02\0\x0b" * functions)
        module = b"\0asm\1\0\0\0" + _section(1, b"\x01\x60\0\0") + _section(3, _leb(functions) + b"\0" * functions)
        assert not _contained(sandbox, module + _section(10, code)), "it exports nothing"
    assert _contained(sandbox, frame)


def _section(number: int, body: bytes) -> bytes:
    return bytes([number]) + _leb(len(body)) + body


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("(module)"), "WebAssembly text, not a module"),
    "an old component": (
        lambda path: path.write_bytes(b"\0asm\x0c\0\1\0"),
        "is a component of a version other than 13",
    ),
    "only a component's head": (
        lambda path: path.write_bytes(b"\0asm\x0d\0\1\0"),
        "does not export `penstock-v1-transform`",
    ),
    "empty": (lambda path: path.write_bytes(b""), "is an empty file"),
    "10 GiB": (_sparse, "is larger than 32 MiB"),
    "a pipe": (_pipe, "is not a regular file"),
    "a folder": (Path.mkdir, "is a directory"),
    "a loop of links": (_loop, "there is no file"),
    "only a head": (lambda path: path.write_bytes(b"\0asm\1\0\0\0"), "does not export `memory`"),
    "python": (lambda path: path.write_text("print(1)\n"), "does not begin with"),
}


@pytest.mark.parametrize(("make", "says"), FILES.values(), ids=FILES.keys())
def test_files_that_are_no_modules(tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
    registry, module = tmp_path / "registry.yaml", tmp_path / "m.wasm"
    make(module)
    registry.write_text(
        "version: 1\ntransformers: {t: {module: m.wasm}}\nroutes: {r: {from: a, through: [t], to: b, dead_letter: c}}\n"
    )
    if says.startswith("does not export"):
        refused(penstock("try", registry, "t", "--event", "-", stdin=b"{}"), "transformers.t.module")
    else:
        from pipeline.registry import load_registry
        from schemas.errors import ConfigError

        with pytest.raises(ConfigError, match=says):
            load_registry(registry, environ={})


@pytest.mark.parametrize("make", [_pipe, Path.mkdir, _loop], ids=["a pipe", "a folder", "a loop of links"])
def test_the_sandbox_itself_reads_regular_files_only(
    sandbox: Sandbox, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    module = tmp_path / "m.wasm"
    make(module)
    with pytest.raises(ModuleFault, match="cannot read"):
        sandbox.load(spec(module=module))
    with pytest.raises(ModuleFault, match="cannot read"):
        sandbox.load(spec(module=Path("a\0b")))


def test_an_undamaged_module_still_works(sandbox: Sandbox) -> None:
    (outcome,) = sandbox.load(spec(limits=QUICK), (MODULES / "uppercase.wasm").read_bytes()).run(batch([b"a"])).outcomes
    assert isinstance(outcome, Emitted) and outcome.events[0].value == b"A"
