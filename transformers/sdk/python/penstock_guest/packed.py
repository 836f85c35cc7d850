"""msgpack, as much of it as frames and requests need. Slow beside `json`, so only for what JSON cannot say."""

import struct
from typing import Any


class Unavailable:
    """A value that the source left out: an unchanged TOAST column. It may be passed on, not looked into."""

    def __repr__(self) -> str:
        return "UNAVAILABLE"


UNAVAILABLE = Unavailable()
_EXT_UNAVAILABLE = 1
_SIZES = {0xC4: "B", 0xC5: "H", 0xC6: "I", 0xD9: "B", 0xDA: "H", 0xDB: "I", 0xDC: "H", 0xDD: "I", 0xDE: "H", 0xDF: "I"}
_NUMBERS = {
    0xCA: "f",
    0xCB: "d",
    0xCC: "B",
    0xCD: "H",
    0xCE: "I",
    0xCF: "Q",
    0xD0: "b",
    0xD1: "h",
    0xD2: "i",
    0xD3: "q",
}
_FIXED_EXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_EXT = {0xC7: "B", 0xC8: "H", 0xC9: "I"}


def packb(value: Any) -> bytes:
    """The value's bytes. Raises TypeError for other types, OverflowError for integers beyond 64 bits."""
    out = bytearray()
    _pack(value, out)
    return bytes(out)


def unpackb(data: bytes) -> Any:
    """The value of these bytes. Raises ValueError for anything else."""
    try:
        value, end = _unpack(data, 0)
    except (IndexError, struct.error):
        raise ValueError("the bytes end too early") from None
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes behind the value")
    return value


def _pack(value: Any, out: bytearray) -> None:
    match value:
        case None:
            out.append(0xC0)
        case bool():
            out.append(0xC3 if value else 0xC2)
        case int():
            _pack_int(value, out)
        case float():
            out += struct.pack(">Bd", 0xCB, value)
        case str():
            data = value.encode()
            _head(len(data), out, fixed=(0xA0, 31), wide=(0xD9, 0xDA, 0xDB))
            out += data
        case bytes():
            _head(len(value), out, fixed=(0, -1), wide=(0xC4, 0xC5, 0xC6))
            out += value
        case list() | tuple():
            _head(len(value), out, fixed=(0x90, 15), wide=(None, 0xDC, 0xDD))
            for item in value:
                _pack(item, out)
        case Unavailable():
            out += bytes((0xC7, 0, _EXT_UNAVAILABLE))
        case _ if hasattr(value, "items"):
            _head(len(value), out, fixed=(0x80, 15), wide=(None, 0xDE, 0xDF))
            for name, item in value.items():
                _pack(name, out)
                _pack(item, out)
        case _:
            raise TypeError(f"{type(value).__name__} has no form in msgpack")


def _pack_int(value: int, out: bytearray) -> None:
    if 0 <= value < 0x80:
        out.append(value)
    elif -32 <= value < 0:
        out.append(0x100 + value)
    elif -(1 << 63) <= value < 1 << 63:
        out += struct.pack(">Bq", 0xD3, value)
    elif 0 <= value < 1 << 64:
        out += struct.pack(">BQ", 0xCF, value)
    else:
        raise OverflowError(f"{value} has more than 64 bits")


def _head(length: int, out: bytearray, fixed: tuple[int, int], wide: tuple[int | None, int, int]) -> None:
    if length <= fixed[1]:
        out.append(fixed[0] | length)
    elif length < 1 << 8 and wide[0] is not None:
        out += bytes((wide[0], length))
    elif length < 1 << 16:
        out += struct.pack(">BH", wide[1], length)
    else:
        out += struct.pack(">BI", wide[2], length)


def _unpack(data: bytes, at: int) -> tuple[Any, int]:
    mark = data[at]
    at += 1
    if mark < 0x80:
        return mark, at
    if mark >= 0xE0:
        return mark - 0x100, at
    if mark < 0x90:
        return _map(data, at, mark & 15)
    if mark < 0xA0:
        return _array(data, at, mark & 15)
    if mark < 0xC0:
        return _text(data, at, mark & 31)
    if mark in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[mark], at
    if mark in _NUMBERS:
        return _number(data, at, _NUMBERS[mark])
    if mark in _FIXED_EXT:
        return _ext(data, at, _FIXED_EXT[mark])
    if mark in _EXT:
        length, at = _number(data, at, _EXT[mark])
        return _ext(data, at, length)
    if mark not in _SIZES:
        raise ValueError(f"0x{mark:02x} begins no value")
    length, at = _number(data, at, _SIZES[mark])
    if mark <= 0xC6:
        return _bytes(data, at, length)
    if mark <= 0xDB:
        return _text(data, at, length)
    return _array(data, at, length) if mark <= 0xDD else _map(data, at, length)


def _number(data: bytes, at: int, code: str) -> tuple[Any, int]:
    return struct.unpack_from(f">{code}", data, at)[0], at + struct.calcsize(code)


def _bytes(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    if at + length > len(data):
        raise IndexError
    return data[at : at + length], at + length


def _text(data: bytes, at: int, length: int) -> tuple[str, int]:
    found, at = _bytes(data, at, length)
    return found.decode(), at


def _array(data: bytes, at: int, length: int) -> tuple[list[Any], int]:
    items = []
    for _ in range(length):
        item, at = _unpack(data, at)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, length: int) -> tuple[dict[Any, Any], int]:
    items = {}
    for _ in range(length):
        name, at = _unpack(data, at)
        items[name], at = _unpack(data, at)
    return items, at


def _ext(data: bytes, at: int, length: int) -> tuple[Any, int]:
    kind = data[at]
    _, at = _bytes(data, at + 1, length)
    if (kind, length) != (_EXT_UNAVAILABLE, 0):
        raise ValueError(f"an extension of type {kind}, which nobody has said anything about")
    return UNAVAILABLE, at
