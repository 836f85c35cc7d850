"""The program of a guest's process: loads one module, gives up everything, then does what the host asks for until the channel ends.

It is trusted up to the moment at which a guest first runs, and not at all from then on: nothing is in this memory that the guest may not have
(no grant's scope, no credential, no other transformer's event), and the host believes nothing that comes out of it.
"""

from __future__ import annotations

import gc
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never, cast

import msgspec

from sandbox.calls import CallsName
from sandbox.components.guest import ComponentGuest
from sandbox.guest import Guest, RefusedConfig, SlowStart
from sandbox.host import Gate, HostState
from sandbox.process.channel import Channel
from sandbox.process.confinement import confine, die_with
from sandbox.process.forwarding import forwarders
from sandbox.process.guest import ProcessPlan
from sandbox.process.protocol import (
    ENDED_BROKEN,
    ENDED_MEMORY,
    Boot,
    Close,
    Cross,
    Crossed,
    Faulted,
    Probe,
    Probed,
    Read,
    Ready,
    Result,
    Said,
    Start,
    Started,
    Troubled,
    Unfit,
    Use,
    Write,
)
from sandbox.sandbox import Sandbox
from sandbox.session import SessionPlan
from sandbox.traps import Trouble
from schemas.capabilities import Grants
from schemas.errors import ModuleFault
from schemas.limits import Limits
from schemas.specs import EngineSettings, InstancePolicy, Tier, TransformerSpec


def main(parent: int) -> None:
    """Serve the host `parent` until it closes the channel."""
    die_with(parent)
    channel = Channel()
    try:
        Servant(channel).serve()
    except MemoryError:
        os._exit(ENDED_MEMORY)
    except BaseException:
        os._exit(ENDED_BROKEN)


class CodeAtHand:
    """Compiled code that somebody else has made (see `sandbox.cache.CompiledCache`)."""

    def __init__(self, code: bytes) -> None:
        self._code: bytes | None = code

    def get(self, name: str) -> bytes | None:
        """The code, once."""
        code, self._code = self._code, None
        return code

    def put(self, name: str, payload: bytes) -> int:
        """Nothing is compiled in here: it would take threads, and the compiler is not confined."""
        raise RuntimeError("the compiled code does not fit this process")


