"""The Go SDK: its own tests natively, and a guest that does whatever an event says, on the real host."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from pipeline.assets import sdk_folder
from pipeline.workshop import toolchains
from pipeline.workshop.build import compile_project
from pipeline.workshop.errors import MissingToolchainError
from pipeline.workshop.languages import go as golang
from pipeline.workshop.languages.go import _environment, _toolchain
from pipeline.workshop.project import read_project
from pipeline.workshop.scaffold import create
from sandbox import Sandbox, Transformer
from sandbox.host import HostImport, HostState, Services
from sandbox.memory import GuestMemory
from sandbox.sections import MalformedModuleError, limit_memory, read_sections
from schemas.capabilities import NEEDED_FOR, Capability
from schemas.errors import ModuleFault
from schemas.event import Batch, Event
from schemas.limits import Limits
from schemas.outcome import Emitted, Outcome, Violation
from schemas.specs import InstancePolicy, TransformerSpec
from tests.transformers.shipped import GUESTS, SOURCE
from tests.workshop.tools import absent, need

PROBE = Path(__file__).parent / "go" / "probe"
LIMITS = Limits(memory_bytes=16 << 20, deadline_ms=20_000)
SERVED = frozenset({"log", "clock", "random"})


@pytest.fixture(scope="module")
def go() -> Path:
    need("go")
    try:
        return _toolchain()[0]
    except MissingToolchainError as error:
        absent(error)


@pytest.mark.parametrize("folder", [sdk_folder("go"), GUESTS / "go" / "enrich-order"], ids=["sdk", "enrich-order"])
def test_the_go_code_passes_its_own_tests_and_vet(go: Path, folder: Path) -> None:
    native = {**_environment(go), "GOOS": "", "GOARCH": ""}
    for command in (["vet", "./..."], ["test", "./..."]):
        done = subprocess.run([go, *command], cwd=folder, env=native, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    formatter = go.with_name("gofmt")
    unformatted = subprocess.run([formatter, "-l", "."], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert unformatted == ""


@pytest.fixture(scope="module")
def probe(go: Path) -> bytes:
    assert go
    return compile_project(read_project(PROBE))[0]


class Host:
    """Answers the calls of capabilities that the real host does not serve yet; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, Any] = {}
        self.errors: dict[str, int] = {}

    def imports(self) -> list[HostImport]:
        own = [name for name, capability in NEEDED_FOR.items() if capability not in SERVED]
        return [HostImport(name, ("i32",) * 4, "i32", self._function(name)) for name in own]

    def _function(self, name: str) -> Any:
        def call(state: HostState, memory: GuestMemory, request: int, length: int, out: int, room: int) -> int:
            self.asked.append((name, msgpack.unpackb(memory.read(request, length), raw=False)))
            if name in self.errors:
                return self.errors[name]
            answer = msgpack.packb(self.answers.get(name))
            if len(answer) > room:
                memory.write(out, len(answer).to_bytes(4, "little"))
                return -3
            memory.write(out, answer)
            return len(answer)

        return call


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def sandbox(host: Host) -> Iterator[Sandbox]:
    services = Services(now_ms=lambda: 1234, monotonic_ns=lambda: 42, random_bytes=lambda count: b"\x07" * count)
    with Sandbox(cache=False, services=services, extra_imports=host.imports()) as one:
        yield one


def load(sandbox: Sandbox, probe: bytes, limits: Limits = LIMITS, **changes: Any) -> Transformer:
    granted = frozenset(Capability)
    spec = TransformerSpec(name="probe", module=Path("probe.wasm"), limits=limits, capabilities=granted, **changes)
    return sandbox.load(spec, probe)


def run(transformer: Transformer, *words: str) -> list[Outcome]:
    events = [Event(at, 0, None, word.encode()) for at, word in enumerate(words)]
    return list(transformer.run(Batch(SOURCE, events)).outcomes)


