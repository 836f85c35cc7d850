"""Two transformers in one process that try to read each other: files, stores, variables, databases, memory, caches, budgets, WASI."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from sandbox.host import HostImport
from schemas.capabilities import DatabaseScope, EnvironmentScope, FileScope
from schemas.specs import DatabaseSpec
from tests.hostile.conftest import MakeWorld
from tests.hostile.puppet import ARENA, MEMORY_BYTES, OUT, Call, call
from tests.hostile.rig import DENIED, ROOM, Answer, World, grant

MARK = b"the first tenant's own words"
KV = ("kv_get", "kv_put", "kv_delete")


@pytest.mark.parametrize(
    "names",
    [("a", "b"), ("a.b", "a-b"), ("a", "A"), ("x" * 60 + "1", "x" * 60 + "2"), ("a/../b", "b"), ("tenant", "tenant ")],
    ids=repr,
)
def test_stores_are_each_ones_own_whatever_they_are_called(
    make_fast_world: MakeWorld, tmp_path: Path, names: tuple[str, str]
) -> None:
    world = make_fast_world(state_dir=tmp_path)
    first, second = (world.tenant(*KV, name=name, grants=[grant("key-value")]) for name in names)
    assert first.ask("kv_put", ["key", MARK]).status > 0
    assert second.ask("kv_get", "key").value is None
    second.ask("kv_delete", "key")
    second.ask("kv_put", ["key", b"other"])
    assert first.ask("kv_get", "key").value == MARK


def test_one_tenants_quota_is_not_used_up_by_another(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    from schemas.capabilities import KeyValueScope

    world = make_fast_world(state_dir=tmp_path)
    granted = [grant("key-value", scope=KeyValueScope(entries=1))]
    first, second = (world.tenant(*KV, name=name, grants=granted) for name in "ab")
    assert first.ask("kv_put", ["a", b""]).status > 0
    assert second.ask("kv_put", ["a", b""]).status > 0
    assert first.ask("kv_put", ["b", b""]).status == DENIED


def test_one_tenants_uses_are_not_used_up_by_another(make_fast_world: MakeWorld) -> None:
    world = make_fast_world()
    shared = grant("random", uses=2)
    first, second = (world.tenant("random", name=name, grants=[shared]) for name in "ab")
    ask = call("random", OUT, 8)
    assert first.do(ask, ask, ask).returned == (0, 0, DENIED)
    assert second.do(ask, ask, ask).returned == (0, 0, DENIED)


def test_what_one_is_granted_the_other_is_not(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "file").write_bytes(folder.name.encode())
    world = make_fast_world()
    first, second = (
        world.tenant("file_read", name=folder.name, grants=[grant("filesystem-read", scope=FileScope(read=(folder,)))])
        for folder in (one, other)
    )
    assert first.ask("file_read", str(one / "file")).value == b"one"
    assert second.ask("file_read", str(one / "file")).status == DENIED
    assert second.ask("file_read", "file").value == b"other"


def test_variables_of_one_are_not_the_others(make_fast_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST", "1")
    monkeypatch.setenv("SECOND", "2")
    world = make_fast_world()
    first, second = (
        world.tenant(
            "env_get",
            "wasi.environ_get",
            name=name.lower(),
            grants=[grant("environment", scope=EnvironmentScope((name,)))],
        )
        for name in ("FIRST", "SECOND")
    )
    assert (first.ask("env_get", "FIRST").value, second.ask("env_get", "FIRST").status) == ("1", DENIED)
    assert b"FIRST" not in second.do(call("environ_get", OUT, OUT + 64), look=(OUT, 4096)).seen


@pytest.fixture
def databases(tmp_path: Path) -> dict[str, DatabaseSpec]:
    found = {}
    for name in ("first", "second"):
        path = tmp_path / f"{name}.db"
        with sqlite3.connect(path) as raw:
            raw.executescript(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, '{name}');")
        found[name] = DatabaseSpec(name, "sqlite", path)
    return found


DB = ("lookup", "db_query")
READ = ("database-read", "database-query")


@pytest.mark.parametrize("table", ["first:t", "first.t", "t", "main.t"])
def test_the_others_connection_is_not_reached_by_name(
    make_fast_world: MakeWorld, databases: dict[str, DatabaseSpec], table: str
) -> None:
    world = make_fast_world(databases=databases)
    first, second = (
        world.tenant(*DB, name=name, grants=[grant(*READ, scope=DatabaseScope(name))]) for name in databases
    )
    assert first.ask("lookup", ["t", 1]).value == {"id": 1, "v": "first"}
    answer = second.ask("lookup", [table, 1])
    assert answer.status < 0 or answer.value == {"id": 1, "v": "second"}
    assert second.ask("db_query", ["SELECT v FROM t", [], "first"]).status == DENIED


def test_the_others_cached_rows_are_not_answered(
    make_fast_world: MakeWorld, databases: dict[str, DatabaseSpec]
) -> None:
    """Same table, same key, both with a cache: each its own."""
    world = make_fast_world(databases=databases)
    first, second = (
        world.tenant(
            "lookup", name=name, grants=[grant("database-read", scope=DatabaseScope(name, cache_ttl_ms=60_000))]
        )
        for name in databases
    )
    for _ in range(2):
        assert first.ask("lookup", ["t", 1]).value == {"id": 1, "v": "first"}
        assert second.ask("lookup", ["t", 1]).value == {"id": 1, "v": "second"}


def test_a_shared_connection_keeps_each_ones_tables(
    make_fast_world: MakeWorld, databases: dict[str, DatabaseSpec]
) -> None:
    """One pool, two scopes: what one statement was authorised for is not the next one's."""
    with sqlite3.connect(databases["first"].path or "") as raw:
        raw.executescript("CREATE TABLE u (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO u VALUES (1, 'u');")
    world = make_fast_world(databases=databases)
    first, second = (
        world.tenant("db_query", name=table, grants=[grant("database-query", scope=DatabaseScope("first", (table,)))])
        for table in "tu"
    )
    for _ in range(3):
        assert first.ask("db_query", ["SELECT v FROM t", []]).value == [{"v": "first"}]
        assert second.ask("db_query", ["SELECT v FROM t", []]).status == DENIED
        assert second.ask("db_query", ["SELECT v FROM u", []]).value == [{"v": "u"}]


