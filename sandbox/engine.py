"""EngineSettings -> wasmtime Engine: tier, features, stack, pooling allocator.

Threat: wasmtime aborts the whole process for an engine it does not like, so every combination a user can write is checked here
first (tests try all of them in processes of their own). Proposals nobody asked for stay off: less code that a guest can reach.
"""

from __future__ import annotations

import os
import resource
import threading
from dataclasses import dataclass

from wasmtime import Config, Engine

from sandbox.calls import Calls, Pool, Tuning
from sandbox.epoch import EpochTicker
from schemas.errors import Fault
from schemas.limits import Limits
from schemas.specs import EngineSettings, Tier

ASYNC_STACK_BYTES = 2 << 20
"""wasmtime's default; it refuses a wasm stack larger than this, even where nothing is async."""
STACK_BYTES_LEAST = 16 << 10
STACK_BYTES_MAX = 4 << 20
"""Half of the stack a thread has by default; the other half is for the host's own frames."""
MEMORY_BYTES_MAX = 1 << 32
POOL_MEMORY_LEAST = 1 << 20
POOLED_MEMORIES_MAX = 8192
"""All pools together. Each memory reserves 4 GiB of addresses, whatever its limit: 32 of the 128 TiB that a process has."""
PULLEY = "pulley64"
BACKTRACE_DETAILS = "WASMTIME_BACKTRACE_DETAILS"


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What makes two engines different."""

    settings: EngineSettings
    stack_bytes: int
    metered: bool
    memories: int
    pool: Pool | None
    owner: str = ""
    """The transformer that shares it with no other; nobody's when empty."""

    @property
    def fingerprint(self) -> str:
        """All that decides what compiled code looks like (the pool and the owner do not)."""
        settings = self.settings
        return f"{settings!r} stack={self.stack_bytes} metered={self.metered} memories={self.memories}"


def engine_key(settings: EngineSettings, limits: Limits, *, slots: int, poolable: bool) -> EngineKey:
    """The engine for these settings and limits; limits of one size class share it."""
    pooled = poolable and settings.pooling and _address_space_is_unlimited()
    pool = Pool(
        slots=slots,
        memory_bytes_max=max(POOL_MEMORY_LEAST, 1 << (limits.memory_bytes - 1).bit_length()),
        memories=limits.memories,
        tables=limits.tables,
        table_elements=limits.table_elements,
    )
    return EngineKey(
        settings=settings,
        stack_bytes=limits.stack_bytes,
        metered=limits.fuel_per_event is not None,
        memories=limits.memories,
        pool=pool if pooled else None,
    )


def check(settings: EngineSettings, limits: Limits, calls: Calls) -> tuple[Fault, ...]:
    """What wasmtime would abort for, or silently not honour."""
    rules = (
        (settings.relaxed_simd and not settings.simd, "relaxed_simd", "needs `simd`"),
        (
            settings.relaxed_simd and settings.tier is Tier.BASELINE,
            "relaxed_simd",
            "the baseline tier does not have it; take `tier: optimizing`",
        ),
        (
            settings.threads and settings.tier is Tier.INTERPRETER,
            "threads",
            "the interpreter does not have it; take `tier: optimizing`",
        ),
        (
            settings.nan_canonicalization and settings.tier is Tier.BASELINE,
            "nan_canonicalization",
            "the baseline tier does not honour it; take `tier: optimizing`",
        ),
        (
            settings.tier is Tier.BASELINE and not calls.can_pool,
            "tier",
            "`baseline` needs wasmtime's C bindings, which are not usable here",
        ),
        (
            not settings.reference_types and not calls.can_pool,
            "reference_types",
            "switching it off needs wasmtime's C bindings, which are not usable here",
        ),
    )
    faults = [Fault(problem, path=f"engine.{name}") for broken, name, problem in rules if broken]
    return tuple(faults) + tuple(_limit_faults(limits, calls))


