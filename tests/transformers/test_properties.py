"""For any row: what comes out is JSON, equal to what went in but for the fields the guest is there for."""

from __future__ import annotations

import hashlib
import json
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox import Sandbox
from schemas.outcome import Emitted
from tests.transformers import shipped
from tests.transformers.shipped import value_event

Text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
Spaces = st.sampled_from(["", "", " ", "\n\t"])
NumberText = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
Number = NumberText.map(lambda text: ("number", text))
Scalar = st.one_of(Text, Number, st.booleans(), st.none())
Value = st.recursive(
    Scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(Text, inner, max_size=3), max_leaves=8
)
Amount = st.decimals(-(10**9), 10**9, places=4).map(lambda amount: f"{amount:f}")
EVERYTHING = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ADDED = {"full_name", "amount_cents", "total"}
EXACT = Context(prec=80)


def written(draw: st.DrawFn, value: Any) -> str:
    """JSON text of `value` with white space and escapes as they fall."""
    match value:
        case ("number", text):
            return str(text)
        case dict():
            parts = (f"{_string(draw, name)}{draw(Spaces)}:{written(draw, item)}" for name, item in value.items())
            return "{" + draw(Spaces) + f",{draw(Spaces)}".join(parts) + draw(Spaces) + "}"
        case list():
            return "[" + f"{draw(Spaces)},".join(written(draw, item) for item in value) + draw(Spaces) + "]"
        case str():
            return _string(draw, value)
        case _:
            return json.dumps(value)


def _string(draw: st.DrawFn, text: str) -> str:
    return json.dumps(text, ensure_ascii=draw(st.booleans()))


@st.composite
def envelopes(draw: st.DrawFn, row: dict[str, Any]) -> str:
    """A change event around `row`, its members in any order, with or without the embedded schema."""
    members = [("after", row), ("before", None), ("op", draw(st.sampled_from("cur"))), ("source", draw(Value))]
    envelope = dict(draw(st.permutations(members)))
    if draw(st.booleans()):
        return written(draw, {"schema": {"type": "struct"}, "payload": envelope})
    return written(draw, envelope)


@st.composite
def orders(draw: st.DrawFn) -> tuple[str, str, str | None]:
    """A change event, its amount and its quantity."""
    amount, quantity = draw(Amount), draw(st.none() | st.integers(0, 10**6).map(str))
    extra = draw(st.dictionaries(Text, Value, max_size=4))
    own = {"amount": _number(draw, amount), "first_name": draw(st.none() | Text), "last_name": draw(st.none() | Text)}
    own["quantity"] = None if quantity is None else _number(draw, quantity)
    row = dict(draw(st.permutations([*(extra | own).items()])))
    return draw(envelopes({name: value for name, value in row.items() if name not in ADDED})), amount, quantity


def _number(draw: st.DrawFn, text: str) -> Any:
    return text if draw(st.booleans()) else ("number", text)


def parsed(text: bytes | str | None) -> Any:
    """Everything a reader can tell apart: member order, and the very text of each number."""
    assert text is not None
    return json.loads(text, parse_float=_raw, parse_int=_raw, object_pairs_hook=lambda pairs: ("object", pairs))


def _raw(number: str) -> tuple[str, str]:
    return ("number", number)


def member(parsed_object: Any, name: str) -> Any:
    return dict(parsed_object[1]).get(name)


def row_of(document: Any) -> Any:
    return member(member(document, "payload") or document, "after")


def without(value: Any, names: set[str]) -> Any:
    """`value` without the members of these names in its row."""
    match value:
        case ("object", pairs):
            return ("object", [(name, _strip(name, item, names)) for name, item in pairs])
    return value


def _strip(name: str, item: Any, names: set[str]) -> Any:
    if name == "payload":
        return without(item, names)
    if name == "after" and isinstance(item, tuple):
        return ("object", [(key, value) for key, value in item[1] if key not in names])
    return item


def emitted(sandbox: Sandbox, guest: str, config: dict[str, Any], text: str) -> bytes:
    outcome = shipped.outcome_of(shipped.load(sandbox, guest, config), value_event(text))
    assert isinstance(outcome, Emitted), outcome
    value = outcome.events[0].value
    assert value is not None
    return value


@EVERYTHING
@given(orders())
def test_enriching_only_adds(sandbox: Sandbox, order: tuple[str, str, str | None]) -> None:
    text, amount, quantity = order
    document = parsed(emitted(sandbox, "enrich-order", {}, text))
    assert without(document, ADDED) == parsed(text)
    row = row_of(document)
    cents = (Decimal(amount) * 100).quantize(Decimal(1), ROUND_HALF_UP, EXACT)
    assert member(row, "amount_cents") == ("number", f"{cents:f}" if cents else "0")
    names = [name for name in (member(row, "first_name"), member(row, "last_name")) if name]
    assert member(row, "full_name") == (" ".join(names) or None)
    if quantity is None:
        assert member(row, "total") is None
    else:
        assert Decimal(_digits(member(row, "total"))) == EXACT.multiply(Decimal(amount), Decimal(quantity))


def _digits(value: Any) -> str:
    return str(value[1] if isinstance(value, tuple) else value)


@st.composite
def people(draw: st.DrawFn) -> str:
    """A change event whose row has an `email` somewhere among other columns."""
    columns = draw(st.dictionaries(Text.filter(lambda name: name != "email"), Value, max_size=5))
    email = draw(st.one_of(Text, Number, st.booleans()))
    return draw(envelopes(dict(draw(st.permutations([*columns.items(), ("email", email)])))))


@EVERYTHING
@given(people())
def test_masking_only_masks(sandbox: Sandbox, text: str) -> None:
    config = {"salt": "s", "fields": [{"path": "email", "action": "hash"}]}
    document, source = parsed(emitted(sandbox, "mask-pii", config, text)), parsed(text)
    assert without(document, {"email"}) == without(source, {"email"})
    order = [name for name, _ in row_of(document)[1]]
    assert order == [name for name, _ in row_of(source)[1]]
    assert member(row_of(document), "email") == _sha256("s" + _plain(member(row_of(source), "email")))


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _digits(value)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