@pytest.mark.parametrize("end", ["well", "trap", "reused"])
def test_linear_memory_has_nothing_of_the_tenant_before(make_world: MakeWorld, end: str) -> None:
    """The pool gives slots on: what one wrote all over its memory, the next finds nowhere in its own."""
    tick = HostImport("stop", (), None, lambda state, memory: state.trap(), module="test")
    world = make_world(extra=(tick,))
    first = world.tenant("random", "stop", name="first", grants=[grant("random")])
    words = MARK * (1_500_000 // len(MARK))
    for _ in range(8):
        if end == "trap":
            with pytest.raises(Exception, match="trap"):
                first.do(call("stop"), data=words)
        else:
            first.do(call("random", OUT, 8), data=words)
        if end != "reused":
            first.session.close()
    second = world.tenant("random", name="second", grants=[grant("random")])
    for start in range(1 << 16, MEMORY_BYTES, 0x10_0000):
        length = min(0x10_0000, MEMORY_BYTES - start)
        assert MARK not in second.do(look=(start, length)).seen
        second.session.close()


def echo(world_calls: list[object]) -> HostImport:
    from sandbox.host.requests import HostRequest, request_import
    from schemas.capabilities import Capability

    def serve(request: HostRequest) -> object:
        request.admit()
        world_calls.append(request.value)
        return [request.gate.name] * 100

    return request_import("echo", Capability.KEY_VALUE, serve)


def test_a_kept_answer_of_one_is_not_given_to_the_other(make_fast_world: MakeWorld) -> None:
    """The first leaves an answer that did not fit; the second asks the very same."""
    asked: list[object] = []
    world: World = make_fast_world(extra=(echo(asked),))
    first, second = (world.tenant("echo", name=name, grants=[grant("key-value")]) for name in ("first", "second"))
    assert first.do(Call("echo", (ARENA, 2, OUT, 8)), data=b"\xa1a").returned == (-3,)
    answer: Answer = second.ask_raw("echo", b"\xa1a")
    assert answer.value == ["second"] * 100
    assert asked == ["a", "a"]


def test_a_kept_answer_does_not_outlive_its_batch(make_fast_world: MakeWorld) -> None:
    asked: list[object] = []
    tenant = make_fast_world(extra=(echo(asked),)).tenant("echo", name="first", grants=[grant("key-value")])
    assert tenant.do(Call("echo", (ARENA, 2, OUT, 8)), data=b"\xa1a").returned == (-3,)
    assert tenant.ask_raw("echo", b"\xa1a", ROOM).status > 0
    assert asked == ["a", "a"]


def test_wasis_descriptors_are_not_the_others(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    """A number that one has open is nothing to the other."""
    (tmp_path / "file").write_bytes(MARK)
    world = make_fast_world()
    scope = FileScope(read=(tmp_path,))
    names = ("wasi.path_open", "wasi.fd_read", "wasi.fd_prestat_get")
    first = world.tenant(*names, name="first", grants=[grant("filesystem-read", scope=scope)])
    second = world.tenant(*names, name="second")
    data = (OUT + 64).to_bytes(4, "little") + (100).to_bytes(4, "little") + b"file"
    opened = call("path_open", 3, 0, ARENA + 8, 4, 0, 2, 2, 0, OUT)
    reading = [call("fd_read", fd, ARENA, 1, OUT + 8) for fd in (3, 4, 5, 6)]
    found = first.do(opened, *reading, data=data, look=(OUT, 200))
    assert found.returned[0] == 0 and MARK in found.seen
    found = second.do(*reading, data=data, look=(OUT, 200))
    assert 0 not in found.returned and MARK not in found.seen
    assert second.do(call("fd_prestat_get", 3, OUT)).returned == (8,)


def test_wasis_stand_ins_tell_nothing_of_the_other(make_fast_world: MakeWorld) -> None:
    """Chance and clock without a grant are the same for everybody, whatever others drew before."""
    world = make_fast_world()
    names = ("wasi.random_get", "wasi.clock_time_get")
    asked = (call("random_get", OUT, 32), call("clock_time_get", 0, 0, OUT + 32))
    alone = make_fast_world().tenant(*names).do(*asked, look=(OUT, 40))
    first = world.tenant(*names, name="first")
    first.do(*asked * 50)
    assert world.tenant(*names, name="second").do(*asked, look=(OUT, 40)) == alone


def test_what_is_counted_of_one_is_not_counted_of_the_other(make_fast_world: MakeWorld) -> None:
    world = make_fast_world()
    first, second = (world.tenant("random", name=name, grants=[grant("random")]) for name in "ab")
    first.do(*[call("random", OUT, 8)] * 7)
    second.do(call("random", OUT, 8))
    assert (first.used("random"), second.used("random")) == ((7, 0), (1, 0))
