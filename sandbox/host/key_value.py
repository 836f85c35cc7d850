"""`kv_get`, `kv_put`, `kv_delete`: a transformer's own small store, a SQLite file of its own beneath the state folder.

Threat: keys and values are the guest's. It names no file: that comes of the transformer's name, and each has one of its own. Several
processes may use one file at once; what was put is there after a crash of the process. Like a database's, its writes are not part
of Kafka's transaction: an event that runs again puts again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sandbox.host.database.budget import Budget
from sandbox.host.database.runner import Job, Pool
from sandbox.host.database.values import invalid
from sandbox.host.gate import Denied
from sandbox.host.requests import HostFailure, HostRequest, request_import
from schemas.abi import ERROR_UNAVAILABLE
from schemas.capabilities import Capability, Grant, KeyValueScope

if TYPE_CHECKING:
    from sandbox.host.key_value_file import KeyValueFile

T = TypeVar("T")
KEY_BYTES_MAX = 1_024
CONNECTIONS = 4
TIME_MS = 5_000
"""Of one call; the guest's deadline if that is sooner."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


class KeyValueStore:
    """The store of one transformer. Safe from any thread, and beside other processes."""

    def __init__(self, folder: Path, name: str, now_ms: Callable[[], int]) -> None:
        self.path = folder / "key-value" / _file_name(name)
        self._now_ms = now_ms
        self._pool: Pool[KeyValueFile] = Pool("key-value", CONNECTIONS, self._connect)

    def get(self, scope: KeyValueScope, key: str, budget: Budget) -> bytes | None:
        """The value, unless it is not there or has expired. Raises HostFailure."""
        return self._run(lambda file, job: file.get(key, self._oldest(scope)), budget)

    def put(self, scope: KeyValueScope, key: str, value: bytes, budget: Budget) -> None:
        """Replaces what was there. Raises Denied when the scope's quota or number of entries would be exceeded, and HostFailure."""

        def work(file: KeyValueFile, job: Job) -> str:
            return file.put(key, value, self._now_ms(), self._oldest(scope), scope.quota_bytes, scope.entries, job)

        if full := self._run(work, budget):
            raise Denied(full, "give it more `quota` or `entries`, or a `ttl`")

    def delete(self, scope: KeyValueScope, key: str, budget: Budget) -> None:
        """No matter whether it is there. Raises HostFailure."""
        self._run(lambda file, job: file.delete(key, job), budget)

    def close(self) -> None:
        """Close the file; what was put stays."""
        self._pool.close()

    def _oldest(self, scope: KeyValueScope) -> int | None:
        """Entries from then and before are gone."""
        return None if scope.ttl_ms is None else self._now_ms() - scope.ttl_ms

    def _run(self, work: Callable[[KeyValueFile, Job], T], budget: Budget) -> T:
        def bounded(file: KeyValueFile, job: Job) -> T:
            with file.within(budget):
                return work(file, job)

        return self._pool.run(bounded, budget)

    def _connect(self) -> KeyValueFile:
        from sandbox.host.key_value_file import KeyValueFile

        return KeyValueFile(self.path)


def _file_name(transformer: str) -> str:
    """One of its own for every name, whatever characters the name has."""
    digest = hashlib.sha256(transformer.encode()).hexdigest()[:24]
    return f"{_UNSAFE.sub('-', transformer)[:40]}-{digest}.sqlite"


def kv_get(request: HostRequest) -> bytes | None:
    """`key` -> its value, or nil."""
    key = _key(request.value)
    store, scope, budget = _open(request)
    return store.get(scope, key, budget)


def kv_put(request: HostRequest) -> None:
    """`[key, value]` -> nil. Denied when the store is full."""
    match request.value:
        case [key, bytes(value)]:
            checked = _key(key)
        case _:
            raise invalid("wanted [key, value]; the value is bytes")
    store, scope, budget = _open(request)
    store.put(scope, checked, value, budget)


def kv_delete(request: HostRequest) -> None:
    """`key` -> nil."""
    key = _key(request.value)
    store, scope, budget = _open(request)
    store.delete(scope, key, budget)


def _key(key: object) -> str:
    if not isinstance(key, str) or len(key.encode()) > KEY_BYTES_MAX:
        raise invalid(f"a key is a text of {KEY_BYTES_MAX} bytes at most")
    return key


def _open(request: HostRequest) -> tuple[KeyValueStore, KeyValueScope, Budget]:
    grant: Grant = request.admit()
    scope = grant.scope if isinstance(grant.scope, KeyValueScope) else KeyValueScope()
    services, gate = request.services, request.gate
    folder = services.state_dir
    if folder is None:
        raise HostFailure(ERROR_UNAVAILABLE, "this host has no folder for state")
    store = gate.hold("key-value", lambda: KeyValueStore(folder, gate.name, services.now_ms))
    return store, scope, Budget.of(min(TIME_MS, request.remaining_ms()), gate.clock_ns)


IMPORTS = (
    request_import("kv_get", Capability.KEY_VALUE, kv_get),
    request_import("kv_put", Capability.KEY_VALUE, kv_put),
    request_import("kv_delete", Capability.KEY_VALUE, kv_delete),
)
