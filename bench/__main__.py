"""All benches, one after the other, then the tables and pictures: `python -m bench [--quick]`, which is what `make bench` does.

`--quick` is a short run of everything, to see that it works: it writes results like any other, and they mean little.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BENCHES: dict[str, tuple[str, str]] = {
    "latency": ("", "--seconds 5"),
    "growth": ("", "--events 1000000 --rounds 1"),
    "startup": ("", "--runs 3"),
    "kafka": ("", "--events 100000 --rounds 2"),
    "event_encoding": ("", "--events 300000 --rounds 2"),
    "sandbox": ("", "--rounds 3"),
    "isolation": ("", "--rounds 2"),
    "guests": ("", "--rounds 2"),
    "lookups": ("", "--rounds 3"),
    "builtins": ("", "--rounds 3"),
}
"""Module, and its options for a whole run and for a quick one; those that leave the machine warm come last."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=[*BENCHES], default=[*BENCHES])
    options = parser.parse_args()
    for name in options.only:
        arguments = BENCHES[name][options.quick].split()
        print(f"== bench.{name} {' '.join(arguments)}", flush=True)
        subprocess.run([sys.executable, "-m", f"bench.{name}", *arguments], cwd=ROOT, check=True)
    subprocess.run([sys.executable, "-m", "bench.report"], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
