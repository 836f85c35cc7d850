"""Debezium's JSON as no connector writes it, and guests that answer as no SDK does: what two readers may disagree about.

Everything is drawn from a `random.Random`, which hypothesis may be behind.
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from random import Random
from typing import Any

import msgpack

TOAST = "__debezium_unavailable_value"
Json = dict[str, Any] | list[Any] | str | bytes | None | bool
"""Bytes are a literal: a number as it is to be written."""
_NUMBERS = (
    *("0", "-0", "1", "-1", "127", "128", "255", "256", "-32", "-33", "-128", "-129", "65535", "65536", "-32768", "-32769", "4294967295"),
    *("4294967296", "-2147483648", "-2147483649", "9223372036854775807", "9223372036854775808", "-9223372036854775808"),
    *("-9223372036854775809", "18446744073709551615", "18446744073709551616", "999999999999999999", "1000000000000000000"),
    *("99999999999999999999999999999999999999999", "1.10", "1e2", "1E+2", "1e-2", "-0.0", "0e5", "1e400", "-1e400", "1e-400", "0.1", "5e-324"),
    *("1.7976931348623157e308", "1.7976931348623159e308", "2.2250738585072014e-308", "9007199254740993.0", "123456789012345678.9"),
    *("0.30000000000000004", "1e16", "1e15", "1e-5", "1e-6", "100.0", "1.0", "12.50"),
)  # fmt: skip
_NAMES = (
    "id",
    "a",
    "b",
    "op",
    "before",
    "after",
    "ts_ms",
    "source",
    "schema",
    "name",
    "é",
    "",
    "a\x7f",
    'q"',
    "b\\",
    "long" * 12,
    "n\n",
)
_TEXTS = (
    *("", "a", "Ada", "x" * 15, "y" * 16, "z" * 17, "s" * 31, "t" * 32, "u" * 130, "v" * 300, "é", "\u2028", "😀", "\x00", "\x1f", "\x7f", '"', "\\", "/"),
    *(TOAST, b64encode(TOAST.encode()).decode(), TOAST + " ", "NaN", "1.50", "\n\t\r\b\f", "𐀀" * 5, "ÿ" * 20),
)  # fmt: skip
_DAMAGE = (
    *(
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\\",
        b"\\u12",
        b"\x00",
        b"\xff",
        b" ",
        b"-",
        b"0",
        b".",
        b"e",
        b"\xc3",
    ),
    *(b"\xed\xa0\x80", b""),
)


def name(draw: Random) -> str:
    """Of a member."""
    return draw.choice(_NAMES) if draw.random() < 0.5 else f"c{draw.randrange(40)}"


def text(draw: Random) -> str:
    """Any text; never half of a surrogate pair."""
    if draw.random() < 0.7:
        return draw.choice(_TEXTS)
    return "".join(
        chr(draw.choice([32, 65, 97, 0x22, 0x5C, 0x0A, 0xE9, 0x20AC, 0x1F600])) for _ in range(draw.randrange(40))
    )


def number(draw: Random) -> bytes:
    """As JSON writes it."""
    kind = draw.randrange(4)
    if kind == 0:
        return draw.choice(_NUMBERS).encode()
    if kind == 1:
        return str(draw.randrange(-(1 << 65), 1 << 65) >> draw.randrange(66)).encode()
    if kind == 2:
        (value,) = struct.unpack(">d", draw.randbytes(8))
        return (repr(value) if value - value == 0 else "1.5").encode()
    return f"{draw.randrange(-999, 999)}.{draw.randrange(1000)}".encode()


def value(draw: Random, depth: int = 3) -> Json:
    """Any JSON value."""
    kind = draw.randrange(10 if depth else 8)
    if kind < 3:
        return text(draw)
    if kind < 6:
        return number(draw)
    if kind < 8:
        return draw.choice([None, True, False])
    if kind == 8:
        return [value(draw, depth - 1) for _ in range(draw.randrange(20) if draw.random() < 0.2 else draw.randrange(4))]
    return members(draw, depth - 1)


def members(draw: Random, depth: int) -> dict[str, Json]:
    """An object; now and then of more members than fit msgpack's short form."""
    count = draw.randrange(12, 40) if draw.random() < 0.15 else draw.randrange(6)
    return {name(draw): value(draw, depth) for _ in range(count)}


