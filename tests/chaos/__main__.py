"""`make chaos`: every scenario in full, one after another, and a table of what became of each.

    python -m tests.chaos --seed 7 --only network --only kills

The schedule of each scenario comes from `--seed` and its name alone, and is printed, so that a failure can be run again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos.scenes import SCENES, Scene
from tests.chaos.stage import BrokerForgotError, Stage
from tests.services.kafka import missing_tools

BROKER_FAULTS_MAX = 3


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    scenario: str
    events: int
    breaks: int
    seconds: float
    ok: bool
    fault: str = ""
    notes: dict[str, object] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the chosen scenarios; 1 when one failed, 2 for a mistake in the arguments."""
    options = _parser().parse_args(arguments)
    missing = missing_tools()
    if missing is not None:
        print(f"chaos needs real Kafka, and {missing}: install Java 17+ and Maven", file=sys.stderr)
        return 2
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", file=sys.stderr)
    chosen = [s for s in SCENES if s.name in (options.only or [s.name]) and s.name not in options.skip]
    results = [_play(scene, seed, options) for scene in chosen]
    if options.json:
        print(json.dumps({"seed": seed, "scenarios": [asdict(result) for result in results]}))
    else:
        print(table(results, seed))
    return 0 if all(result.ok for result in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description="penstock on real Kafka while things break.")
    names = [scene.name for scene in SCENES]
    parser.add_argument("--seed", type=int, help="what the schedules come from; random when left out, and printed")
    parser.add_argument("--only", action="append", choices=names, help="this scenario; may be given several times")
    parser.add_argument("--skip", action="append", default=[], choices=names, help="not this one")
    parser.add_argument("--events", type=int, help="so many events instead of each scenario's own number")
    parser.add_argument("--small", action="store_true", help="one or two breaks each, as in the test suite")
    parser.add_argument("--keep", type=Path, help="keep logs and data there")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    return parser


def _play(scene: Scene, seed: int, options: argparse.Namespace) -> Result:
    """Once, or again with other chances where the broker was at fault; a broker that always is makes it fail."""
    for number in range(BROKER_FAULTS_MAX):
        try:
            return _play_once(scene, seed + number * 1_000_000, options)
        except BrokerForgotError as error:
            print(f"{scene.name} proves nothing: {error}; again", file=sys.stderr)
    return Result(scene.name, 0, 0, 0.0, ok=False, fault=f"the broker was at fault {BROKER_FAULTS_MAX} times")


def _play_once(scene: Scene, seed: int, options: argparse.Namespace) -> Result:
    events = options.events or (scene.events // 10 if options.small else scene.events)
    began, fault = time.monotonic(), ""
    with _folder(options.keep) as folder:
        stage = Stage(scene.name, seed, folder, full=not options.small)
        stage.say(f"begins with {events:,} events")
        try:
            with stage:
                scene.play(stage, events)
        except BrokerForgotError:
            raise
        except Exception as error:
            fault = str(error) or repr(error)
            traceback.print_exc()
    seconds = time.monotonic() - began
    stage.say("as promised" if not fault else "FAILED")
    return Result(scene.name, events, stage.breaks, round(seconds, 1), not fault, fault, stage.notes)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield Path(tempfile.mkdtemp(dir=keep))
        return
    with tempfile.TemporaryDirectory(prefix="penstock-chaos-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def table(results: Sequence[Result], seed: int) -> str:
    """The closing table."""
    lines = [f"{'scenario':<22}{'events':>9}{'breaks':>8}{'seconds':>9}  result"]
    for result in results:
        said = "as promised" if result.ok else f"FAILED: {result.fault.splitlines()[0]}"
        notes = "".join(f"; {name} {value}" for name, value in result.notes.items())
        lines.append(f"{result.scenario:<22}{result.events:>9,}{result.breaks:>8}{result.seconds:>9.1f}  {said}{notes}")
    failed = [result.scenario for result in results if not result.ok]
    again = "".join(f" --only {name}" for name in failed)
    verdict = (
        f"{len(failed)} failed; again: python -m tests.chaos --seed {seed}{again}"
        if failed
        else "nothing lost, nothing doubled"
    )
    return "\n".join((*lines, f"seed {seed}: {verdict}"))


if __name__ == "__main__":
    sys.exit(main())
