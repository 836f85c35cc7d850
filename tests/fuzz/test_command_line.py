"""Arguments and environments that nobody meant: a message and an exit code, never a traceback, never a hang."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import main
from pipeline.registry import load_registry
from schemas.errors import ConfigError
from tests.fuzz.children import ROOT, harmless, penstock, refused
from tests.fuzz.effort import examples

SHOP = ROOT / "transformers" / "registry.yaml"
WORDS = st.sampled_from(
    ["check", "try", "run", "resume", "registry", "schema", "demo", "--json", "--event", "-", "--help", "--version", "--route", "--"]
) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)  # fmt: skip
RUNS = {"run", "resume", "demo", "offsets", "acls"}
"""Commands that reach for a broker, or work for minutes, when all goes well."""


@contextmanager
def _streams() -> Iterator[list[io.TextIOWrapper]]:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(3)]
    before = sys.argv, sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        yield streams
    finally:
        sys.argv, sys.stdin, sys.stdout, sys.stderr = before


def ended(*arguments: str) -> tuple[int, str]:
    """Exit code and standard error of the command in this process; what it lets through is a bug."""
    with _streams() as streams:
        sys.argv = ["penstock", *arguments]
        try:
            main()
            code: object = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        streams[2].flush()
        said = streams[2].buffer.getvalue()  # type: ignore[attr-defined]
    assert isinstance(code, int)
    return code, said.decode()


@examples(150)
@given(st.lists(WORDS, max_size=5))
def test_arguments_by_chance(arguments: list[str]) -> None:
    if RUNS & set(arguments) and not any(word in arguments for word in ("--help", "--version")):
        arguments = [*arguments, "--no-such-option"]
    code, said = ended(*arguments)
    assert code in (0, 2), (arguments, code, said)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", str(SHOP), "--processes", "0"],
        ["run", str(SHOP), "--processes", "-1"],
        ["run", str(SHOP), "--processes", "9" * 400],
        ["run", str(SHOP), "--processes", "1e9"],
        ["run", str(SHOP), "--admin", "localhost"],
        ["run", str(SHOP), "--admin", "localhost:99999"],
        ["run", str(SHOP), "--admin", ":::"],
        ["run", str(SHOP), "--log", "xml"],
        ["run", str(SHOP), "--log-level", "loud"],
        ["run", str(SHOP), "--traces", "otlp", "--otlp-endpoint", "not a url"],
        ["run", "/dev/null"],
        ["run", "/nowhere/at/all.yaml"],
        ["try", str(SHOP), "enrich-order", "--event", "/proc/self/mem"],
        ["try", str(SHOP), "enrich-order", "--event", "/dev/null"],
        ["try", str(SHOP), "x" * 100_000, "--event", "-"],
        ["check", "/dev/zero"],
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(arguments: list[str]) -> None:
    code, said = ended(*arguments)
    assert code == 2, said
    assert "Traceback" not in said


VALUES = [
    "",
    " ",
    "\n",
    "x" * 100_000,
    "${KAFKA_BROKERS}",
    "localhost",
    "localhost:0",
    "localhost:99999",
    "[::1:9092",
    ",,,",
    "a b:1",
    "\x1b[2J:9092",
    "höst:9092",
    "host:9092\nkafka: {group: evil}",
    "]}: &a *a",
    ",".join(f"host{n}:9092" for n in range(10_000)),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_variables_are_values_and_never_text_of_the_registry(value: str) -> None:
    for name in ("KAFKA_BROKERS", "PENSTOCK_SALT"):
        try:
            registry = load_registry(SHOP, environ={name: value})
        except ConfigError as error:
            assert "\x1b" not in str(error) and "evil" not in str(error)
            assert len(str(error)) < 100_000
        else:
            assert registry.kafka.group == "penstock"


@examples(80)
@given(st.dictionaries(st.sampled_from(["KAFKA_BROKERS", "PENSTOCK_SALT"]), st.text(max_size=50)))
def test_any_environment(environ: Mapping[str, str]) -> None:
    try:
        load_registry(SHOP, environ=environ)
    except ConfigError as error:
        str(error).encode()


@pytest.mark.parametrize(
    "environ",
    [
        {"KAFKA_BROKERS": b"\xff\xfe:9092"},
        {"PENSTOCK_SALT": b"\xff\xfe"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "0", "TERM": "nonsense", "FORCE_COLOR": "1"},
        {"COLUMNS": "x", "NO_COLOR": "1"},
        {"HOME": "/nowhere", "XDG_CACHE_HOME": "\x1b"},
        {"WASMTIME_BACKTRACE_DETAILS": "maybe", "RUST_BACKTRACE": "full", "RUST_LOG": "trace"},
    ],
    ids=str,
)
def test_the_command_in_strange_environments(environ: Mapping[str, str | bytes]) -> None:
    done = penstock("try", SHOP, "enrich-order", "--event", "-", stdin='{"value":"☃"}'.encode(), environ=environ)
    harmless(done)
    assert done.code in (0, 2)
    assert b"\x1b[2J" not in done.out + done.err


def test_a_worker_that_is_told_nonsense_by_its_environment_says_so(tmp_path: Path) -> None:
    """PENSTOCK_SNAPSHOT and PENSTOCK_ENDS are for the supervisor; whoever sets them by hand gets a message."""
    (tmp_path / "ends").write_text("nonsense")
    for ends in (tmp_path / "ends", tmp_path / "nowhere"):
        done = penstock("run", SHOP, environ={"PENSTOCK_ENDS": str(ends), "KAFKA_BROKERS": "localhost:1"})
        refused(done, "PENSTOCK_ENDS")
