"""Attacks on the key-value store: keys and values of any kind, quotas, ends; on real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.capabilities import KeyValueScope
from tests.hostile.conftest import MakeWorld
from tests.hostile.rig import DENIED, INVALID, TOO_LARGE, UNAVAILABLE, Tenant, grant

IMPORTS = ("kv_get", "kv_put", "kv_delete")


def enter(make: MakeWorld, folder: Path | None, name: str = "tenant", **scope: int) -> Tenant:
    world = make(state_dir=folder)
    return world.tenant(*IMPORTS, name=name, grants=[grant("key-value", scope=KeyValueScope(**scope))])


@pytest.mark.parametrize(
    "key",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "'; DROP TABLE entries; --",
        '"',
        "%",
        "",
        "\n",
        "x" * 1_024,
        "ключ",
        "\u202e",
    ],
    ids=lambda key: repr(key[:20]),
)
def test_a_key_is_a_text_whatever_it_says(make_fast_world: MakeWorld, tmp_path: Path, key: str) -> None:
    tenant = enter(make_fast_world, tmp_path / "state")
    assert tenant.ask("kv_put", ["other", b"kept"]).status > 0
    assert tenant.ask("kv_put", [key, b"value"]).status > 0
    assert tenant.ask("kv_get", key).value == b"value"
    tenant.ask("kv_delete", key)
    assert (tenant.ask("kv_get", key).value, tenant.ask("kv_get", "other").value) == (None, b"kept")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["state"]


@pytest.mark.parametrize(
    "key", [None, 5, ["a"], {"a": 1}, b"a", "x" * 1_025, "é" * 600], ids=lambda key: repr(key)[:20]
)
def test_what_is_no_key_is_no_request(make_fast_world: MakeWorld, tmp_path: Path, key: object) -> None:
    tenant = enter(make_fast_world, tmp_path)
    assert {
        tenant.ask("kv_get", key).status,
        tenant.ask("kv_put", [key, b""]).status,
        tenant.ask("kv_delete", key).status,
    } == {INVALID}


@pytest.mark.parametrize("value", [None, "text", 5, [b""], {"a": b""}], ids=repr)
def test_a_value_is_bytes(make_fast_world: MakeWorld, tmp_path: Path, value: object) -> None:
    assert enter(make_fast_world, tmp_path).ask("kv_put", ["a", value]).status == INVALID


def test_more_than_the_quota_is_denied_and_changes_nothing(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    tenant = enter(make_fast_world, tmp_path, quota_bytes=100)
    assert tenant.ask("kv_put", ["a", b"x" * 99]).status > 0
    assert tenant.ask("kv_put", ["b", b"x"]).status == DENIED
    assert tenant.ask("kv_put", ["a", b"x" * 100]).status == DENIED
    assert (tenant.ask("kv_get", "a").value, tenant.ask("kv_get", "b").value) == (b"x" * 99, None)


def test_writing_one_key_again_and_again_is_counted_once(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    tenant = enter(make_fast_world, tmp_path, quota_bytes=100)
    assert all(tenant.ask("kv_put", ["a", b"x" * 99]).status > 0 for _ in range(5))
    tenant.ask("kv_delete", "a")
    assert tenant.ask("kv_put", ["b", b"x" * 99]).status > 0


def test_empty_values_do_not_get_around_the_number_of_entries(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    tenant = enter(make_fast_world, tmp_path, entries=3)
    assert [tenant.ask("kv_put", [str(n), b""]).status > 0 for n in range(5)] == [True] * 3 + [False] * 2


def test_deleting_what_is_not_there_makes_no_room(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    tenant = enter(make_fast_world, tmp_path, entries=1)
    tenant.ask("kv_put", ["a", b""])
    for _ in range(3):
        tenant.ask("kv_delete", "nothing")
    assert tenant.ask("kv_put", ["b", b""]).status == DENIED


def test_an_entry_is_gone_when_its_time_is_over(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    tenant = enter(make_fast_world, tmp_path, ttl_ms=1_000)
    tenant.ask("kv_put", ["a", b"x"])
    tenant.world.pass_ms(999)
    assert tenant.ask("kv_get", "a").value == b"x"
    tenant.world.pass_ms(1)
    assert tenant.ask("kv_get", "a").value is None


def test_a_value_of_a_mib_does_not_fit_a_request(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    tenant = enter(make_fast_world, tmp_path, quota_bytes=1 << 30)
    assert tenant.ask("kv_put", ["a", b"x" * (1 << 20)]).status == TOO_LARGE


def test_without_a_folder_it_is_unavailable(make_fast_world: MakeWorld) -> None:
    assert enter(make_fast_world, None).ask("kv_get", "a").status == UNAVAILABLE


def test_a_link_in_place_of_the_store_is_not_followed(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    tenant = enter(make_fast_world, tmp_path / "one")
    tenant.ask("kv_put", ["a", b"x"])
    (store,) = (tmp_path / "one" / "key-value").glob("*.sqlite")
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    other = tmp_path / "two" / "key-value"
    other.mkdir(parents=True)
    (other / store.name).symlink_to(victim)
    assert enter(make_fast_world, tmp_path / "two").ask("kv_put", ["a", b"x"]).status == UNAVAILABLE
    assert victim.read_bytes() == b"mine"


def test_the_store_is_nobody_elses_to_read(make_fast_world: MakeWorld, tmp_path: Path) -> None:
    enter(make_fast_world, tmp_path).ask("kv_put", ["a", b"x"])
    (store,) = (tmp_path / "key-value").glob("*.sqlite")
    assert store.stat().st_mode & 0o077 == 0
