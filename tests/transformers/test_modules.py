"""What is committed: small, pinned, asking for nothing, and living within its memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from wasmtime import Engine, Module

from sandbox import Sandbox
from schemas.event import Batch, Event
from schemas.limits import MIB, Limits
from schemas.outcome import Emitted
from schemas.specs import InstancePolicy
from tests.transformers import shipped
from tests.transformers.shipped import MODULES, SOURCE, value_event

RUST = {"enrich_order", "mask_pii"}
MASK = {"fields": [{"path": "email", "action": "redact"}]}
SIZE_MAX_RUST = 117 << 10
BUILT = sorted(MODULES.glob("*.wasm"))


def test_sums_are_those_of_the_modules() -> None:
    lines = (line.split("  ") for line in (MODULES / "SHA256SUMS").read_text().splitlines())
    sums = {name: digest for digest, name in lines}
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in BUILT}


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.stem)
def test_asks_for_no_capability(path: Path) -> None:
    imports = {(one.module, one.name) for one in Module.from_file(Engine(), str(path)).imports}
    assert imports <= {("penstock", "fail")}


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.stem)
def test_is_small_and_names_no_folder_of_its_builder(path: Path) -> None:
    code = path.read_bytes()
    assert len(code) <= (SIZE_MAX_RUST if path.stem in RUST else 8 << 10)
    assert not any(folder in code for folder in (b"/root/", b"/home/", b"/tmp/", b"/usr/", b".cargo"))


@pytest.mark.parametrize(("guest", "config"), [("passthrough", {}), ("uppercase", {}), ("mask-pii", MASK)])
def test_a_kept_instance_does_not_grow(sandbox: Sandbox, guest: str, config: dict[str, object]) -> None:
    transformer = shipped.load(sandbox, guest, config, instance=InstancePolicy.REUSED)
    session = transformer.session()
    value = '{"email":"a@b","pad":"' + "x" * 10_000 + '"}'
    batch = Batch(SOURCE, [value_event(value)] * 20)
    try:
        peaks = [session.run(batch).memory_bytes_peak for _ in range(20)]
    finally:
        session.close()
    assert peaks[-1] == peaks[2]


def test_a_large_value_fits_the_smallest_profile(sandbox: Sandbox) -> None:
    transformer = shipped.load(sandbox, "mask-pii", MASK)
    value = '{"email":"a@b","pad":"' + "x" * (900 << 10) + '"}'
    outcome = shipped.outcome_of(transformer, value_event(value))
    assert isinstance(outcome, Emitted)
    assert outcome.events[0].value == value.replace("a@b", "***").encode()


def test_running_out_of_memory_is_named(sandbox: Sandbox) -> None:
    """Half of all the guest may have is the value itself: no room for the edited copy."""
    limits = Limits().with_(memory_bytes=2 * MIB, allocation_bytes_max=2 * MIB, output_bytes_per_event=4 * MIB)
    transformer = shipped.load(sandbox, "mask-pii", MASK, limits=limits)
    outcome = shipped.outcome_of(transformer, value_event('{"email":"a@b","pad":"' + "x" * (900 << 10) + '"}'))
    assert getattr(outcome, "kind", None) == "memory"


def test_nested_input_is_no_way_to_the_stack(sandbox: Sandbox) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    events = [value_event(f'{{"op":"c","after":{{"amount":1,"x":{deep}}}}}'), value_event(deep)]
    for guest, config in (("enrich-order", {}), ("mask-pii", MASK)):
        report = shipped.load(sandbox, guest, config).run(Batch(SOURCE, events))
        assert [getattr(outcome, "kind", "emitted") for outcome in report.outcomes] == ["rejected", "rejected"]


def test_every_width_of_the_frame(sandbox: Sandbox) -> None:
    """Sizes around each msgpack width, counts too: a wrong reader would lose its place."""
    sizes = (0, 1, 31, 32, 255, 256, 65_535, 65_536)
    events = [
        Event(
            offset,
            -offset,
            None if size == 1 else b"k" * size,
            b"v" * size,
            ((("h" * min(size, 300)), b"x" * size),) * (size % 20 if size < 300 else 1),
        )
        for offset, size in zip((0, 127, 128, 255, 256, 65_536, 1 << 32, (1 << 63) - 1), sizes, strict=True)
    ]
    transformer = shipped.load(sandbox, "uppercase", limits=Limits())
    for many in (events, events[:1] * 15, events[:1] * 16, events[:1] * 70_000):
        outcomes = transformer.run(Batch(SOURCE, many)).outcomes
        assert [outcome.events[0].value for outcome in outcomes if isinstance(outcome, Emitted)] == [
            (event.value or b"").upper() for event in many
        ]
