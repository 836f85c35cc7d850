"""PostgreSQL's texts as values, and values as PostgreSQL's texts. Both ways nothing is lost.

Integers, floats (NaN and infinities, too), truth values, bytes and null are themselves. Everything else is PostgreSQL's own text of it:
`numeric` with its digits and scale ("12.30", "NaN"), dates and times in ISO 8601 style and UTC, UUIDs, JSON as it is stored, arrays in braces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sandbox.host.database.values import INT64_MAX, INT64_MIN, Key, Value, invalid

BOOL, BYTEA, INT8, INT2, INT4, OID, FLOAT4, FLOAT8, NUMERIC, UNKNOWN = 16, 17, 20, 21, 23, 26, 700, 701, 1700, 0
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def _bytes(text: bytes) -> bytes:
    return bytes.fromhex(text[2:].decode())


_DECODERS: dict[int, Callable[[bytes], Value]] = {
    BOOL: lambda text: text == b"t",
    BYTEA: _bytes,
    **dict.fromkeys((INT2, INT4, INT8, OID), int),
    **dict.fromkeys((FLOAT4, FLOAT8), float),
}


def decoder(oid: int) -> Callable[[bytes], Value]:
    """For a column of this type."""
    return _DECODERS.get(oid, bytes.decode)  # the server sends no text that is not UTF-8


def bound(value: Value) -> tuple[int, bytes | None]:
    """Type and text of a parameter; of a text the server finds the type out where it stands. Raises HostFailure."""
    match value:
        case None:
            return UNKNOWN, None
        case bool():
            return BOOL, b"t" if value else b"f"
        case int():
            return _integer_type(value), str(value).encode()
        case float():
            return FLOAT8, repr(value).encode()
        case bytes():
            return BYTEA, b"\\x" + value.hex().encode()
        case str():
            return UNKNOWN, _text(value)


def key_array(keys: Sequence[Key]) -> bytes:
    """An array's literal, to be cast to the key column's type."""
    return b"{" + b",".join(_element(key) for key in keys) + b"}"


def _integer_type(value: int) -> int:
    if INT32_MIN <= value <= INT32_MAX:
        return INT4
    return INT8 if INT64_MIN <= value <= INT64_MAX else NUMERIC


def _element(key: Key) -> bytes:
    text = (
        str(key).encode()
        if isinstance(key, int)
        else _text(key)
        if isinstance(key, str)
        else b"\\x" + key.hex().encode()
    )
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _text(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise invalid("a text is no UTF-8") from None
