"""A transformer's own store: quota, time to live, several processes, crashes, and that nobody reaches another's."""

from __future__ import annotations

import os
import re
import signal
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sandbox import Sandbox
from sandbox.calls import CallsName
from sandbox.epoch import EpochTicker
from sandbox.host import Services
from sandbox.host.database.budget import Budget
from sandbox.host.gate import Denied
from sandbox.host.key_value import KEY_BYTES_MAX, KeyValueStore
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_DEADLINE, ERROR_DENIED, ERROR_INVALID, ERROR_UNAVAILABLE
from schemas.capabilities import Capability, Grant, Grants, KeyValueScope
from schemas.outcome import Emitted
from tests.sandbox.guests import FOLDER, batch, spec, wat

SCOPE = KeyValueScope()
ROOT = Path(__file__).parents[2]


class Clock:
    now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[KeyValueStore]:
    one = KeyValueStore(tmp_path, "enrich", clock)
    yield one
    one.close()


def _budget(ms: float = 10_000) -> Budget:
    return Budget.of(ms)


def _put(store: KeyValueStore, key: str, value: bytes, scope: KeyValueScope = SCOPE) -> None:
    store.put(scope, key, value, _budget())


def _get(store: KeyValueStore, key: str, scope: KeyValueScope = SCOPE) -> bytes | None:
    return store.get(scope, key, _budget())


def test_what_was_put_is_there_until_it_is_deleted(store: KeyValueStore) -> None:
    assert _get(store, "a") is None
    _put(store, "a", b"\x00\xff")
    _put(store, "a", b"again")
    assert _get(store, "a") == b"again"
    store.delete(SCOPE, "a", _budget())
    store.delete(SCOPE, "a", _budget())
    assert _get(store, "a") is None


@pytest.mark.parametrize("key", ["", "a'; DROP TABLE entries; --", "ümläut", "../../etc/passwd", "x" * KEY_BYTES_MAX])
def test_keys_are_keys_whatever_they_look_like(store: KeyValueStore, key: str) -> None:
    _put(store, key, b"1")
    assert _get(store, key) == b"1"
    assert _get(store, key + " ") is None


def test_what_was_put_survives_the_store(tmp_path: Path, clock: Clock) -> None:
    first = KeyValueStore(tmp_path, "enrich", clock)
    _put(first, "a", b"1")
    first.close()
    second = KeyValueStore(tmp_path, "enrich", clock)
    assert _get(second, "a") == b"1"
    second.close()


def test_a_quota_counts_keys_and_values(store: KeyValueStore) -> None:
    scope = KeyValueScope(quota_bytes=10)
    _put(store, "ab", b"12345678", scope)
    with pytest.raises(Denied, match="the store would have 12 bytes; 10 is its quota"):
        _put(store, "c", b"1", scope)
    with pytest.raises(Denied):
        _put(store, "ab", b"123456789", scope)
    assert _get(store, "ab") == b"12345678"
    _put(store, "ab", b"1234567", scope)
    store.delete(scope, "ab", _budget())
    _put(store, "c", b"123456789", scope)


def test_a_quota_counts_bytes_of_utf8(store: KeyValueStore) -> None:
    with pytest.raises(Denied, match="8 bytes"):
        _put(store, "äöüß", b"", KeyValueScope(quota_bytes=7))


def test_entries_are_counted(store: KeyValueStore) -> None:
    scope = KeyValueScope(entries=2)
    _put(store, "a", b"", scope)
    _put(store, "b", b"", scope)
    _put(store, "a", b"more", scope)
    with pytest.raises(Denied, match="has its 2 entries"):
        _put(store, "c", b"", scope)


