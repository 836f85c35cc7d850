"""Registry files as editors, mergers, attackers and broken disks leave them: one message and exit code 2, or a registry."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.registry import load_registry
from schemas.errors import ConfigError
from schemas.specs import Registry
from tests.fuzz.children import ROOT, ends, penstock, refused
from tests.fuzz.effort import examples

SHOP = ROOT / "transformers" / "registry.yaml"
TEXT = SHOP.read_text().replace("module: ", f"module: {SHOP.parent}/")
RAW = TEXT.encode()
LINES = TEXT.splitlines(keepends=True)
SNIPPETS = (
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\xfe\xff", b"\t", b"\r", b"\x85", b"\xe2\x80\xa8", b"\x1b[2J", b"\xed\xa0\x80"),
    *(b"&a ", b"*a", b"<<: *a", b"!!python/object/apply:os.system [id]", b"!!binary x", b"---\n", b"...\n", b"? ", b"| \n"),
    *(b"${", b"${A:-", b"${A:-${B}}", b"$$", b"1e999", b"-.inf", b".nan", b"0x" + b"f" * 200, b"9" * 5_000, b"[" * 200),
    *(b"\xf0\x9f\xa6\x80: {}", b"2001-02-30", b"12:34:56", b"yes", b"~", b"a: " * 100, b"'" * 3, b"%TAG ! tag:x,2000:\n"),
)  # fmt: skip


@examples(150)
@given(data=st.data())
def test_the_shops_registry_mutated_byte_by_byte(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    raw = RAW
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(start, min(len(raw), start + 40)))
        raw = raw[:start] + data.draw(st.binary(max_size=8) | st.sampled_from(SNIPPETS)) + raw[end:]
    _loads_or_is_refused(tmp_path_factory, raw)


@examples(100)
@given(data=st.data())
def test_the_shops_registry_with_its_lines_mixed_up(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Duplicate keys, lost parents, wrong indentation: what a merge gone wrong leaves."""
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 5))):
        at, to = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match data.draw(st.sampled_from(("double", "lose", "move", "shift"))):
            case "double":
                lines.insert(to, lines[at])
            case "lose":
                del lines[at]
            case "move":
                lines.insert(to, lines.pop(at))
            case _:
                lines[at] = data.draw(st.sampled_from((" ", "\t", "    ", "- "))) + lines[at]
    _loads_or_is_refused(tmp_path_factory, "".join(lines).encode())


def _loads_or_is_refused(factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(raw)
    try:
        registry = load_registry(path, environ={"A": "value", "KAFKA_BROKERS": "localhost:9092"})
    except ConfigError as error:
        assert error.faults
        for fault in error.faults:
            assert fault.problem and "\n" not in str(fault)
            str(fault).encode()
    else:
        assert isinstance(registry, Registry)


def _written(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None  # type: ignore[func-returns-value]


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 << 20)


def _loop(path: Path) -> None:
    path.symlink_to(path.with_suffix(".other"))
    path.with_suffix(".other").symlink_to(path)


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "UTF-16": (_written(TEXT.encode("utf-16")), "is not UTF-8 text"),
    "UTF-16 without a mark": (_written(b"version: 1\n".decode().encode("utf-16-le")), "control"),
    "Latin-1": (_written("kafka: {group: café}\n".encode("latin-1")), "is not UTF-8 text"),
    "NUL": (_written(b"version: 1\nkafka: {group: a\0b}\n"), "control"),
    "tabs": (_written(b"version: 1\nkafka:\n\tgroup: a\n"), "tab"),
    "only a mark": (_written(b"\xef\xbb\xbf"), "empty"),
    "a list": (_written(b"- a\n"), "is not a mapping"),
    "doubled keys": (_written(b"version: 1\nversion: 1\n"), "version"),
    "a billion laughs": (_written(LAUGHS.encode()), "aliases unfold into too much"),
    "deep": (_written(b"a: " + b"[" * 100_000), "nested more than"),
    "one huge scalar": (_written(b"version: '" + b"x" * 1_000_000 + b"'\n"), "version"),
    "100 MB of text": (_written(b"# " + b"x" * (100 << 20)), "larger than 1 MiB"),
    "100 MB of nothing": (_sparse, "larger than 1 MiB"),
    "a loop of links": (_loop, "no such file"),
    "a folder": (Path.mkdir, "is a directory"),
    "a pipe": (os.mkfifo, "is not a regular file"),
    "nothing": (lambda path: None, "no such file"),
    "a terminal's escape": (_written(b'"\x1b[2J": 1\n'), "control"),
    "an escaped escape": (_written(b'version: 1\n"\\e[2J\\u202e": 1\n'), "unknown"),
}


@pytest.mark.parametrize(("make", "says"), FILES.values(), ids=FILES.keys())
def test_what_is_no_registry_is_said_to_be_none(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    path = tmp_path / "registry.yaml"
    make(path)
    with pytest.raises(ConfigError) as caught:
        load_registry(path, environ={})
    assert says in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert all(fault.remedy for fault in caught.value.faults)


@pytest.mark.parametrize("name", ["a billion laughs", "deep", "100 MB of text"])
def test_bombs_cost_the_command_neither_memory_nor_its_manners(tmp_path: Path, name: str) -> None:
    path = tmp_path / "registry.yaml"
    FILES[name][0](path)
    refused(penstock("try", path, "x", "--event", "-"), str(path), FILES[name][1])


def test_a_mark_before_the_text_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + RAW)
    assert ends(["check", path]).code == 0


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_names_of_files_that_are_no_text(tmp_path: Path, options: list[str]) -> None:
    path = os.fsencode(tmp_path) + b"/a\xff\xfe\x1b[2J\n" + "☃\u202e".encode() + b"x" * 300
    ended = penstock("check", path, *options)
    assert ended.code == 2
    assert b"Traceback" not in ended.err, ended.said
    assert b"\x1b[2J" not in ended.out + ended.err


def test_a_file_that_may_not_be_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_bytes(RAW)
    path.chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_registry(path, environ={})
