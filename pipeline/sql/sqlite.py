"""SQLite connections whose statements can call the registry's procedures: `wasm_call` and what triggers are made of.

Threat: names, values and whole triggers come from SQL text, which may come from whoever wrote the database file. They choose among the
procedures that the connection was opened with, never a file; what they call cannot do anything that would outlive a rollback.

A statement runs in the thread that executes it, and so do the procedures it calls: each until its deadline at most.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from pipeline.sql.executor import ProcedureExecutor
from pipeline.sql.grants import WITHOUT_EFFECT
from pipeline.sql.triggers import Trigger
from sandbox.procedure import Call
from schemas.errors import PenstockError
from schemas.outcome import Violation, ViolationKind

JSON_BYTES_MAX = 1 << 20
"""Of one argument. Decoding multiplies a hostile text by about 20."""
INT64 = range(-(1 << 63), 1 << 63)
TRIGGER_DEPTH_MAX = 32
"""SQLite's own bound is 1000 triggers that fire each other, each of which may take a deadline."""
DECODED_MAX = 1_000
"""Triggers whose text, and whose last answer, are kept."""

Value = int | float | str | bytes | None


class GuestRejected(sqlite3.IntegrityError):
    """A procedure refused: the statement is rolled back. The message is the guest's own."""

    violation: Violation


class GuestFailed(sqlite3.OperationalError):
    """A procedure came to nothing, or could not be called: the statement is rolled back."""

    violation: Violation | None = None


def connect(
    database: str | Path,
    executor: ProcedureExecutor,
    *,
    modules: Collection[str] | None = None,
    **options: Any,
) -> WasmConnection:
    """A connection as `sqlite3.connect` makes it (`options` are its), whose SQL has `wasm_call` and `wasm_function`.

    `modules` are the registry's transformers that SQL may call; None is all of them. Raises what sqlite3 raises.
    """
    connection = sqlite3.connect(database, factory=WasmConnection, **options)
    connection.open_door(executor, modules)
    return connection


class WasmCursor(sqlite3.Cursor):
    """A cursor that raises what a procedure said, where sqlite3 only knows that a function raised."""

    connection: WasmConnection

    def execute(self, *arguments: Any) -> WasmCursor:
        """See sqlite3. Raises GuestRejected, GuestFailed."""
        with self.connection.door.speaking():
            super().execute(*arguments)
        return self

    def executemany(self, *arguments: Any) -> WasmCursor:
        """See `execute`."""
        with self.connection.door.speaking():
            super().executemany(*arguments)
        return self

    def executescript(self, *arguments: Any) -> WasmCursor:
        """See `execute`."""
        with self.connection.door.speaking():
            super().executescript(*arguments)
        return self

    def fetchone(self) -> Any:
        """See `execute`: fetching a row runs the statement on."""
        with self.connection.door.speaking():
            return super().fetchone()

    def fetchmany(self, *arguments: Any, **named: Any) -> list[Any]:
        """See `fetchone`."""
        with self.connection.door.speaking():
            return super().fetchmany(*arguments, **named)

    def fetchall(self) -> list[Any]:
        """See `fetchone`."""
        with self.connection.door.speaking():
            return super().fetchall()

    def __next__(self) -> Any:
        with self.connection.door.speaking():
            return super().__next__()


