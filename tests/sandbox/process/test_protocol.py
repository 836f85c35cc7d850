"""What the host reads from a guest's process is decoded strictly: any bytes are a message or a refusal, never anything else."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.escapes import Pattern
from sandbox.process.protocol import HEAD, Crossed, Message, PatternName, Said, decode_from_process, encode, packed
from schemas.outcome import ViolationKind

REFUSALS = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)
"""Those that `Process.receive` takes for a breach."""
WHOLE = encode(Crossed(131_072, 7, Said(logs=((2, "line"),), host_calls=3)))

plain = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text() | st.binary()
values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def decoded(content: bytes) -> None:
    try:
        found = decode_from_process(content)
    except REFUSALS:
        return
    assert isinstance(found, Message)
    assert encode(found) == encode(decode_from_process(encode(found))), "what is taken is taken whole"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    decoded(content)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 12), st.lists(values, max_size=12))
def test_any_fields_of_any_message(tag: int, fields: list[object]) -> None:
    decoded(msgspec.msgpack.encode([tag, *fields]))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_any_byte_changed(at: int, byte: int) -> None:
    decoded(WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :])


@pytest.mark.parametrize("kind", ViolationKind)
def test_a_process_may_name_misbehaviour_only(kind: ViolationKind) -> None:
    content = msgspec.msgpack.encode([5, kind.value, "", "", "", 0, 0, None, False, 0, 0, [[], 0, 0, 0, 0, []]])
    if kind.is_misbehaviour:
        assert decode_from_process(content)
    else:
        with pytest.raises(msgspec.ValidationError):
            decode_from_process(content)


@pytest.mark.parametrize("size", [0, 100, 200_000])
def test_a_message_is_sent_with_its_lengths(size: int) -> None:
    message = Crossed(1, 2, Said())
    whole = b"".join(packed(message, b"x" * size))
    total, control = HEAD.unpack(whole[: HEAD.size])
    assert total == len(whole) - HEAD.size
    assert decode_from_process(whole[HEAD.size :][:control]) == message
    assert len(whole) - HEAD.size - control == size


def test_every_pattern_has_its_name_here() -> None:
    assert set(get_args(PatternName)) == set(Pattern)
