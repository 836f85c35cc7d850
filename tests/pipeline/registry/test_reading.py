"""The file itself: what is no registry file at all is one clear fault, at its line, and never a hang."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pipeline.registry import load_registry
from pipeline.registry.document import Document, dotted
from pipeline.registry.reading import parse_document
from schemas.errors import ConfigError, Fault


def only_fault(text: str) -> Fault:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "r.yaml")
    (fault,) = caught.value.faults
    return fault


def load_fault(path: Path) -> Fault:
    with pytest.raises(ConfigError) as caught:
        load_registry(path, environ={})
    (fault,) = caught.value.faults
    assert fault.file
    assert fault.remedy
    return fault


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff"])
def test_an_empty_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    fault = load_fault(path)
    assert "empty" in fault.problem or "not a mapping" in fault.problem


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text\n", "5\n", "null\n"])
def test_not_a_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    fault = load_fault(path)
    assert (fault.problem, fault.line) == ("is not a mapping", 1)


def test_a_missing_file_a_directory_a_pipe_and_a_name_that_is_none(tmp_path: Path) -> None:
    assert load_fault(tmp_path / "none.yaml").problem == "there is no such file"
    assert load_fault(tmp_path).problem == "is a directory"
    os.mkfifo(tmp_path / "pipe")
    assert load_fault(tmp_path / "pipe").problem == "is not a regular file"
    assert load_fault(tmp_path / "a\0b").problem in {"is not a file name", "there is no such file"}
    assert load_fault(tmp_path / ("x" * 300)).problem.startswith(("cannot be read", "there is no such file"))


def test_not_utf8_says_where(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"version: 1\nkafka: {group: caf\xe9}\n")
    fault = load_fault(path)
    assert (fault.problem, fault.line, fault.column) == ("is not UTF-8 text", 2, 19)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    assert "larger than 1 MiB" in load_fault(path).problem


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3),
        ("a: b: c\n", 1),
        ("a:\n\t- b\n", 2),
        ('a: "never closed\n', 2),
        ("a: *nowhere\n", 1),
        ("a: 1\n--- \nb: 2\n", 2),
    ],
)
def test_syntax_errors_are_one_fault_with_the_line(text: str, line: int) -> None:
    fault = only_fault(text)
    assert fault.problem.startswith("is not YAML: ")
    assert fault.line == line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a:\n\t- b\n", "indent with spaces"),
        ("a: {b: ${C}}\n", "put the variable in quotes"),
        ("a: [1, 2\nc: 3\n", "check the indentation"),
    ],
)
def test_a_syntax_error_says_what_to_do(text: str, says: str) -> None:
    assert says in only_fault(text).remedy


def test_control_characters() -> None:
    fault = only_fault("a: 1\nb: \x00\n")
    assert "control character" in fault.problem
    assert fault.line == 2


def test_duplicate_keys_name_both_lines() -> None:
    fault = only_fault("kafka:\n  group: a\n  brokers: b\n  group: c\n")
    assert (fault.path, fault.line, fault.column) == ("kafka.group", 4, 3)
    assert fault.problem == "is written twice, first on line 2"


@pytest.mark.parametrize("text", ["1: a\n", "true: a\n", "? [a, b]\n: c\n", "null: a\n", "<<: {a: b}\n"])
def test_keys_are_text(text: str) -> None:
    assert only_fault(text).line == 1


@pytest.mark.parametrize(
    "text", ["a: !!python/object:os.system x\n", "a: !mine x\n", "a: !!set {b}\n", "a: !mine [b]\n"]
)
def test_tags_construct_nothing(text: str) -> None:
    assert "tag" in only_fault(text).problem


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
        "a: &a [*a]\n",
        "a: &a {b: *a}\n",
        "[" * 100_000,
        "{a: " * 5_000,
        "- " * 20_000,
        "? " * 20_000,
        "a: [" + "x, " * 200_000 + "]\n",
        "&a " * 50_000,
        "%YAML 9.9.9\n---\na: 1\n",
        "a: " + "9" * 100_000 + "\n",
        'a: "\\ud800"\n',
        '"\\ud800": a\n',
    ],
    ids=[
        "laughs",
        "self",
        "self-map",
        "flow",
        "maps",
        "sequences",
        "keys",
        "wide",
        "anchors",
        "directive",
        "digits",
        "surrogate",
        "key",
    ],
)
def test_bombs_are_refused_quickly(text: str) -> None:
    started = time.thread_time()
    try:
        assert isinstance(parse_document(text, "r.yaml").data, dict)  # only the long number is taken: as text
        assert "999" in text
    except ConfigError as error:
        assert len(error.faults) == 1
    assert time.thread_time() - started < 10


def test_scalars_follow_yaml_1_2() -> None:
    data = parse_document(
        "a: yes\nb: 012\nc: 0o17\nd: 1_000\ne: 1.5\nf: .inf\ng: ~\nh: 2026-01-31\ni: 0x1F\nj: -3\nk: true\n", "r"
    ).data
    assert data == {
        "a": "yes", "b": 12, "c": 15, "d": 1000, "e": 1.5, "f": float("inf"), "g": None, "h": "2026-01-31", "i": 31, "j": -3, "k": True,
    }  # fmt: skip


def test_aliases_are_values_like_any_other() -> None:
    document = parse_document("a: &x {b: 1}\nc: *x\n", "r")
    assert document.data == {"a": {"b": 1}, "c": {"b": 1}}


def test_a_fault_finds_the_nearest_place_that_was_written() -> None:
    document = parse_document("a:\n  b: {c: 1}\n", "r")
    assert document.fault(("a", "b", "c"), "x").line == 2
    assert document.fault(("a", "b", "missing", 3), "x").column == 3
    assert document.fault(("z",), "x").line == 1
    assert Document({}).fault(("z",), "x").line is None
    assert dotted(("routes", "orders", "through", 1)) == "routes.orders.through[1]"


def test_shown_text_is_bounded_and_printable() -> None:
    document = parse_document('a: "x\\e[31m' + "y" * 500 + '"\n', "r")
    shown = document.shown(("a",))
    assert "\x1b" not in shown
    assert len(shown) < 100
