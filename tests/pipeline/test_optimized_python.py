"""Under `python -O` the Kafka client no longer notices a fenced producer, so nothing may run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "words", [("run", "transformers/registry.yaml"), ("demo", "--events", "100")], ids=["run", "demo"]
)
def test_python_without_assertions_is_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-O", "-m", "pipeline.cli", *words],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "KAFKA_PASSWORD": "x"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert said.returncode == 2, said.stderr
    assert "without -O" in said.stderr
    assert "Traceback" not in said.stderr
