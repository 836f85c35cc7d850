"""The SDKs for C and Zig on the real host: the same two guests in both, built as `penstock build` builds them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgpack
import pytest

from pipeline.workshop import toolchains
from pipeline.workshop.build import compile_project
from pipeline.workshop.errors import MissingToolchainError
from pipeline.workshop.project import read_project
from sandbox import Sandbox, Transformer
from sandbox.host.imports import HostImport, HostState, Services
from sandbox.memory import GuestMemory
from sandbox.sections import read_metadata, read_sections
from schemas.abi import ERROR_DENIED, ERROR_INVALID
from schemas.capabilities import NEEDED_FOR, Capability
from schemas.errors import ModuleFault
from schemas.event import Batch, Event
from schemas.limits import Limits
from schemas.outcome import Dropped, Emitted, Outcome, Violation, ViolationKind
from schemas.specs import InstancePolicy, TransformerSpec
from tests.transformers.shipped import SOURCE
from tests.workshop.tools import absent

HERE = Path(__file__).parent
TRANSFORMERS = HERE.parents[1] / "transformers"
LANGUAGES = ("c", "zig")
LIMITS = Limits.conservative().with_(deadline_ms=5_000, memory_bytes=32 << 20)
LONG = "h" * 10_000
LARGE = 900_000
GRANTED = frozenset(Capability)
ANSWERS: Mapping[str, Callable[[Any], Any]] = {
    "env_get": lambda name: LONG if name == "HOME" else None,
    "file_read": lambda path: path.encode() + b" read",
    "file_write": lambda arguments: None if arguments == ["/a", b"c"] else 1,
    "http_request": lambda request: (
        {"status": 201, "headers": [["x", "y"]], "body": request["body"] + request["method"].encode()}
        if request == {"method": "POST", "url": "http://x", "headers": [["a", "b"]], "body": b"body"}
        else None
    ),
    "kv_get": lambda key: None if key == "k" else b"?",
    "kv_put": lambda arguments: None if arguments == ["k", b"v"] else 1,
    "kv_delete": lambda key: None if key == "k" else 1,
    "lookup": lambda arguments: {"id": 1, "name": f"{arguments[0]} {arguments[1]}"},
    "lookup_many": lambda arguments: arguments[1] if arguments == ["people", [1, "two", True]] else [],
    "db_execute": lambda arguments: 3 if arguments == ["delete", [-5_000_000_000, None, b"\1\2"]] else 0,
    "db_query": lambda arguments: [{"id": 1}, {"id": 2}] if arguments == ["select", [7]] else [],
    "db_transaction": lambda arguments: [1, 0] if arguments == [["delete", [7]], ["update", []]] else [],
}


def served(name: str, answer: Callable[[Any], Any]) -> HostImport:
    """An import of the kind with requests, as the ABI has it."""

    def function(state: HostState, memory: GuestMemory | None, at: int, size: int, out: int, capacity: int) -> int:
        assert memory is not None
        packed = msgpack.packb(answer(msgpack.unpackb(memory.read(at, size))))
        if len(packed) > capacity:
            memory.write(out, len(packed).to_bytes(4, "little"))
            return -3
        memory.write(out, packed)
        return len(packed)

    return HostImport(name, ("i32", "i32", "i32", "i32"), "i32", function)


def refused(name: str, code: int) -> HostImport:
    return HostImport(name, ("i32", "i32", "i32", "i32"), "i32", lambda *_: code)


def built(folder: Path) -> bytes:
    """The project's module."""
    try:
        return compile_project(read_project(folder))[0]
    except MissingToolchainError as error:
        absent(error)


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def probe(language: str) -> bytes:
    return built(HERE / language / "probe")


@pytest.fixture(scope="module")
def host() -> Iterator[Sandbox]:
    services = Services(
        now_ms=lambda: 1_700_000_000_123, monotonic_ns=lambda: 42, random_bytes=lambda size: b"r" * size
    )
    imports = [served(name, answer) for name, answer in ANSWERS.items()]
    with Sandbox(workers=1, extra_imports=imports, services=services) as sandbox:
        yield sandbox


def load(
    sandbox: Sandbox,
    wasm: bytes,
    config: Mapping[str, Any] | None = None,
    policy: InstancePolicy = InstancePolicy.PER_BATCH,
) -> Transformer:
    spec = TransformerSpec(
        name="probe",
        module=Path("probe.wasm"),
        config=config or {},
        limits=LIMITS,
        capabilities=GRANTED,
        instance=policy,
    )
    return sandbox.load(spec, wasm)


def outcomes(transformer: Transformer, *events: Event) -> list[Outcome]:
    return list(transformer.run(Batch(SOURCE, events)).outcomes)


def wish(text: str, offset: int = 0, headers: Any = ()) -> Event:
    return Event(offset, 9, b"key", text.encode(), headers)


