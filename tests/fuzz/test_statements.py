"""Statements as a guest would try them: the attacks that have names, cut and spliced, and words of SQL in any order."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.host.database.postgres_rules import BUILT_IN_BELOW, parsed
from sandbox.host.database.values import keys_of, statement_of, statements_of
from sandbox.host.gate import Denied
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_INVALID, ERROR_TOO_LARGE
from tests.fuzz.effort import chance, examples
from tests.fuzz.test_frames import ANYTHING
from tests.sandbox.database import conftest as databases
from tests.sandbox.database import test_postgres_attacks as postgres
from tests.sandbox.database import test_sqlite_attacks as sqlite
from tests.sandbox.database.conftest import Shop

sqlite_shop, postgres_shop = databases.sqlite_shop, databases.postgres_shop
ROUNDS = 400
_WORDS = """
SELECT FROM WHERE secret customers orders leak word name id * ( ) , . ; -- /* */ ' " $$ WITH AS x UNION ALL
EXISTS LIMIT 1 0 || = ?1 INSERT INTO VALUES DELETE UPDATE SET RETURNING JOIN ON LATERAL count(*) sqlite_schema
pg_class ATTACH PRAGMA main public E'\\'' U&"" :: text
"""
WORDS = _WORDS.split()
HARMLESS = ["SELECT name FROM customers", "SELECT 1 AS x"] * 20
"""So that something of what is made of attacks and these can be answered."""


def _made(attacks: list[str], dice: random.Random) -> str:
    """An attack cut and spliced with another, or words in any order."""
    if dice.random() < 0.3:
        return " ".join(dice.choices(WORDS, k=dice.randint(1, 14)))
    first, second = (re.split(r"(\W+)", dice.choice(attacks)) for _ in range(2))
    made = first[: dice.randint(0, len(first))] + second[dice.randint(0, len(second)) :]
    if dice.random() < 0.3:
        made.insert(dice.randint(0, len(made)), f" {dice.choice(WORDS)} ")
    return "".join(made)


def _tried(shop: Shop, attacks: list[str], dice: random.Random, state: Callable[[], str]) -> None:
    before, answered = state(), 0
    for _ in range(ROUNDS):
        asked = _made(attacks, dice)
        try:
            statement, _ = statement_of([asked, []])
            rows = shop.query(statement, ms=2_000)
        except (Denied, HostFailure) as error:
            assert "tulip" not in str(error), asked
        else:
            answered += 1
            assert "tulip" not in repr(rows), asked
    assert state() == before
    assert answered > ROUNDS // 100, "nothing that ran at all proves nothing"


def test_no_statement_on_sqlite_tells_or_changes_what_is_out_of_scope(sqlite_shop: Shop) -> None:
    attacks = [
        *sqlite.READS_A_SECRET.values(),
        *sqlite.REFUSED_READING.values(),
        *HARMLESS,
    ]
    _tried(sqlite_shop, attacks, chance("sqlite"), lambda: sqlite._dump(sqlite_shop))


def test_no_statement_on_postgresql_tells_or_changes_what_is_out_of_scope(
    postgres_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.host.database.postgres_classes.ASKED_PER_MINUTE_MAX", 1 << 30)
    postgres_shop.operator(postgres.OPERATORS)
    attacks = [
        *postgres.READS_A_SECRET.values(),
        *postgres.REFUSED_READING.values(),
        *HARMLESS,
    ]
    _tried(postgres_shop, attacks, chance("postgresql"), lambda: postgres_shop.operator(postgres.STATE))


@given(ANYTHING)
@examples(300)
def test_any_request_is_one_or_none(value: object) -> None:
    for check in (
        statement_of,
        statements_of,
        lambda found: keys_of(found if isinstance(found, list) else [found], 100),
    ):
        try:
            check(value)  # type: ignore[operator]
        except HostFailure as failure:
            assert failure.code in (ERROR_INVALID, ERROR_TOO_LARGE)


def _escaped(name: str) -> str:
    """As `outToken` in PostgreSQL's outfuncs.c writes a name."""
    written = re.sub(r"([ \n\t(){}\\])", r"\\\1", name)
    return f"\\{written}" if written[:1] in ("<", '"') or written[:1].isdigit() else written


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63),
    st.integers(1, 1 << 31),
)
@examples(500)
def test_no_name_hides_a_relation(name: str, relation: int) -> None:
    """Whatever a guest calls things, what is behind the name in the tree is still read; wrapped lines as the server wraps them, too."""
    tree = (
        f"{{QUERY :commandType 1 :utilityStmt <> :hasModifyingCTE false :hasForUpdate false :rtable ({{RANGETBLENTRY :alias {{ALIAS "
        f":aliasname {_escaped(name)} :colnames <>}} :rtekind 0 :relid {relation} :relkind r}}) :targetList ({{FUNCEXPR :funcid "
        f"{BUILT_IN_BELOW}}}) :returningList <> :rowMarks <>}}"
    )
    for written in (tree, _wrapped(tree)):
        found = parsed(written)
        assert relation in found.relations or found.unreadable
        assert BUILT_IN_BELOW in found.functions or found.unreadable


def _wrapped(tree: str, width: int = 78) -> str:
    """As `format_node_dump` breaks lines: at the last blank that fits, or within a word that does not."""
    lines = []
    while len(tree) > width:
        blank = tree.rfind(" ", 1, width + 1)
        lines.append(tree[:blank] if blank > 0 else tree[:width])
        tree = tree[blank + 1 :] if blank > 0 else tree[width:]
    return "\n".join([*lines, tree])
