"""A bounded run of the simulation, and that it is what it claims to be: the same story every time, and able to fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.mutations import MUTATIONS, Edit, NotApplicable, hunt_all

ROOT = Path(__file__).parents[2]
SEEDS = 150


def _simulate(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *words], cwd=ROOT, capture_output=True, text=True, timeout=600
    )


def _summary(*words: str) -> dict[str, Any]:
    done = _simulate(*words, "--json")
    assert done.stdout, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def test_no_world_breaks_a_promise() -> None:
    summary = _summary("--seeds", str(SEEDS))
    assert summary["broken"] == {}
    assert summary["worlds"] == SEEDS
    assert all(summary["committed"][each] > 100 for each in ("emitted", "dropped", "dead-lettered"))


def test_no_atomic_world_breaks_a_promise() -> None:
    summary = _summary("--atomic", "--seeds", str(2 * SEEDS))
    assert summary["broken"] == {}
    assert all(summary["committed"][each] > 100 for each in ("emitted", "dropped", "dead-lettered"))


def test_a_broken_world_is_told_and_breaks_again_the_same_way() -> None:
    planted = ("--mutation", "offset too high by one")
    first = _simulate("--seeds", "50", "--until-found", *planted)
    assert first.returncode == 1
    seed = first.stdout.split("seed ")[1].split(":")[0]
    assert (
        f"again: .venv/bin/python -m tests.simulation --only {seed} --mutation 'offset too high by one'" in first.stdout
    )
    once, twice = (_simulate("--only", seed, *planted) for _ in range(2))
    assert once.returncode == twice.returncode == 1
    story = once.stdout.split("again:")[0]
    assert story == twice.stdout.split("again:")[0]
    assert story.strip() in first.stdout


def test_a_planted_bug_without_its_place_says_so() -> None:
    with pytest.raises(NotApplicable, match=r"pipeline/lane\.py has this place 0 times"):
        Edit("pipeline.lane", "no such line", "").source()


def test_every_planted_bug_has_its_place() -> None:
    for mutation in MUTATIONS:
        for edit in mutation.edits:
            compile(edit.source(), edit.module, "exec")


def test_planted_bugs_are_found() -> None:
    survivors = [found.mutation.name for found in hunt_all(MUTATIONS, seeds=300, at_once=2) if found.seed is None]
    assert survivors == []
