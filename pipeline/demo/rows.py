"""The shop's rows: customers, orders, lines. JSON texts, with NULLs and names from everywhere."""

from __future__ import annotations

import json
from random import Random

import msgspec

_FIRST_NAMES = (
    "Zoë",
    "Łukasz",
    "Mei",
    "José",
    "Aoife",
    "Søren",
    "Анна",
    "健",
    "Ngọc",
    "Amélie",
    "Björk",
    "Tuğba",
    "Siân",
    "Élodie",
)
_LAST_NAMES = (
    "Müller",
    "Wójcik",
    "李",
    "Núñez",
    "O'Brien",
    "Ødegård",
    "Иванова",
    "田中",
    "Nguyễn",
    "Dvořák",
    'Smith "Jr."',
)
_NOTES = ("null", '"leave at the door 🚪"', '"Geschenk 🎁, bitte ohne Rechnung"', '"2nd floor\\nring twice"')
_TIERS = ("basic", "gold", "platinum")
_SKUS = ("TEAPOT", "LAMP", "BÜCHER", "KABEL", "MUG")
STATUSES = ("placed", "paid", "shipped", "delivered")


def _quoted(text: str | None) -> str:
    return json.dumps(text, ensure_ascii=False)


class Customer(msgspec.Struct, gc=False):
    """A customer; the texts are JSON already."""

    id: int
    first_name: str
    last_name: str
    email: str
    phone: str
    tier: str
    created_at: str

    def json(self) -> str:
        """The row."""
        return (
            f'{{"id":{self.id},"first_name":{self.first_name},"last_name":{self.last_name},"email":{self.email},'
            f'"phone":{self.phone},"tier":{self.tier},"company":null,"created_at":{self.created_at}}}'
        )


class Order(msgspec.Struct, gc=False):
    """An order; the texts are JSON already."""

    id: int
    customer: Customer
    amount_cents: int
    quantity: int
    status: str
    note: str
    created_at: str

    @property
    def total_cents(self) -> int:
        """Amount × quantity."""
        return self.amount_cents * self.quantity

    def json(self, extra: str = "", *, amount: str = "") -> str:
        """The row; `extra` is JSON text of one more column, `amount` replaces the amount's."""
        customer = self.customer
        euros = amount or f'"{self.amount_cents // 100}.{self.amount_cents % 100:02}"'
        return (
            f'{{"id":{self.id},"customer_id":{customer.id},"first_name":{customer.first_name},"last_name":{customer.last_name},'
            f'"email":{customer.email},"phone":{customer.phone},"amount":{euros},"quantity":{self.quantity},'
            f'"status":"{self.status}","note":{self.note},"created_at":{self.created_at}{extra}}}'
        )


class Line(msgspec.Struct, gc=False):
    """A line of an order."""

    id: int
    order_id: int
    sku: str
    quantity: int
    price_cents: int

    def json(self) -> str:
        """The row."""
        price = f"{self.price_cents // 100}.{self.price_cents % 100:02}"
        return f'{{"id":{self.id},"order_id":{self.order_id},"sku":"{self.sku}","quantity":{self.quantity},"price":"{price}","discount":null}}'


DELETED = {
    "customers": '{{"id":{},"first_name":"","last_name":null,"email":"","phone":null,"tier":null,"company":null,"created_at":"1970-01-01T00:00:00Z"}}',
    "orders": '{{"id":{},"customer_id":0,"first_name":null,"last_name":null,"email":null,"phone":null,"amount":"0","quantity":0,'
    '"status":"","note":null,"created_at":"1970-01-01T00:00:00Z"}}',
    "order_lines": '{{"id":{},"order_id":0,"sku":"","quantity":0,"price":"0","discount":null}}',
}
"""`before` of a delete: under the default replica identity only the key is true, NOT NULL columns get invented values."""


class Rows:
    """Makes rows. One column in ten that may be NULL is."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._first_names = [_quoted(name) for name in _FIRST_NAMES]
        self._last_names = [_quoted(name) for name in _LAST_NAMES]

    def customer(self, number: int, created_at: str) -> Customer:
        """A new customer."""
        pick, some = self._chance.choice, self._chance.random
        email = "null" if some() < 0.1 else f'"user{number}@example.com"'
        phone = "null" if some() < 0.1 else f'"+49 30 5550{number % 10_000:04}"'
        tier = "null" if some() < 0.1 else f'"{pick(_TIERS)}"'
        return Customer(number, pick(self._first_names), pick(self._last_names), email, phone, tier, f'"{created_at}"')

    def order(self, number: int, customer: Customer, created_at: str) -> Order:
        """A new order: one in twenty is a draft, one in fifty expensive."""
        draw = self._chance.random
        cents = 300 + int(draw() * 30_000) + (1_000_000 if draw() < 0.02 else 0)
        status = "draft" if draw() < 0.05 else "placed"
        return Order(
            number, customer, cents, 1 + int(draw() * 3), status, self._chance.choice(_NOTES), f'"{created_at}"'
        )

    def line(self, number: int, order: Order) -> Line:
        """A new line of this order."""
        sku = f"{self._chance.choice(_SKUS)}-{number % 97:03}"
        return Line(number, order.id, sku, 1 + int(self._chance.random() * 4), 100 + int(self._chance.random() * 9_900))
