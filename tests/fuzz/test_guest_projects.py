"""Guest projects and modules that are looked at: a message, or a whole answer; and a registry that is pinned changes in its pin alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.registry.reading import parse_document
from pipeline.workshop.guest_file import FILE_NAME
from pipeline.workshop.pin import pin
from pipeline.workshop.project import read_project
from sandbox.inspection import inspect_module
from sandbox.sections import SECTION, MalformedModuleError, append_custom
from schemas.errors import ConfigError
from tests.fuzz.children import ROOT
from tests.fuzz.effort import FACTOR, chance, examples

MODULES = ROOT / "transformers" / "modules"
GUEST = """\
name = "shout"
version = "0.1.0"
language = "c"
module = "build/shout.wasm"
encoding = "raw"
capabilities = ["log", "clock"]
memory = "4MiB"

[build]
sources = ["src/*.c"]
stack = 4096
"""
PIN = "f" * 64


def mutated(text: bytes, name: str, count: int) -> list[bytes]:
    """Copies with some bytes changed, removed or doubled."""
    drawn, found = chance(name), []
    for _ in range(count * FACTOR):
        damaged = bytearray(text)
        for _ in range(drawn.randint(1, 5)):
            at = drawn.randrange(len(damaged))
            match drawn.randrange(4):
                case 0:
                    damaged[at] = drawn.randrange(256)
                case 1:
                    del damaged[at : at + drawn.randint(1, 30)]
                case 2:
                    damaged[at:at] = damaged[at : at + drawn.randint(1, 30)]
                case _:
                    damaged[at:at] = drawn.choice(
                        [b"\n", b'"', b"{", b"}", b"[", b"]", b"#", b":", b"\t", b"&a ", b"\r"]
                    )
            if not damaged:
                break
        found.append(bytes(damaged))
    return found


def test_guest_files_mutated(tmp_path: Path) -> None:
    read = 0
    for text in mutated(GUEST.encode(), "guest.toml", 400):
        (tmp_path / FILE_NAME).write_bytes(text)
        try:
            project = read_project(tmp_path)
        except ConfigError as error:
            assert error.faults
            assert all(fault.problem and str(fault).isprintable() for fault in error.faults), error.faults
            continue
        assert project.module.is_relative_to(tmp_path.resolve())
        read += 1
    assert read, "every one was refused: nothing was tried"


@pytest.mark.parametrize("name", ["uppercase", "saboteur"])
def test_damaged_modules_are_looked_at_or_refused(name: str) -> None:
    wasm, looked = (MODULES / f"{name}.wasm").read_bytes(), 0
    for damaged in mutated(wasm, name, 150):
        try:
            found = inspect_module(damaged)
        except MalformedModuleError as error:
            assert str(error).isprintable()
            continue
        assert sum(one.size for one in found.sections) + 8 == found.size_bytes == len(damaged)
        assert all(
            item.name.replace("\n", "").replace("\t", "").isprintable() for item in (*found.exports, *found.imports)
        )
        looked += 1
    assert looked


@examples(100)
@given(noise=st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | st.just(b'{"abi":1,"name":"\\ud800"}'))
def test_any_metadata(noise: bytes) -> None:
    found = inspect_module(append_custom((MODULES / "uppercase.wasm").read_bytes(), SECTION, noise))
    assert (found.metadata is None) == bool(found.faults)


def test_a_mutated_registry_is_pinned_whole_or_left_alone(tmp_path: Path) -> None:
    registry, module = tmp_path / "registry.yaml", tmp_path / "modules" / "mask_pii.wasm"
    shop = (ROOT / "transformers" / "registry.yaml").read_bytes()
    pinned = 0
    for text in mutated(shop, "pins", 150):
        registry.write_bytes(text)
        try:
            names = pin(registry, module, PIN)
        except ConfigError:
            assert registry.read_bytes() == text
            continue
        before = copy.deepcopy(parse_document(text.decode("utf-8-sig"), "before").data)
        for name in names:
            before["transformers"][name]["sha256"] = PIN
        assert parse_document(registry.read_text(encoding="utf-8-sig"), "after").data == before
        pinned += 1
    assert pinned
