"""The imports, from a guest's point of view: shapes, codes, grants, counts, and rows that are remembered."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sandbox import Sandbox
from sandbox.calls import CallsName
from sandbox.epoch import EpochTicker
from sandbox.host import Services
from sandbox.host.database import IMPORTS
from schemas.abi import ERROR_DENIED, ERROR_INVALID, ERROR_TOO_LARGE, ERROR_UNAVAILABLE
from schemas.capabilities import Capability, DatabaseScope, Grant, Grants
from schemas.outcome import Emitted
from schemas.specs import DatabaseSpec
from tests.sandbox.database.conftest import Shop
from tests.sandbox.guests import FOLDER, LIMITS, batch, spec, wat

READ, QUERY, WRITE, TRANSACTION = (
    Capability.DATABASE_READ,
    Capability.DATABASE_QUERY,
    Capability.DATABASE_WRITE,
    Capability.DATABASE_TRANSACTION,
)
ALL = frozenset({READ, QUERY, WRITE, TRANSACTION})
SCOPE = DatabaseScope("shop", tables=("customers", "orders"), time_ms=60_000)
PATIENT = LIMITS.with_(deadline_ms=10_000)


class Guest:
    """Asks one import, event by event, and tells code and answer."""

    def __init__(self, shop: Shop, state: Path) -> None:
        self.now_ns = 0
        self._shop = shop
        self.sandbox = Sandbox(
            calls=CallsName.FAST,
            cache=False,
            ticker=EpochTicker(auto=False),
            clock_ns=lambda: self.now_ns,
            services=Services(
                databases={"shop": shop.spec, "gone": replace(shop.spec, name="gone", kind="sqlite", path=None)},
                state_dir=state,
            ),
        )
        self._sessions: dict[tuple[str, int], Any] = {}
        self._kept: list[Grants] = []
        self.report: Any = None

    def ask(self, name: str, *requests: object, grants: Grants | None = None, room: int = 60_000) -> Any:
        """Code or decoded answer of each request; of the one, when there is one."""
        wanted = grants or Grants((Grant(ALL, SCOPE),))
        key = (name, id(wanted))
        if grants is None:
            key = (name, 0)
        self._kept.append(wanted)
        if key not in self._sessions:
            text = re.sub(
                r"\(;include (\w+);\)",
                lambda found: (FOLDER / f"{found[1]}.wat").read_text(),
                (FOLDER / "requester.wat").read_text(),
            )
            loaded = self.sandbox.load(
                spec(name.replace("_", "-"), capabilities=wanted, limits=PATIENT), wat(text.replace("NAME", name))
            )
            self._sessions[key] = loaded.session()
        asked = [struct.pack("<IB", room, 1) + msgspec.msgpack.encode(one) for one in requests]
        self.report = self._sessions[key].run(batch(asked))
        found = [_answer(one) for one in self.report.outcomes]
        return found[0] if len(found) == 1 else found

    def uses(self) -> dict[tuple[str, str], tuple[int, int]]:
        return {(str(one.capability), one.scope): (one.allowed, one.denied) for one in self.report.uses}


def _answer(outcome: Any) -> Any:
    assert isinstance(outcome, Emitted), outcome
    value = outcome.events[0].value
    assert value is not None
    (status,) = struct.unpack_from("<i", value)
    return status if status < 0 else msgspec.msgpack.decode(value[8 : 8 + status])


@pytest.fixture
def guest(sqlite_shop: Shop, tmp_path: Path) -> Iterator[Guest]:
    one = Guest(sqlite_shop, tmp_path / "state")
    yield one
    one.sandbox.close()


def test_every_import_answers(guest: Guest) -> None:
    ada = {"id": 1, "name": "Ada", "country": "GB", "score": 1.5, "photo": None}
    assert guest.ask("lookup", ["customers", 1]) == ada
    assert guest.ask("lookup", ["customers", 99]) is None
    assert guest.ask("lookup_many", ["customers", [99, 1]]) == [None, ada]
    assert guest.ask("lookup_many", ["customers", []]) == []
    assert guest.ask("db_query", ["SELECT name FROM customers WHERE id = ?", [2]]) == [{"name": "Grace"}]
    assert guest.ask("db_execute", ["DELETE FROM customers WHERE id = ?", [2]]) == 1
    assert guest.ask(
        "db_transaction", [["DELETE FROM customers", []], ["INSERT INTO orders VALUES (?, ?, ?)", [1, 2, "x"]]]
    ) == [2, 1]


def test_every_import_answers_on_postgresql(postgres_shop: Shop, tmp_path: Path) -> None:
    guest = Guest(postgres_shop, tmp_path)
    assert guest.ask("lookup", ["customers", 1])["name"] == "Ada"
    assert [row and row["id"] for row in guest.ask("lookup_many", ["customers", [99, 1]])] == [None, 1]
    assert guest.ask("db_query", ["SELECT name FROM customers WHERE id = $1", [2]]) == [{"name": "Grace"}]
    assert guest.ask("db_execute", ["DELETE FROM customers WHERE id = $1", [2]]) == 1
    assert guest.ask(
        "db_transaction", [["DELETE FROM customers", []], ["INSERT INTO orders VALUES ($1, $2, $3)", [1, 2, "x"]]]
    ) == [2, 1]
    assert guest.ask("db_query", ["SELECT word FROM secret", []]) == ERROR_DENIED
    guest.sandbox.close()


@pytest.mark.parametrize("name", [one.name for one in IMPORTS])
@pytest.mark.parametrize(
    "value",
    [
        None, 1, "customers", b"", [], {}, [1], ["customers"], [1, 1], ["customers", 1.5], ["customers", True], ["customers", [None]],
        ["customers", {"a": 1}], ["customers", 1, 2], ["customers", 1 << 63], [["customers", 1]] * 2, ["SELECT 1", [[1]]], ["SELECT 1", [{}]],
        ["SELECT 1\0", []], ["SELECT ?", ["\0"]], ["SELECT 1", [], 5], ["SELECT 1", [0] * 1_001], ["x" * 16_385, []], [["DELETE FROM orders"]],
        [["DELETE FROM orders", []]] * 257,
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_what_is_no_request_is_no_call(guest: Guest, name: str, value: object) -> None:
    assert guest.ask(name, value) in (ERROR_INVALID, ERROR_DENIED, ERROR_TOO_LARGE)


@pytest.mark.parametrize("name", [one.name for one in IMPORTS])
def test_a_profile_without_a_scope_reaches_nothing(guest: Guest, name: str) -> None:
    requests = {
        "lookup": ["customers", 1],
        "lookup_many": ["customers", [1]],
        "db_transaction": [["DELETE FROM orders", []]],
    }
    for grants in (Grants(profile="elevated"), Grants((Grant(ALL),))):
        assert guest.ask(name, requests.get(name, ["DELETE FROM orders", []]), grants=grants) == ERROR_DENIED


@pytest.mark.parametrize("name", [one.name for one in IMPORTS])
def test_each_import_wants_its_own_capability(guest: Guest, name: str) -> None:
    from schemas.errors import ConfigError, ModuleFault

    wanted = next(Capability(one.capability) for one in IMPORTS if one.name == name and one.capability)
    with pytest.raises((ModuleFault, ConfigError), match=str(wanted)):
        guest.ask(name, [], grants=Grants((Grant(ALL - {wanted}, SCOPE),)))


def test_uses_are_counted_by_table_and_by_connection(guest: Guest) -> None:
    guest.ask("lookup", ["customers", 1], ["CUSTOMERS", 2], ["secret", 1])
    assert guest.uses() == {("database-read", "shop.customers"): (2, 0), ("database-read", ""): (0, 1)}
    guest.ask("db_query", ["SELECT 1 AS x", []], ["SELECT * FROM secret", []])
    assert guest.uses() == {("database-query", "shop"): (1, 1)}


def test_a_grants_uses_are_not_spent_by_what_it_does_not_cover(guest: Guest) -> None:
    twice = Grants((Grant(ALL, SCOPE, uses=2),))
    asked = [
        ["SELECT * FROM secret", []],
        ["SELECT 1 AS x", []],
        ["SELECT * FROM secret", []],
        ["SELECT 1 AS x", []],
        ["SELECT 1 AS x", []],
    ]
    assert guest.ask("db_query", *asked, grants=twice) == [
        ERROR_DENIED,
        [{"x": 1}],
        ERROR_DENIED,
        [{"x": 1}],
        ERROR_DENIED,
    ]


def test_the_grant_that_covers_a_statement_is_found(guest: Guest) -> None:
    two = Grants(
        (Grant(ALL, replace(SCOPE, tables=("orders",)), uses=1), Grant(ALL, replace(SCOPE, tables=("secret",)), uses=1))
    )
    asked = ["SELECT word FROM secret", []]
    assert guest.ask("db_query", asked, ["SELECT count(*) AS n FROM orders", []], asked, grants=two) == [
        [{"word": "tulip"}],
        [{"n": 0}],
        ERROR_DENIED,
    ]
    both = "SELECT s.word FROM secret s JOIN orders o ON o.id = s.id"
    assert guest.ask("db_query", [both, []], grants=two) == ERROR_DENIED


def test_a_connection_may_be_named(guest: Guest) -> None:
    two = Grants((Grant(ALL, DatabaseScope("gone")), Grant(ALL, SCOPE)))
    assert guest.ask("lookup", ["customers", 1], grants=two) == ERROR_UNAVAILABLE
    assert guest.ask("lookup", ["shop:customers", 1], grants=two)["name"] == "Ada"
    assert guest.ask("lookup", ["nope:customers", 1], grants=two) == ERROR_DENIED
    assert guest.ask("db_query", ["SELECT 1 AS x", [], "shop"], grants=two) == [{"x": 1}]
    assert guest.ask("db_query", ["SELECT 1 AS x", [], "nope"], grants=two) == ERROR_DENIED


def test_a_connection_that_is_not_declared_is_unavailable(guest: Guest) -> None:
    assert guest.ask("lookup", ["x", 1], grants=Grants((Grant(ALL, DatabaseScope("other")),))) == ERROR_UNAVAILABLE


def test_rows_are_remembered_until_they_are_too_old(guest: Guest, sqlite_shop: Shop) -> None:
    remembering = Grants((Grant(ALL, replace(SCOPE, cache_ttl_ms=1_000)),))

    def name(key: int) -> Any:
        row = guest.ask("lookup", ["customers", key], grants=remembering)
        return row and row["name"]

    assert (name(1), name(4)) == ("Ada", None)
    sqlite_shop.operator(
        "UPDATE customers SET name = 'Augusta' WHERE id = 1; INSERT INTO customers (id, name) VALUES (4, 'Edith')"
    )
    guest.now_ns = 999_000_000
    assert (name(1), name(4)) == ("Ada", None)
    guest.now_ns = 1_000_000_000
    assert (name(1), name(4)) == ("Augusta", "Edith")


def test_without_a_time_nothing_is_remembered(guest: Guest, sqlite_shop: Shop) -> None:
    assert guest.ask("lookup", ["customers", 4]) is None
    sqlite_shop.operator("INSERT INTO customers (id, name) VALUES (4, 'Edith')")
    assert guest.ask("lookup", ["customers", 4])["name"] == "Edith"


def test_what_one_transformer_looked_up_another_does_not_see(guest: Guest, sqlite_shop: Shop) -> None:
    """Both remember; only the first may read the table."""
    wide = Grants((Grant(ALL, replace(SCOPE, tables=("secret",), cache_ttl_ms=60_000)),))
    narrow = Grants((Grant(ALL, replace(SCOPE, cache_ttl_ms=60_000)),))
    assert guest.ask("lookup", ["secret", 1], grants=wide)["word"] == "tulip"
    assert guest.ask("lookup", ["secret", 1], grants=narrow) == ERROR_DENIED


def test_remembered_rows_are_bounded_by_the_answers_caps(guest: Guest, sqlite_shop: Shop) -> None:
    sqlite_shop.operator(f"INSERT INTO orders VALUES (1, 1, '{'x' * 600}'), (2, 1, '{'x' * 600}')")
    small = Grants((Grant(ALL, replace(SCOPE, cache_ttl_ms=60_000, bytes_max=1_000, rows=4)),))
    assert guest.ask("lookup", ["orders", 1], grants=small)["id"] == 1
    assert guest.ask("lookup", ["orders", 2], grants=small)["id"] == 2
    assert guest.ask("lookup_many", ["orders", [1, 2]], grants=small) == ERROR_TOO_LARGE
    assert guest.ask("lookup_many", ["orders", [1] * 5], grants=small) == ERROR_TOO_LARGE


def test_a_key_that_was_asked_for_twice_is_looked_up_once(guest: Guest) -> None:
    rows = guest.ask("lookup_many", ["customers", [1, 1, "1", 99, 99]])
    assert [row and row["id"] for row in rows] == [1, 1, 1, None, None]


def test_writes_are_the_databases_own_and_not_kafkas(guest: Guest, sqlite_shop: Shop) -> None:
    """What the ADR says: the row is there when the call returns, whatever becomes of the event."""
    assert guest.ask(
        "db_execute", ["INSERT INTO orders VALUES (1, 1, '')", []], ["INSERT INTO orders VALUES (1, 1, '')", []]
    ) == [1, ERROR_INVALID]
    assert sqlite_shop.operator("SELECT count(*) FROM orders") == "1"


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from sandbox.host.database.postgres import PostgresDatabase
    from sandbox.host.requests import HostFailure

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(HostFailure, match=r"pip install 'penstock\[postgresql\]'"):
        PostgresDatabase(DatabaseSpec("shop", "postgresql", dsn="host=x"))


def test_drivers_are_not_imported_before_a_connection_is_used() -> None:
    import subprocess
    import sys

    code = "import sys, sandbox.host as h; h.known_imports(); sys.exit('sqlite3' in sys.modules or 'psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parents[1], check=False).returncode == 0
