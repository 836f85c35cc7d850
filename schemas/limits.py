"""What one event may cost. Profiles are those of the reference document, in MiB (its code multiplies by 1024 × 1024)."""

from __future__ import annotations

from dataclasses import dataclass, replace

KIB = 1 << 10
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps for one transformer; every one holds for a single event run alone on a fresh guest."""

    memory_bytes: int = 64 * MIB
    """Linear memory, all memories together. A multiple of 64 KiB is what wasm can use; others round down."""
    deadline_ms: int = 5_000
    """Wall-clock time of one event, and of a whole healthy batch; also of start, `_initialize`, `configure` and `alloc`."""
    allocation_bytes_max: int = 16 * MIB
    """Largest single block the host asks `penstock_v1_alloc` for, so also the largest batch frame."""
    fuel_per_event: int | None = None
    """Instructions (roughly) per event; None is off. Metering costs CPU, see bench/RESULTS.md."""
    output_bytes_per_event: int = 1 * MIB
    """Sum of keys, values and headers of all records that come of one event."""
    log_bytes_per_batch: int = 16 * KIB
    stack_bytes: int = 512 * KIB
    table_elements: int = 10_000
    tables: int = 4
    instances: int = 1
    memories: int = 1

    @classmethod
    def conservative(cls) -> Limits:
        """The limits for code nobody knows: the `untrusted` profile."""
        return PROFILES["untrusted"]

    def with_(self, **changes: int | None) -> Limits:
        """A copy with these fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def describe(self) -> str:
        """One line for dead letters and `check`: the limits a user set most likely."""
        fuel = f" fuel={self.fuel_per_event}" if self.fuel_per_event is not None else ""
        return f"memory={format_bytes(self.memory_bytes)} deadline={self.deadline_ms}ms{fuel}"


def format_bytes(count: int) -> str:
    """`4194304` as `4MiB`; exact, so that what is printed can be pasted back into a registry."""
    for unit, size in (("GiB", 1 << 30), ("MiB", MIB), ("KiB", KIB)):
        if count >= size and count % size == 0:
            return f"{count // size}{unit}"
    return f"{count}B"


PROFILES: dict[str, Limits] = {
    "untrusted": Limits(memory_bytes=4 * MIB, deadline_ms=500, allocation_bytes_max=2 * MIB),
    "database-only": Limits(memory_bytes=16 * MIB, deadline_ms=2_000, allocation_bytes_max=8 * MIB),
    "standard": Limits(),
    "trusted": Limits(memory_bytes=256 * MIB, deadline_ms=30_000, allocation_bytes_max=64 * MIB),
}