def said(outcome: Outcome) -> str:
    assert isinstance(outcome, Emitted), outcome
    value = outcome.events[0].value
    assert value is not None
    return value.decode()


def test_the_section_names_the_guest(probe: bytes, language: str) -> None:
    metadata = read_metadata(probe)
    assert metadata is not None
    assert (metadata.name, metadata.version, metadata.sdk, metadata.encoding) == (
        "probe",
        "0.1.0",
        f"{language}/0.1.0",
        "raw",
    )
    assert set(metadata.capabilities) == {*NEEDED_FOR.values()}
    assert len([section for section in read_sections(probe) if section.name == "penstock"]) == 1


def test_every_capability(host: Sandbox, probe: bytes) -> None:
    expected = {
        "env": LONG,
        "file_read": "/a read",
        "file_write": "nil",
        "kv_get": "nil",
        "kv_put": "nil",
        "kv_delete": "nil",
        "http": "201 bodyPOST",
        "lookup": "people 2.5",
        "lookup_many": "3",
        "db": "3",
        "query": "2",
        "transaction": "2",
        "time": "rrrr1700000000123 42",
    }
    transformer = load(host, probe)
    found = transformer.run(Batch(SOURCE, [wish(name) for name in expected]))
    assert {name: said(outcome) for name, outcome in zip(expected, found.outcomes, strict=True)} == expected
    assert [(line.level, line.text) for line in found.logs] == [(3, "a line")]


@pytest.mark.parametrize("code", [ERROR_DENIED, ERROR_INVALID])
def test_a_refusal_of_the_host_is_an_answer(probe: bytes, code: int) -> None:
    with Sandbox(workers=1, extra_imports=[refused(name, code) for name in ANSWERS]) as sandbox:
        for name in ("env", "file_read", "file_write", "kv_put", "http", "lookup", "db", "query", "transaction"):
            assert said(outcomes(load(sandbox, probe), wish(name))[0]) == f"status {code}"


def test_every_answer(host: Sandbox, probe: bytes) -> None:
    names = ["records", "large", "drop", "tombstone", "reject", "anything", "header"]
    events = [wish(name, offset, (("trace", b"a"), ("trace", b"b"))) for offset, name in enumerate(names)]
    records, large, drop, tombstone, reject, anything, header = outcomes(load(host, probe), *events)
    assert isinstance(records, Emitted)
    own = events[0].headers
    assert [(event.to, event.key, event.value, event.headers) for event in records.events] == [
        ("flagged", b"k", b"made records", (("h", b"1"), ("n", None))),
        (None, b"key", None, own),
        (None, b"key", b"bare", ()),
    ]
    assert said(large) == "x" * LARGE
    assert isinstance(drop, Dropped)
    assert isinstance(tombstone, Emitted)
    assert tombstone.events[0].value is None
    assert isinstance(reject, Violation)
    assert (reject.kind, reject.code, reject.message) == (ViolationKind.REJECTED, "no-good", "after.x is reject")
    assert anything == Emitted((events[5],))
    assert said(header) == "shop.public.orders/0/6/9/b"


@pytest.mark.parametrize("policy", InstancePolicy)
def test_a_fault_is_named_and_blames_its_event(
    host: Sandbox, probe: bytes, language: str, policy: InstancePolicy
) -> None:
    names = ["panic", "memory", *(["two", "none"] if language == "c" else ["error"])]
    words = {
        "panic": "assertion failed: wish.size == 0 (probe.c:" if language == "c" else "index out of bounds",
        "memory": "no room",
        "two": "answered one event twice",
        "none": "without an answer",
        "error": "Strange",
    }
    events = [wish(name, offset) for offset, name in enumerate(word for name in names for word in ("drop", name))]
    found = outcomes(load(host, probe, policy=policy), *events)
    for good, bad, name in zip(found[::2], found[1::2], names, strict=True):
        assert isinstance(good, Dropped)
        assert isinstance(bad, Violation)
        assert words[name] in bad.message
        assert "penstock_v1_transform" in bad.backtrace
    if language == "zig":
        assert isinstance(found[1], Violation)
        assert "probe.answer" in found[1].backtrace, "the place, by its function"


def test_config_with_types(host: Sandbox, probe: bytes) -> None:
    full = {"text": "ü", "whole": -(2**63), "real": 2, "flag": False, "list": ["a", "b"], "inner": {"text": "in"}}
    for config, expected in [
        ({}, "|-1|50|true|0|"),
        (full, f"ü|{-(2**63)}|200|false|2|in"),
        ({"list": ["a", "last"], "real": 0.25}, "|-1|25|true|2|last"),
    ]:
        batch = Batch(SOURCE, [wish("config"), wish("large"), wish("config")])
        with closing(load(host, probe, config, InstancePolicy.REUSED).session()) as session:
            for _ in range(20):
                first, _, last = session.run(batch).outcomes
                assert (said(first), said(last)) == (expected, expected)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"text": 1}, "text: a text was expected"),
        ({"whole": "1"}, "whole: a whole number"),
        ({"flag": 1}, "flag: true or false was expected"),
        ({"real": "x"}, "real: a number was expected"),
        ({"inner": {"txet": "x"}}, "inner.txet: there is no such key"),
        ({"unknown": 1}, "unknown: there is no such key"),
        ({"list": {}}, "list: a list"),
    ],
    ids=str,
)
def test_a_config_is_refused_with_its_key(host: Sandbox, probe: bytes, config: dict[str, Any], words: str) -> None:
    with pytest.raises(ModuleFault) as raised:
        load(host, probe, config)
    assert words in str(raised.value)


