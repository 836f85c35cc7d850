"""The tables of `results/sandbox.json`, `results/isolation.json`, `results/guests.json`, `results/lookups.json` and `results/soak.json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Found = dict[str, Any]


def sandbox_table(found: Found) -> str:
    """What the sandbox costs, the marks it is to reach, and the single checks beside the reference document's claims."""
    policy, alone = found["policy"], found["per_event"]
    rows = [
        (
            "policy (deadline, limits, memory bridge, outcome checks) over a bare wasmtime crossing of the same 256 events",
            f"{_percent(policy['overhead_percent'])} of {policy['bare_us_per_event']:.2f} µs an event",
            f"≤ {policy['bar_percent']:g} %: {_verdict(policy['overhead_percent']['mean'] <= policy['bar_percent'])}",
        ),
        ("`Session.run`, per event", f"{policy['session_us_per_event']:.2f} µs", ""),
        *(
            (
                f"a fresh instance per event ({name}), against a raw pooled one",
                f"{each['session_us']:.1f} µs against {each['raw_us']:.1f}: {_ratio(each['ratio'])}",
                f"≤ {alone['bar']:g}: {_verdict(each['ratio']['mean'] <= alone['bar'])}",
            )
            for name, each in alone.items()
            if name != "bar"
        ),
        *((what, figure, "") for what, figure in _plain(found)),
    ]
    checks = [
        (each["what"], f"{each['value']:,.0f} ns", "" if each["claim"] is None else f"{each['claim']:g} ns")
        for each in found["rows"]
    ]
    head = f"{found['rounds']} rounds of CPU time. {_where(found)}\n\n"
    return f"{head}{_table(['what', 'figure', 'mark'], rows)}\n{_table(['one', 'costs', 'the reference document says'], checks)}"


def _plain(found: Found) -> list[tuple[str, str]]:
    frames, fresh, policies, meter = found["frames"], found["instances"], found["instance_policies"], found["metering"]
    tiers = " / ".join(f"{each['us_per_event']:.1f}" for each in found["tiers"].values())
    loads = " / ".join(f"{each['load_ms']:.0f}" for each in found["tiers"].values())
    cache, isolated = found["cache"], found["isolation"]
    return [
        (
            "frame encoding, and decoding with outcome checks, per event",
            f"{frames['encode_us_per_event']:.2f} and {frames['decode_us_per_event']:.2f} µs",
        ),
        (
            "a fresh guest: pooled / configured Rust / unpooled / through the public API",
            " / ".join(
                f"{fresh[f'fresh_{name}_us']:.1f}"
                for name in ("pooled", "pooled_rust_configured", "unpooled", "public")
            )
            + " µs",
        ),
        (
            "per-batch / per-event / reused instances, per event",
            " / ".join(f"{policies[f'{name}_us_per_event']:.1f}" for name in ("per-batch", "per-event", "reused"))
            + " µs",
        ),
        (f"tiers {' / '.join(found['tiers'])}, per event", f"{tiers} µs"),
        ("the same, loading (CPU)", f"{loads} ms"),
        (
            "epochs (deadlines), of the guest's own time",
            f"{_percent(meter['epochs_percent'])} of {meter['guest_us_per_event']:.2f} µs an event",
        ),
        (
            f"fuel, on top of epochs (the reference document says {meter['fuel_claim_percent']} %)",
            _percent(meter["fuel_percent"]),
        ),
        (
            "load a module cold / from the cache (CPU)",
            f"{cache['load_cold_ms']:.0f} / {cache['load_cached_ms']:.1f} ms",
        ),
        (
            "batch of 256 crude events: healthy / one trap / all 256 trap",
            " / ".join(f"{isolated[name] / 1e3:.2f}" for name in ("healthy_us", "one_trap_us", "all_trap_us")) + " ms",
        ),
        ("memory per live guest", f"{found['memory']['guest_kib']:.0f} KiB"),
    ]


def guests_table(found: Found) -> str:
    """enrich-order by language."""
    rows = [
        (
            name,
            _size(each["module_bytes"]),
            "" if each["fresh_us"] is None else f"{each['fresh_us']:.1f} µs",
            f"{each['reused_us']:.1f} µs",
            f"{each['start_us']:,.0f} µs",
            _size(each["memory_bytes"]) if each["memory_bytes"] else "not seen",
            f"{each['mark_size']}, {each['mark_us']:g} µs: {_verdict(each['reused_us'] <= each['mark_us'])}",
        )
        for name, each in found["rows"].items()
    ]
    head = ["language", "module", "an event, fresh guests", "reused", "starting", "memory", "mark (size, time)"]
    return f"Batches of {found['batch']}, {found['rounds']} rounds. {_where(found)}\n\n{_table(head, rows)}"


