"""The shape of a host import, the state it works on, and which import belongs to which capability."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from sandbox.errors import OutOfBounds
from sandbox.escapes import PROBES, Pattern, is_at_boundary, pattern_of
from sandbox.host.gate import Denied, Gate, Use, Uses
from sandbox.host.holding import Holder
from sandbox.host.network.names import Resolve, system_addresses
from sandbox.host.wasi_state import WasiState
from sandbox.memory import GuestMemory
from schemas.abi import ERROR_DENIED, IMPORT_MODULE
from schemas.capabilities import Capability, Grants, RandomScope
from schemas.outcome import LogLine
from schemas.specs import DatabaseSpec

HostFunction = Callable[..., int | None]
T = TypeVar("T")
UNGATED = Gate(grants=Grants.of([*Capability]))
"""For hosts that link imports by hand: whatever was linked may be called."""


@dataclass(frozen=True, slots=True)
class Services:
    """Where host functions get time, chance and the world from: injected, so that a run can be replayed."""

    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    resolve: Resolve = system_addresses
    """Addresses of a host's name; asked anew for each connection."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The variables that all guests see through WASI; none unless the host lists them. Never the process's own."""
    process_environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    """Where the variables are taken from that an environment grant names, and `environment` does not have."""
    databases: Mapping[str, DatabaseSpec] = field(default_factory=dict)
    """The registry's connections, by name."""
    state_dir: Path | None = None
    """Where key-value stores lie; None when this host has none."""
    held: Holder = field(default_factory=Holder, repr=False)

    def lent(self, databases: Mapping[str, DatabaseSpec], state_dir: Path | None) -> Services:
        """With a registry's databases and folder besides; what is held is held together."""
        if not databases and state_dir is None:
            return self
        return replace(self, databases={**self.databases, **databases}, state_dir=state_dir or self.state_dir)

    def hold(self, key: Hashable, make: Callable[[], T]) -> T:
        """What all transformers share under `key` (a pool of connections, a thread), closed with the sandbox."""
        return self.held.get(key, make)


@dataclass(slots=True)
class HostState:
    """What one guest said and did through the host during one crossing."""

    services: Services
    log_bytes_left: int
    gate: Gate = UNGATED
    ends_ns: int | None = None
    """When the guest's deadline is over, by the gate's clock."""
    uses: Uses = field(default_factory=dict)
    drawn: int = 0
    """How often seeded chance was asked for."""
    moved: int = 0
    """Bytes that the call at hand read, wrote, sent or received."""
    denied: Denied | None = None
    """The denied call that stops the guest (`strict`)."""
    answered: tuple[str, bytes, bytes] | None = None
    """Import, request and answer of a call whose answer did not fit: the next one asks for it again."""
    logs: list[LogLine] = field(default_factory=list)
    logs_suppressed: int = 0
    host_calls: int = 0
    bad_pointers: int = 0
    """Ranges that the guest handed to a host function, and that were refused: outside its memory, or at address 0."""
    escapes: dict[str, int] | None = None
    """The same by the name of their pattern; None for none."""
    probes: int = 0
    """How many of them were at the boundary."""
    failed: bool = False
    """The guest called `fail`."""
    fail_code: str = ""
    fail_message: str = ""
    event: int | None = None
    """The index of the event at work, when the guest said it along with `fail`: not yet checked."""
    trapping: bool = False
    """A host function wants the guest stopped."""
    error: BaseException | None = None
    """A bug of ours inside a host function, or an interrupt that struck there; raised again once the guest is off the stack."""

    wasi: WasiState | None = None
    """What WASI's shim remembers; lives as long as the guest."""

    @property
    def shim(self) -> WasiState:
        """The same, made when it is needed first."""
        if self.wasi is None:
            self.wasi = WasiState()
        return self.wasi

    def refused(self, error: OutOfBounds) -> None:
        """Count a range that the bridge refused: a security event."""
        pattern = Pattern.OWN_ACCESS
        if error.place is not None:
            pattern = pattern_of(*error.place)
            if is_at_boundary(*error.place):
                self.probes += 1
                pattern = pattern if self.probes < PROBES else Pattern.PROBING
        self.bad_pointers += 1
        self.escapes = self.escapes or {}
        self.escapes[pattern] = self.escapes.get(pattern, 0) + 1

    def random_bytes(self, length: int) -> bytes:
        """Chance from where the sandbox takes it; with a seed granted, the same for every crossing, call by call."""
        seeds = self.gate.scopes(Capability.RANDOM, RandomScope)
        seed = next((one.seed for one in seeds if one.seed is not None), None)
        if seed is None:
            return self.services.random_bytes(length)
        self.drawn += 1
        return hashlib.shake_256(b"%d/%d" % (seed, self.drawn)).digest(length)

    def count(self, capability: Capability, scope: str, moved: int, elapsed_ns: int, *, allowed: bool) -> None:
        """Add one call to what the crossing used."""
        use = self.uses.get((capability, scope))
        if use is None:
            use = self.uses[capability, scope] = Use()
        if allowed:
            use.allowed += 1
        else:
            use.denied += 1
        use.bytes += moved
        use.elapsed_ns += elapsed_ns

    def deny(self, denied: Denied) -> None:
        """The call at hand is denied; with `strict` the guest stops."""
        if self.gate.grants.strict:
            self.denied = denied
            self.trap()

    def trap(self) -> None:
        """Stop the guest as soon as the host function returns."""
        self.trapping = True


