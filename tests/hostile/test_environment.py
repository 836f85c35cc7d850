"""Attacks on variables: what is not listed is not there, however it is asked for; on a process that has secrets."""

from __future__ import annotations

import struct

import pytest

from schemas.capabilities import EnvironmentScope
from tests.hostile.conftest import MakeWorld
from tests.hostile.puppet import ARENA, OUT, call
from tests.hostile.rig import DENIED, INVALID, Tenant, grant

SECRET = "hunter2"


@pytest.fixture
def tenant(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> Tenant:
    monkeypatch.setenv("AWS_SECRET", SECRET)
    monkeypatch.setenv("TZ", "UTC")
    scope = EnvironmentScope(("TZ", "NOT_SET"))
    return make_world().tenant(
        "env_get", "wasi.environ_sizes_get", "wasi.environ_get", grants=[grant("environment", scope=scope)]
    )


@pytest.mark.parametrize(
    "name",
    ["AWS_SECRET", "aws_secret", "PATH", "HOME", "tz", "TZ ", " TZ", "TZ\0", "TZ=", "TZ=x", "", "*", "T*", "$TZ", "${AWS_SECRET}",
     "TZ\nAWS_SECRET", "ΤZ", "x" * 100_000],
    ids=lambda name: repr(name[:20]),
)  # fmt: skip
def test_a_variable_that_is_not_listed_is_denied(tenant: Tenant, name: str) -> None:
    answer = tenant.ask("env_get", name)
    assert answer.status == DENIED
    assert tenant.used("environment") == (0, 1)


@pytest.mark.parametrize("name", [None, 5, ["TZ"], {"TZ": 1}, b"TZ"], ids=repr)
def test_what_is_no_name_is_no_request(tenant: Tenant, name: object) -> None:
    assert tenant.ask("env_get", name).status == INVALID


def test_a_listed_variable_that_is_not_set_is_nil_and_not_denied(tenant: Tenant) -> None:
    assert (tenant.ask("env_get", "NOT_SET").value, tenant.ask("env_get", "TZ").value) == (None, "UTC")


def test_wasi_tells_what_is_listed_and_no_more(tenant: Tenant) -> None:
    found = tenant.do(
        call("environ_sizes_get", OUT, OUT + 4), call("environ_get", OUT + 16, OUT + 64), look=(OUT, 4096)
    )
    assert found.returned == (0, 0)
    assert struct.unpack_from("<I", found.seen) == (1,)
    assert b"TZ=UTC\0" in found.seen and SECRET.encode() not in found.seen


def test_without_a_grant_wasi_tells_nothing(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET", SECRET)
    tenant = make_world().tenant("wasi.environ_sizes_get", "wasi.environ_get")
    found = tenant.do(call("environ_sizes_get", ARENA, ARENA + 4), call("environ_get", OUT, OUT + 64), look=(ARENA, 8))
    assert (found.returned, found.seen) == ((0, 0), bytes(8))


def test_a_value_is_in_no_report(tenant: Tenant) -> None:
    tenant.ask("env_get", "AWS_SECRET")
    assert SECRET not in repr(tenant.report) + repr(tenant.world.sandbox)


def test_without_a_scope_every_name_is_denied(make_world: MakeWorld) -> None:
    tenant = make_world().tenant("env_get", grants=[grant("environment")])
    assert tenant.ask("env_get", "TZ").status == DENIED
