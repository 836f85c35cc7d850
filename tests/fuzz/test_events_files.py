"""Files for `penstock try`: every encoding trouble is told with its line, whatever is legal comes back as it went in."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events_file import event_fields, read_events
from schemas.errors import Fault
from schemas.event import Event
from tests.fuzz.children import ROOT, harmless, penstock, refused
from tests.fuzz.effort import examples

SHOP = ROOT / "transformers" / "registry.yaml"
BYTES = st.none() | st.binary(max_size=30) | st.text(max_size=20).map(lambda text: text.encode(errors="replace"))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "topic",
    "partition",
    "offset",
    "timestamp",
    "key",
    "key_base64",
    "value",
    "value_base64",
    "headers",
    "to",
    "x",
)


def read(content: bytes) -> tuple[list[Event], list[Fault]]:
    faults: list[Fault] = []
    events = [line.event for line in read_events(io.BytesIO(content), "f", "t", faults, 20)]
    for fault in faults:
        assert fault.problem and fault.line
        assert "\n" not in str(fault)
        str(fault).encode()
    return events, faults


@examples(400)
@given(content=st.binary(max_size=200))
def test_noise(content: bytes) -> None:
    read(content)


@examples(400)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5), ascii_only=st.booleans())
def test_lines_of_any_json(fields: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(fields, ensure_ascii=ascii_only)
    events, faults = read(text.encode(errors="surrogatepass") + b"\n{}\n")
    assert len(events) + len(faults) == 2, "a bad line costs itself only"


@examples(300)
@given(
    key=BYTES,
    value=BYTES,
    headers=st.lists(st.tuples(NAMES, BYTES), max_size=3),
    offset=st.integers(0, 2**63 - 1),
    timestamp=st.integers(-1, 2**63 - 1),
)
def test_every_event_can_be_written_and_read(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], offset: int, timestamp: int
) -> None:
    event = Event(offset, timestamp, key, value, tuple(headers))
    from schemas.event import TopicPartition

    line = json.dumps(event_fields(event, TopicPartition("t", 0))).encode()
    assert read(line) == ([event], [])


TROUBLES = {
    "UTF-16": '{"value":"a"}\n'.encode("utf-16"),
    "UTF-16 without a mark": '{"value":"a"}\n'.encode("utf-16-le"),
    "Latin-1": '{"value":"é"}\n'.encode("latin-1"),
    "a byte that is no text": b'{"value":"\xff"}\n',
    "an encoded surrogate": b'{"value":"\xed\xa0\x80"}\n',
    "half a surrogate pair": b'{"value":"\\ud800"}\n',
    "a NUL": b'{"value":"a\0b"}\n',
    "NULs alone": b"\0" * 1_000 + b"\n",
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0" + b"\xa5" * 50 + b"\n",
    "an array": b"[1, 2]\n",
    "pretty-printed": b'{\n  "value": 1\n}\n',
    "two on a line": b'{"value":"a"}{"value":"b"}\n',
    "a line cut short": b'{"value":"a',
    "doubled keys that differ": b'{"partition":"x","partition":1}\n',
    "deep": b'{"value":' + b"[" * 100_000 + b"\n",
    "a number beyond all": b'{"offset":1e999}\n',
    "a long number": b'{"offset":' + b"9" * 10_000 + b"}\n",
    "NaN": b'{"timestamp":NaN}\n',
    "bad base64": b'{"value_base64":"!!"}\n',
    "both": b'{"value":"a","value_base64":"YQ=="}\n',
    "a header of three": b'{"headers":[["a","b","c"]]}\n',
}


@pytest.mark.parametrize("content", TROUBLES.values(), ids=TROUBLES.keys())
def test_each_trouble_is_told(content: bytes) -> None:
    events, faults = read(content)
    assert faults, events


def test_the_command_tells_all_troubles_at_once() -> None:
    lines = [content.rstrip(b"\n") for content in TROUBLES.values() if content.count(b"\n") == 1][:12]
    ended = penstock("try", SHOP, "enrich-order", "--event", "-", stdin=b"\n".join(lines))
    refused(ended, *(f"<stdin>:{number}:" for number in range(1, len(lines) + 1)))


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        (b"", "holds no event"),
        (b"\r\n\r\n", "holds no event"),
        (b"x" * (70 << 20), "is longer than 64 MiB"),
    ],
    ids=["empty", "blank", "one endless line"],
)
def test_the_command_refuses_files_without_events(stdin: bytes, says: str) -> None:
    refused(penstock("try", SHOP, "enrich-order", "--event", "-", stdin=stdin), says)


def test_a_record_of_ten_megabytes_costs_bounded_memory() -> None:
    stdin = b'{"value":"' + b"x" * (10 << 20) + b'"}\n'
    ended = penstock("try", SHOP, "enrich-order", "--event", "-", "--json", stdin=stdin)
    harmless(ended)
    assert json.loads(ended.out)["violation"] == "memory"


def test_lines_may_end_as_on_other_systems() -> None:
    events, faults = read(b'\xef\xbb\xbf{"value":"a"}\r\n\r\n{"value":"b"}')
    assert ([event.value for event in events], faults) == ([b"a", b"b"], [])
