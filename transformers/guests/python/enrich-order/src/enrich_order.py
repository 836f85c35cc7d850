"""Enriches order rows: `full_name`, `amount_cents`, `total` and `currency` are added to `after`, in place.

Rows whose `status` is listed in `drop_statuses` are dropped; rows without a usable `amount` are rejected; deletes, tombstones,
truncates and messages pass unchanged. See docs/guests.md for the configuration.
"""

import re
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from penstock_guest import ChangeEvent, ConfigError, Outcome, Reject, transformer
from penstock_guest.event import OPERATIONS

DIGITS_MAX = 38
CENTS_MAX = 1 << 63
HUNDREDTH = Decimal("0.01")
EXACT = Context(prec=4 * DIGITS_MAX, rounding=ROUND_HALF_UP)
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?").fullmatch


@dataclass(frozen=True)
class Config:
    """What the operator chose."""

    currency: str | None = None
    drop_statuses: list[str] = field(default_factory=list)
    flag_above: Decimal | None = None
    flag_topic: str | None = None

    def __post_init__(self) -> None:
        if self.currency is not None and not re.fullmatch("[A-Z]{3}", self.currency):
            raise ConfigError(
                f"currency {self.currency!r} is no ISO 4217 code: write three capital letters, such as EUR"
            )
        if self.flag_above is not None and self.flag_topic is None:
            raise ConfigError("flag_above needs flag_topic: the topic for the flagged orders")
        if self.flag_above is None and self.flag_topic is not None:
            raise ConfigError("flag_topic needs flag_above: the total from which orders are flagged")


@transformer
def transform(event: ChangeEvent, config: Config) -> Outcome:
    """Enriches one order."""
    if event.op not in "cur":
        return event.unchanged()
    row = event.after
    if row is None:
        raise Reject("no-after", f"{OPERATIONS[event.op]} without `after`: there is no row to enrich")
    if row.get("status") in config.drop_statuses:
        return event.drop()
    amount = decimal(row, "amount", "bad-amount")
    cents = hundredths(amount)
    total = None
    if row.get("quantity") is not None:
        total = product(amount, decimal(row, "quantity", "bad-quantity"))
    row["full_name"] = full_name(row)
    row["amount_cents"] = cents
    if total is not None:
        row["total"] = shown(total) if type(row["amount"]) is str else Decimal(shown(total))
    if config.currency is not None:
        row["currency"] = config.currency
    if config.flag_above is None or (amount if total is None else total) <= config.flag_above:
        return event.emit()
    enriched = event.changed()
    return event.emit_many([event.record(enriched), event.record(enriched, topic=config.flag_topic)])


def full_name(row: Any) -> str | None:
    """First and last name with a space between; nulls and empty names are skipped."""
    names = []
    for column in ("first_name", "last_name"):
        name = row.get(column)
        if name is not None and type(name) is not str:
            raise Reject("bad-name", f"after.{column} is {row.shown(column)}: a string or null was expected")
        if name:
            names.append(name)
    return " ".join(names) or None


def decimal(row: Any, column: str, code: str) -> Decimal:
    """The column as a decimal, with the zeros that it has. Raises Reject."""
    value = row.get(column)
    if (type(value) is str and DECIMAL(value)) or type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal):
        if column not in row:
            raise Reject(code, f"after.{column} is missing")
        raise Reject(
            code,
            f"after.{column} is {row.shown(column)}: a decimal number was expected (Debezium writes decimals as bytes unless "
            "decimal.handling.mode is string)",
        )
    if not fits(value):
        raise Reject("overflow", f"after.{column} is {row.shown(column)}: too many digits")
    if value.as_tuple().exponent > 0:  # 2e1 has no digits behind the point, as 20 has none
        value = Decimal(format(value, "f")) if value else Decimal(0)
    return value


def fits(number: Decimal) -> bool:
    """Whether it has no more than 38 digits, before the point and behind it."""
    if not number:
        return True
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    return exponent >= -DIGITS_MAX and len(digits) + max(exponent, 0) <= DIGITS_MAX


def hundredths(amount: Decimal) -> int:
    """Cents, halves rounded away from zero. Raises Reject."""
    cents = int(amount.quantize(HUNDREDTH, context=EXACT).scaleb(2, EXACT))
    if not -CENTS_MAX <= cents < CENTS_MAX:
        raise Reject("overflow", f"after.amount is {shown(amount)}: its cents do not fit 64 bits")
    return cents


def product(amount: Decimal, quantity: Decimal) -> Decimal:
    """The exact product. Raises Reject."""
    total = EXACT.multiply(amount, quantity)
    digits, exponent = total.as_tuple()[1:]
    if total and len(digits) + max(int(exponent), 0) > DIGITS_MAX:
        raise Reject("overflow", f"{shown(amount)} × {shown(quantity)} has too many digits")
    return total


def shown(number: Decimal) -> str:
    """All its digits, without an exponent; no sign before a zero."""
    return format(number if number else abs(number), "f")