def said(outcome: Outcome) -> bytes | None:
    assert isinstance(outcome, Emitted), outcome
    return outcome.events[0].value


def verdict(outcome: Outcome) -> Violation:
    assert isinstance(outcome, Violation), outcome
    return outcome


@pytest.mark.parametrize(
    ("word", "kind", "code", "words"),
    [
        ("panic out of luck", "trap", "panic", ["out of luck at probe/main.go:", "(main.misbehaves)"]),
        ("index", "trap", "panic", ["index out of range [1] with length 0", "probe/main.go:"]),
        ("nil", "trap", "panic", ["nil pointer dereference", "probe/main.go:", "(main.misbehaves)"]),
        ("huge -1", "trap", "panic", ["makeslice: len out of range", "probe/main.go:"]),
        ("huge 100000000", "memory", "", ["fatal error: out of memory", "probe/main.go:"]),
        ("hoard", "memory", "", ["fatal error: out of memory", "probe/main.go:"]),
        ("deadlock", "trap", "", ["fatal error: all goroutines are asleep - deadlock!", "probe/main.go:"]),
        ("exit", "trap", "exit", ["it exited with code 3; stderr:\non the way out"]),
        ("fail why not", "trap", "custom", ["why not"]),
    ],
)
def test_what_goes_wrong_is_one_dead_letter_that_says_why(
    sandbox: Sandbox, probe: bytes, word: str, kind: str, code: str, words: list[str]
) -> None:
    before, found, after = run(load(sandbox, probe, instance=InstancePolicy.REUSED), "hi", word, "hi")
    assert (said(before), said(after)) == (b"hello", b"hello")
    assert (verdict(found).kind, verdict(found).code) == (kind, code), verdict(found).message
    for one in words:
        assert one in verdict(found).message


def test_an_endless_recursion_ends(sandbox: Sandbox, probe: bytes) -> None:
    found = verdict(run(load(sandbox, probe), "recurse")[0])
    assert found.kind == "stack" or "stack overflow" in found.message, found.message


def test_a_loop_is_stopped_at_the_deadline(sandbox: Sandbox, probe: bytes) -> None:
    found = verdict(run(load(sandbox, probe, LIMITS.with_(deadline_ms=400)), "loop")[0])
    assert found.kind == "deadline"


def test_sleeping_takes_no_time(sandbox: Sandbox, probe: bytes) -> None:
    assert said(run(load(sandbox, probe), "sleep")[0]) == b"true"


def test_what_is_printed_is_logged(sandbox: Sandbox, probe: bytes) -> None:
    events = [Event(0, 0, None, b"print to whom it concerns"), Event(1, 0, None, b"log x")]
    report = load(sandbox, probe).run(Batch(SOURCE, events))
    assert [(line.level, line.text) for line in report.logs] == [(3, "to whom it concerns"), (3, "x")]


def test_a_config_is_read_or_refused(sandbox: Sandbox, probe: bytes) -> None:
    assert said(run(load(sandbox, probe, config={"greeting": "salve"}), "hi")[0]) == b"salve"
    for config, words in (
        ({"greeting": 5}, "greeting is not a text"),
        ({"greting": "x"}, "greting is no key that this transformer knows"),
        ({"panics": True}, "no such luck at probe/main.go:"),
    ):
        with pytest.raises(ModuleFault, match=words):
            load(sandbox, probe, config=config)


LONG = b"x" * 100_000


