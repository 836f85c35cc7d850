"""Every capability and every profile: allowed exactly where the reference's table says, with and without `strict`, and counted."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from sandbox.host import known_imports
from sandbox.sections import append_custom
from schemas.abi import IMPORT_MODULE
from schemas.capabilities import (
    NEEDED_FOR,
    SCOPED,
    Capability,
    DatabaseScope,
    EnvironmentScope,
    FileScope,
    HttpScope,
    Scope,
)
from schemas.errors import ModuleFault
from schemas.specs import DatabaseSpec
from tests.hostile.conftest import MakeWorld
from tests.hostile.puppet import ARENA, OUT, Call
from tests.hostile.rig import DENIED, ROOM, UNAVAILABLE, Stopped, World, grant
from tests.hostile.test_load import importing, type_of
from tests.sandbox.guests import batch, kinds, spec

X = True
TABLE: dict[str, dict[str, bool]] = {
    # capability                        minimal        database-only        standard        elevated
    "database-read":         {"minimal": False, "database-only": X,     "standard": X,     "elevated": X},
    "database-query":        {"minimal": False, "database-only": X,     "standard": False, "elevated": X},
    "database-write":        {"minimal": False, "database-only": False, "standard": X,     "elevated": X},
    "database-transaction":  {"minimal": False, "database-only": False, "standard": X,     "elevated": X},
    "log":                   {"minimal": False, "database-only": X,     "standard": False, "elevated": False},
    "clock":                 {"minimal": False, "database-only": False, "standard": X,     "elevated": False},
    "random":                {"minimal": False, "database-only": False, "standard": X,     "elevated": False},
    "filesystem-read":       {"minimal": False, "database-only": False, "standard": False, "elevated": X},
    "filesystem-write":      {"minimal": False, "database-only": False, "standard": False, "elevated": False},
    "filesystem-create":     {"minimal": False, "database-only": False, "standard": False, "elevated": False},
    "filesystem-delete":     {"minimal": False, "database-only": False, "standard": False, "elevated": False},
    "network-client":        {"minimal": False, "database-only": False, "standard": False, "elevated": X},
    "network-server":        {"minimal": False, "database-only": False, "standard": False, "elevated": False},
    "key-value":             {"minimal": False, "database-only": False, "standard": False, "elevated": False},
    "environment":           {"minimal": False, "database-only": False, "standard": False, "elevated": False},
}  # fmt: skip
"""The reference's four profiles, written out once more and by hand."""
PROFILES = ("minimal", "database-only", "standard", "elevated")
CELLS = [pytest.param(name, profile, id=f"{name}-{profile}") for name in TABLE for profile in PROFILES]
CALLS: dict[str, object] = {
    "env_get": "TZ",
    "file_read": "/tmp",
    "file_write": ["/tmp/x", b""],
    "http_request": {"method": "GET", "url": "https://api.example.com/", "headers": [], "body": None},
    "kv_get": "a",
    "kv_put": ["a", b"b"],
    "kv_delete": "a",
    "lookup": ["t", 1],
    "lookup_many": ["t", [1]],
    "db_query": ["SELECT v FROM t", []],
    "db_execute": ["UPDATE t SET v = 'x'", []],
    "db_transaction": [["UPDATE t SET v = 'x'", []]],
}
PLAIN: dict[str, tuple[int, ...]] = {
    "log": (2, ARENA, 1), "now_ms": (), "monotonic_ns": (), "random": (OUT, 8),
}  # fmt: skip
IMPORTS = {
    name: one.capability
    for (module, name), one in known_imports().items()
    if module == IMPORT_MODULE and one.capability
}


def test_the_table_has_every_capability_and_every_profile() -> None:
    from schemas.capabilities import PROFILES as HELD

    assert set(TABLE) == set(Capability) and set(PROFILES) == set(HELD)
    assert {name: frozenset(row for row in TABLE if TABLE[row][name]) for name in PROFILES} == HELD


def test_every_import_of_the_abi_is_served_and_in_this_corpus() -> None:
    assert dict(NEEDED_FOR) == IMPORTS
    assert set(IMPORTS) == set(CALLS) | set(PLAIN)


@pytest.fixture
def world(make_fast_world: MakeWorld, tmp_path: Path) -> World:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as raw:
        raw.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a');")
    return make_fast_world(
        state_dir=tmp_path / "state",
        databases={"shop": DatabaseSpec("shop", "sqlite", path)},
        environment={"TZ": "UTC"},
        resolve=lambda name: ["127.0.0.1"],
    )


