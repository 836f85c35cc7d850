"""`python -m tests.simulation`: lives through worlds and says which of them broke a promise. `make simulate` runs it."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.simulate import Story

_PROGRESS_S = 10.0
_TRACE_LINES = 30


def main() -> int:
    args = _arguments()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets of strings is part of a story
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    if args.mutation:
        from tests.simulation.mutations import NotApplicable, apply

        try:
            apply(args.mutation)
        except NotApplicable as error:
            print(error, file=sys.stderr)
            return 2
    return _report(args)


def _report(args: argparse.Namespace) -> int:
    began, lived, failed = time.monotonic(), 0, list["Story"]()
    outcomes: Counter[str] = Counter()
    events, spoken, virtual_s = 0, began, 0.0
    for story in _stories(args):
        lived += 1
        outcomes += story.outcomes
        events += story.events
        virtual_s += story.virtual_s
        if story.wrong is not None:
            failed.append(story)
            if not args.json:
                _tell(story, args)
            if args.until_found:
                break
        if not args.json and time.monotonic() - spoken >= _PROGRESS_S:
            spoken = time.monotonic()
            print(f"{lived} worlds, {events} events, {len(failed)} broken, {spoken - began:.0f} s", flush=True)
    seconds = time.monotonic() - began
    summary = {
        "worlds": lived,
        "events": events,
        "committed": dict(sorted(outcomes.items())),
        "virtual_s": round(virtual_s),
        "seconds": round(seconds, 1),
        "broken": {story.seed: story.wrong for story in failed},
    }
    if args.json:
        print(json.dumps(summary))
    else:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
        print(
            f"{lived} worlds in {seconds:.0f} s ({virtual_s / 3600:.1f} h of theirs), {events} events produced; "
            f"in exactly-once commits: {counts}; {len(failed)} broken"
        )
    return 1 if failed else 0


def _stories(args: argparse.Namespace) -> Iterator[Story]:
    from tests.simulation.atomic import AtomicWorld
    from tests.simulation.guests import GuestTime
    from tests.simulation.simulate import live, simulated_clients
    from tests.simulation.world import World

    seeds = [int(each) for each in args.only.split(",")] if args.only else range(args.first, args.first + args.seeds)
    guests = GuestTime()
    kind = AtomicWorld if args.atomic else World
    with simulated_clients():
        for seed in seeds:
            yield live(seed, guests, kind)


def _tell(story: Story, args: argparse.Namespace) -> None:
    print(f"\nseed {story.seed}: {story.wrong}")
    for line in story.trace[-_TRACE_LINES:]:
        print(f"  {line}")
    mutation = f" --mutation {shlex.quote(args.mutation)}" if args.mutation else ""
    atomic = " --atomic" if args.atomic else ""
    print(f"again: .venv/bin/python -m tests.simulation --only {story.seed}{atomic}{mutation}\n", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=150, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", help="these seeds: 17 or 3,17,40")
    parser.add_argument("--atomic", action="store_true", help="worlds with one atomic route over source transactions")
    parser.add_argument("--mutation", default="", help="plant this bug first (see tests/simulation/mutations.py)")
    parser.add_argument("--until-found", action="store_true", help="stop at the first broken world")
    parser.add_argument("--json", action="store_true", help="nothing but a summary, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
