"""The file of a key-value store: SQLite with a write-ahead log, so that several processes read and write it and a crash loses nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.host.database.budget import Budget
from sandbox.host.database.runner import GivenUp, Job
from sandbox.host.database.sqlite import translated
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_UNAVAILABLE

OPENING_MS = 5_000
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, put_ms INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS entries_put_ms ON entries (put_ms)",
    "CREATE TABLE IF NOT EXISTS totals (one INTEGER PRIMARY KEY CHECK (one = 1), entries INTEGER, bytes INTEGER)",
    "INSERT OR IGNORE INTO totals VALUES (1, 0, 0)",
    (
        "CREATE TRIGGER IF NOT EXISTS entry_came AFTER INSERT ON entries BEGIN UPDATE totals SET entries = entries + 1,"
        " bytes = bytes + length(CAST(new.key AS BLOB)) + length(new.value); END"
    ),
    (
        "CREATE TRIGGER IF NOT EXISTS entry_went AFTER DELETE ON entries BEGIN UPDATE totals SET entries = entries - 1,"
        " bytes = bytes - length(CAST(old.key AS BLOB)) - length(old.value); END"
    ),
)
"""The totals stand in the file, so that a quota costs no count of all entries."""


class KeyValueFile:
    """One connection to it; for its own thread, but for `interrupt`."""

    def __init__(self, path: Path) -> None:
        """Made, and made readable to this user only, when it is not there. Raises HostFailure."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise HostFailure(ERROR_UNAVAILABLE, f"the key-value store cannot be opened: {error.strerror}") from None
        with translated():
            self._raw = sqlite3.connect(path, timeout=OPENING_MS / 1e3, isolation_level=None, check_same_thread=False)
            self._raw.execute("PRAGMA synchronous=NORMAL")
            if not self._raw.execute("SELECT 1 FROM sqlite_schema WHERE name = 'entry_went'").fetchone():
                self._create()

    def interrupt(self) -> None:
        """See Connection."""
        self._raw.interrupt()

    def close(self) -> None:
        """See Connection."""
        self._raw.close()

    @contextmanager
    def within(self, budget: Budget) -> Iterator[None]:
        """Waits for other processes no longer than that."""
        sooner = budget.sooner()
        with translated():
            self._raw.execute(f"PRAGMA busy_timeout={int(sooner.remaining_ms()) + 1}")
            yield

    def get(self, key: str, oldest_ms: int | None) -> bytes | None:
        """What was put later than `oldest_ms`."""
        row = self._raw.execute("SELECT value, put_ms FROM entries WHERE key = ?", (key,)).fetchone()
        if row is None or (oldest_ms is not None and row[1] <= oldest_ms):
            return None
        return bytes(row[0])

    def put(
        self, key: str, value: bytes, now_ms: int, oldest_ms: int | None, bytes_max: int, entries_max: int, job: Job
    ) -> str:
        """Nothing, or why there is no room; then nothing has changed but that what is too old is gone."""
        with self._transaction(job):
            if oldest_ms is not None:
                self._raw.execute("DELETE FROM entries WHERE put_ms <= ?", (oldest_ms,))
            taken = self._raw.execute(
                "SELECT length(CAST(key AS BLOB)) + length(value) FROM entries WHERE key = ?", (key,)
            ).fetchone()
            entries, total = self._raw.execute("SELECT entries, bytes FROM totals").fetchone()
            entries, total = entries + (taken is None), total + len(key.encode()) + len(value) - (taken or (0,))[0]
            if entries > entries_max:
                return f"the store has its {entries_max} entries"
            if total > bytes_max:
                return f"the store would have {total} bytes; {bytes_max} is its quota"
            self._raw.execute("DELETE FROM entries WHERE key = ?", (key,))
            self._raw.execute("INSERT INTO entries VALUES (?, ?, ?)", (key, value, now_ms))
        return ""

    def delete(self, key: str, job: Job) -> None:
        """No matter whether it is there."""
        with self._transaction(job):
            self._raw.execute("DELETE FROM entries WHERE key = ?", (key,))

    @contextmanager
    def _transaction(self, job: Job) -> Iterator[None]:
        self._raw.execute("BEGIN IMMEDIATE")
        try:
            yield
            if job.given_up:
                raise GivenUp
            self._raw.execute("COMMIT")
        except BaseException:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
            raise

    def _create(self) -> None:
        """Another process may do the same meanwhile."""
        self._raw.execute("PRAGMA journal_mode=WAL")
        self._raw.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            self._raw.execute(statement)
        self._raw.execute("COMMIT")