class WasmConnection(sqlite3.Connection):
    """Made by `connect`."""

    door: Door

    def open_door(self, executor: ProcedureExecutor, modules: Collection[str] | None) -> None:
        """Register the functions."""
        self.door = Door(executor, modules)
        self.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, TRIGGER_DEPTH_MAX)
        # Not deterministic: SQLite would let them into indexes, which a new version of a module would leave wrong.
        self.create_function("wasm_call", -1, self.door.wasm_call)
        self.create_function("wasm_function", -1, self.door.wasm_function)
        self.create_function("wasm_trigger", -1, self.door.wasm_trigger)
        self.create_function("wasm_changed", 1, self.door.wasm_changed)
        self.create_function("wasm_column", 3, self.door.wasm_column)

    def cursor(self, factory: Any = WasmCursor) -> Any:
        """See sqlite3."""
        return super().cursor(factory)

    def execute(self, *arguments: Any) -> WasmCursor:
        """See `WasmCursor.execute`."""
        made: WasmCursor = self.cursor().execute(*arguments)
        return made

    def executemany(self, *arguments: Any) -> WasmCursor:
        """See `WasmCursor.execute`."""
        made: WasmCursor = self.cursor().executemany(*arguments)
        return made

    def executescript(self, *arguments: Any) -> WasmCursor:
        """See `WasmCursor.execute`."""
        made: WasmCursor = self.cursor().executescript(*arguments)
        return made


class Door:
    """The functions of one connection. Used by one statement at a time, as the connection is."""

    def __init__(self, executor: ProcedureExecutor, modules: Collection[str] | None) -> None:
        self.executor = executor
        self._modules = None if modules is None else frozenset(modules)
        self._raised: BaseException | None = None
        """By a function, since the statement began: sqlite3 does not pass it on."""
        self._triggers: dict[str, Trigger] = {}
        self._changes: dict[str, dict[str, Any]] = {}
        """What each trigger's last answer changes, by the trigger's name."""

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Raise what a function raised in place of sqlite3's "user-defined function raised exception"."""
        self._raised = None
        try:
            yield
        except sqlite3.Error as error:
            raised, self._raised = self._raised, None
            if raised is None:
                raise
            raise raised from error

    def wasm_call(self, *arguments: Value) -> Value:
        """`wasm_call(module, json, …)`: the function that the registry names."""
        return self._guarded(self._call_json, "wasm_call(module, json, …)", arguments, 1)

    def wasm_function(self, *arguments: Value) -> Value:
        """`wasm_function(module, function, json, …)`."""
        return self._guarded(self._call_json, "wasm_function(module, function, json, …)", arguments, 2)

    def wasm_trigger(self, *arguments: Value) -> Value:
        """`wasm_trigger(trigger as JSON, value, …)`: 1 when the answer changes columns, else 0."""
        return self._guarded(self._fire, "wasm_trigger(trigger, value, …)", arguments, 1)

    def wasm_changed(self, name: Value) -> Value:
        """Whether this trigger's last answer changes columns."""
        return int(bool(self._changes.get(str(name))))

    def wasm_column(self, name: Value, column: Value, value: Value) -> Value:
        """The column's value after this trigger's last answer; `value` is what it has."""
        return self._guarded(lambda *_: self._column(name, column, value), "", (str(name),), 0)

    def _guarded(self, function: Any, usage: str, arguments: tuple[Value, ...], names: int) -> Value:
        """Whatever goes wrong is kept for `speaking`; sqlite3 then aborts the statement."""
        try:
            if len(arguments) < names or not all(isinstance(one, str) for one in arguments[:names]):
                raise GuestFailed(f"{usage}: {'names are texts' if len(arguments) >= names else 'too few arguments'}")
            value: Value = function(arguments, names)
            return value
        except GuestRejected as error:
            self._raised = error
        except (PenstockError, TypeError, ValueError) as error:
            self._raised = GuestFailed(str(error))
        except BaseException as error:
            self._raised = error
        raise self._raised

    def _call_json(self, arguments: tuple[Value, ...], names: int) -> Value:
        module, function = str(arguments[0]), str(arguments[1]) if names == 2 else None
        given = [_from_json(value, position) for position, value in enumerate(arguments[names:], names + 1)]
        return to_sql(self._value(self._call(module, function, given, None)), "the answer")

    def _call(self, module: str, function: str | None, arguments: list[object], profile: str | None) -> Call:
        if self._modules is not None and module not in self._modules:
            names = ", ".join(sorted(self._modules)) or "none"
            raise GuestFailed(f"SQL may not call {module[:100]!r} on this connection — it may call: {names}")
        return self.executor.call(module, function, arguments, profile=profile, left=WITHOUT_EFFECT)

    def _value(self, call: Call) -> object:
        violation = call.violation
        if violation is None:
            return call.value
        if violation.kind is ViolationKind.REJECTED:
            rejected = GuestRejected(violation.message)
            rejected.violation = violation
            raise rejected
        failed = GuestFailed(f"{call.transformer}.{call.function}: {violation.kind}: {violation.message}")
        failed.violation = violation
        raise failed

    def _fire(self, arguments: tuple[Value, ...], names: int) -> Value:
        trigger = self._trigger(str(arguments[0]))
        before, after = _rows(trigger, arguments[names:])
        self._changes.pop(trigger.name, None)
        call = self._call(trigger.module, trigger.function, [trigger.argument(before, after)], trigger.profile)
        try:
            changes = trigger.changes(self._value(call))
        except ValueError as error:
            raise GuestFailed(f"{call.transformer}.{call.function}: {ViolationKind.BAD_OUTPUT}: {error}") from None
        if changes:
            if len(self._changes) >= DECODED_MAX:  # more than are at work: names that the SQL makes up
                self._changes.clear()
            self._changes[trigger.name] = changes
        return int(bool(changes))

    def _column(self, name: Value, column: Value, value: Value) -> Value:
        changes = self._changes.get(str(name), {})
        return to_sql(changes[str(column)], f"column {str(column)!r}") if column in changes else value

    def _trigger(self, text: str) -> Trigger:
        found = self._triggers.get(text)
        if found is None:
            try:
                found = msgspec.json.decode(text, type=Trigger)
            except msgspec.MsgspecError as error:
                raise GuestFailed(f"wasm_trigger: its first argument is no trigger: {error}") from None
            if len(self._triggers) >= DECODED_MAX:
                self._triggers.clear()
            self._triggers[text] = found
        return found


