"""The one public door: loads modules into transformers, and runs single functions of modules under the same limits."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wasmtime import Module
from wasmtime.component import Component

from sandbox import modules
from sandbox.cache import open_cache
from sandbox.calls import Calls, CallsName, Link, LinkError, LinkPlan, StoreLimits, choose
from sandbox.compiler import CodeStore, Compiler
from sandbox.components import ComponentLink, ComponentPlan, inspect
from sandbox.components.guest import config_text, store_limits
from sandbox.engine import EngineKey, Engines, check, engine_key
from sandbox.epoch import EpochTicker
from sandbox.errors import CapabilityDenied
from sandbox.functions import Argument, CompiledModule, FunctionRunner, Machinery, Number
from sandbox.guest import GuestPlan
from sandbox.host import Gate, HostImport, Services, granted_imports
from sandbox.modules import ModuleBytes, ModuleShape
from sandbox.process.forwarding import served_imports
from sandbox.process.guest import Kennels, ProcessPlan
from sandbox.results import Rules
from sandbox.sections import MalformedModuleError, read_metadata
from sandbox.session import BATCH_MEMORY_PART, SessionPlan
from sandbox.slots import Slots
from sandbox.stats import Counters, SandboxStats
from sandbox.transformer import Transformer
from schemas import abi
from schemas.capabilities import Capability, Grants
from schemas.errors import ConfigError, Fault, ModuleFault
from schemas.event import TopicPartition
from schemas.limits import Limits
from schemas.specs import EngineSettings, InstancePolicy, IsolationLevel, TransformerSpec

WORKERS_MAX = 256
SPARE_SLOTS = 4
"""Pool slots beyond two per worker: one-shot runs beside the lanes."""
ISOLATION_DEADLINES = 4
"""The isolation budget in deadlines, unless set: what finding two endless loops in one batch takes."""
ISOLATION_DEADLINES_SHORT = 20
ISOLATION_MS_SHORT = 10_000
"""Where deadlines are short there is time for more: up to so many deadlines, within a third of the shortest rebalance timeout."""


class Sandbox:
    """Engines, compiled modules and the deadline clock, shared by all transformers of a process.

    `workers` is how many guests run at once at most; it sizes the instance pools. `extra_imports` adds host functions beside the
    ABI's, for tests and embedding programs. `isolation_budget_ms` bounds the time a batch may waste on being taken apart.
    `ceiling` is the operator's: no module may be granted more; None leaves everything.
    """

    def __init__(
        self,
        *,
        workers: int = 4,
        isolation_budget_ms: int | None = None,
        services: Services | None = None,
        extra_imports: Sequence[HostImport] = (),
        ceiling: Collection[str] | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        ticker: EpochTicker | None = None,
        calls: CallsName | None = None,
        cache: bool = True,
        cache_dir: Path | None = None,
        cache_entries_max: int = 64,
        code_store: CodeStore | None = None,
        debug_mode: bool = False,
        trace_execution: bool = False,
    ) -> None:
        if not 1 <= workers <= WORKERS_MAX:
            raise ConfigError(Fault(f"{workers} is not between 1 and {WORKERS_MAX}", path="workers"))
        self._calls: Calls = choose(calls)
        self._ticker = ticker or EpochTicker()
        self._engines = Engines(self._calls, self._ticker)
        self._slots = 2 * workers + SPARE_SLOTS
        self._pools: dict[EngineKey, Slots] = {}
        self._services = services or Services()
        self._extra_imports = tuple(extra_imports)
        self._ceiling = frozenset(Capability) if ceiling is None else frozenset(Capability(name) for name in ceiling)
        self._gates: weakref.WeakSet[Gate] = weakref.WeakSet()
        self._clock_ns = clock_ns
        self._isolation_budget_ms = isolation_budget_ms
        self._debug = debug_mode
        self._trace = trace_execution
        self._counters = Counters()
        disk = code_store or (open_cache(cache_dir, cache_entries_max) if cache else None)
        entries_max = cache_entries_max if cache else 0
        self._compiler = Compiler(self._engines, disk, self._counters, entries_max=entries_max)
        self._machinery = Machinery(self._calls, self._ticker, self._services, clock_ns, self._counters)
        self._modules: dict[str, CompiledModule] = {}
        self._functions: dict[tuple[str, str], FunctionRunner] = {}
        self._kennels = Kennels(workers, self._calls.name, debug=debug_mode)
        self._lock = threading.Lock()

    def load(self, spec: TransformerSpec, wasm: bytes | None = None) -> Transformer:
        """Read, verify, compile, link and start the module once. `wasm` replaces what `spec.module` names.

        Raises ModuleFault when the module is at fault, ConfigError when its settings or limits cannot be had.
        """
        plan = self.prepare(spec, wasm)
        _start_once(plan.guests)
        return Transformer(spec, plan.rules.module_sha256, plan)

    def prepare(self, spec: TransformerSpec, wasm: bytes | None = None) -> SessionPlan:
        """All that `load` does before the module runs for the first time."""
        source = modules.read(spec, wasm)
        instance = spec.instance or modules.suited_instance(source.wasm)
        reused = instance is InstancePolicy.REUSED  # it lives long: it must not use up the pool
        apart = spec.isolation is IsolationLevel.PROCESS
        pooled = not (reused or source.is_component or apart)
        key = self._key(f"transformers.{spec.name}", spec.engine, spec.limits, pooled=pooled)
        if spec.isolation is not IsolationLevel.INSTANCE:
            key = replace(key, owner=spec.name)
        module = self._compiler.compile(source, key)
        resolved = replace(spec, encoding=_encoding(spec, source), instance=instance)
        gate = self._gate(f"transformers.{spec.name}", spec.name, spec.grants)
        services = self._services.lent(spec.databases, spec.state_dir)
        granted = granted_imports(spec.grants.names, self._extra_imports)
        guests: GuestPlan | ComponentPlan | ProcessPlan
        imports: Sequence[HostImport]
        if isinstance(module, Component):
            guests, imports = self._component(resolved, source, module, granted, key, gate, services)
        else:
            shape = modules.inspect(spec, module, source.wasm, granted)
            guests = self._guests(spec, shape, self._link(source, module, shape, spec.limits, key), key, gate, services)
            imports = shape.imports
        modules.check_asked(spec, source.wasm)
        if apart:
            code = bytes(module.serialize())
            served = served_imports(imports, gate, services, {(one.module, one.name) for one in self._extra_imports})
            guests = self._kennels.plan(resolved, (source.wasm, code), guests, served)
        return self._session_plan(resolved, source, guests, instance)

    def compile_module(
        self,
        name: str,
        wasm: bytes,
        limits: Limits | None = None,
        *,
        engine: EngineSettings | None = None,
        capabilities: Grants | Collection[str] = frozenset(),
    ) -> None:
        """Compile a module for `execute`, under this name; an earlier one of that name is replaced.

        Raises ModuleFault when it cannot be compiled, CapabilityDenied when it imports what it is not granted, ConfigError for
        limits or settings that cannot be had.
        """
        limits = limits or Limits()
        settings = engine or EngineSettings()
        key = self._key(f"modules.{name}", settings, limits, pooled=False)
        source = modules.identify(name, wasm)
        module = self._compiler.compile(source, key)
        if isinstance(module, Component):
            raise ModuleFault(name, "is a component; those run as transformers only", "build it as a core module")
        modules.check_bounds(name, wasm)
        grants = Grants.of(capabilities)
        gate = self._gate(f"modules.{name}", name, grants)
        try:
            imports = modules.resolve_imports(name, module, granted_imports(grants.names, self._extra_imports))
        except modules.UngrantedImport as fault:
            raise CapabilityDenied(str(fault)) from None
        compiled = CompiledModule(
            name=name,
            engine=self._engines.get(key),
            module=module,
            limits=limits,
            imports=imports,
            memories=modules.count_memories(wasm),
            runs_at_start=modules.has_start(wasm),
            metered=key.metered,
            gate=gate,
        )
        with self._lock:
            self._modules[name] = compiled
            self._functions = {place: one for place, one in self._functions.items() if place[0] != name}

    def execute(self, name: str, function: str, arguments: Sequence[Argument] = ()) -> tuple[Number, ...]:
        """Call an exported function of a compiled module in a fresh instance; its results, integers signed.

        An argument may be bytes when the module exports `penstock_v1_alloc`: the function then gets address and length.
        Raises SandboxError (Timeout, MemoryQuotaExceeded, OutOfBounds, …; each with its `kind`), ModuleFault for an unknown
        module or function, TypeError for arguments that do not fit.
        """
        with self._lock:
            compiled = self._modules.get(name)
            runner = self._functions.get((name, function))
        if compiled is None:
            raise ModuleFault(name, "no module of this name is compiled", "call compile_module first")
        if runner is None:
            runner = FunctionRunner(compiled, function, self._machinery)
            with self._lock:
                self._functions[name, function] = runner
        self._counters.add(crossings=1, instances_created=1)
        return runner.run(arguments)

    def stats(self) -> SandboxStats:
        """Counts so far and gauges now."""
        return self._counters.snapshot(
            pool_slots=self._engines.pool_slots, cached_modules=self._compiler.cached_modules
        )

    def advance_epoch(self, milliseconds: int) -> None:
        """Let this much time pass for all deadlines at once. For tests: a host import may call it."""
        self._ticker.advance(milliseconds)

    def start_clock(self) -> None:
        """Start the thread that deadlines need, which otherwise starts with the first guest."""
        self._ticker.enter()
        self._ticker.leave()

    def close(self) -> None:
        """Stop the deadline clock, end processes, and close what host functions hold. Close sessions first."""
        self._ticker.close()
        self._kennels.close()
        for gate in list(self._gates):
            gate.close()
        self._services.held.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _gate(self, place: str, name: str, grants: Grants) -> Gate:
        """Raises ConfigError for what is granted beyond the ceiling."""
        beyond = ", ".join(f"`{one}`" for one in sorted(grants.beyond(self._ceiling)))
        if beyond:
            problem = f"grants {beyond}, which the operator's ceiling does not leave"
            raise ConfigError(Fault(problem, "take it out, or raise the ceiling", path=f"{place}.capabilities"))
        gate = Gate(name, grants, self._services.now_ms, self._clock_ns)
        self._gates.add(gate)
        return gate

    def _key(self, place: str, settings: EngineSettings, limits: Limits, *, pooled: bool) -> EngineKey:
        settings = replace(settings, debug=settings.debug or self._debug)
        faults = check(settings, limits, self._calls)
        if faults:
            raise ConfigError(*(replace(one, path=f"{place}.{one.path}") for one in faults))
        key = engine_key(settings, limits, slots=self._slots, poolable=pooled and self._calls.can_pool)
        return key if self._engines.can_take(key) else replace(key, pool=None)

    def _link(self, source: ModuleBytes, module: Module, shape: ModuleShape, limits: Limits, key: EngineKey) -> Link:
        plan = LinkPlan(
            engine=self._engines.get(key),
            module=module,
            imports=shape.imports,
            exports=shape.exports,
            limits=StoreLimits.of(limits, shape.memories),
            runs_at_start=shape.has_start,
            metered=key.metered,
        )
        try:
            return self._calls.link(plan)
        except LinkError as error:
            raise ModuleFault(source.name, f"cannot be linked: {error}") from None

    def _component(
        self,
        spec: TransformerSpec,
        source: ModuleBytes,
        component: Component,
        granted: Mapping[tuple[str, str], HostImport],
        key: EngineKey,
        gate: Gate,
        services: Services,
    ) -> tuple[ComponentPlan, list[HostImport]]:
        engine = self._engines.get(key)
        shape = inspect(spec, component, engine, source.wasm, granted)
        try:
            link = ComponentLink(engine, component, shape.imports, store_limits(spec.limits), metered=key.metered)
        except LinkError as error:
            raise ModuleFault(source.name, f"cannot be linked: {error}") from None
        imports = [one.host for one in shape.imports]
        _prepare(imports, gate, services)
        empty = abi.BatchEncoder(TopicPartition("", 0), spec.encoding or "raw")
        plan = ComponentPlan(
            name=spec.name,
            link=link,
            limits=spec.limits,
            transform=shape.transform,
            configure=shape.configure,
            config=config_text(dict(spec.config)),
            probe=(empty.head, empty.body(())),
            decoded=spec.encoding == "event",
            ticker=self._ticker,
            services=services,
            gate=gate,
            clock_ns=self._clock_ns,
            counters=self._counters,
        )
        return plan, imports

    def _guests(
        self, spec: TransformerSpec, shape: ModuleShape, link: Link, key: EngineKey, gate: Gate, services: Services
    ) -> GuestPlan:
        functions = shape.exports.functions
        declared, granted = shape.memory_bytes_declared, spec.limits.memory_bytes
        _prepare(shape.imports, gate, services)
        return GuestPlan(
            name=spec.name,
            link=link,
            limits=spec.limits,
            memory_bytes_max=granted if declared is None else min(declared, granted),
            config=abi.encode_config(dict(spec.config)) if functions[2] >= 0 else None,
            has_initialize=functions[4] >= 0,
            has_cursor=functions[3] >= 0,
            metered=key.metered,
            ticker=self._ticker,
            services=services,
            gate=gate,
            clock_ns=self._clock_ns,
            counters=self._counters,
            slots=self._pool(key),
        )

    def _session_plan(
        self,
        spec: TransformerSpec,
        source: ModuleBytes,
        guests: GuestPlan | ComponentPlan | ProcessPlan,
        instance: InstancePolicy,
    ) -> SessionPlan:
        limits = spec.limits
        return SessionPlan(
            guests=guests,
            rules=Rules(spec.name, source.sha256, limits.describe(), limits.output_bytes_per_event, None),
            instance=instance,
            encoding=spec.encoding or "raw",
            isolation_budget_ms=self._isolation_budget_ms or isolation_budget_ms(limits.deadline_ms),
            trace=self._trace,
            frame_bytes_max=min(limits.allocation_bytes_max, guests.memory_bytes_max // BATCH_MEMORY_PART),
        )

    def _pool(self, key: EngineKey) -> Slots | None:
        if key.pool is None:
            return None
        with self._lock:
            return self._pools.setdefault(key, Slots(key.pool.slots))


def _prepare(imports: Iterable[HostImport], gate: Gate, services: Services) -> None:
    """Raises ConfigError for what a grant names and is not to be had."""
    for one in imports:
        if one.prepare is not None:
            one.prepare(gate, services)


def _encoding(spec: TransformerSpec, source: ModuleBytes) -> str:
    """As the registry says, else as the module does, else raw. Raises ConfigError, ModuleFault for a section that cannot be read."""
    if spec.encoding is None:
        try:
            said = read_metadata(source.wasm)
        except MalformedModuleError as error:
            raise ModuleFault(spec.name, str(error), f"set transformers.{spec.name}.encoding") from None
        return "raw" if said is None else said.encoding
    if spec.encoding not in abi.ENCODINGS:
        problem = f"{spec.encoding!r} is not an encoding"
        raise ConfigError(
            Fault(problem, f"use {' or '.join(abi.ENCODINGS)}", path=f"transformers.{spec.name}.encoding")
        )
    return spec.encoding


def _start_once(plan: GuestPlan | ComponentPlan | ProcessPlan) -> None:
    guest = plan.guest()
    try:
        guest.start()
        guest.probe()
    finally:
        guest.close()


def isolation_budget_ms(deadline_ms: int) -> int:
    """How long one batch may waste on finding out which of its events misbehave, unless the sandbox was told."""
    short = min(ISOLATION_DEADLINES_SHORT * deadline_ms, ISOLATION_MS_SHORT)
    return max(ISOLATION_DEADLINES * deadline_ms, short)