@pytest.mark.parametrize(
    ("word", "name", "asked", "answer", "expected"),
    [
        ("env HOME", "env_get", "HOME", "/here", b"/here true"),
        ("env NONE", "env_get", "NONE", None, b" false"),
        ("read a.txt", "file_read", "a.txt", LONG, b"100000xxxxx"),
        ("write a.txt data", "file_write", ["a.txt", b"data"], None, b"written"),
        ("get k", "kv_get", "k", b"v", b"falsev"),
        ("get k", "kv_get", "k", None, b"true"),
        ("put k v", "kv_put", ["k", b"v"], None, b"put"),
        ("delete k", "kv_delete", "k", None, b"deleted"),
        ("lookup users 7", "lookup", ["users", "7"], {"name": "Ada", "n": [1, {"x": 2.5}]}, b"Ada"),
        ("lookup users 7", "lookup", ["users", "7"], None, b""),
        ("lookups users", "lookup_many", ["users", [1, "two"]], [{"name": "a"}, None], b"2"),
        ("execute UPDATE", "db_execute", ["UPDATE", [-5, 2.5, None, b"x", True]], 3, b"3"),
        ("query SELECT", "db_query", ["SELECT", [7, "two"]], [{"name": "a"}, {"name": "b", "n": 2**63}], b"a b"),
        ("select SELECT", "db_query", ["SELECT", []], [], b"0"),
        ("transaction A B", "db_transaction", [["A", [1, b"x"]], ["B", []]], [1, 0], b"1 0 "),
        (
            "http http://x",
            "http_request",
            {"method": "POST", "url": "http://x", "headers": [["a", "b"]], "body": b"ping"},
            {"status": 201, "headers": [["c", "d"]], "body": b"pong"},
            b"201 c pong",
        ),
    ],
)
def test_what_the_host_is_asked_and_answers(
    sandbox: Sandbox, probe: bytes, host: Host, word: str, name: str, asked: Any, answer: Any, expected: bytes
) -> None:
    host.answers[name] = answer
    assert said(run(load(sandbox, probe), word)[0]) == expected
    assert (name, asked) in host.asked


@pytest.mark.parametrize(
    ("code", "words"), [(-1, "denied"), (-3, "too large"), (-4, "unavailable"), (-5, "deadline"), (-6, "invalid")]
)
def test_what_the_host_refuses_is_an_error(sandbox: Sandbox, probe: bytes, host: Host, code: int, words: str) -> None:
    host.errors["kv_get"] = code
    found = verdict(run(load(sandbox, probe), "get k")[0])
    assert (found.kind, found.code) == ("rejected", "host")
    assert words in found.message


@pytest.mark.parametrize(
    "word", ["lookups users", "execute UPDATE", "query SELECT", "transaction A B", "http http://x", "read a.txt"]
)
def test_an_answer_that_makes_no_sense_is_an_error(sandbox: Sandbox, probe: bytes, host: Host, word: str) -> None:
    asked = ("lookup_many", "db_execute", "db_query", "db_transaction", "http_request", "file_read")
    host.answers = dict.fromkeys(asked, "nonsense")
    assert "cannot be read" in verdict(run(load(sandbox, probe), word)[0]).message


def test_time_and_chance(sandbox: Sandbox, probe: bytes) -> None:
    assert [said(one) for one in run(load(sandbox, probe), "now", "random")] == [b"1234 42", b"\x07" * 4]


def test_a_large_event_passes_or_is_a_memory_violation(sandbox: Sandbox, probe: bytes) -> None:
    transformer = load(sandbox, probe, instance=InstancePolicy.REUSED)
    fits, too_large, next_ = run(transformer, "hi " + "x" * 1_000_000, "hi " + "x" * 15_000_000, "hi")
    assert said(fits) == said(next_) == b"hello"
    assert verdict(too_large).kind == "memory", verdict(too_large).message


ROW = b'"after":{"id":12345678901234567890,"first_name":"Ada","last_name":"L\xc3\xb6we \xf0\x9f\x98\x80","amount":1.50,"x":null}'
CHANGES = [
    b'{"op":"c","before":null,' + ROW + b',"source":{"table":"people"},"ts_ms":5}',
    b'{"op":"r","before":null,' + ROW + b',"source":{"table":"people"},"ts_ms":5}',
    b'{"op":"u","before":null,"after":{"status":"draft"},"source":{"table":"people"},"ts_ms":5}',
    b'{"op":"d","before":{"id":1},"after":null,"source":{"table":"people"},"ts_ms":5}',
    b'{"op":"c","before":null,"after":{"id":1},"source":{"table":"people"},"ts_ms":5}',
    None,
]


