"""Golden cases for tests: a folder with a registry over the shipped modules, and the command line in this process."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli import main

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "transformers" / "modules"
REGISTRY = f"""
version: 1
transformers:
  saboteur: {{module: {MODULES}/saboteur.wasm, limits: {{profile: untrusted, deadline: 60ms}}}}
  uppercase: {{module: {MODULES}/uppercase.wasm}}
  enrich: {{module: {MODULES}/enrich_order.wasm, limits: untrusted, config: {{currency: EUR, flag_above: "10", flag_topic: flagged}}}}
routes:
  loud: {{from: orders, through: [uppercase], to: loud}}
  any: {{from: orders2, through: [saboteur], to: out}}
  flag: {{from: orders3, through: [enrich], to: out2, also_to: [flagged]}}
"""


@dataclass
class Done:
    """How a run of the command ended."""

    code: int
    out: str
    err: str


def penstock(*arguments: object, at: Path | None = None) -> Done:
    """The `penstock` command in this process, from its arguments to its exit code."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    before, here = (sys.argv, sys.stdout, sys.stderr), Path.cwd()
    sys.argv = ["penstock", *map(str, arguments)]
    sys.stdout, sys.stderr = streams
    os.chdir(at or here)
    code = 0
    try:
        main()
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    finally:
        sys.argv, sys.stdout, sys.stderr = before
        os.chdir(here)
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
    return Done(code, out, err)


def shop(folder: Path, transformer: str, cases: str, name: str = "all.yaml") -> Path:
    """A registry in this folder, and one file of cases for a transformer of it. The registry's path."""
    registry = folder / "registry.yaml"
    registry.write_text(REGISTRY)
    file = folder / "cases" / transformer / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(cases)
    return registry