class Servant:
    """One module, one guest at a time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        boot, plain = channel.receive()
        assert isinstance(boot, Boot)
        try:
            self._sandbox, plan = _prepare(channel, boot, plain)
            self._counters = plan.guests.counters
            assert not isinstance(plan.guests, ProcessPlan)
            self._plan = plan.guests
            self._guest: Guest | ComponentGuest = self._plan.guest()
            self._guests: dict[tuple[str, ...], Guest | ComponentGuest] = {(): self._guest}
            """By what is withheld from them; one of them is open at most."""
            gc.collect()
            gc.freeze()
            posture = confine(plan.guests.limits.memory_bytes, self._sandbox.start_clock)
        except ModuleFault as fault:  # the host says it in the words that it has at every level
            channel.send(Faulted("fault", fault.problem, fault.remedy, SILENCE))
            raise
        except Exception as error:
            channel.send(Unfit(f"{type(error).__name__}: {error}"))
            raise
        self._escapes: dict[str, int] = {}
        """Counted so far, by pattern."""
        channel.send(Ready(posture.seccomp, posture.landlock, posture.network_namespace))

    def serve(self) -> None:
        """Until the channel ends."""
        while True:
            message, plain = self._channel.receive()
            match message:
                case Start():
                    self._start(message)
                case Cross():
                    self._cross(message, plain)
                case Close():
                    self._guest.close()
                case Probe():
                    self._probe()
                case Boot() | Read() | Write() | Result():
                    raise AssertionError("out of turn")
                case _:
                    assert_never(message)

    def _start(self, message: Start) -> None:
        self._guest.close()
        guest = self._guest = self._guests.get(message.withheld) or self._narrowed(message.withheld)
        guest.log_bytes_left = message.log_bytes_left
        try:
            guest.start()
        except ModuleFault as fault:
            self._fault(fault)
        else:
            has_cursor = isinstance(guest, Guest) and guest.has_cursor
            self._channel.send(Started(has_cursor, guest.memory_bytes))

    def _narrowed(self, withheld: tuple[str, ...]) -> Guest | ComponentGuest:
        """A place for guests that may do less: a caller's profile, not the transformer's grants, decides there."""
        gate = self._plan.gate
        left = Grants.of(gate.grants.names.difference(withheld))
        narrow = Gate(gate.name, replace(left, strict=gate.grants.strict), gate.now_ms, gate.clock_ns)
        self._guests[withheld] = guest = replace(self._plan, gate=narrow).guest()
        return guest

    def _probe(self) -> None:
        try:
            self._guest.probe()
        except ModuleFault as fault:
            self._fault(fault)
        else:
            self._channel.send(Probed())

    def _cross(self, message: Cross, frame: bytes) -> None:
        guest = self._guest
        guest.log_bytes_left = message.log_bytes_left
        head, body = frame[: message.head_bytes], frame[message.head_bytes :]
        try:
            answer = guest.cross(head, body, message.count, message.result_bytes_max)
        except ModuleFault as fault:
            self._fault(fault)
        else:
            if isinstance(answer, Trouble):
                self._trouble(answer)
            else:
                said = _said(guest.host, {})
                self._channel.send(Crossed(guest.memory_bytes, guest.fuel_used, said), answer)

    def _trouble(self, trouble: Trouble) -> None:
        self._channel.send(
            Troubled(
                kind=trouble.kind.value,  # type: ignore[arg-type]
                text=trouble.message,
                code=trouble.code,
                backtrace=trouble.backtrace,
                elapsed_ns=trouble.elapsed_ns,
                memory_bytes=trouble.memory_bytes,
                cursor=trouble.cursor,
                oversize=trouble.oversize,
                starved_ns=trouble.starved_ns,
                fuel_used=self._guest.fuel_used,
                said=_said(self._guest.host, self._new_escapes()),
            )
        )

    def _fault(self, fault: ModuleFault) -> None:
        kind: Any = (
            "slow" if isinstance(fault, SlowStart) else "config" if isinstance(fault, RefusedConfig) else "fault"
        )
        said = _said(self._guest.host, self._new_escapes())
        self._channel.send(Faulted(kind, fault.problem, fault.remedy, said))

    def _new_escapes(self) -> dict[str, int]:
        before, self._escapes = self._escapes, dict(self._counters.snapshot().escape_patterns)
        counts = {name: count - before.get(name, 0) for name, count in self._escapes.items()}
        return {name: count for name, count in counts.items() if count}


def _prepare(channel: Channel, boot: Boot, plain: bytes) -> tuple[Sandbox, SessionPlan]:
    """Everything loaded that a guest will need: nothing can be read from disk later."""
    wasm, code = plain[: boot.module_bytes], plain[boot.module_bytes :]
    grants = Grants.of(boot.granted)
    spec = TransformerSpec(
        name=boot.name,
        module=Path(boot.name),
        config=msgspec.msgpack.decode(boot.config),
        encoding=boot.encoding,
        instance=InstancePolicy(boot.instance),
        limits=Limits(**boot.limits),  # type: ignore[arg-type]
        engine=EngineSettings(**{**boot.engine, "tier": Tier(boot.engine["tier"])}),  # type: ignore[arg-type]
        function=boot.function,
        capabilities=Grants(grants.grants, strict=boot.strict),
    )
    sandbox = Sandbox(
        workers=1,
        calls=CallsName(boot.calls),
        cache=False,
        code_store=CodeAtHand(code),
        extra_imports=forwarders(channel, boot.served, boot.granted),
        debug_mode=boot.debug,
    )
    plan = sandbox.prepare(spec, wasm)
    assert threading.active_count() == 1
    return sandbox, plan


def _said(host: HostState, escapes: dict[Any, int]) -> Said:
    if not (host.host_calls or host.logs or escapes or host.bad_pointers or host.uses or host.logs_suppressed):
        return SILENCE
    return Said(
        logs=tuple((line.level, line.text) for line in host.logs),
        logs_suppressed=host.logs_suppressed,
        host_calls=host.host_calls,
        bad_pointers=host.bad_pointers,
        escapes=sum(escapes.values()),
        uses=tuple(
            Use(capability.value, use.allowed, use.denied, use.bytes, use.elapsed_ns)  # type: ignore[arg-type]
            for (capability, _), use in host.uses.items()
        ),
        pointers=cast("dict[Any, int]", host.escapes or {}),
        named=escapes,
    )


SILENCE = Said()
