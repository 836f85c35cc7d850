"""`penstock capabilities`: asked, granted, effective, used; from a running service, from sample events, and from neither."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.observe.admin import Address, Admin
from pipeline.observe.health import Health
from pipeline.observe.meter import Meter
from pipeline.observe.metrics import ModuleInfo, PrometheusObserver
from sandbox.sections import append_custom
from schemas.event import Batch
from schemas.outcome import HostUse, Report
from tests.pipeline.observe.facts import LANE, passed
from tests.pipeline.observe.facts import batch as observed_batch
from tests.sandbox.guests import guest

ASKER = append_custom(guest("asker"), "penstock", b'{"abi":1,"capabilities":["log","clock"]}')
REGISTRY = """
version: 1
databases: {shop: {sqlite: shop.db}}
transformers:
  asker:
    module: asker.wasm
    capabilities: {grant: [log, {clock: {uses: 5}}, random, key-value, {http: {hosts: [api.example.com], until: 2020-01-01}}]}
  quiet: {module: quiet.wasm, capabilities: {profile: database-only, strict: true}}
routes:
  orders: {from: orders, through: [asker, quiet], to: out}
"""
QUIET = guest("censor")


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    (tmp_path / "asker.wasm").write_bytes(ASKER)
    (tmp_path / "quiet.wasm").write_bytes(QUIET)
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY)
    return path


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    """The command in this process: exit code, what it printed, what it complained of."""
    monkeypatch.setattr(sys, "argv", ["penstock", "capabilities", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    done = capsys.readouterr()
    return code, done.out, done.err


class Command:
    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._fixtures = capsys, monkeypatch

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        return run(*self._fixtures, *arguments)

    def report(self, *arguments: object) -> dict[str, Any]:
        code, out, err = self(*arguments, "--json")
        assert (code, err) == (0, "")
        report: dict[str, Any] = json.loads(out)
        return report


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.delenv("PENSTOCK_CEILING", raising=False)
    return Command(capsys, monkeypatch)


def found(report: dict[str, Any], transformer: str) -> dict[str, dict[str, Any]]:
    (one,) = (one for one in report["transformers"] if one["name"] == transformer)
    return {finding["capability"]: finding for finding in one["capabilities"]}


def events(path: Path, *values: bytes) -> Path:
    lines = [json.dumps({"topic": "orders", "value_base64": base64.b64encode(value).decode()}) for value in values]
    path.write_text("\n".join(lines))
    return path


def test_without_figures_it_shows_what_is_asked_and_granted_and_says_so(command: Command, registry: Path) -> None:
    report = command.report(registry)
    assert report["figures"] is None
    asker = found(report, "asker")
    assert asker["log"]["asked"] == ["section", "imports"] and asker["log"]["effective"]
    assert asker["random"]["asked"] == ["imports"]
    assert asker["clock"]["granted"][0]["uses"] == 5
    assert asker["key-value"]["asked"] == [] and not asker["key-value"]["effective"]
    assert asker["key-value"]["advice"] == ["granted and not asked for: take `key-value` out"]
    assert asker["network-client"]["granted"][0]["scope"] == "api.example.com"
    assert asker["network-client"]["granted"][0]["ended"]
    assert all(one["calls"] is None for one in asker.values())
    code, out, _ = command(registry, "asker")
    assert code == 0
    assert "What was used is not known here" in out
    assert "quiet" not in out


def test_a_profile_is_taken_apart_into_what_it_brings(command: Command, registry: Path) -> None:
    quiet = found(command.report(registry), "quiet")
    assert set(quiet) == {"database-read", "database-query", "log"}
    assert quiet["log"]["granted"][0]["profile"] == "database-only"
    assert quiet["log"]["advice"] == [
        "granted and not asked for: name single grants (database-query, database-read) in place of the profile `database-only`"
    ]


def test_sample_events_tell_what_is_used_denied_and_never_used(
    command: Command, registry: Path, tmp_path: Path
) -> None:
    line = b"l" + struct.pack("<III", 2, 32, 5)
    sample = events(tmp_path / "events.ndjson", line, line, *[b"c"] * 4)
    report = command.report(registry, "asker", "--events", sample)
    assert report["figures"] == str(sample)
    asker = found(report, "asker")
    assert asker["log"]["calls"] | {"seconds": 0} == {"allowed": 2, "denied": 0, "bytes": 10, "seconds": 0}
    assert (asker["clock"]["calls"]["allowed"], asker["clock"]["calls"]["denied"]) == (5, 3)
    assert "3 of 8 calls denied" in asker["clock"]["advice"][0]
    assert asker["random"]["advice"][0].startswith("never used: take `random` out")
    code, out, _ = command(registry, "asker", "--events", sample)
    assert code == 0 and "never" in out


@contextmanager
def service(meter: Meter) -> Iterator[str]:
    """A real admin port in a thread of its own."""
    ready, done = threading.Event(), threading.Event()
    address: list[str] = []

    async def serve() -> None:
        admin = Admin(Address("127.0.0.1", 0), lambda: meter.samples, Health([], lambda: 0.0).report)
        await admin.start()
        address.append(str(admin.address))
        ready.set()
        await asyncio.to_thread(done.wait)
        await admin.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(30)
        yield address[0]
    finally:
        done.set()
        thread.join()


def observed(transformer: str, sha256: str, *uses: HostUse) -> Meter:
    meter = Meter()
    observer = PrometheusObserver(meter, lambda: 0.0)
    observer.loaded([ModuleInfo(transformer, sha256)])
    taken: Batch = observed_batch(1)
    report = Report(outcomes=passed(taken), elapsed_ns=1_000, memory_bytes_peak=0, uses=uses)
    observer.batch(LANE, taken).transformed(transformer, taken, report)
    return meter


@pytest.mark.parametrize("spelling", ["{}", "http://{}", "http://{}/metrics", "http://{}/"])
def test_a_running_service_is_asked_what_was_used(command: Command, registry: Path, spelling: str) -> None:
    uses = HostUse("log", "", 41, 1, 900, 2_000_000), HostUse("network-client", "api.example.com", 0, 7, 0, 0)
    with service(observed("asker", "ab" * 32, *uses)) as address:
        report = command.report(registry, "--from", spelling.format(address))
    asker = found(report, "asker")
    assert asker["log"]["calls"] == {"allowed": 41, "denied": 1, "bytes": 900, "seconds": 2.0}
    assert asker["random"]["calls"]["allowed"] == 0
    assert "7 of 7 calls denied" in " ".join(asker["network-client"]["advice"]) or not asker["network-client"]["asked"]
    notes = {one["name"]: one["note"] for one in report["transformers"]}
    assert notes["asker"].startswith("the service runs another module")
    assert notes["quiet"] == "the service does not run it"


def test_a_service_that_runs_this_very_module_leaves_no_doubt(command: Command, registry: Path) -> None:
    sha256 = command.report(registry, "asker")["transformers"][0]["sha256"]
    with service(observed("asker", sha256)) as address:
        report = command.report(registry, "asker", "--from", address)
    assert report["transformers"][0]["note"] == ""


def test_the_ceiling_is_shown_where_it_leaves_less(command: Command, registry: Path) -> None:
    report = command.report(registry, "--ceiling", "database-only")
    asker = found(report, "asker")
    assert asker["log"]["in_ceiling"] and not asker["random"]["in_ceiling"] and not asker["random"]["effective"]
    assert "beyond the operator's ceiling" in asker["random"]["advice"][0]
    assert report["ceiling"] == ["database-query", "database-read", "log"]


def test_what_a_module_asks_for_and_is_not_granted_is_there(command: Command, tmp_path: Path) -> None:
    (tmp_path / "asker.wasm").write_bytes(ASKER)
    path = tmp_path / "registry.yaml"
    path.write_text(
        "version: 1\ntransformers: {asker: {module: asker.wasm}}\nroutes: {r: {from: a, through: [asker], to: b}}\n"
    )
    asker = found(command.report(path), "asker")
    assert {name for name, one in asker.items() if not one["granted"]} == {"log", "clock", "random"}
    assert "the module is refused" in asker["clock"]["advice"][0]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nobody"], 2, "there is no transformer 'nobody'"),
        (["--from", "127.0.0.1:1"], 1, "cannot be read"),
        (["--from", "ftp://127.0.0.1"], 2, "is not an address"),
        (["--from", "localhost"], 2, "is not an address"),
        (["--from", "file:///etc/passwd"], 2, "is not an address"),
        (["--events", "nothing-here"], 2, "cannot be read"),
        (["--events", "registry.yaml", "--from", "127.0.0.1:1"], 2, "one place"),
        (["--ceiling", "netwrok"], 2, "neither a profile"),
    ],
)
def test_a_mistake_is_one_message(
    command: Command, registry: Path, arguments: list[str], code: int, words: str
) -> None:
    done = command(registry, *arguments)
    assert done[0] == code
    assert words in done[2]
    assert "Traceback" not in done[2]


def test_what_answers_and_is_no_penstock_is_told(command: Command, registry: Path) -> None:
    """Its own `/livez` is JSON, no metrics."""
    with service(Meter()) as address:
        code, _, err = command(registry, "--from", f"http://{address}/livez")
        assert (code, "no admin port of penstock" in err) == (1, True)
        code, _, err = command(registry, "--from", f"http://{address}/nowhere")
        assert (code, "answers 404" in err) == (1, True)


def test_no_credential_and_no_value_is_printed(command: Command, tmp_path: Path) -> None:
    (tmp_path / "asker.wasm").write_bytes(ASKER)
    path = tmp_path / "registry.yaml"
    path.write_text("""
version: 1
databases: {crm: {postgresql: "postgresql://reader:hunter2@db.example.com/crm"}}
transformers:
  asker:
    module: asker.wasm
    capabilities:
      grant:
        - http: {hosts: [api.example.com], credentials: {api.example.com: {value: "Bearer hunter2"}}}
        - database: {connection: crm}
routes: {r: {from: a, through: [asker], to: b}}
""")
    for options in ([], ["--json"]):
        code, out, err = command(path, *options)
        assert code == 0 and "hunter2" not in out + err


@pytest.mark.parametrize(("incomplete", "offered"), [("as", ["asker"]), ("", ["asker", "quiet"]), ("x", [])])
def test_names_of_transformers_are_completed(registry: Path, incomplete: str, offered: list[str]) -> None:
    words = f"penstock capabilities {registry} {incomplete}"
    environ = {**os.environ, "_PENSTOCK_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "3"}
    penstock = Path(sys.executable).with_name("penstock")
    done = subprocess.run([penstock], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == offered