def _limit_faults(limits: Limits, calls: Calls) -> list[Fault]:
    stack_max = STACK_BYTES_MAX if calls.can_pool else ASYNC_STACK_BYTES
    ranges = {
        "memory_bytes": (1 << 16, MEMORY_BYTES_MAX),
        "deadline_ms": (1, 24 * 3600 * 1000),
        "allocation_bytes_max": (1, MEMORY_BYTES_MAX // 2),
        "output_bytes_per_event": (1, 1 << 30),
        "log_bytes_per_batch": (0, 1 << 30),
        "stack_bytes": (STACK_BYTES_LEAST, min(stack_max, _thread_stack_bytes() // 2)),
        "table_elements": (0, 1_000_000),
        "tables": (0, 16),
        "instances": (1, 1),
        "memories": (1, 16),
    }
    faults = [
        Fault(f"{getattr(limits, name)} is not between {least} and {most}", path=f"limits.{name}")
        for name, (least, most) in ranges.items()
        if not least <= getattr(limits, name) <= most
    ]
    if limits.fuel_per_event is not None and not 1 <= limits.fuel_per_event <= 1 << 48:
        faults.append(Fault(f"{limits.fuel_per_event} is not between 1 and {1 << 48}", path="limits.fuel_per_event"))
    return faults


class Engines:
    """Makes each engine once, and has them all ticked."""

    def __init__(self, calls: Calls, ticker: EpochTicker) -> None:
        self._calls = calls
        self._ticker = ticker
        self._engines: dict[EngineKey, Engine] = {}
        self._lock = threading.Lock()

    def get(self, key: EngineKey) -> Engine:
        """The engine for this key; settings must have passed `check`."""
        with self._lock:
            engine = self._engines.get(key)
            if engine is None:
                engine = self._engines[key] = build(key, self._calls)
                self._ticker.add(self._calls.incrementer(engine))
            return engine

    def can_take(self, key: EngineKey) -> bool:
        """A pool is address space, and running out of it aborts: engines beyond the bound do without."""
        with self._lock:
            pools = [one.pool for one in {*self._engines, key} if one.pool is not None]
            return sum(pool.slots * pool.memories for pool in pools) <= POOLED_MEMORIES_MAX

    @property
    def pool_slots(self) -> int:
        """Slots of all pools together."""
        with self._lock:
            return sum(key.pool.slots for key in self._engines if key.pool)


def build(key: EngineKey, calls: Calls) -> Engine:
    """A new engine. Aborts the process for settings that `check` refuses."""
    settings = key.settings
    config = _new_config(detailed=settings.debug)
    config.epoch_interruption = True
    config.consume_fuel = key.metered
    config.max_wasm_stack = key.stack_bytes
    config.memory_init_cow = True
    config.cranelift_nan_canonicalization = settings.nan_canonicalization
    config.debug_info = settings.debug and settings.tier is Tier.OPTIMIZING
    set_features(config, settings, key.memories)
    if settings.tier is Tier.INTERPRETER:
        config.target = PULLEY
    if calls.can_pool:
        tuning = Tuning(
            winch=settings.tier is Tier.BASELINE,
            async_stack_bytes=max(ASYNC_STACK_BYTES, key.stack_bytes),
            pool=key.pool,
        )
        calls.configure(config, tuning)
    reserve_little(config)
    return Engine(config)


def reserve_little(config: Config) -> None:
    """Where the address space is limited, memories check every access instead of reserving 4 GiB each."""
    if not _address_space_is_unlimited():
        config.memory_reservation = 0
        config.memory_guard_size = 0


def _new_config(*, detailed: bool) -> Config:
    """`detailed` backtraces have file and line. The environment, read when a Config is made, is the only way to ask for them."""
    before = os.environ.get(BACKTRACE_DETAILS)
    if detailed:
        os.environ[BACKTRACE_DETAILS] = "1"
    try:
        return Config()
    finally:
        if detailed:
            os.environ.pop(BACKTRACE_DETAILS)
        if before is not None:
            os.environ[BACKTRACE_DETAILS] = before


def set_features(config: Config, settings: EngineSettings, memories: int) -> None:
    """Exactly the proposals that were asked for."""
    config.wasm_relaxed_simd = settings.relaxed_simd  # before simd: it may not outlive it
    config.wasm_relaxed_simd_deterministic = True
    config.wasm_simd = settings.simd
    config.wasm_bulk_memory = settings.bulk_memory
    config.wasm_reference_types = settings.reference_types
    config.wasm_multi_value = settings.multi_value
    config.wasm_threads = settings.threads
    config.wasm_tail_call = settings.tail_call
    config.wasm_multi_memory = memories > 1
    config.wasm_memory64 = False
    config.wasm_exceptions = False
    config.wasm_function_references = False
    config.wasm_gc = False
    config.wasm_wide_arithmetic = False
    config.wasm_custom_page_sizes = False
    config.wasm_stack_switching = False
    config.shared_memory = False


def _address_space_is_unlimited() -> bool:
    """A pool reserves 4 GiB of addresses a slot; under `ulimit -v` that would fail, and failing aborts."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def _thread_stack_bytes() -> int:
    """What a new thread's stack has here: guests run on the caller's thread."""
    chosen = threading.stack_size()
    limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
    return chosen or (8 << 20 if limit == resource.RLIM_INFINITY else limit)
