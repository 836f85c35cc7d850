"""Custom sections: read from anything, appended to modules, and the metadata in ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from sandbox.sections import (
    COMPONENT,
    CORE,
    SECTION,
    MalformedModuleError,
    Metadata,
    append_custom,
    append_metadata,
    custom_sections,
    is_component,
    read_metadata,
    read_sections,
)

MODULE = (Path(__file__).parents[2] / "transformers" / "modules" / "uppercase.wasm").read_bytes()


def test_the_sections_are_the_whole_file() -> None:
    sections = read_sections(MODULE)
    assert sum(one.size for one in sections) + 8 == len(MODULE)
    assert [one.kind for one in sections][:3] == ["type", "import", "function"]
    assert [one.name for one in sections if one.kind == "custom"] == ["name", "producers", "target_features"]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 70_000])
def test_what_was_appended_is_read_and_still_compiles(size: int) -> None:
    wasm = append_custom(MODULE, "note", bytes(range(256)) * (size // 256 + 1))
    assert custom_sections(wasm, "note") == [bytes(range(256)) * (size // 256 + 1)]
    assert wasm.startswith(MODULE)
    wasmtime.Module(wasmtime.Engine(), wasm)


@given(st.binary(max_size=200))
def test_anything_is_read_or_refused(content: bytes) -> None:
    for head in (b"", CORE, COMPONENT):
        try:
            sections = read_sections(head + content)
        except MalformedModuleError:
            continue
        assert sum(one.size for one in sections) == len(head + content) - len(CORE)


@pytest.mark.parametrize("length", [8, 9, 10, 11, 40, 52, 100, 3_000, len(MODULE) - 1])
def test_a_module_that_was_cut_is_refused_or_ends_between_sections(length: int) -> None:
    ends = {8}
    for one in read_sections(MODULE):
        ends.add(one.end)
    if length in ends:
        read_sections(MODULE[:length])
    else:
        with pytest.raises(MalformedModuleError, match=r"ends within|does not fit"):
            read_sections(MODULE[:length])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"hello\n", "does not begin with"),
        (b"(module)", "WebAssembly text"),
        (b"\0asm\x02\0\0\0", "not a version of WebAssembly that is known: 02 00 00 00"),
        (CORE + b"\x01\x7f", "announces 127 bytes"),
        (CORE + b"\x01\xff\xff\xff\xff\xff\x00", "a number is too long"),
        (CORE + b"\x00\x03\x7fab", "name does not fit"),
        (CORE + b"\x01\x00" * 10_001, "more than 10000 sections"),
    ],
)
def test_what_is_no_module_is_refused_with_words(content: bytes, said: str) -> None:
    with pytest.raises(MalformedModuleError, match=said):
        read_sections(content)


def test_a_component_has_sections_too() -> None:
    wasm = append_metadata(COMPONENT, Metadata(name="a"))
    assert is_component(wasm)
    assert not is_component(MODULE)
    found = read_metadata(wasm)
    assert found is not None
    assert found.name == "a"


def test_metadata_comes_back_as_it_was_written() -> None:
    said = Metadata(name="a", version="1.2", sdk="c/0.1.0", encoding="event", capabilities=("log", "clock"))
    assert read_metadata(append_metadata(MODULE, said)) == said
    (content,) = custom_sections(append_metadata(MODULE, said), SECTION)
    assert content == (
        b'{"abi":1,"name":"a","version":"1.2","sdk":"c/0.1.0","encoding":"event","capabilities":["log","clock"]}'
    )
    assert read_metadata(MODULE) is None


def test_metadata_of_later_versions_may_say_more() -> None:
    found = read_metadata(append_custom(MODULE, SECTION, b'{"abi": 1, "name": "a", "colour": "red"}'))
    assert found == Metadata(name="a")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"abi": 2}', "of ABI 2; this version has 1"),
        (b'{"encoding": "xml"}', "cannot be read: Invalid enum value 'xml'"),
        (b'{"capabilities": "log"}', "cannot be read"),
        (b"[" * 60_000, "cannot be read"),
        (b" " * 70_000, "has 70000 bytes"),
    ],
)
def test_metadata_that_cannot_be_read_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(MalformedModuleError, match=said):
        read_metadata(append_custom(MODULE, SECTION, content))


def test_two_sections_of_ours_are_refused() -> None:
    twice = append_metadata(append_metadata(MODULE, Metadata()), Metadata())
    with pytest.raises(MalformedModuleError, match="has 2 custom sections"):
        read_metadata(twice)
