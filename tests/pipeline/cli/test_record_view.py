"""How `penstock tail` shows records."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from pipeline.cli.record_view import RecordView
from schemas.dead_letter import dead_letter
from schemas.event import Event, TopicPartition
from schemas.outcome import Violation, ViolationKind

PLACE = TopicPartition("orders", 3)


def shown(value: bytes | None, key: bytes | None = b"k", headers: tuple[tuple[str, bytes | None], ...] = ()) -> str:
    console = Console(file=io.StringIO(), width=200, soft_wrap=True, highlight=False)
    RecordView(console).show(PLACE, Event(7, 1_767_268_800_123, key, value, headers))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def envelope(**members: object) -> bytes:
    return json.dumps({"before": None, "after": None, "op": "c"} | members).encode()


def test_where_it_stands() -> None:
    assert shown(envelope()).startswith("created  orders/3 offset 7  2026-01-01T12:00:00.123Z  key k")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (envelope(after={"id": 1}), ["created", "+ id: 1"]),
        (envelope(op="r", after={"id": 1}), ["read", "+ id: 1"]),
        (envelope(op="u", before={"a": 1, "b": 2}, after={"a": 1, "b": 3}), ["updated", "~ b: 2 → 3"]),
        (envelope(op="d", before={"id": 1}), ["deleted", "- id: 1"]),
        (envelope(op="t"), ["truncated"]),
        (b'{"op":"c","before":null,"after":{"n":1.10,"i":9007199254740993}}', ["+ n: 1.10", "+ i: 9007199254740993"]),
        (b'{"schema":null,"payload":{"op":"d","before":{"id":2},"after":null}}', ["deleted", "- id: 2"]),
        (None, ["tombstone"]),
        (b"just text", ["record", "just text"]),
        (b'{"op":"z"}', ["record", '{"op":"z"}']),
        (b"\xff\xfe", ["record", "2 bytes: fffe"]),
        (b"[" * 5000, ["record"]),
    ],
    ids=["c", "r", "u", "d", "t", "digits", "schema", "tombstone", "text", "op", "bytes", "deep"],
)
def test_what_it_says(value: bytes | None, expected: list[str]) -> None:
    said = shown(value)
    assert [one for one in expected if one not in said] == []


def test_a_terminal_is_not_commanded() -> None:
    said = shown(envelope(after={"name": "\x1b[2J[bold]x"}), key=b"\x1b]0;title\x07")
    assert "\x1b" not in said
    assert "[bold]x" in said


def test_a_dead_letter_says_why() -> None:
    violation = Violation(kind=ViolationKind.REJECTED, message="no amount", transformer="enrich", module_sha256="")
    headers = dead_letter(Event(1, 1, None, b"x"), PLACE, violation).headers
    assert "rejected in enrich: no amount" in shown(b"x", headers=headers)