def envelope(draw: Random) -> dict[str, Json]:
    """A change event nearly always, its members in any order."""
    found: dict[str, Json] = {
        "before": None if draw.random() < 0.6 else members(draw, 2),
        "after": None if draw.random() < 0.1 else members(draw, 2),
        "source": members(draw, 1),
        "op": draw.choice("cudrtm"),
        "ts_ms": b"1795353061265",
    }
    if draw.random() < 0.3:
        found["transaction"] = draw.choice([None, {"id": "1:2", "total_order": b"1"}])
    if draw.random() < 0.2:
        found[name(draw)] = value(draw, 2)
    if draw.random() < 0.2:
        found["ts_us"] = number(draw)
    if draw.random() < 0.1:
        found["ts_ms"] = draw.choice([None, b"0", b"-1", number(draw), "5"])
    if draw.random() < 0.1:
        found.pop(draw.choice([*found]))
    if draw.random() < 0.03:
        found[draw.choice(["payload", "after"])] = draw.choice(["payload", '"payload', 'x"payload', {"payload": None}])
    if draw.random() < 0.3:
        items = [*found.items()]
        draw.shuffle(items)
        found = dict(items)
    return found


def written(draw: Random, found: Json, *, plain: bool, top: bool = True) -> bytes:
    """JSON text: as JsonConverter writes it when `plain`, else with white space and escapes wherever they may be, and names that repeat."""
    if plain:
        return _plain(found)
    if isinstance(found, dict):
        escaped = not top or draw.random() < 0.05
        parts = [
            (_string(draw, key) if escaped else _plain(key))
            + _space(draw)
            + b":"
            + _space(draw)
            + written(draw, one, plain=False, top=False)
            for key, one in found.items()
        ]
        if parts and draw.random() < 0.01:
            parts.append(draw.choice(parts))
        return b"{" + _space(draw) + (_space(draw) + b"," + _space(draw)).join(parts) + _space(draw) + b"}"
    if isinstance(found, list):
        parts = [written(draw, one, plain=False, top=False) for one in found]
        return b"[" + _space(draw) + (b"," + _space(draw)).join(parts) + _space(draw) + b"]"
    return _string(draw, found) if isinstance(found, str) else _plain(found)


def _plain(found: Json) -> bytes:
    if isinstance(found, dict):
        return (
            b"{"
            + b",".join(json.dumps(key, ensure_ascii=False).encode() + b":" + _plain(one) for key, one in found.items())
            + b"}"
        )
    if isinstance(found, list):
        return b"[" + b",".join(map(_plain, found)) + b"]"
    return found if isinstance(found, bytes) else json.dumps(found, ensure_ascii=False).encode()


def _space(draw: Random) -> bytes:
    return b"" if draw.random() < 0.8 else draw.choice([b" ", b"\n", b"\t\r ", b"  "])


def _string(draw: Random, found: str) -> bytes:
    if draw.random() < 0.7:
        return json.dumps(found, ensure_ascii=draw.random() < 0.3).encode()
    units = found.encode("utf-16-be")
    return (
        b'"' + b"".join(b"\\u%04x" % int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)) + b'"'
    )


def damaged(draw: Random, data: bytes) -> bytes:
    """The same with a few bytes changed."""
    made = bytearray(data)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(made) + 1)
        made[at : at + draw.randrange(3)] = draw.choice(_DAMAGE)
    return bytes(made)


def change(draw: Random) -> bytes:
    """A record's value: mostly a change event as it is usual, else anything near it."""
    kind = draw.random()
    data = written(draw, envelope(draw), plain=kind < 0.5)
    return damaged(draw, data) if kind > 0.85 else data


def edited(draw: Random, sent: bytes) -> Any:
    """What a guest may make of the change event it was sent: a few members of it, or of what is in it, set, left out, renamed, moved."""
    event = msgpack.unpackb(sent, strict_map_key=False)
    if draw.random() < 0.01:
        return draw.choice([b"", b"plain", None, "text"])
    for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
        side = draw.choice(["after", "after", "before", "source", "transaction", "op", "ts_ms"])
        if isinstance(event[side], dict):
            _edit(draw, event[side], 3)
        elif draw.random() < 0.3:
            event[side] = draw.choice([None, answer(draw, 1), "d", 5, {}])
    if draw.random() < 0.1:
        items = [*event.items()]
        draw.shuffle(items)
        event = dict(items)
    if draw.random() < 0.03:
        event[draw.choice(["more", "op"])] = answer(draw, 0)
    if draw.random() < 0.02:
        event.pop(draw.choice([*event]))
    return event