def test_what_is_not_called_is_not_imported(language: str) -> None:
    wasm = built(HERE / language / "changes")
    (imports,) = (section for section in read_sections(wasm) if section.kind == "import")
    content = imports.content(wasm)
    assert content.count(b"penstock") == 1
    assert b"fail" in content


def test_two_builds_in_two_folders_are_one(language: str, tmp_path: Path) -> None:
    hashes = set()
    for name in ("one", "another/deeper"):
        folder = tmp_path / name
        for file in (HERE / language / "probe").rglob("*"):
            if file.is_file():
                copy = folder / file.relative_to(HERE / language / "probe")
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
        wasm = built(folder)
        assert str(tmp_path).encode() not in wasm
        hashes.add(hashlib.sha256(wasm).hexdigest())
    assert len(hashes) == 1


def test_a_restricted_build_is_plain_webassembly(tmp_path: Path, host: Sandbox) -> None:
    """C without bulk memory and all that came after WebAssembly 1.0, with the SDK's own memcpy."""
    copy = shutil.copytree(HERE / "c" / "probe", tmp_path / "probe")
    guest = copy / "guest.toml"
    guest.write_text(guest.read_text() + '[build]\nflags = ["-mcpu=mvp"]\n')
    source = copy / "src" / "probe.c"
    source.write_text('#include "penstock_memory.h"\n' + source.read_text())
    wasm = built(copy)
    features = [section.content(wasm) for section in read_sections(wasm) if section.name == "target_features"]
    assert not any(b"bulk-memory" in one for one in features)
    large, records, anything = outcomes(load(host, wasm), wish("large"), wish("records"), wish("as it came"))
    assert said(large) == "x" * LARGE
    assert isinstance(records, Emitted)
    assert records.events[0].value == b"made records"
    assert isinstance(anything, Emitted)


@pytest.mark.parametrize("file", ["sdk/zig/testing.zig", "guests/zig/enrich-order/src/decimal.zig"])
def test_zigs_own_tests(file: str, tmp_path: Path) -> None:
    """The tests beside the code, natively; and that it is formatted."""
    path, zig = TRANSFORMERS / file, zig_or_absent()
    for command in (["test", str(path)], ["fmt", "--check", str(path.parent)]):
        done = subprocess.run(
            [zig, *command], cwd=tmp_path, env=toolchains.zig_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def zig_or_absent() -> Path:
    try:
        return toolchains.zig()
    except MissingToolchainError as error:
        absent(error)


# ---- `encoding: event` ----

ROW = '"id":1,"name":"Ada","big":12345678901234567890,"price":"1.10"'


def change(operation: str, after: str | None) -> Event:
    row = "null" if after is None else f"{{{after}}}"
    text = f'{{"before":null,"after":{row},"source":{{"db":"shop","table":"people"}},"op":"{operation}","ts_ms":5}}'
    return Event(0, 0, b"k", text.encode())


def test_change_events(language: str) -> None:
    wasm = built(HERE / language / "changes")
    events = [change("c", ROW), change("d", None), Event(0, 0, b"k", None), change("r", '"id":2')]
    events.append(change("u", '"id":3,"name":"__debezium_unavailable_value"'))
    with Sandbox(workers=1) as sandbox:
        found = outcomes(load(sandbox, wasm), *events)
    created, deleted, tombstone, read, unavailable = found
    assert f'"after":{{{ROW.replace("Ada", "Ada!")},"seen":7}}' in said(created).replace(" ", "")
    assert isinstance(deleted, Dropped)
    assert isinstance(tombstone, Emitted)
    assert isinstance(read, Emitted)
    assert '"after":{"id":2,"name":"!","seen":7}' in said(read).replace(" ", "")
    assert read.events[1].value is None
    assert isinstance(unavailable, Violation)
    assert unavailable.code == "unavailable"


def test_a_guest_says_which_encoding_it_reads(language: str, host: Sandbox, probe: bytes) -> None:
    spec = TransformerSpec(
        name="probe", module=Path("probe.wasm"), limits=LIMITS, capabilities=GRANTED, encoding="event"
    )
    wrong = host.load(spec, probe)
    (found,) = outcomes(wrong, change("c", ROW))
    assert isinstance(found, Violation)
    assert "encoding: raw" in found.message
