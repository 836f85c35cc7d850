"""The example guests of docs/sql.md, with values of every width."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.sql import Call
from schemas.outcome import ViolationKind
from tests.pipeline.sql.conftest import Make
from tests.sandbox.guests import wat

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "shop_rules.wat"
CLUTTER = {
    "list": [1, [2, {"total": 1}], "x" * 40],
    "map": {f"name {n}": n for n in range(20)},
    "long": "tier" * 100,
    "bytes": b"total",
    "numbers": [-1, -200, -70_000, 1 << 40, -(1 << 40), 1.5, None, True],
    "": "total",
    "tota": 1,
    "totals": 2,
}


def call(make: Make, function: str, *arguments: object) -> Call:
    return make(shop={"wasm": wat(EXAMPLE.read_text())}).call("shop", function, arguments)


@pytest.mark.parametrize("total", [0, 1, 200, 70_000, 1 << 33, 0.5, -3, -200, -70_000, -(1 << 33)])
@pytest.mark.parametrize(("tier", "rate"), [("gold", 0.1), ("silver", 0.05), ("golden", 0), ("", 0), (None, 0), (7, 0)])
def test_the_discount(make_executor: Make, total: float, tier: object, rate: float) -> None:
    customer = CLUTTER | {"tier": tier, "total": total}
    assert call(make_executor, "apply_rules", customer).value == pytest.approx(total * rate)


@pytest.mark.parametrize("customer", [{}, {"tier": "gold"}, {"total": "much"}, {"total": None}, CLUTTER, 5, None, []])
def test_no_total(make_executor: Make, customer: object) -> None:
    refused = call(make_executor, "apply_rules", customer).violation
    assert refused is not None
    assert (refused.kind, refused.code, refused.message) == (
        ViolationKind.REJECTED,
        "no-total",
        "the customer has no total",
    )


@pytest.mark.parametrize(
    ("after", "value"),
    [
        ({"total": 5, "status": "paid"}, None),
        ({"total": 0.01}, None),
        ({"total": 5, "status": None}, {"status": "new"}),
        (CLUTTER | {"status": None, "total": 5}, {"status": "new"}),
    ],
)
def test_orders_that_pass(make_executor: Make, after: object, value: object) -> None:
    assert call(make_executor, "validate", {"before": None, "after": after}).value == value


@pytest.mark.parametrize("after", [{"total": 0}, {"total": -1}, {}, {"total": "5"}, {"total": None}])
def test_orders_that_do_not(make_executor: Make, after: object) -> None:
    refused = call(make_executor, "validate", {"before": {"total": 5}, "after": after}).violation
    assert refused is not None and (refused.code, refused.message) == ("total", "total must be above zero")
