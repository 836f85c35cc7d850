"""`penstock try` on real modules: what it prints, what it refuses, and with which exit code."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.cli.trial_view import plain
from tests.pipeline.rig import MODULES

ROOT = MODULES.parents[1]
SHOP = ROOT / "transformers" / "registry.yaml"
REGISTRY = f"""
version: 1
transformers:
  saboteur: {{module: {MODULES}/saboteur.wasm, limits: {{profile: untrusted, deadline: 50ms}}, on_violation: drop}}
  uppercase: {{module: {MODULES}/uppercase.wasm}}
  enrich: {{module: {MODULES}/enrich_order.wasm, config: {{flag_above: "10", flag_topic: flagged}}}}
  broken: {{module: broken.wasm}}
routes:
  loud: {{from: orders, through: [uppercase], to: loud}}
  any: {{from: /ord.*/, through: [saboteur, enrich], to: out}}
  flag: {{from: orders, through: [enrich], to: out2, also_to: [flagged]}}
"""


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    (tmp_path / "broken.wasm").write_bytes(b"\0asm\1\0\0\0")
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY)
    return path


@dataclass
class Done:
    """How a run of the command ended."""

    returncode: int
    stdout: bytes
    stderr: bytes


def run(*arguments: object, stdin: bytes = b"") -> Done:
    """The `penstock` command in this process, from its arguments to its exit code."""
    streams = [io.TextIOWrapper(io.BytesIO(given), encoding="utf-8") for given in (stdin, b"", b"")]
    before = (sys.argv, sys.stdin, sys.stdout, sys.stderr)
    sys.argv = ["penstock", "try", *map(str, arguments)]
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        main()
        code = 0
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    finally:
        sys.argv, sys.stdin, sys.stdout, sys.stderr = before
    for stream in streams[1:]:
        stream.flush()
    out, err = (stream.buffer.getvalue() for stream in streams[1:])
    return Done(code, out, err)


def lines(registry: Path, transformer: str, *events: object, route: str | None = None) -> list[dict[str, Any]]:
    """What `--json` prints for these events."""
    options = ["--route", route] if route else []
    stdin = "\n".join(event if isinstance(event, str) else json.dumps(event) for event in events).encode()
    done = run(registry, transformer, "--event", "-", "--json", *options, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def trouble(name: str) -> dict[str, object]:
    return {"value": {"penstock_demo": name}}


def test_one_line_of_json_per_event(registry: Path) -> None:
    event = {
        "topic": "orders",
        "partition": 3,
        "offset": 8,
        "timestamp": 77,
        "key": "k",
        "value": "v",
        "headers": [["h", "x"]],
    }
    (passed,) = lines(registry, "uppercase", event)
    assert list(passed) == ["outcome", "violation", "message", "records", "elapsed_us", "memory_bytes_peak"]
    assert (passed["outcome"], passed["violation"], passed["message"]) == ("emitted", None, "")
    assert passed["records"] == [event | {"value": "V", "to": "loud"}]
    assert passed["elapsed_us"] > 0
    assert passed["memory_bytes_peak"] >= 65_536


def test_what_was_printed_can_be_tried_in_turn(registry: Path) -> None:
    event = {"value_base64": "/w==", "headers": [["raw", {"base64": "/g=="}], ["none", None]], "key": None}
    (first,) = lines(registry, "uppercase", event)
    (second,) = lines(registry, "uppercase", first["records"][0])
    assert second["records"] == first["records"]
    assert first["records"][0] | event == first["records"][0]


def test_every_outcome(registry: Path) -> None:
    deeds = ["loop", "memory", "stack", "trap", "bad-output", "reject", "drop", "nothing"]
    found = lines(registry, "saboteur", *map(trouble, deeds))
    assert [line["violation"] for line in found] == [
        "deadline", "memory", "stack", "trap", "bad-output", "rejected", None, None,
    ]  # fmt: skip
    assert [line["outcome"] for line in found] == ["violation"] * 6 + ["dropped", "emitted"]
    by_deed = dict(zip(deeds, found, strict=True))
    assert by_deed["loop"]["elapsed_us"] >= 50_000
    assert by_deed["trap"]["elapsed_us"] < 50_000, "each event's own time"
    assert by_deed["memory"]["memory_bytes_peak"] > 2**20
    assert by_deed["nothing"]["memory_bytes_peak"] == 65_536, "each event's own memory"
    assert "saboteur.wasm!trap" in by_deed["trap"]["backtrace"]
    assert (by_deed["reject"]["code"], by_deed["reject"]["message"]) == (
        "demo-reject",
        "the event asked to be rejected",
    )
    assert all(line["message"] for line in found[:6])
    assert [line["records"] for line in found[:7]] == [[]] * 7


ORDER = {"value": {"op": "c", "after": {"id": 1, "amount": "99.00", "quantity": 1}}}


def test_a_route_says_which_topics_may_be_named(registry: Path) -> None:
    (allowed,) = lines(registry, "enrich", ORDER, route="flag")
    assert [record["to"] for record in allowed["records"]] == ["out2", "flagged"], allowed
    (first_route,) = lines(registry, "enrich", ORDER)
    assert first_route["violation"] == "bad-output"
    assert "flagged" in first_route["message"]


def test_a_file_of_events_is_shown_with_its_differences(registry: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.ndjson"
    value = json.dumps({"op": "c", "after": {"amount": "1.00", "quantity": 1}})
    events.write_text(json.dumps({"value": value}) + "\n" + json.dumps(trouble("x")) + "\n")
    done = run(registry, "enrich", "--event", events)
    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert "emitted  events/0 offset 0" in shown
    assert "  + after.amount_cents: " in shown
    assert "op" not in shown.split("amount_cents")[0].split("offset 0")[1], "what did not change is not shown"
    assert "violation: rejected  events/0 offset 1" in shown
    assert " ms, " in shown


def test_a_backtrace_and_the_limits_are_shown(registry: Path) -> None:
    shown = run(registry, "saboteur", "--event", "-", stdin=json.dumps(trouble("trap")).encode()).stdout.decode()
    assert "violation: trap" in shown
    assert "saboteur.wasm!trap" in shown
    assert "limits memory=4MiB deadline=50ms" in shown


def test_a_recursion_is_shown_once(registry: Path) -> None:
    shown = run(registry, "saboteur", "--event", "-", stdin=json.dumps(trouble("stack")).encode()).stdout.decode()
    assert "violation: stack" in shown
    assert shown.count("saboteur.wasm!recurse") <= 3
    assert "more of the same" in shown


def test_a_terminal_is_not_at_the_events_mercy(registry: Path) -> None:
    event = {"topic": "a\x1b[2J", "value": "x\x1b]0;pwned\x07\u202e", "key": "[bold]k"}
    done = run(registry, "uppercase", "--event", "-", stdin=json.dumps(event).encode())
    assert done.returncode == 0, done.stderr
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout.decode())
    assert plain("a\x1b\nb\u202e[/]") == "a\\x1b\\nb\\u202e[/]"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["uppercas", "--event", "-"], "there is no transformer 'uppercas' — did you mean 'uppercase'?"),
        (["broken", "--event", "-"], "transformers.broken.module"),
        (["uppercase", "--event", "-", "--route", "loudd"], "there is no route 'loudd' — did you mean 'loud'?"),
        (["uppercase", "--event", "-", "--route", "flag"], "route flag does not use uppercase — it is used by: loud"),
        (["uppercase", "--event", "nowhere.ndjson"], "nowhere.ndjson: cannot be read"),
        (["uppercase", "--event", "."], "cannot be read"),
        (["uppercase"], "--event"),
    ],
)
def test_what_is_refused_is_said_on_stderr_with_exit_code_2(registry: Path, arguments: list[str], says: str) -> None:
    done = run(registry, *arguments, stdin=b"{}")
    assert (done.returncode, done.stdout) == (2, b"")
    assert says in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_faulty_registry_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text("version: 1\nrouts: {}\n")
    done = run(path, "x", "--event", "-")
    assert done.returncode == 2
    assert "routs" in done.stderr.decode()


def test_bad_lines_of_a_file_are_all_named_before_anything_runs(registry: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.ndjson"
    events.write_text('{}\nnope\n{"valu": 1}\n{}\n')
    done = run(registry, "uppercase", "--event", events, "--json")
    assert (done.returncode, done.stdout) == (2, b"")
    assert [f"{events}:{number}:" in done.stderr.decode() for number in (1, 2, 3, 4)] == [False, True, True, False]
    events.write_text("nope\n" * 100)
    said = run(registry, "uppercase", "--event", events).stderr.decode()
    assert said.count("is not JSON") == 20
    assert "the rest was not read" in said


@pytest.mark.parametrize("content", [b"", b"\n \n\t\n", b"\xef\xbb\xbf"])
def test_a_file_without_events_is_no_success(registry: Path, tmp_path: Path, content: bytes) -> None:
    events = tmp_path / "events.ndjson"
    events.write_bytes(content)
    for done in (
        run(registry, "uppercase", "--event", events),
        run(registry, "uppercase", "--event", "-", "--json", stdin=content),
    ):
        assert (done.returncode, done.stdout) == (2, b"")
        assert "holds no event" in done.stderr.decode()


def test_bad_lines_of_a_stream_are_named_at_its_end(registry: Path) -> None:
    done = run(registry, "uppercase", "--event", "-", "--json", stdin=b'{"value":"a"}\nnope\n{"value":"b"}\n')
    assert done.returncode == 2
    assert [json.loads(line)["records"][0]["value"] for line in done.stdout.splitlines()] == ["A", "B"]
    assert "<stdin>:2: is not JSON" in done.stderr.decode()


def test_the_shops_transformers_take_debezium_events(tmp_path: Path) -> None:
    row = {"id": 7, "email": "a@example.com", "phone": "0123456789"}
    event = {"topic": "shop.public.customers", "value": {"op": "c", "before": None, "after": row}}
    (masked,) = lines(SHOP, "mask-pii", event)
    assert "a@example.com" not in masked["records"][0]["value"]
    assert masked["records"][0]["to"] == "customers.masked"


def test_the_command_itself(registry: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.ndjson"
    events.write_text('{"value":"a"}\n{"value":"b"}\n')
    command = [sys.executable, "-m", "pipeline.cli", "try", registry, "uppercase", "--event", "-", "--json"]
    with events.open("rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line)["records"][0]["value"] for line in done.stdout.splitlines()] == ["A", "B"]
