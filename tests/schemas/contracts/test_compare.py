"""What a change breaks: by the book, and by data, which readers that are said to be fine can indeed take."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.contracts.compare import Compatibility, breaking, changes
from schemas.contracts.reading import from_json_schema
from schemas.contracts.rows import type_check
from schemas.contracts.types import AnyType, Kind, ListOf, MapOf, Member, Nullable, Record, Scalar, Type

NAMES = ("a", "b", "c")
INT = Nullable(Scalar("int64"))
TEXT = Nullable(Scalar("string"))


def row(closed: bool = False, **members: Member) -> Nullable:
    return Nullable(Record(members, closed))


def told(old: Nullable, new: Nullable) -> list[tuple[str, str]]:
    """Each change, and whom it breaks: b, f, both or nobody."""
    return [(str(one), "b" * one.breaks_backward + "f" * one.breaks_forward) for one in changes(old, new)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (row(), row(a=Member(INT)), [("+ a: int64", "b")]),
        (row(), row(a=Member(INT, optional=True)), [("+ a: int64 (optional)", "")]),
        (row(closed=True), row(a=Member(INT, optional=True)), [("+ a: int64 (optional)", "f")]),
        (row(a=Member(INT)), row(), [("- a: int64", "f")]),
        (row(a=Member(INT, optional=True)), row(), [("- a: int64 (optional)", "")]),
        (row(a=Member(INT)), row(closed=True), [("- a: int64", "bf")]),
        (row(a=Member(INT)), row(a=Member(TEXT)), [("~ a: int64 → string", "bf")]),
        (row(a=Member(Nullable(Scalar("int32")))), row(a=Member(INT)), [("~ a: int32 → int64", "f")]),
        (row(a=Member(INT)), row(a=Member(Nullable(Scalar("float64")))), [("~ a: int64 → float64", "f")]),
        (row(a=Member(TEXT)), row(a=Member(Nullable(Scalar("decimal")))), [("~ a: string → decimal", "b")]),
        (row(a=Member(INT)), row(a=Member(Nullable(INT.type, null=True))), [("~ a: int64 → int64 or null", "f")]),
        (row(a=Member(INT)), row(a=Member(INT, optional=True)), [("~ a: int64 → int64 (optional)", "f")]),
        (row(a=Member(INT, optional=True)), row(a=Member(INT)), [("~ a: int64 (optional) → int64", "b")]),
        (row(a=Member(INT)), row(a=Member(Nullable(AnyType(), null=True))), [("~ a: int64 → anything or null", "f")]),
        (
            row(a=Member(Nullable(Scalar("string", frozenset("xy"))))),
            row(a=Member(Nullable(Scalar("string", frozenset("xyz"))))),
            [("~ a: string of x, y → string of x, y, z", "f")],
        ),
        (
            row(a=Member(Nullable(ListOf(row(b=Member(INT)))))),
            row(a=Member(Nullable(ListOf(row(b=Member(TEXT)))))),
            [("~ a[].b: int64 → string", "bf")],
        ),
        (
            row(a=Member(Nullable(MapOf(INT)))),
            row(a=Member(Nullable(MapOf(TEXT)))),
            [("~ a{}: int64 → string", "bf")],
        ),
        (
            row(a=Member(row(b=Member(INT)))),
            row(a=Member(Nullable(Record({}), null=True))),
            [("~ a: record → record or null", "f"), ("- a.b: int64", "f")],
        ),
    ],
)
def test_by_the_book(old: Nullable, new: Nullable, expected: list[tuple[str, str]]) -> None:
    assert told(old, new) == expected


def test_what_each_word_allows() -> None:
    found = changes(row(a=Member(INT)), row(b=Member(INT)))
    count = {wanted.value: len(breaking(found, wanted)) for wanted in Compatibility}
    assert count == {"backward": 1, "forward": 1, "full": 2, "none": 0}


def test_json_schemas_as_people_write_them() -> None:
    old = {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "city": {"$ref": "#/$defs/city"}},
        "required": ["id"],
    }
    old["$defs"] = {"city": {"enum": ["Wien", "Graz", None]}}
    new = {"type": "object", "properties": {"id": {"type": ["integer", "null"]}, "city": {"type": "string"}}}
    assert told(from_json_schema(old), from_json_schema(new)) == [
        ("~ id: int64 → int64 or null (optional)", "f"),
        ("~ city: string of Graz, Wien or null → string", "bf"),
    ]


kinds: list[Kind] = ["boolean", "int32", "int64", "float64", "decimal", "string", "bytes"]
scalars = st.one_of(
    st.sampled_from(kinds).map(Scalar),
    st.frozensets(st.sampled_from("xyz"), min_size=1).map(lambda symbols: Scalar("string", symbols)),
    st.just(AnyType()),
)


def _nullable(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Nullable]:
    return st.builds(Nullable, inner, st.booleans())


def _compound(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    members = st.dictionaries(st.sampled_from(NAMES), st.builds(Member, _nullable(inner), st.booleans()), max_size=3)
    return st.one_of(
        st.builds(Record, members, st.booleans()),
        _nullable(inner).map(ListOf),
        _nullable(inner).map(MapOf),
    )


types = st.recursive(scalars, _compound, max_leaves=6)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "int32": st.integers(-(1 << 31), (1 << 31) - 1),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "float64": st.floats(),
    "decimal": st.integers().map(str),
    "string": st.text(max_size=3),
    "bytes": st.binary(max_size=3),
}


def values(kind: Nullable) -> st.SearchStrategy[Any]:
    """What a writer with this schema may write."""
    inner = _values(kind.type)
    return st.none() | inner if kind.null else inner


def _values(kind: Type) -> st.SearchStrategy[Any]:
    match kind:
        case Scalar(_, symbols) if symbols is not None:
            return st.sampled_from(sorted(symbols))
        case Scalar(name):
            return VALUES[name]
        case ListOf(items):
            return st.lists(values(items), max_size=2)
        case MapOf(inner):
            return st.dictionaries(st.sampled_from(NAMES), values(inner), max_size=2)
        case Record(members):
            must = {name: values(one.type) for name, one in members.items() if not one.optional}
            may = {name: values(one.type) for name, one in members.items() if one.optional}
            return st.fixed_dictionaries(must, optional=may)
    return st.one_of(st.integers(), st.text(max_size=2))


@settings(max_examples=300)
@given(st.data(), _nullable(types))
def test_what_a_schema_allows_holds_to_it(data: st.DataObject, kind: Nullable) -> None:
    assert changes(kind, kind) == []
    assert type_check(row(a=Member(kind)))({"a": data.draw(values(kind))}) == []


@settings(max_examples=1000)
@given(st.data(), _nullable(types), _nullable(types))
def test_readers_that_are_not_broken_can_read(data: st.DataObject, old: Nullable, new: Nullable) -> None:
    found = changes(row(a=Member(old)), row(a=Member(new)))
    if not breaking(found, Compatibility.FORWARD):
        assert type_check(row(a=Member(old)))({"a": data.draw(values(new))}) == []
    if not breaking(found, Compatibility.BACKWARD):
        assert type_check(row(a=Member(new)))({"a": data.draw(values(old))}) == []