def lookups_table(found: Found) -> str:
    """Look-ups by a guest, out of the cache and out of SQLite."""
    rows = [
        (
            name,
            f"{each['us']:.2f} µs",
            f"{each['per_s']:,.0f}/s",
            f"≥ {found['mark_per_s']:,}/s: {_verdict(each['per_s'] >= found['mark_per_s'])}"
            if name.endswith("cached")
            else "",
        )
        for name, each in found["rows"].items()
    ]
    head = ["", "a look-up", "look-ups", "mark"]
    return f"Batches of {found['batch']}, {found['rounds']} rounds. {_where(found)}\n\n{_table(head, rows)}"


def builtins_table(found: Found) -> str:
    """What each built-in costs an event, all of it and without what any would."""
    least = found["rows"]["nothing"]["us"]
    rows = [
        (
            name if name == "nothing" else f"`{name}`",
            f"{each['us']:.1f} µs",
            "" if name == "nothing" else f"{each['us'] - least:.1f} µs",
            f"{1e6 / each['us']:,.0f}/s",
            f"{each['records']:g}",
        )
        for name, each in found["rows"].items()
    ]
    head = ["", "an event", "of it the built-in's", "events on one core", "records of an event"]
    return f"Batches of {found['batch']}, {found['rounds']} rounds. {_where(found)}\n\n{_table(head, rows)}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1e3:.0f} KB"


def soak_table(found: Found) -> str:
    """What the long run came to, and each process over its life."""
    said = (
        f"{found['events']:,} events in {found['seconds']:,.0f} s ({found['events_per_s'] / 1e3:.0f}k/s, beside other work), one in {found['bad_one_in']} "
        f"misbehaving: {found['emitted']:,} emitted, {found['dropped']:,} dropped by declaration, {found['dead_lettered']:,} dead-lettered; "
        f"**{found['missing']} lost, {found['duplicates']} doubled, {found['misplaced']} misplaced, {found['out_of_order']} out of order**. "
        f"At rest afterwards: {found['resting']['penstock_guests']:.0f} guests alive. {_where(found)}\n\n"
    )
    rows = [
        (
            each["process"],
            f"{each['seconds']:.0f} s",
            f"{each['rss_mib']:.0f} MiB",
            "too short to tell"
            if each["slope"] is None
            else "{mean:+.2f} ({low:+.2f} to {high:+.2f}) MiB/min".format(**each["slope"]),
            " → ".join(f"{count:g}" for count in each["threads"]),
            " → ".join(f"{count:g}" for count in each["descriptors"]),
            f"grows by {each['drift_mib']:.1f} MiB" if each["faults"] else "steady",
        )
        for each in found["rows"]
    ]
    head = ["process (start, pid)", "after warm-up", "RSS", "slope", "threads, first → last third", "descriptors", ""]
    return said + _table(head, rows)


def _percent(found: Found) -> str:
    return f"{found['mean']:.1f} % ({found['low']:.1f}–{found['high']:.1f})"


def _ratio(found: Found) -> str:
    return f"{found['mean']:.2f} ({found['low']:.2f}–{found['high']:.2f})"


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "not met"


def isolation_table(found: Found) -> str:
    """What each level of isolation costs."""
    rows = [
        (
            f"`{name}`",
            f"{one['start_ms']:.0f} ms",
            f"{one['again_ms']:.1f} ms",
            f"{one['wall_us']:.2f} µs",
            f"{one['cpu_us']:.2f} µs",
            f"{one['host_rss_mb']:.0f} MB",
            f"{one['process_rss_mb']:.0f} MB, {one['process_own_mb']:.0f} of them its own"
            if one["process_rss_mb"]
            else "",
        )
        for name, one in found["levels"].items()
    ]
    head = [
        "isolation",
        "start",
        "a batch after a breach",
        "an event",
        "its CPU",
        "the host's RSS",
        "each process's RSS",
    ]
    return f"Batches of {found['events']}, {found['rounds']} rounds. {_where(found)}\n\n{_table(head, rows)}"


def _where(found: Found) -> str:
    at = found["machine"]
    return f"{at['cores']} cores ({at['cpu']}); Python {at['python']}; {at['taken']}, load average {at['load_average']:g} when it was written."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