def _edit(draw: Random, row: dict[Any, Any], depth: int) -> None:
    names = [*row]
    some = draw.choice(names) if names else "new"
    kind = draw.randrange(7)
    if kind == 0:
        row.pop(some, None)
    elif kind == 1:
        row[name(draw)] = answer(draw, 2)
    elif kind == 2 and names:
        row[name(draw)] = row.pop(some)
    elif kind == 3 and names:
        row[some] = row.pop(some)
    elif depth and isinstance(row.get(some), dict):
        _edit(draw, row[some], depth - 1)
    elif isinstance(row.get(some), list) and row[some]:
        row[some][draw.randrange(len(row[some]))] = answer(draw, 1)
    else:
        row[some] = answer(draw, 2)


def answer(draw: Random, depth: int) -> Any:
    """A value that a guest may answer, whether JSON can say it or not."""
    kind = draw.randrange(14 if depth else 11)
    if kind < 3:
        return text(draw)
    if kind < 5:
        return draw.randrange(-(1 << 63), 1 << 64) >> draw.randrange(64)
    if kind < 7:
        return (
            struct.unpack(">d", draw.randbytes(8))[0]
            if draw.random() < 0.5
            else draw.choice([0.0, -0.0, 1.0, 1.5, 1e16, 1e-7, 1.1])
        )
    if kind == 7:
        return draw.choice([None, True, False])
    if kind == 8:
        return draw.randbytes(draw.randrange(8))
    if kind == 9:
        return draw.choice(
            [msgpack.ExtType(1, b""), msgpack.ExtType(1, b""), msgpack.ExtType(1, b"x"), msgpack.ExtType(7, b"")]
        )
    if kind == 10:
        return draw.choice(_NUMBERS)
    if kind == 11:
        return [answer(draw, depth - 1) for _ in range(draw.randrange(4))]
    return {
        (name(draw) if draw.random() < 0.97 else draw.choice([1, b"k", None])): answer(draw, depth - 1)
        for _ in range(draw.randrange(4))
    }


def packed(draw: Random, found: Any) -> bytes:
    """Msgpack in any of the forms it has for a value, right or, rarely, wrong."""
    if draw.random() < 0.7:
        return bytes(msgpack.packb(found))
    if isinstance(found, dict):
        parts = [packed(draw, key) + packed(draw, one) for key, one in found.items()]
        if parts and draw.random() < 0.02:
            parts.append(draw.choice(parts))
        return _head(draw, b"\xde\xdf", (2, 4), len(parts)) + b"".join(parts)
    if isinstance(found, list):
        return _head(draw, b"\xdc\xdd", (2, 4), len(found)) + b"".join(packed(draw, one) for one in found)
    if isinstance(found, str):
        content = found.encode()
        if draw.random() < 0.01:
            content += b"\xff"
        return _head(draw, b"\xda\xdb", (2, 4), len(content)) + content
    if isinstance(found, bool) or found is None:
        return bytes(msgpack.packb(found))
    if isinstance(found, int):
        if found < 1 << 63:
            return b"\xd3" + found.to_bytes(8, "big", signed=True)
        return b"\xcf" + found.to_bytes(8, "big")
    if isinstance(found, float):
        return (
            b"\xca" + struct.pack(">f", found)
            if draw.random() < 0.5 and abs(found) < 1e38
            else b"\xcb" + struct.pack(">d", found)
        )
    if isinstance(found, msgpack.ExtType):
        return _head(draw, b"\xc8\xc9", (2, 4), len(found.data)) + bytes([found.code]) + found.data
    return bytes(msgpack.packb(found))


def _head(draw: Random, tags: bytes, widths: tuple[int, ...], length: int) -> bytes:
    at = draw.randrange(len(tags))
    return tags[at : at + 1] + length.to_bytes(widths[at], "big")