def test_entries_expire_by_a_clock_from_outside(store: KeyValueStore, clock: Clock) -> None:
    scope = KeyValueScope(ttl_ms=1_000, entries=1)
    _put(store, "a", b"1", scope)
    clock.now_ms += 999
    assert _get(store, "a", scope) == b"1"
    clock.now_ms += 1
    assert _get(store, "a", scope) is None
    _put(store, "b", b"2", scope)  # what has expired takes no room
    assert _get(store, "b", scope) == b"2"


def test_a_put_begins_a_new_life(store: KeyValueStore, clock: Clock) -> None:
    scope = KeyValueScope(ttl_ms=1_000)
    _put(store, "a", b"1", scope)
    clock.now_ms += 900
    _put(store, "a", b"2", scope)
    clock.now_ms += 900
    assert _get(store, "a", scope) == b"2"


def test_a_clock_that_is_set_back_takes_nothing_away(store: KeyValueStore, clock: Clock) -> None:
    scope = KeyValueScope(ttl_ms=1_000)
    _put(store, "a", b"1", scope)
    clock.now_ms -= 500_000
    assert _get(store, "a", scope) == b"1"


def test_every_name_has_a_file_of_its_own_beneath_the_folder(tmp_path: Path, clock: Clock) -> None:
    names = [
        "enrich",
        "Enrich",
        "../enrich",
        "enrich/../../x",
        "..",
        "",
        "a b",
        "a-b",
        "a\0b",
        "é",
        "x" * 5_000,
        "/etc/passwd",
    ]
    stores = [KeyValueStore(tmp_path, name, clock) for name in names]
    for number, one in enumerate(stores):
        _put(one, "who", b"%d" % number)
    assert [_get(one, "who") for one in stores] == [b"%d" % number for number in range(len(names))]
    assert len({one.path.name.lower() for one in stores}) == len(names)
    assert all(one.path.resolve().parent == (tmp_path / "key-value").resolve() for one in stores)
    for one in stores:
        one.close()


def test_files_are_for_this_user_only(store: KeyValueStore) -> None:
    _put(store, "a", b"1")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_a_link_in_the_place_of_the_file_is_not_followed(store: KeyValueStore, tmp_path: Path) -> None:
    store.path.parent.mkdir()
    store.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostFailure) as caught:
        _put(store, "a", b"1")
    assert caught.value.code == ERROR_UNAVAILABLE
    assert not (tmp_path / "elsewhere").exists()


def test_threads_put_at_once_and_the_quota_holds(store: KeyValueStore) -> None:
    scope, denied = KeyValueScope(entries=20), []

    def put(thread: int) -> None:
        for number in range(10):
            try:
                _put(store, f"{thread}-{number}", b"x", scope)
            except Denied as error:
                denied.append(error)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(denied) == 20


WRITER = """
import sys
from pathlib import Path
from sandbox.host.database.budget import Budget
from sandbox.host.key_value import KeyValueStore
from schemas.capabilities import KeyValueScope
store = KeyValueStore(Path(sys.argv[1]), "enrich", lambda: 1)
for number in range(int(sys.argv[3])):
    store.put(KeyValueScope(), f"{sys.argv[2]}-{number}", b"x" * 100, Budget.of(60_000))
    print(number, flush=True)
"""


def _writer(folder: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(folder), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)


def test_several_processes_use_one_store_at_once(store: KeyValueStore, tmp_path: Path) -> None:
    writers = [_writer(tmp_path, name, 50) for name in ("a", "b", "c")]
    for one in writers:
        one.communicate(timeout=60)
    assert [one.returncode for one in writers] == [0, 0, 0]
    assert all(_get(store, f"{name}-{number}") for name in "abc" for number in range(50))
    with pytest.raises(Denied, match="150 entries"):
        _put(store, "one more", b"", KeyValueScope(entries=150))


def test_a_process_that_is_killed_loses_nothing_that_it_was_told_is_there(store: KeyValueStore, tmp_path: Path) -> None:
    writer = _writer(tmp_path, "k", 100_000)
    assert writer.stdout is not None
    for _ in range(30):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    rest = writer.stdout.read().splitlines()
    writer.wait(30)
    writer.stdout.close()
    assert all(_get(store, f"k-{number}") == b"x" * 100 for number in range(30 + len(rest)))
    _put(store, "after", b"1")
    assert _get(store, "after") == b"1"


