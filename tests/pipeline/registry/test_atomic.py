"""`atomic:` on a route: what it means, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import Pipeline
from pipeline.registry import load_registry
from schemas.errors import ConfigError
from schemas.event import TopicPartition
from schemas.specs import AtomicSpec

MODULE = Path(__file__).parents[3] / "transformers" / "modules" / "uppercase.wasm"


def registry(
    folder: Path, atomic: str, sources: str = "[shop.s.a, shop.transaction]", route: str = "", top: str = ""
) -> Path:
    file = folder / "registry.yaml"
    file.write_text(
        f"version: 1\n{top}\ntransformers: {{u: {{module: {MODULE}}}}}\n"
        f"routes: {{r: {{from: {sources}, through: u, to: out, atomic: {atomic} {route}}}}}\n"
    )
    return file


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("source-transaction", AtomicSpec("shop.transaction")),
        (
            "{by: source-transaction, events: 5, bytes: 1MiB, wait: 2s}",
            AtomicSpec("shop.transaction", 5, 1 << 20, 2.0),
        ),
    ],
)
def test_what_is_written_is_meant(tmp_path: Path, written: str, meant: AtomicSpec) -> None:
    assert load_registry(registry(tmp_path, written)).routes["r"].atomic == meant


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": "[shop.s.a]"}, "no topic with BEGIN and END is among the sources"),
        ({"sources": "[a.transaction, b.transaction]"}, "no topic with BEGIN and END is among the sources"),
        ({"sources": "[shop.s.a, other.s.b, shop.transaction]"}, "other.s.b cannot be counted by shop.transaction"),
        ({"sources": "'/shop[.].*/'"}, "the sources are a regular expression"),
        ({"top": "delivery: at-least-once"}, "without Kafka transactions nothing is written whole"),
        ({"route": ", format: maxwell"}, "transactions cannot be read from the format maxwell"),
        ({"route": ", dedupe: {by: source.lsn, window: 1m}"}, "dedupe looks back in single partitions"),
    ],
)
def test_what_could_not_be_whole_is_refused(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=r"routes\.r\.atomic") as caught:
        load_registry(registry(tmp_path, "source-transaction", **changes))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--until-end"], "may go on behind it"),
        (["--processes", "2"], "needs all its partitions in one process"),
    ],
)
def test_the_command_refuses_what_it_could_not_do(tmp_path: Path, options: list[str], said: str) -> None:
    command = [sys.executable, "-m", "pipeline.cli", "run", str(registry(tmp_path, "source-transaction")), *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2, ended.stderr
    assert said in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_a_bounded_run_refuses_it(tmp_path: Path) -> None:
    made = load_registry(registry(tmp_path, "source-transaction"))
    with pytest.raises(ConfigError, match="may go on behind it"):
        Pipeline(made, ends={TopicPartition("shop.s.a", 0): 1})
