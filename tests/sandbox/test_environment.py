"""Variables: an allow-list of names, and values that go nowhere but to the guest."""

from __future__ import annotations

import logging

import msgspec
import pytest

from sandbox import Sandbox
from sandbox.calls import CallsName
from sandbox.host import Gate, HostState, Services
from sandbox.host.environment import IMPORTS
from schemas.abi import ERROR_DENIED, ERROR_INVALID, ERROR_UNAVAILABLE
from schemas.capabilities import Capability, EnvironmentScope, Grant, Grants
from tests.sandbox.files.rig import Scratch
from tests.sandbox.guests import batch, spec, values
from tests.sandbox.test_wasi import ANSWER, asking, call

(ENV_GET,) = IMPORTS
ENVIRONMENT = Capability.ENVIRONMENT


def granted(*names: str, **more: object) -> Grants:
    return Grants((Grant(frozenset({ENVIRONMENT}), EnvironmentScope(names), **more),))  # type: ignore[arg-type]


class Asked:
    """env_get under these grants, of a process with some variables."""

    def __init__(self, grants: Grants, **listed: str) -> None:
        process = {"TZ": "Europe/Warsaw", "API_TOKEN": "hunter2", "BROKEN": "\udcff", "EMPTY": ""}
        self.now_ms = 0
        gate = Gate("shop", grants, now_ms=lambda: self.now_ms)
        self.state = HostState(Services(environment=listed, process_environment=process), 0, gate)
        self.memory = Scratch(1 << 16)

    def __call__(self, name: object) -> object:
        raw = msgspec.msgpack.encode(name)
        self.memory.write(64, raw)
        code = ENV_GET.invoke(self.state, self.memory, (64, len(raw), 4096, 4096))
        assert self.state.error is None and code is not None
        return code if code < 0 else msgspec.msgpack.decode(self.memory.read(4096, code))


def test_granted_names_are_read() -> None:
    asked = Asked(granted("TZ", "EMPTY", "UNSET"))
    assert (asked("TZ"), asked("EMPTY"), asked("UNSET")) == ("Europe/Warsaw", "", None)
    assert {key: use.allowed for key, use in asked.state.uses.items()} == {
        (ENVIRONMENT, "TZ"): 1,
        (ENVIRONMENT, "EMPTY"): 1,
        (ENVIRONMENT, "UNSET"): 1,
    }


ATTACKS = ["API_TOKEN", "tz", "TZ ", " TZ", "TZ\0", "TZ=", "T", "*", "", "TZ\nAPI_TOKEN", "PATH", "TZ\u200b"]


@pytest.mark.parametrize("name", ATTACKS)
def test_other_names_are_denied_whether_or_not_they_are_set(name: str) -> None:
    asked = Asked(granted("TZ"))
    assert asked(name) == ERROR_DENIED
    assert asked.state.uses[ENVIRONMENT, ""].denied == 1, "the guest's text is no label"


def test_what_the_host_lists_beats_the_process() -> None:
    assert Asked(granted("TZ"), TZ="UTC")("TZ") == "UTC"
    assert Asked(granted("TZ"), OTHER="x")("OTHER") == ERROR_DENIED


def test_a_star_is_a_name_like_any_other() -> None:
    assert Asked(granted("*"))("API_TOKEN") == ERROR_DENIED


@pytest.mark.parametrize("value", [None, 1, b"TZ", ["TZ"]])
def test_requests_that_are_none(value: object) -> None:
    assert Asked(granted("TZ"))(value) == ERROR_INVALID


def test_values_are_in_no_message(caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked(granted("BROKEN"), TOKEN="hunter2")
    with caplog.at_level(logging.DEBUG, logger="penstock.sandbox"):
        assert asked("BROKEN") == ERROR_UNAVAILABLE
        assert asked("API_TOKEN") == ERROR_DENIED
    assert "hunter2" not in caplog.text + repr(asked.state.services) + repr(asked.state)
    assert "BROKEN is no UTF-8 text" in caplog.text


def test_a_grant_without_a_scope_reaches_nothing() -> None:
    assert Asked(Grants.of({"environment"}))("TZ") == ERROR_DENIED


def test_ends_and_uses() -> None:
    asked = Asked(granted("TZ", until_ms=10, uses=2))
    assert [asked("TZ") for _ in range(3)] == ["Europe/Warsaw", "Europe/Warsaw", ERROR_DENIED]
    asked = Asked(granted("TZ", until_ms=10))
    asked.now_ms = 10
    assert asked("TZ") == ERROR_DENIED


BODY = call("environ_sizes_get", ANSWER + 16, ANSWER + 20) + call("environ_get", ANSWER + 32, ANSWER + 64, at=4)


def wasi_environment(calls: CallsName, grants: Grants, **listed: str) -> bytes:
    """What a guest is told through WASI: number, bytes, and the text."""
    process = {"TZ": "UTC", "API_TOKEN": "hunter2", "NUL": "a\0b"}
    services = Services(environment=listed, process_environment=process)
    with Sandbox(calls=calls, cache=False, services=services) as sandbox:
        report = sandbox.load(spec(capabilities=grants), asking(BODY)).run(batch([b"x"]))
        (value,) = values(report.outcomes[0])
    assert value is not None
    return value[16:24] + value[64:].rstrip(b"\0")


def test_wasi_has_the_granted_variables(calls: CallsName) -> None:
    told = wasi_environment(calls, granted("TZ", "NUL", "UNSET"), LANG="pl")
    assert told == b"\2\0\0\0\x0f\0\0\0LANG=pl\0TZ=UTC"


def test_wasi_has_none_without_a_grant_or_after_its_end(calls: CallsName) -> None:
    nothing = bytes(8)
    assert wasi_environment(calls, Grants()) == nothing
    assert wasi_environment(calls, Grants.of({"environment"})) == nothing
    assert wasi_environment(calls, granted("TZ", until_ms=1)) == nothing


def test_a_grant_that_ends_between_size_and_text_overflows_nothing(calls: CallsName) -> None:
    """One use is counted for both calls, and the second tells what the first promised."""
    assert wasi_environment(calls, granted("TZ", uses=2)) == b"\1\0\0\0\7\0\0\0TZ=UTC"