def _rows(trigger: Trigger, values: tuple[Value, ...]) -> tuple[dict[str, Value] | None, dict[str, Value] | None]:
    """The values of one row, or of two, as maps. Raises GuestFailed."""
    width, event = len(trigger.columns), trigger.event
    if len(values) != width * (event.has_before + event.has_after):
        raise GuestFailed(f"wasm_trigger: {trigger.name!r} has {width} columns; {len(values)} values do not fit")
    before = dict(zip(trigger.columns, values, strict=False)) if event.has_before else None
    after = dict(zip(trigger.columns, values[-width:], strict=True)) if event.has_after else None
    return before, after


def _from_json(value: Value, position: int) -> object:
    """An argument's value: texts are JSON, all others stand for themselves."""
    if not isinstance(value, str):
        return value
    size = len(value.encode("utf-8", "surrogatepass"))
    if size > JSON_BYTES_MAX:
        raise ValueError(f"argument {position} is {size} bytes of JSON; {JSON_BYTES_MAX} is the most")
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        advice = "wrap a text in json_quote(), a row in json_object()"
        raise ValueError(f"argument {position} is no JSON: {error} — {advice}") from None


def to_sql(value: object, what: str) -> Value:
    """The value as a column can hold it: arrays and maps become JSON, booleans 0 and 1. Raises ValueError."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and value not in INT64:
        raise ValueError(f"{what} is {value}, which is no 64-bit signed integer")
    if isinstance(value, float) and value != value:  # SQLite would make it NULL, and say nothing
        raise ValueError(f"{what} is no number (NaN)")
    if value is None or isinstance(value, int | float | str | bytes):
        return value
    try:
        return msgspec.json.encode(_plain(value)).decode()
    except (msgspec.MsgspecError, TypeError) as error:
        raise ValueError(f"{what} cannot be JSON: {error}") from None


def _plain(value: object) -> object:
    """Raises TypeError for bytes, which JSON has not and msgspec would make base64."""
    if isinstance(value, bytes):
        raise TypeError("it holds bytes")
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
