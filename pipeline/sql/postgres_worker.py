"""Works the trigger queue of a PostgreSQL database off: each event once, in one transaction with what came of it.

A row is locked, judged by its guest, its result (or its dead letter) written and the row deleted; then all of it is committed, or nothing
is and the row is there as before. Several workers pass over each other's rows (SKIP LOCKED). One worker takes them in the order of
their ids.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.sql.executor import ProcedureExecutor
from pipeline.sql.grants import WITHOUT_EFFECT
from pipeline.sql.postgres import CHANNEL, require_psycopg
from pipeline.sql.triggers import Trigger
from sandbox.procedure import Call
from schemas.errors import ConfigError, Fault, ModuleFault, PenstockError, TransportError
from schemas.outcome import ViolationKind
from schemas.procedures import INTEGER_LEAST, INTEGER_MOST, encode_arguments

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_log = logging.getLogger("penstock.sql")

BYTES_MAX = 32 << 20
"""Of rows as JSON that are taken together. Decoding multiplies a hostile text by about 20."""
TAKE = """WITH taken AS MATERIALIZED (
    SELECT q.id, q.before::text AS before, q.after::text AS after, q.attempts, t.definition::text AS definition, q.trigger
    FROM penstock.queue q LEFT JOIN penstock.triggers t ON t.name = q.trigger
    WHERE q.due_at <= clock_timestamp() ORDER BY q.id LIMIT %(events)s FOR UPDATE OF q SKIP LOCKED),
  sized AS (
    SELECT *, sum(coalesce(octet_length(before), 0) + coalesce(octet_length(after), 0)) OVER (ORDER BY id) AS size FROM taken)
  SELECT id, CASE WHEN size <= %(bytes)s THEN before END, CASE WHEN size <= %(bytes)s THEN after END, attempts, definition,
    trigger, size::bigint FROM sized ORDER BY id"""
"""`size` is that of the row and all before it."""
BURY = """INSERT INTO penstock.dead_letters
  (id, trigger, before, after, enqueued_at, kind, code, message, module_sha256, limits, attempts)
  SELECT id, trigger, before, after, enqueued_at, %(kind)s, %(code)s, %(message)s, %(sha256)s, %(limits)s, attempts + 1
  FROM penstock.queue WHERE id = %(id)s"""
ITS_FAULT = ("22", "23", "54")
"""Classes of SQLSTATE that say the row is at fault: data exceptions, broken constraints, what is too large for an index."""
HELD_UP = ("57014", "55P03")
"""The statement or its locks took longer than the role may wait: this event's insert only, though psycopg calls it operational."""
RECONNECT_S_MAX = 30.0
FAULT_KIND = "module"
"""In the place of a violation's kind: no event is to blame, the module could not be called."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the queue."""

    id: int
    attempts: int
    trigger: Trigger | None
    """None when its definition is gone."""
    argument: dict[str, Any]
    death: Death | None = None
    """Why its rows cannot be read; they are not in the argument then."""


@dataclass(frozen=True, slots=True)
class Death:
    """Why an event is a dead letter."""

    kind: str
    message: str
    code: str = ""
    sha256: str = ""
    limits: str = ""