def test_a_lock_of_another_process_is_waited_for_no_longer_than_the_budget(store: KeyValueStore) -> None:
    import sqlite3

    _put(store, "a", b"1")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(HostFailure) as caught:
        store.put(SCOPE, "a", b"2", _budget(100))
    assert caught.value.code == ERROR_DEADLINE
    assert _get(store, "a") == b"1"  # readers do not wait
    other.close()
    _put(store, "a", b"2")


def test_a_file_that_is_no_database_is_unavailable(store: KeyValueStore) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(b"no database at all, " * 100)
    with pytest.raises(HostFailure) as caught:
        _get(store, "a")
    assert caught.value.code == ERROR_UNAVAILABLE


def _run(sandbox: Sandbox, name: str, function: str, *requests: object, grants: Grants | None = None) -> list[Any]:
    text = re.sub(
        r"\(;include (\w+);\)",
        lambda found: (FOLDER / f"{found[1]}.wat").read_text(),
        (FOLDER / "requester.wat").read_text(),
    )
    granted = grants or Grants((Grant(frozenset({Capability.KEY_VALUE}), KeyValueScope(quota_bytes=100)),))
    transformer = sandbox.load(spec(name, capabilities=granted), wat(text.replace("NAME", function)))
    asked = [struct.pack("<IB", 200, 1) + msgspec.msgpack.encode(one) for one in requests]
    found = []
    for outcome in transformer.run(batch(asked)).outcomes:
        assert isinstance(outcome, Emitted), outcome
        value = outcome.events[0].value or b""
        (status,) = struct.unpack_from("<i", value)
        found.append(status if status < 0 else msgspec.msgpack.decode(value[8 : 8 + status]))
    return found


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    services = Services(state_dir=tmp_path)
    with Sandbox(
        calls=CallsName.FAST, cache=False, ticker=EpochTicker(auto=False), clock_ns=lambda: 0, services=services
    ) as one:
        yield one


def test_guests_put_get_and_delete(sandbox: Sandbox) -> None:
    assert _run(sandbox, "one", "kv_put", ["a", b"1"], ["b", b"x" * 99]) == [None, ERROR_DENIED]
    assert _run(sandbox, "one", "kv_get", "a", "b") == [b"1", None]
    assert _run(sandbox, "one", "kv_delete", "a", "a") == [None, None]
    assert _run(sandbox, "one", "kv_get", "a") == [None]


def test_a_transformer_does_not_reach_anothers(sandbox: Sandbox) -> None:
    assert _run(sandbox, "one", "kv_put", ["a", b"1"]) == [None]
    assert _run(sandbox, "two", "kv_get", "a", "../one/a", "one:a") == [None, None, None]
    assert _run(sandbox, "two", "kv_put", ["a", b"2"]) == [None]
    assert _run(sandbox, "two", "kv_delete", "a") == [None]
    assert _run(sandbox, "one", "kv_get", "a") == [b"1"]


@pytest.mark.parametrize(
    "value", [None, 1, [], ["a"], ["a", "text"], ["a", 1], [1, b""], ["x" * 1_025, b""], ["a", b"", b""], {}]
)
def test_what_is_no_request_changes_nothing(sandbox: Sandbox, value: object) -> None:
    assert _run(sandbox, "one", "kv_put", value) == [ERROR_INVALID]


def test_without_a_folder_there_is_no_store() -> None:
    with Sandbox(calls=CallsName.FAST, cache=False, ticker=EpochTicker(auto=False), clock_ns=lambda: 0) as sandbox:
        assert _run(sandbox, "one", "kv_get", "a") == [ERROR_UNAVAILABLE]
