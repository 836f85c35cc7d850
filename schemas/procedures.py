"""What procedures take and give: arguments and answers in msgpack (docs/sql.md). The answer is a guest's word, the arguments are a caller's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from schemas.abi import FrameError, Reject

DEPTH_MAX: Final = 64
"""Levels that arguments and values may be nested."""
INTEGER_LEAST: Final = -(1 << 63)
INTEGER_MOST: Final = (1 << 64) - 1


class Returned(msgspec.Struct, tag=0, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """`[0, value]`."""

    value: Any


def _refuse_extension(code: int, data: memoryview) -> object:
    raise ValueError(f"extension type {code}")


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Returned | Reject, ext_hook=_refuse_extension).decode


def encode_arguments(arguments: Sequence[object]) -> bytes:
    """The arguments as a guest gets them. Raises TypeError, ValueError that name the place of what no guest can take."""
    for position, argument in enumerate(arguments, 1):
        _check(argument, f"argument {position}", 1)
    return _encode(list(arguments))


def decode_answer(frame: bytes) -> Returned | Reject:
    """What the guest answered. Raises FrameError for anything but the two shapes."""
    try:
        said: Returned | Reject = _decode(frame)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError, MemoryError) as error:
        raise FrameError(str(error)) from None
    if isinstance(said, Returned):
        try:
            _check(said.value, "its value", 1)
        except (TypeError, ValueError) as error:
            raise FrameError(str(error)) from None
    return said


def _check(value: object, place: str, depth: int) -> None:
    """Raises TypeError, ValueError."""
    if value is None or isinstance(value, bool | float | bytes):
        return
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{place} is a text with half a character (a lone surrogate)") from None
    elif isinstance(value, int):
        if not INTEGER_LEAST <= value <= INTEGER_MOST:
            raise ValueError(f"{place} is an integer of {value.bit_length()} bits; 64 is the most")
    elif depth > DEPTH_MAX:
        raise ValueError(f"{place} is nested more than {DEPTH_MAX} levels")
    elif isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise TypeError(f"{place} is a map with a name that is no text ({type(name).__name__})")
            _check(name, place, depth)
            _check(item, place, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, place, depth + 1)
    else:
        raise TypeError(
            f"{place} holds a {type(value).__name__}, which no guest can take — pass nil, bool, int, float, str, bytes, list or dict"
        )