class QueueWorker:
    """Works off the queue of the database at `dsn`.

    `events_max` are taken in one transaction. What fails through no fault of its own is tried again, after `backoff_s` and twice as long
    each time, `retries_max` times. `poll_s` is the longest that a worker sleeps when nothing wakes it.
    """

    def __init__(
        self,
        executor: ProcedureExecutor,
        dsn: str,
        *,
        events_max: int = 50,
        retries_max: int = 5,
        backoff_s: float = 1.0,
        poll_s: float = 10.0,
    ) -> None:
        require_psycopg()
        self._executor = executor
        self._dsn = dsn
        self._events_max = events_max
        self._retries_max = retries_max
        self._backoff_s = backoff_s
        self._poll_s = poll_s
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Make `run` return after the transaction at hand."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`. A lost connection is opened again, with a pause that grows to half a minute.

        So is one to a server that may not be written any more (a primary that has become a standby): the next one may be another.
        """
        from psycopg import InternalError, OperationalError

        failures = 0
        while not self._stopping.is_set():
            try:
                await self._run_connected()
                failures = 0
            except (OperationalError, InternalError) as error:
                failures += 1
                pause_s = min(RECONNECT_S_MAX, 0.1 * 2**failures) * random.uniform(0.5, 1)  # noqa: S311
                _log.warning("the trigger queue cannot be reached, again in %.1f s: %s", pause_s, _first_line(error))
                await self._sleep(pause_s)

    async def drain(self) -> int:
        """Work off what is due now, then return how many events that were."""
        from psycopg import AsyncConnection

        done = 0
        async with await AsyncConnection.connect(self._dsn) as connection:
            while not self._stopping.is_set() and (count := await self._step(connection)):
                done += count
        return done

    async def _run_connected(self) -> None:
        """Listens before it looks, so that nothing comes between."""
        from psycopg import AsyncConnection

        async with (
            await AsyncConnection.connect(self._dsn, autocommit=True) as bell,
            await AsyncConnection.connect(self._dsn) as connection,
        ):
            await bell.execute(f"LISTEN {CHANNEL}")
            while not self._stopping.is_set():
                if not await self._step(connection):
                    await self._wait(bell)

    async def _wait(self, bell: AsyncConnection[Any]) -> None:
        async def rung() -> None:
            async for _ in bell.notifies(timeout=self._poll_s, stop_after=1):
                pass

        await self._first_of(rung())

    async def _sleep(self, seconds: float) -> None:
        await self._first_of(asyncio.sleep(seconds))

    async def _first_of(self, work: Any) -> None:
        """Until the work is done or `stop` is called."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _step(self, connection: AsyncConnection[Any]) -> int:
        """One transaction; how many events it took."""
        async with connection.transaction():
            wanted = {"events": self._events_max, "bytes": BYTES_MAX}
            rows = await (await connection.execute(TAKE, wanted)).fetchall()
            rows = [row for row in rows if row is rows[0] or row[-1] <= BYTES_MAX]  # the others the next time
            entries = [_entry(*row) for row in rows]
            judged = await self._judge(entries)
            for entry, outcome in zip(entries, judged, strict=True):
                await self._settle(connection, entry, outcome)
        return len(rows)

    async def _judge(self, entries: Sequence[Entry]) -> list[Call | Death | PenstockError]:
        """What came of each, in order; those of one trigger are called together."""
        found: dict[int, Call | Death | PenstockError] = {}
        groups: dict[Trigger, list[Entry]] = {}
        for entry in entries:
            if entry.trigger is None:
                problem = f"the trigger {entry.argument['trigger']!r} is not defined any more"
                found[entry.id] = ConfigError(Fault(problem, "register it again", path="penstock.triggers"))
                continue
            if entry.death:
                found[entry.id] = entry.death
                continue
            if lacks := _lacks(entry.trigger, entry.argument):
                found[entry.id] = lacks
                continue
            try:
                encode_arguments([entry.argument])
            except (TypeError, ValueError) as error:
                found[entry.id] = Death(ViolationKind.DECODE, str(error))
                continue
            groups.setdefault(entry.trigger, []).append(entry)
        for trigger, group in groups.items():
            arguments = [[one.argument] for one in group]
            try:
                calls = await self._executor.execute_batch(
                    trigger.module, trigger.function, arguments, profile=trigger.profile, left=WITHOUT_EFFECT
                )
            except (ModuleFault, ConfigError, TransportError) as error:
                found |= dict.fromkeys((one.id for one in group), error)
            else:
                found |= {one.id: call for one, call in zip(group, calls, strict=True)}
        return [found[entry.id] for entry in entries]

    async def _settle(
        self, connection: AsyncConnection[Any], entry: Entry, outcome: Call | Death | PenstockError
    ) -> None:
        end = await self._write(connection, entry, outcome) if isinstance(outcome, Call) else outcome
        if isinstance(end, PenstockError):
            if entry.attempts < self._retries_max:
                await self._postpone(connection, entry, end)
                return
            end = Death(FAULT_KIND, str(end))
        if end is not None:
            await connection.execute(BURY, {"id": entry.id} | {name: getattr(end, name) for name in Death.__slots__})
        await connection.execute("DELETE FROM penstock.queue WHERE id = %s", (entry.id,))

    async def _write(self, connection: AsyncConnection[Any], entry: Entry, call: Call) -> Death | PenstockError | None:
        """The result, and the row where one goes `into` a table; or why neither can be. Raises what ends the connection."""
        from psycopg import Error, OperationalError

        violation, trigger = call.violation, entry.trigger
        assert trigger is not None
        if violation is not None:
            return Death(violation.kind, violation.message, violation.code, call.module_sha256, call.limits)
        try:
            value = json.dumps(call.value, allow_nan=False)
            changes = trigger.changes(call.value) if trigger.into else {}
        except (TypeError, ValueError) as error:
            return Death(ViolationKind.BAD_OUTPUT, str(error), "", call.module_sha256, call.limits)
        try:
            async with connection.transaction():
                await connection.execute(
                    "INSERT INTO penstock.results (id, trigger, value, module_sha256) VALUES (%s, %s, %s::jsonb, %s)",
                    (entry.id, trigger.name, value, call.module_sha256),
                )
                if trigger.into:
                    await _insert(connection, entry, trigger, json.dumps(changes))
                    # what is deferred would fail at the commit, and with it everybody else's events, again and again
                    await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except Error as error:
            state = error.sqlstate or ""
            if isinstance(error, OperationalError) and not state.startswith((*ITS_FAULT, *HELD_UP)):
                raise
            if not state.startswith(ITS_FAULT):
                held_up = state in HELD_UP
                remedy = "see what it waits for" if held_up else "let the worker's role insert into it"
                return ConfigError(Fault(_first_line(error), remedy, path=f"{trigger.name}.into"))
            return Death(ViolationKind.SCHEMA, _first_line(error), state, call.module_sha256, call.limits)
        return None

    async def _postpone(self, connection: AsyncConnection[Any], entry: Entry, error: PenstockError) -> None:
        pause_s = self._backoff_s * 2**entry.attempts
        _log.warning("queued event %d waits %.1f s: %s", entry.id, pause_s, error)
        await connection.execute(
            """UPDATE penstock.queue SET attempts = attempts + 1, last_error = %s,
            due_at = clock_timestamp() + make_interval(secs => %s) WHERE id = %s""",
            (str(error)[:1000].replace("\0", "\ufffd"), pause_s, entry.id),
        )