@dataclass(frozen=True, slots=True)
class HostImport:
    """One function a module may import. `function(state, memory, *integers)` returns an integer or None, as its type says."""

    name: str
    parameters: tuple[str, ...]
    """`i32` or `i64`."""
    result: str | None
    function: HostFunction
    capability: str | None = None
    """None is always granted."""
    module: str = IMPORT_MODULE
    counts_as: Capability | None = None
    """The capability that a call is admitted and counted under, here; None for functions that see to it themselves."""
    denied: int = ERROR_DENIED
    """What a call returns that is not admitted."""
    prepare: Callable[[Gate, Services], None] | None = None
    """Has ready, when a module that imports it is loaded, what its first call would spend the guest's deadline on. Raises ConfigError."""

    @property
    def signature(self) -> str:
        """As wasm text would write it: `(i32, i32) -> i64`."""
        return f"({', '.join(self.parameters)}) -> {self.result or '()'}"

    def invoke(self, state: HostState, memory: GuestMemory | None, arguments: Sequence[int]) -> int | None:
        """Call the function; whatever it raises is kept on the state and stops the guest."""
        state.host_calls += 1
        try:
            if self.counts_as is None:
                return self.function(state, memory, *arguments)
            return self._counted(self.counts_as, state, memory, arguments)
        except BaseException as error:  # it must not reach wasmtime
            state.error = error
            state.trap()
            return None

    def serve(self, state: HostState, memory: GuestMemory | None, arguments: Sequence[int]) -> int | None:
        """What `invoke` does, within another import's call."""
        if self.counts_as is None:
            return self.function(state, memory, *arguments)
        return self._counted(self.counts_as, state, memory, arguments)

    def _counted(
        self, capability: Capability, state: HostState, memory: GuestMemory | None, arguments: Sequence[int]
    ) -> int | None:
        gate = state.gate
        began = gate.clock_ns()
        if not gate.is_free(capability):
            try:
                gate.admit(capability)
            except Denied as denied:
                state.deny(denied)
                state.count(capability, "", 0, gate.clock_ns() - began, allowed=False)
                return self.denied
        state.moved = 0
        result = self.function(state, memory, *arguments)
        state.count(capability, "", state.moved, gate.clock_ns() - began, allowed=True)
        return result


def known_imports() -> Mapping[tuple[str, str], HostImport]:
    """Everything a guest could be granted, by module and name."""
    from sandbox.host import clock, database, environment, fail, files, key_value, log, random
    from sandbox.host.network import serve as network
    from sandbox.host.wasi import wasi_imports

    served = (fail, log, clock, random, environment, files, network, database, key_value)
    own = {(one.module, one.name): one for file in served for one in file.IMPORTS}
    return own | wasi_imports()


def granted_imports(
    capabilities: Iterable[str], extra: Iterable[HostImport] = ()
) -> Mapping[tuple[str, str], HostImport]:
    """What a guest with these capabilities may import; `extra` is for tests and for hosts that embed the sandbox."""
    from sandbox.host.wasi import wasi_imports

    names = {Capability(name).value for name in capabilities}
    granted = {key: one for key, one in known_imports().items() if one.capability is None or one.capability in names}
    return granted | wasi_imports(names) | {(one.module, one.name): one for one in extra}