@pytest.mark.parametrize(("name", "profile"), CELLS)
def test_a_module_that_asks_loads_under_exactly_the_profiles_that_have_it(
    world: World, name: str, profile: str
) -> None:
    from schemas.capabilities import Grants

    wasm = append_custom(importing(), "penstock", msgspec.json.encode({"abi": 1, "capabilities": [name]}))
    wanted = spec(capabilities=Grants(profile=profile))
    if TABLE[name][profile]:
        assert kinds(world.sandbox.load(wanted, wasm).run(batch([b"x"])).outcomes) == ["emitted"]
    else:
        with pytest.raises(ModuleFault, match=f"asks for `{name}`, which the registry does not grant"):
            world.sandbox.load(wanted, wasm)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", IMPORTS)
def test_an_import_links_under_exactly_the_profiles_that_have_its_capability(
    world: World, name: str, profile: str
) -> None:
    from schemas.capabilities import Grants

    wasm = importing(f'(import "penstock" "{name}" (func {type_of(name)}))')
    wanted = spec(capabilities=Grants(profile=profile))
    if TABLE[IMPORTS[name]][profile]:
        world.sandbox.load(wanted, wasm)
    else:
        with pytest.raises(ModuleFault, match=f"`{IMPORTS[name]}`"):
            world.sandbox.load(wanted, wasm)


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
@pytest.mark.parametrize("profile", PROFILES[1:])
@pytest.mark.parametrize("name", IMPORTS)
def test_a_profile_alone_reaches_nothing_that_needs_a_scope(
    world: World, name: str, profile: str, strict: bool
) -> None:
    """Denied and counted; with `strict` the event is a violation. What needs no scope is allowed."""
    capability = IMPORTS[name]
    if not TABLE[capability][profile]:
        return
    tenant = world.tenant(name, profile=profile, strict=strict)
    if name in PLAIN:
        assert DENIED not in tenant.do(Call(name, PLAIN[name]), data=b"x").returned
        assert tenant.used(capability) == (1, 0)
        return
    assert capability in SCOPED
    raw = msgspec.msgpack.encode(CALLS[name])
    asked = Call(name, (ARENA, len(raw), OUT, ROOM))
    if strict:
        with pytest.raises(Stopped) as caught:
            tenant.do(asked, data=raw)
        assert caught.value.kind == "capability"
    else:
        assert tenant.do(asked, data=raw).returned == (DENIED,)
    assert tenant.used(capability) == (0, 1)


def scope_of(capability: str, folder: Path) -> Scope | None:
    if capability.startswith("database-"):
        return DatabaseScope("shop")
    if capability.startswith("filesystem-"):
        return FileScope(read=(folder,), write=(folder,))
    if capability == "network-client":
        return HttpScope(hosts=("api.example.com",))
    return EnvironmentScope(("TZ",)) if capability == "environment" else None


@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
@pytest.mark.parametrize("name", IMPORTS)
def test_a_grant_with_its_scope_is_allowed_until_it_ends(
    world: World, tmp_path: Path, name: str, strict: bool, ended: bool
) -> None:
    """Each import once as it should be, and once a millisecond too late. `http_request` gets as far as a loopback address."""
    capability = IMPORTS[name]
    (tmp_path / "file").write_bytes(b"content")
    also = ("filesystem-create",) if name == "file_write" else ()
    granted = grant(
        capability, *also, scope=scope_of(capability, tmp_path), until_ms=world.now_ms + (0 if ended else 1)
    )
    tenant = world.tenant(name, strict=strict, grants=[granted])
    paths = {"file_read": str(tmp_path / "file"), "file_write": [str(tmp_path / "new"), b"x"]}
    raw = msgspec.msgpack.encode(paths.get(name, CALLS.get(name)))
    asked = Call(name, PLAIN.get(name, (ARENA, len(raw), OUT, ROOM)))
    if name == "http_request" and not ended:
        return _refused_address(tenant_world=world, asked=asked, raw=raw, strict=strict, granted=granted)
    if ended and strict:
        with pytest.raises(Stopped) as caught:
            tenant.do(asked, data=raw)
        assert caught.value.kind == "capability"
    else:
        (status,) = tenant.do(asked, data=raw).returned
        assert (status == DENIED) == (ended and name != "log"), status
        assert status >= 0 or ended
    assert tenant.used(capability) == ((0, 1) if ended else (1, 0))
    return None


def _refused_address(tenant_world: World, asked: Call, raw: bytes, strict: bool, granted: object) -> None:
    """The gate lets it pass; that the name leads to loopback is what stops it."""
    from schemas.capabilities import Grant

    assert isinstance(granted, Grant)
    tenant = tenant_world.tenant("http_request", name="caller", strict=strict, grants=[granted])
    if strict:
        with pytest.raises(Stopped, match=r"loopback|private|address|127"):
            tenant.do(asked, data=raw)
    else:
        assert tenant.do(asked, data=raw).returned[0] in (DENIED, UNAVAILABLE)
