"""Every capability import of the ABI, asked for through an SDK, against a host made for the test; and no import that is not used."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from wasmtime import Engine, Module

from pipeline.workshop.build import compile_project
from pipeline.workshop.scaffold import create
from sandbox import Sandbox
from sandbox.host.imports import HostImport, HostState
from sandbox.memory import GuestMemory
from schemas.abi import ERROR_DENIED, ERROR_TOO_LARGE
from schemas.capabilities import NEEDED_FOR, Capability
from schemas.event import Batch
from schemas.outcome import Emitted
from schemas.specs import TransformerSpec
from tests.transformers.shipped import SOURCE, value_event
from tests.workshop.tools import need

PROBES = Path(__file__).parent / "probes"
SOURCES = {"rust": ("src/lib.rs", "capabilities.rs"), "typescript": ("src/index.ts", "capabilities.ts")}
LONG = "x" * 10_000
"""Longer than the room an SDK offers at first."""


@dataclass
class Host:
    """Answers of the later capabilities, and what was asked."""

    asked: list[tuple[str, Any]] = field(default_factory=list)
    store: dict[str, bytes] = field(default_factory=dict)

    def answer(self, name: str, request: Any) -> Any:
        match name:
            case "kv_put":
                self.store[request[0]] = request[1]
            case "kv_delete":
                self.store.pop(request, None)
            case "kv_get":
                return self.store.get(request)
            case "env_get":
                return LONG
            case "http_request":
                return {"status": 200, "headers": [["a", "b"]], "body": b"body"}
            case "lookup":
                return {"name": "Ada"}
            case "lookup_many":
                return [{"name": "Ada"}, None]
            case "db_query":
                return [{"name": "Ada"}, {"name": "Bea"}]
            case "db_execute":
                return 3
            case "db_transaction":
                return [1, 4]
        return None

    def imports(self) -> list[HostImport]:
        served = {"log", "now_ms", "monotonic_ns", "random"}
        return [self._import(name) for name in NEEDED_FOR if name not in served]

    def _import(self, name: str) -> HostImport:
        def call(state: HostState, memory: GuestMemory | None, at: int, size: int, out: int, room: int) -> int:
            assert memory is not None
            request = msgspec.msgpack.decode(bytes(memory.read(at, size)))
            self.asked.append((name, request))
            if name == "file_read":
                return ERROR_DENIED
            answer = msgspec.msgpack.encode(self.answer(name, request))
            if len(answer) > room:
                memory.write(out, len(answer).to_bytes(4, "little"))
                return ERROR_TOO_LARGE
            memory.write(out, answer)
            return len(answer)

        return HostImport(name, ("i32", "i32", "i32", "i32"), "i32", call)


@pytest.fixture(scope="module", params=sorted(SOURCES))
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A guest that asks for everything, in one language."""
    need(request.param)
    place, source = SOURCES[request.param]
    project = create(request.param, "probe", tmp_path_factory.mktemp(request.param))
    (project.folder / place).write_text((PROBES / source).read_text())
    guest_file = project.folder / "guest.toml"
    wanted = ", ".join(f'"{name}"' for name in dict.fromkeys(NEEDED_FOR.values()))
    head, _, tail = guest_file.read_text().partition("\n\n")
    guest_file.write_text(f"{head}\ncapabilities = [{wanted}]\n\n{tail}")
    from pipeline.workshop.project import read_project

    return compile_project(read_project(project.folder))[0]


def test_every_capability_is_asked_for_and_answered(probe: bytes, tmp_path: Path) -> None:
    module = tmp_path / "probe.wasm"
    module.write_bytes(probe)
    host = Host()
    with Sandbox(workers=1, extra_imports=host.imports()) as sandbox:
        spec = TransformerSpec(name="probe", module=module, capabilities=frozenset(Capability))
        transformer = sandbox.load(spec)
        report = transformer.run(Batch(SOURCE, [value_event(b"hello")]))
    (outcome,) = report.outcomes
    assert isinstance(outcome, Emitted), outcome
    assert outcome.events[0].value == f"true {LONG} hello Denied body Ada 2 10 true".encode()
    assert [line.text for line in report.logs] == ["saw hello"]
    asked = dict(host.asked)
    assert asked["kv_put"] == ["k", b"hello"] and asked["kv_delete"] == "gone"
    assert asked["file_write"] == ["/b", b"bytes"]
    assert asked["http_request"] == {
        "method": "GET",
        "url": "http://x/",
        "headers": [["accept", "text/plain"]],
        "body": None,
    }
    assert asked["lookup"] == ["t", 7] and asked["lookup_many"] == ["t", ["a", None]]
    assert asked["db_execute"] == ["delete", [True, 0.5]]
    assert asked["db_query"] == ["select", ["x"]]
    assert asked["db_transaction"] == [["insert", [1]], ["delete", []]]
    assert [name for name, _ in host.asked].count("env_get") == 2, "asked again with room for the answer"


def test_only_what_is_used_is_imported(probe: bytes) -> None:
    names = {one.name for one in Module(Engine(), probe).imports}
    assert names == {"fail", *NEEDED_FOR}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_new_guest_asks_for_nothing(name: str, tmp_path: Path) -> None:
    need(name)
    code = compile_project(create(name, "modest", tmp_path))[0]
    assert {one.name for one in Module(Engine(), code).imports} == {"fail"}
