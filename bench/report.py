"""Writes the tables of bench/RESULTS.md and docs/scaling.md and the pictures in docs/figures from `bench/results`: `python -m bench.report`.

A table stands between `<!-- figures: NAME -->` and `<!-- end -->`; all else on the pages is left alone, and so is a table whose
bench has not been run. Nothing is measured here.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import figures, model, results
from bench.bounds import Bounds
from bench.encoding_tables import CROSSING_HEAD, HEAD, crossing_rows, throughput_rows
from bench.orders import BYTES
from bench.sandbox_tables import builtins_table, guests_table, isolation_table, lookups_table, sandbox_table, soak_table

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "bench" / "RESULTS.md", ROOT / "docs" / "scaling.md")
PICTURES = ROOT / "docs" / "figures"
_TABLE = re.compile(r"(<!-- figures: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
Found = dict[str, Any]

LABELS = {
    "penstock": "**penstock**, exactly once, sandboxed",
    "plain": "plain aiokafka: json, `send`, all defaults",
    "tuned": "aiokafka by hand, exactly once: orjson, `send_batch`, 5,000 per commit",
    "confluent": "confluent-kafka by hand, at least once: orjson, lz4",
    "confluent-batch": "the same with `produce_batch` (loses timestamps)",
    "copy": "penstock, exactly once, the copying C transformer",
}
EXAMPLE = {"events_per_s": 500_000.0, "size_bytes": 400, "partitions": 96}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def where(found: Found) -> str:
    """The machine, as a sentence; and a warning when others were at work on it."""
    at = found["machine"]
    said = (
        f"{at['cores']} cores ({at['cpu']}), the broker on the same ones; Python {at['python']}; {at['taken']}; "
        f"the machine's load average just before was {at['load_average']:g}."
    )
    return f"{said} **It was busy with other work: these figures mean little.**" if results.is_busy(found) else said


def kafka_table(found: Found) -> str:
    rows = []
    for name, label in LABELS.items():
        if runs := found["rounds"].get(name):
            speeds = [run["events_per_s"] / 1e3 for run in runs]
            rows.append(
                [
                    label,
                    f"{statistics.median(speeds):.0f}k ({min(speeds):.0f}–{max(speeds):.0f})",
                    f"{_median(runs, 'cpu_us_per_event'):.1f} µs",
                    f"{_median(runs, 'broker_us_per_event'):.1f} µs",
                    f"{max(run['rss_mb_peak'] for run in runs):.0f} MB",
                    *_against(found, name),
                ]
            )
    head = ["", "events/s: median (least–most)", "CPU per event", "broker's", "RSS", "penstock is faster by", "mark"]
    count = len(found["rounds"]["penstock"])
    return f"{found['events']:,} events, {count} rounds. {where(found)}\n\n{table(head, rows)}"


def _against(found: Found, name: str) -> list[str]:
    if name == "copy":
        speed = _median(found["rounds"][name], "events_per_s")
        return ["", f"150k/s: {_verdict(speed >= found['copy_bar'])}"]
    if name not in found["ratios"]:
        return ["", ""]
    ratio = found["ratios"][name]
    shown = f"{Bounds(ratio['mean'], ratio['low'], ratio['high'])}"
    return [shown, "" if ratio["bar"] is None else f"{ratio['bar']:g}: {_verdict(ratio['mean'] >= ratio['bar'])}"]


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "not met"


def _median(runs: Sequence[Found], of: str) -> float:
    return float(statistics.median(run[of] for run in runs))


def encoding_table(found: Found) -> str:
    said = f"{found['events']:,} events, {len(found['rounds']['event'])} rounds. {where(found)}"
    return f"{said}\n\n{table(HEAD, throughput_rows(found))}\n{table(CROSSING_HEAD, crossing_rows(found))}"


def latency_table(found: Found) -> str:
    rows = []
    for run in found["runs"]:
        mark = ""
        if not run["batch"]:
            p50, p99 = found["targets"][run["delivery"]]
            mark = f"{p50:g} / {p99:g} ms: {_verdict(run['p50_ms'] <= p50 and run['p99_ms'] <= p99)}"
        rows.append(
            [
                run["delivery"],
                f"`{run['batch']}`" if run["batch"] else "defaults",
                *(f"{run[name]:.1f}" for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms")),
                f"{run['commits_per_s']:.0f}",
                f"{run['cpu_percent']:.0f} %",
                mark,
            ]
        )
    head = [
        "delivery",
        "settings",
        "p50",
        "p99",
        "p99.9",
        "most, ms",
        "transactions/s",
        "of a core",
        "mark (p50 / p99)",
    ]
    return f"{found['rate']:,} events/s for {found['seconds']} s each. {where(found)}\n\n{table(head, rows)}"


def growth_table(found: Found) -> str:
    grown = model.cells(found)
    base = grown[0].cpu_us
    rows = [
        [
            f"{cell.partitions}",
            f"{cell.processes}",
            f"{cell.events_per_s / 1e3:.0f}k",
            f"{cell.cpu_us:.1f} µs",
            f"{100 * (cell.cpu_us / base - 1):+.0f} %",
            f"{cell.broker_us:.1f} µs",
            f"{cell.rss_mb:.0f} MB",
        ]
        for cell in grown
    ]
    head = ["partitions", "processes", "events/s", "CPU per event", "against the first", "broker's", "RSS, largest"]
    said = f"{_growths(grown)} (mark: 15 %)."
    return (
        f"{found['events']:,} events a point, {found['rounds']} rounds. {where(found)}\n\n{table(head, rows)}\n{said}\n"
    )


def _growths(grown: Sequence[model.Cell]) -> str:
    """From the least to the most partitions in one process, and from one process to the most at each number of partitions."""
    alone = [cell for cell in grown if cell.processes == 1]
    said = [
        f"From {alone[0].partitions} to {alone[-1].partitions} partitions in one process {_more(alone[0], alone[-1])}"
    ]
    for one in alone:
        shared = [cell for cell in grown if cell.partitions == one.partitions and cell.processes > 1]
        if shared:
            said.append(
                f"from 1 to {shared[-1].processes} processes at {one.partitions} partitions {_more(one, shared[-1])}"
            )
    return "; ".join(said)


def _more(one: model.Cell, other: model.Cell) -> str:
    return f"{100 * (other.cpu_us / one.cpu_us - 1):+.0f} %"


def prices_table(found: Found) -> str:
    """The model's constants."""
    price = model.constants(found)
    rows = [
        ["fetch", f"{price.fetch_us:.2f} µs an event", "event loop"],
        ["guest", f"{price.guest_us:.2f} µs an event", "guests' threads"],
        ["produce", f"{price.produce_us:.2f} µs an emitted event", "event loop"],
        ["batch", f"{price.batch_loop_us:.0f} µs a batch", "event loop"],
        ["crossing", f"{price.batch_guest_us:.0f} µs a batch", "guests' threads"],
        ["commit", f"{price.commit_us:.0f} µs a transaction", "event loop"],
        [f"beyond {BYTES} bytes", f"{price.loop_us_per_kb:.2f} µs a KB", "event loop"],
        ["", f"{price.guest_us_per_kb:.2f} µs a KB", "guests' threads"],
        [
            "broker",
            f"{price.broker_us:.2f} µs an event, {price.broker_us_per_kb:.2f} µs a KB beyond {BYTES} bytes",
            "broker",
        ],
        ["", f"{price.broker_commit_us:.0f} µs a transaction", "broker"],
        ["process", f"{price.process_mb:.0f} MB", "memory, at its peak"],
        ["lane", f"{price.lane_mb:.1f} MB", "memory, at its peak"],
        [
            "fetched ahead",
            f"{model.prefetch_mb(1):.1f} MB a lane, {model.prefetch_mb(10**6):.1f} MB at most",
            "memory, at its peak",
        ],
    ]
    return f"{table(['part', 'price', 'paid by'], rows)}\nOf the run of {found['machine']['taken']}.\n"