@pytest.mark.parametrize("instance", [InstancePolicy.REUSED, InstancePolicy.PER_BATCH])
def test_one_source_does_the_same_in_both_encodings(go: Path, tmp_path: Path, instance: InstancePolicy) -> None:
    assert go
    folder = create("go", "names", tmp_path).folder
    raw = compile_project(read_project(folder))[0]
    manifest = folder / "guest.toml"
    manifest.write_text(manifest.read_text().replace('# encoding = "event"', 'encoding = "event"'))
    decoded = compile_project(read_project(folder))[0]
    batch = Batch(SOURCE, [Event(at, 0, b"1", value) for at, value in enumerate(CHANGES)])
    found = []
    with Sandbox(cache=False) as sandbox:
        for wasm, encoding in ((raw, "raw"), (decoded, "event")):
            spec = TransformerSpec(
                name="names",
                module=Path("names.wasm"),
                limits=LIMITS,
                encoding=encoding,
                instance=instance,
                config={"drop_statuses": ["draft"]},
            )
            found.append([_told(one) for one in sandbox.load(spec, wasm).run(batch).outcomes])
    assert found[0] == found[1]
    assert found[0][0][0]["after"]["full_name"] == "Ada Löwe 😀"
    assert found[0][0][0]["after"]["id"] == 12345678901234567890
    assert found[0][2:] == ["Dropped", [json.loads(CHANGES[3] or b"")], "no-name", [None]]


def _told(outcome: Outcome) -> Any:
    match outcome:
        case Emitted():
            return [None if event.value is None else json.loads(event.value) for event in outcome.events]
        case Violation():
            return outcome.code
        case _:
            return type(outcome).__name__


def test_two_builds_one_hash_in_any_folder(go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert go
    hashes: set[str] = set()
    for name in ("one", "another/deeper"):
        folder = tmp_path / name
        shutil.copytree(GUESTS / "go" / "enrich-order", folder, ignore=shutil.ignore_patterns("build"))
        shutil.copytree(sdk_folder("go"), folder / "penstock", ignore=shutil.ignore_patterns("template*"))
        manifest = folder / "go.mod"
        manifest.write_text(manifest.read_text().replace("../../../sdk/go", "./penstock"))
        monkeypatch.setenv("PENSTOCK_BUILD_CACHE", str(tmp_path / f"cache-{len(hashes)}"))
        hashes.add(hashlib.sha256(compile_project(read_project(folder))[0]).hexdigest())
    assert len(hashes) == 1


def test_what_cannot_be_fetched_is_taken_from_the_machine_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchains, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(golang, "USUAL_PLACE", tmp_path / "none")
    monkeypatch.setenv("PENSTOCK_NO_FETCH", "1")
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "go"
    for version, words in (("1.19.8", "pip install"), ("1.24.1", "built with the installed Go 1.24.1 instead of ")):
        program.write_text(f"#!/bin/sh\necho go{version}\n")
        program.chmod(0o755)
        try:
            found, said = golang._toolchain()
            assert found == program
        except MissingToolchainError as error:
            said = str(error)
        assert words in said


def test_the_memory_has_a_maximum(probe: bytes) -> None:
    (memory,) = [one.content(probe) for one in read_sections(probe) if one.kind == "memory"]
    assert memory[:2] == b"\x01\x01"
    assert limit_memory(probe, 1 << 30) == probe
    bare = b"\0asm\1\0\0\0" + b"\5\3\1\0\2"
    assert limit_memory(bare, 3 << 16) == b"\0asm\1\0\0\0" + b"\5\4\1\1\2\3"
    with pytest.raises(MalformedModuleError, match="131072"):
        limit_memory(bare, 1 << 16)
