"""Grants made by programs end by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.host import Denied, Gate
from schemas.capabilities import FILESYSTEM, Capability, Grants
from schemas.code_grants import ENVIRONMENT, FILES, granted, http

READ = Capability.FILESYSTEM_READ


def gate(now: list[int], **more: int) -> Gate:
    return Gate("shop", Grants((granted(FILESYSTEM, FILES, now_ms=5, **more),)), now_ms=lambda: now[0])


def test_a_grant_ends_after_an_hour() -> None:
    now = [5]
    one = gate(now)
    one.admit(READ)
    now[0] = 5 + 3_600_000 - 1
    one.admit(READ)
    now[0] += 1
    with pytest.raises(Denied, match="the grant has ended"):
        one.admit(READ)


def test_a_grant_ends_after_a_thousand_uses() -> None:
    one = gate([5])
    for _ in range(1_000):
        one.admit(READ)
    with pytest.raises(Denied, match="its 1000 uses are used up"):
        one.admit(READ)


def test_other_ends_can_be_had() -> None:
    one = gate([5], uses=1, lasts_ms=10)
    one.admit(READ)
    with pytest.raises(Denied):
        one.admit(READ)


def test_the_references_figures() -> None:
    assert FILES.read == (Path("/tmp/wasm"), Path("/data"), Path("/config"))
    assert FILES.write == (Path("/tmp/wasm"),), "data and configuration are read-only"
    assert (FILES.file_bytes_max, FILES.descriptors) == (10 * 1024 * 1024, 32)
    assert ENVIRONMENT.names == ("PATH", "LANG", "TZ", "APP_CONFIG")
    scope = http("api.example.com")
    assert (scope.hosts, scope.ports, scope.connections, scope.timeout_ms) == (
        ("api.example.com",),
        (80, 443, 8080),
        10,
        30_000,
    )


def test_a_name_that_is_none() -> None:
    with pytest.raises(ValueError, match="filesystem-reed"):
        granted(["filesystem-reed"], now_ms=0)