def checked_table(found: Found) -> str:
    """What the model says of each point that was measured."""
    price = model.constants(found)
    rows = []
    for cell in model.cells(found):
        loop_us, guest_us = model.event_us(
            price, commits_per_event=cell.commits_per_event, batch_events=round(1 / cell.batches_per_event)
        )
        lanes = -(-cell.partitions // cell.processes)
        said, memory = loop_us + guest_us, model.memory_mb(price, lanes)
        rows.append(
            [
                f"{cell.partitions}",
                f"{cell.processes}",
                f"{said:.1f} µs",
                f"{cell.cpu_us:.1f} µs",
                f"{100 * (said / cell.cpu_us - 1):+.0f} %",
                f"{memory:.0f} MB",
                f"{cell.rss_mb:.0f} MB",
            ]
        )
    head = ["partitions", "processes", "CPU, model", "measured", "off by", "memory, model", "measured"]
    return table(head, rows)


def example_table(found: Found) -> str:
    """The worked example."""
    needed = model.need(model.constants(found), **EXAMPLE)  # type: ignore[arg-type]
    rows = [
        ["processes", f"{needed.processes}"],
        ["partitions each", f"{needed.lanes_each}"],
        ["events/s each", f"{needed.events_per_s_each:,.0f}"],
        ["cores busy, all processes", f"{needed.cores:.1f}"],
        ["one event loop", f"{needed.loop_share:.0%} of a core"],
        ["memory each", f"{needed.memory_mb_each:.0f} MB"],
        ["each lane commits every", f"{needed.commit_interval_s * 1e3:.0f} ms"],
        ["transactions on the coordinators", f"{needed.transactions_per_s:.0f}/s"],
        ["broker cores, before replication", f"{needed.broker_cores:.1f}"],
    ]
    return table(["need", ""], rows)


def startup_table(found: Found) -> str:
    """From the command to the first output."""
    rows = [
        [
            name,
            f"{found[name]['median_ms']} ms ({found[name]['least_ms']}–{found[name]['most_ms']})",
            ", ".join(f"{stage} {at}" for stage, at in found[name]["stages_ms"].items()),
        ]
        for name in ("one process", "two processes")
    ]
    head = ["", "first output: median (least–most)", "stages over after, ms"]
    return f"{found['runs']} starts each, with a warm cache. {where(found)}\n\n{table(head, rows)}"


TABLES: dict[str, tuple[str, Callable[[Found], str]]] = {
    "kafka": ("kafka", kafka_table),
    "event_encoding": ("event_encoding", encoding_table),
    "latency": ("latency", latency_table),
    "startup": ("startup", startup_table),
    "growth": ("growth", growth_table),
    "sandbox": ("sandbox", sandbox_table),
    "isolation": ("isolation", isolation_table),
    "guests": ("guests", guests_table),
    "lookups": ("lookups", lookups_table),
    "builtins": ("builtins", builtins_table),
    "soak": ("soak", soak_table),
    "prices": ("growth", prices_table),
    "model-checked": ("growth", checked_table),
    "example": ("growth", example_table),
}
"""Name of a table, whose results it shows, and how."""
DRAWN: dict[str, tuple[str, Callable[[Found], str]]] = {
    "throughput": ("kafka", figures.throughput),
    "latency": ("latency", figures.latency),
    "growth": ("growth", figures.growth),
}


def rendered(page: str, *, folder: Path = results.FOLDER) -> str:
    """The page's text with its tables as the results have them now."""

    def put(found: re.Match[str]) -> str:
        source, made = TABLES.get(found["name"], ("", str))
        taken = results.load(source, folder=folder)
        return found[0] if taken is None else f"{found[1]}\n{made(taken)}\n{found[3]}"

    return _TABLE.sub(put, page)


def pictures(*, folder: Path = results.FOLDER) -> dict[str, str]:
    """File name to SVG text, of those whose bench has been run."""
    taken = {name: (results.load(source, folder=folder), draw) for name, (source, draw) in DRAWN.items()}
    return {f"{name}.svg": draw(found) for name, (found, draw) in taken.items() if found is not None}


def main() -> None:
    for page in PAGES:
        page.write_text(rendered(page.read_text()))
        print(f"wrote {page.relative_to(ROOT)}")
    PICTURES.mkdir(exist_ok=True)
    for name, text in pictures().items():
        (PICTURES / name).write_text(text)
        print(f"wrote {(PICTURES / name).relative_to(ROOT)}")


if __name__ == "__main__":
    main()
