"""Msgpack in wider forms than it needs: what a reader must take as well as the shortest. Format: the msgpack specification."""

from __future__ import annotations

import struct
from typing import Any, Final

import msgspec

WIDTHS: Final = (8, 16, 32, 64)
"""Bits; lengths have 32 at most, arrays and maps 16 at least."""
_UNSIGNED = {8: (0xCC, ">B"), 16: (0xCD, ">H"), 32: (0xCE, ">I"), 64: (0xCF, ">Q")}
_SIGNED = {8: (0xD0, ">b"), 16: (0xD1, ">h"), 32: (0xD2, ">i"), 64: (0xD3, ">q")}
_TEXT = {8: (0xD9, ">B"), 16: (0xDA, ">H"), 32: (0xDB, ">I")}
_BYTES = {8: (0xC4, ">B"), 16: (0xC5, ">H"), 32: (0xC6, ">I")}
_EXTENSION = {8: (0xC7, ">B"), 16: (0xC8, ">H"), 32: (0xC9, ">I")}
_ARRAY = {16: (0xDC, ">H"), 32: (0xDD, ">I")}
_MAP = {16: (0xDE, ">H"), 32: (0xDF, ">I")}
_Forms = dict[int, tuple[int, str]]

_unpack = msgspec.msgpack.Decoder().decode


def widened(frame: tuple[bytes, bytes], width: int, *, signed: bool = False) -> tuple[bytes, bytes]:
    """The same frame with every integer and length at least `width` bits wide. `signed`: positive integers too are written signed."""
    head, body = frame
    return b"\xdc\x00\x02" + _wide(_unpack(head[1:]), width, signed), _wide(_unpack(body), width, signed)


def _wide(value: Any, width: int, signed: bool) -> bytes:
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _integer(value, width, signed)
        case float():
            return struct.pack(">Bd", 0xCB, value)
        case str():
            text = value.encode()
            return _headed(_TEXT, width, len(text)) + text
        case bytes():
            return _headed(_BYTES, width, len(value)) + value
        case list():
            return _headed(_ARRAY, width, len(value)) + b"".join(_wide(one, width, signed) for one in value)
        case dict():
            members = (_wide(name, width, signed) + _wide(one, width, signed) for name, one in value.items())
            return _headed(_MAP, width, len(value)) + b"".join(members)
        case msgspec.msgpack.Ext():
            data = bytes(value.data)
            return _headed(_EXTENSION, width, len(data)) + struct.pack(">b", value.code) + data
    raise AssertionError(f"no {type(value).__name__} in a frame")


def _integer(value: int, width: int, signed: bool) -> bytes:
    forms = _SIGNED if value < 0 or (signed and value < 1 << 63) else _UNSIGNED
    for bits, (mark, form) in forms.items():
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if forms is _SIGNED else (0, (1 << bits) - 1)
        if bits >= width and low <= value <= high:
            return bytes((mark,)) + struct.pack(form, value)
    raise AssertionError("no integer beyond 64 bits in a frame")


def _headed(forms: _Forms, width: int, length: int) -> bytes:
    bits = next((bits for bits in forms if bits >= width and length < 1 << bits), 32)
    mark, form = forms[bits]
    return bytes((mark,)) + struct.pack(form, length)
