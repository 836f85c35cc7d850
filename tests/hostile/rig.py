"""Tenants under attack, or attacking: the real sandbox with real grants, a clock moved by hand, and one puppet per tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from sandbox import Limits, Sandbox, Session
from sandbox.calls import CallsName
from sandbox.epoch import EpochTicker
from sandbox.host import HostImport, Services, known_imports
from sandbox.host.network.names import Resolve, system_addresses
from sandbox.host.wasi import MODULE as WASI
from schemas.abi import IMPORT_MODULE
from schemas.capabilities import Capability, Grant, Grants, Scope
from schemas.outcome import Emitted, HostUse, Report, Violation
from schemas.specs import DatabaseSpec, TransformerSpec
from tests.hostile.puppet import ARENA, OUT, Call, Told, puppet, script, told
from tests.sandbox.guests import batch

LIMITS = Limits(memory_bytes=16 << 20, deadline_ms=10_000, allocation_bytes_max=4 << 20, output_bytes_per_event=2 << 20)
ROOM = 64 << 10
NOW_MS = 1_700_000_000_000
DENIED, BAD_POINTER, TOO_LARGE, UNAVAILABLE, DEADLINE, INVALID = -1, -2, -3, -4, -5, -6


@dataclass(frozen=True)
class Answer:
    """One request's status, and what was answered when there is an answer."""

    status: int
    value: Any = None


class Stopped(Exception):
    """The event is a violation: `kind` and `message`."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(f"{violation.kind}: {violation.message}")
        self.kind, self.message = str(violation.kind), violation.message


@dataclass
class World:
    """A process: one sandbox, its clocks, its databases and its folder of state."""

    calls: CallsName
    state_dir: Path | None = None
    databases: Mapping[str, DatabaseSpec] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    ceiling: frozenset[str] | None = None
    extra: Sequence[HostImport] = ()
    now_ms: int = NOW_MS
    now_ns: int = 0
    reading_ns: int = 0
    """How far each look at the monotonic clock moves it: what takes long then takes many looks, and no test waits."""
    resolve: Resolve = system_addresses

    def __post_init__(self) -> None:
        self.sandbox = Sandbox(
            calls=self.calls,
            cache=False,
            ticker=EpochTicker(auto=False),
            clock_ns=self._look,
            ceiling=self.ceiling,
            extra_imports=self.extra,
            services=Services(
                now_ms=lambda: self.now_ms,
                monotonic_ns=lambda: self.now_ns,
                environment=self.environment,
                databases=self.databases,
                state_dir=self.state_dir,
                resolve=self.resolve,
            ),
        )
        self._open: list[Session] = []

    def _look(self) -> int:
        self.now_ns += self.reading_ns
        return self.now_ns

    def pass_ms(self, milliseconds: int) -> None:
        """Let time pass, on every clock."""
        self.now_ms += milliseconds
        self.now_ns += milliseconds * 1_000_000
        self.sandbox.advance_epoch(milliseconds)

    def tenant(
        self,
        *names: str,
        name: str = "tenant",
        strict: bool = False,
        profile: str | None = None,
        grants: Sequence[Grant] = (),
        limits: Limits = LIMITS,
    ) -> Tenant:
        """A transformer that imports these (of WASI as `wasi.path_open`) and is granted those."""
        imports = tuple(_known(one, self.extra) for one in names)
        spec = TransformerSpec(
            name, Path("puppet.wasm"), limits=limits, capabilities=Grants(tuple(grants), profile, strict)
        )
        transformer = self.sandbox.load(spec, puppet(imports))
        session = transformer.session()
        self._open.append(session)
        return Tenant(self, imports, session)

    def close(self) -> None:
        for one in self._open:
            one.close()
        self.sandbox.close()


@dataclass
class Tenant:
    """One transformer's lane."""

    world: World
    imports: tuple[HostImport, ...]
    session: Session
    report: Report | None = None
    """Of the last batch."""

    def run(self, *scripts: tuple[Sequence[Call], bytes, tuple[int, int]]) -> list[Told]:
        """One event per script, together in one batch. Raises Stopped for the first that is a violation."""
        made = [script(self.imports, calls, data, look) for calls, data, look in scripts]
        self.report = self.session.run(batch(made))
        found = []
        for (calls, _, _), outcome in zip(scripts, self.report.outcomes, strict=True):
            if isinstance(outcome, Violation):
                raise Stopped(outcome)
            assert isinstance(outcome, Emitted)
            value = outcome.events[0].value
            assert value is not None
            found.append(told(calls, value))
        return found

    def do(self, *calls: Call, data: bytes = b"", look: tuple[int, int] = (0, 0)) -> Told:
        """These calls in one event."""
        return self.run((calls, data, look))[0]

    def ask(self, name: str, request: object, room: int = ROOM) -> Answer:
        """One well-made request, as an SDK sends it: asked again with as much room as the host says it needs."""
        raw = request if isinstance(request, bytes) else msgspec.msgpack.encode(request)
        return self.ask_raw(name, raw, room)

    def ask_raw(self, name: str, raw: bytes, room: int = ROOM) -> Answer:
        """A request of any bytes."""
        asked = Call(name, (ARENA, len(raw), OUT, room))
        found = self.do(asked, data=raw, look=(OUT, room))
        (status,) = found.returned
        return Answer(status, msgspec.msgpack.decode(found.seen[:status]) if status > 0 else None)

    def used(self, capability: Capability | str) -> tuple[int, int]:
        """How often the last batch used the capability, and was denied it."""
        assert self.report is not None
        found: list[HostUse] = [one for one in self.report.uses if one.capability == capability]
        return sum(one.allowed for one in found), sum(one.denied for one in found)


def grant(
    *capabilities: str,
    scope: Scope | None = None,
    until_ms: int | None = None,
    uses: int | None = None,
    per_ms: int | None = None,
) -> Grant:
    return Grant(frozenset(Capability(one) for one in capabilities), scope, until_ms, uses, per_ms)


def _known(name: str, extra: Sequence[HostImport]) -> HostImport:
    for one in extra:
        if one.name == name:
            return one
    module, _, short = name.rpartition(".")
    return known_imports()[WASI if module == "wasi" else IMPORT_MODULE, short]
