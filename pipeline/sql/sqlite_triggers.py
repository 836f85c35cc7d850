"""Installs, lists and drops triggers in SQLite. What a trigger is stands in its own SQL: there is no table beside it to get out of step.

Every connection that changes such a table needs the functions of `pipeline.sql.connect`; one without them fails and changes nothing.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pipeline.sql.grants import WITHOUT_EFFECT
from pipeline.sql.sqlite import WasmConnection
from pipeline.sql.triggers import Event, Trigger, check_columns, check_name, event_of, identifier, literal
from schemas.errors import ConfigError, Fault

_CALL = re.compile(r"wasm_trigger\('((?:[^']|'')*)'")
ROWID_NAMES = ("rowid", "_rowid_", "oid")
GENERATED = frozenset({2, 3})
"""`hidden` of generated columns in `pragma_table_xinfo`."""


@dataclass(frozen=True, slots=True)
class Table:
    """What is known of a table."""

    columns: tuple[str, ...]
    settable: tuple[str, ...]
    """Those that are not generated."""
    key: tuple[str, ...]
    """What tells a row from others: a name of its rowid, or its primary key."""


class SqliteTriggers:
    """The triggers of one database. `table` is where they go unless they say otherwise."""

    def __init__(self, connection: WasmConnection, table: str | None = None, *, schema: str = "main") -> None:
        self._connection = connection
        self._table = table
        self._schema = schema

    def register_trigger(
        self,
        name: str,
        module: str,
        function: str,
        event: Event,
        *,
        table: str | None = None,
        columns: Sequence[str] | None = None,
        rewrites: Sequence[str] = (),
        profile: str | None = None,
        replace: bool = False,
    ) -> Trigger:
        """Install a trigger: from now on `function` of the registry's `module` judges each row.

        `columns` are those it gets to see (all), `rewrites` those it may change, after the event only. `replace` takes the place of one of
        the same name. It becomes part of the transaction that is open, if one is. Raises ConfigError, and ModuleFault for a module
        that cannot be called from SQL; nothing is installed then.
        """
        check_name(name)
        event = event_of(event)
        place = table if table is not None else self._table
        if place is None:
            raise ConfigError(Fault("no table is named", "pass table=, or name it once for all", path="table"))
        found = self._describe(place)
        chosen = tuple(found.columns if columns is None else columns)
        check_columns(chosen, found.columns, "columns", place)
        check_columns(rewrites, found.settable, "rewrites", place)
        self._check_fit(event, chosen, rewrites)
        if rewrites and not found.key:
            problem = f"{place[:100]!r} has columns that hide its rowid, so no row can be told from others"
            raise ConfigError(Fault(problem, f"rename one of {', '.join(ROWID_NAMES)}", path="rewrites"))
        self._connection.door.executor.prepare(module, function, profile=profile, left=WITHOUT_EFFECT)
        trigger = Trigger(
            name=name,
            module=module,
            function=function,
            event=event,
            table=place,
            schema=self._schema,
            columns=chosen,
            rewrites=tuple(rewrites),
            profile=profile,
        )
        self._install(trigger, found.key, replace=replace)
        return trigger

    def triggers(self) -> list[Trigger]:
        """Those that are installed, by name."""
        rows = self._connection.execute(
            f"SELECT sql FROM {identifier(self._schema)}.sqlite_master WHERE type = 'trigger' ORDER BY name"  # noqa: S608
        )
        return [one for (sql,) in rows.fetchall() if (one := _read(sql)) is not None]

    def drop_trigger(self, name: str) -> None:
        """Take it away. Raises ConfigError when there is none of ours by that name."""
        known = [one.name for one in self.triggers()]
        if name not in known:
            remedy = f"there are: {', '.join(known) or 'none'}"
            raise ConfigError(Fault(f"there is no trigger {name[:100]!r} of penstock's", remedy, path="name"))
        self._connection.execute(f"DROP TRIGGER {identifier(self._schema)}.{identifier(name)}")

    def _install(self, trigger: Trigger, key: Sequence[str], *, replace: bool) -> None:
        """Together with the drop, or not at all."""
        with _savepoint(self._connection):
            if replace and trigger.name in [one.name for one in self.triggers()]:
                self.drop_trigger(trigger.name)
            try:
                self._connection.execute(statement(trigger, key))
            except sqlite3.OperationalError as error:
                remedy = "choose another name, or pass replace=True for one of penstock's"
                raise ConfigError(Fault(f"cannot be installed: {error}", remedy, path=trigger.name)) from None

    def _describe(self, table: str) -> Table:
        rows = self._connection.execute(
            "SELECT name, hidden, pk FROM pragma_table_xinfo(?, ?) ORDER BY cid", (table, self._schema)
        ).fetchall()
        kind = self._connection.execute(
            "SELECT type, wr FROM pragma_table_list WHERE schema = ? AND name = ? COLLATE NOCASE", (self._schema, table)
        ).fetchone()
        if not rows or kind is None or kind[0] != "table":
            problem = f"there is no table {table[:100]!r} in {self._schema!r}"
            raise ConfigError(
                Fault(problem, "name a table; views and virtual tables have other triggers", path="table")
            )
        columns = tuple(name for name, hidden, _ in rows if hidden in (0, *GENERATED))
        free = [one for one in ROWID_NAMES if one not in {name.lower() for name in columns}]
        primary = tuple(name for name, _, _ in sorted((row for row in rows if row[2]), key=lambda row: row[2]))
        return Table(
            columns=columns,
            settable=tuple(name for name, hidden, _ in rows if hidden == 0),
            key=primary if kind[1] else tuple(free[:1]),
        )

    def _check_fit(self, event: Event, columns: Sequence[str], rewrites: Sequence[str]) -> None:
        if rewrites and (event.is_before or not event.has_after):
            problem = f"SQLite cannot change the row in a {event.value} trigger"
            raise ConfigError(Fault(problem, "register it for after-insert or after-update", path="rewrites"))
        if not columns:
            raise ConfigError(Fault("no column is named", "name at least one, or leave it out for all", path="columns"))
        values = 1 + len(columns) * (event.has_before + event.has_after)
        most = self._connection.getlimit(sqlite3.SQLITE_LIMIT_FUNCTION_ARG)
        if values > most:
            problem = f"{values} values for each row are more than the {most} that a function of SQLite takes"
            raise ConfigError(Fault(problem, "name the columns that the function needs", path="columns"))


def statement(trigger: Trigger, key: Sequence[str]) -> str:
    """The SQL that installs it. Names are quoted, and the trigger itself is one quoted text."""
    event, name = trigger.event, literal(trigger.name)
    rows = [f"{row}.{identifier(column)}" for row in _row_names(event) for column in trigger.columns]
    text = literal(msgspec.json.encode(trigger).decode())
    body = [f"SELECT wasm_trigger({', '.join([text, *rows])});"]
    if trigger.rewrites:
        sets = (
            f"{identifier(one)} = wasm_column({name}, {literal(one)}, {identifier(one)})" for one in trigger.rewrites
        )
        same = " AND ".join(f"{identifier(one)} = NEW.{identifier(one)}" for one in key)
        place = identifier(trigger.table)
        body.append(f"UPDATE {place} SET {', '.join(sets)} WHERE {same} AND wasm_changed({name});")  # noqa: S608
    head = f"CREATE TRIGGER {identifier(trigger.schema)}.{identifier(trigger.name)} {event.clause}"
    lines = [f"{head} ON {identifier(trigger.table)} FOR EACH ROW BEGIN", *(f"  {line}" for line in body), "END"]
    return "\n".join(lines)


def _row_names(event: Event) -> list[str]:
    return ["OLD"] * event.has_before + ["NEW"] * event.has_after


def _read(sql: str | None) -> Trigger | None:
    """The trigger that a statement of `statement` installs; None for any other."""
    found = _CALL.search(sql or "")
    if found is None:
        return None
    try:
        return msgspec.json.decode(found[1].replace("''", "'"), type=Trigger)
    except msgspec.MsgspecError:
        return None


class _savepoint:  # noqa: N801  # used as a statement
    """All that happens within it, or nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("SAVEPOINT penstock_trigger")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._connection.execute("ROLLBACK TO penstock_trigger")
        self._connection.execute("RELEASE penstock_trigger")