async def _insert(connection: AsyncConnection[Any], entry: Entry, trigger: Trigger, changes: str) -> None:
    """What the guest left alone goes from the queue itself, so that no number passes through a float."""
    from psycopg import sql

    assert trigger.into is not None
    columns = dict.fromkeys([*entry.argument["after"], *json.loads(changes)])
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    place = sql.Identifier(trigger.schema, trigger.into)
    statement = sql.SQL(
        "INSERT INTO {} ({}) SELECT {} FROM penstock.queue q, jsonb_populate_record(NULL::{}, q.after || {}::jsonb) r WHERE q.id = {}"
    )
    qualified = sql.SQL(", ").join(sql.Identifier("r", one) for one in columns)
    values = (sql.Literal(changes), sql.Literal(entry.id))  # parameters would make a `%` in a name one, too
    await connection.execute(statement.format(place, names, qualified, place, *values))


def _entry(
    identity: int, before: str | None, after: str | None, attempts: int, definition: str | None, name: str, size: int
) -> Entry:
    if definition is None:
        return Entry(identity, attempts, None, {"trigger": name})
    trigger = msgspec.json.decode(definition, type=Trigger)
    if size > BYTES_MAX:
        message = f"its row has {size} bytes as JSON; {BYTES_MAX} is the most"
        return Entry(identity, attempts, trigger, {}, Death(ViolationKind.MEMORY, message))
    try:
        return Entry(identity, attempts, trigger, trigger.argument(_row(before), _row(after)))
    except RecursionError:
        message = "its row holds JSON that is nested too deep to be read"
        return Entry(identity, attempts, trigger, {}, Death(ViolationKind.DECODE, message))


def _lacks(trigger: Trigger, argument: Mapping[str, Any]) -> ConfigError | None:
    """Why the guest is not called: of a row that this event has, nothing was queued."""
    wanted = {"before": trigger.event.has_before, "after": trigger.event.has_after}
    missing = next((name for name, is_there in wanted.items() if is_there and argument[name] is None), None)
    if missing is None:
        return None
    problem = f"nothing of the row {missing} the change was queued: {trigger.table!r} had none of the trigger's columns"
    return ConfigError(Fault(problem, "register it again if they were renamed", path=f"{trigger.name}.columns"))


def _row(text: str | None) -> dict[str, Any] | None:
    """Numbers as guests get them: what is no 64-bit integer and no float64 is a text with its own digits."""
    if text is None:
        return None
    row: dict[str, Any] | None = json.loads(text, parse_int=_integer, parse_float=_float)
    return row


def _integer(digits: str) -> int | str:
    number = int(digits) if len(digits) <= len(str(INTEGER_LEAST)) else INTEGER_MOST + 1
    return number if INTEGER_LEAST <= number <= INTEGER_MOST else digits


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if abs(number) != float("inf") else digits


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:1000]
