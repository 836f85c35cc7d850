"""Attacks before anything runs: modules that ask for more than they are granted, or lie about what they ask; grants beyond the ceiling."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from pipeline.registry import load_registry
from sandbox import Sandbox
from sandbox.errors import CapabilityDenied
from sandbox.host import known_imports
from sandbox.sections import append_custom
from schemas.abi import IMPORT_MODULE
from schemas.capabilities import PROFILES, Capability
from schemas.errors import ConfigError, ModuleFault
from tests.hostile.conftest import MakeWorld
from tests.hostile.rig import grant
from tests.sandbox.guests import batch, kinds, spec, wat

GUEST = """(memory (export "memory") 2)
  (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 65536))
  (data (i32.const 8) "\\91\\c0")
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) (i64.const 0x800000002))"""
COMPONENT = (Path(__file__).parent.parent / "guests" / "component.wat").read_text()
SERVED = {
    name: one.capability
    for (module, name), one in known_imports().items()
    if module == IMPORT_MODULE and one.capability
}
REQUEST = "(param i32 i32 i32 i32) (result i32)"


@pytest.fixture
def sandbox(make_fast_world: MakeWorld) -> Sandbox:
    return make_fast_world().sandbox


def importing(*imports: str) -> bytes:
    return wat(f"(module {' '.join(imports)} {GUEST})")


def refused(
    sandbox: Sandbox, wasm: bytes, words: str, capabilities: Iterable[str] = (), encoding: str | None = None
) -> None:
    with pytest.raises(ModuleFault, match=words):
        sandbox.load(spec(capabilities=frozenset(capabilities), encoding=encoding), wasm)


def type_of(name: str) -> str:
    plain = {"log": "(param i32 i32 i32)", "now_ms": "(result i64)", "monotonic_ns": "(result i64)"}
    return plain.get(name) or ("(param i32 i32) (result i32)" if name == "random" else REQUEST)


@pytest.mark.parametrize("name", SERVED)
def test_an_import_that_nothing_grants_is_refused_with_the_line_to_add(sandbox: Sandbox, name: str) -> None:
    needed = SERVED[name]
    wasm = importing(f'(import "penstock" "{name}" (func {type_of(name)}))')
    refused(sandbox, wasm, rf"imports penstock\.{name}, which needs the capability `{needed}`")


@pytest.mark.parametrize("name", SERVED)
def test_every_other_capability_together_does_not_grant_an_import(sandbox: Sandbox, name: str) -> None:
    needed = SERVED[name]
    others = frozenset(Capability) - {Capability(needed)}
    refused(sandbox, importing(f'(import "penstock" "{name}" (func {type_of(name)}))'), f"`{needed}`", others)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        pytest.param('(import "penstock" "now_ms" (func (result i32)))', "the host has", id="result-narrowed"),
        pytest.param('(import "penstock" "now_ms" (func (param i32) (result i64)))', "the host has", id="parameter-added"),
        pytest.param('(import "penstock" "log" (func (param i32 i32)))', "the host has", id="parameter-missing"),
        pytest.param('(import "penstock" "log" (func (param i64 i64 i64)))', "the host has", id="addresses-of-64-bit"),
        pytest.param('(import "penstock" "random" (func (param i32 i32)))', "the host has", id="status-ignored-by-type"),
        pytest.param('(import "penstock" "log" (memory 1))', "multiple memories", id="memory-instead-of-function"),
        pytest.param('(import "penstock" "log" (table 1 funcref))', "not a function", id="table-instead-of-function"),
        pytest.param('(import "penstock" "log" (global i32))', "not a function", id="global-instead-of-function"),
        pytest.param(
            '(import "penstock" "log" (func (param i32 i32 i32))) (import "penstock" "log" (func (param i32)))',
            "the host has",
            id="twice-the-second-time-wrong",
        ),
        pytest.param('(import "wasi_snapshot_preview1" "path_open" (func (param i32) (result i32)))', "the host has", id="wasi-wrong-type"),
    ],
)  # fmt: skip
def test_a_granted_import_of_another_type_is_refused(sandbox: Sandbox, wanted: str, words: str) -> None:
    refused(sandbox, importing(wanted), words, frozenset(Capability))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        pytest.param("penstock", "exec", id="no-such-function"),
        pytest.param("penstock", "", id="empty-name"),
        pytest.param("penstock", "LOG", id="other-case"),
        pytest.param("penstock", "log\\00", id="nul-behind-a-granted-name"),
        pytest.param("penstock", "l\\d0\\be\\67", id="cyrillic-o-in-log"),
        pytest.param("penstock", "penstock.log", id="module-within-the-name"),
        pytest.param("Penstock", "log", id="module-other-case"),
        pytest.param("penstock ", "log", id="module-with-a-space"),
        pytest.param("", "log", id="no-module"),
        pytest.param("env", "system", id="libc-system"),
        pytest.param("host", "log", id="another-module"),
        pytest.param("wasi_unstable", "path_open", id="wasi-of-another-version"),
        pytest.param("wasi_snapshot_preview1", "sock_open", id="wasi-extension"),
        pytest.param("wasi_snapshot_preview1", "proc_exec", id="wasix-exec"),
        pytest.param("wasi:sockets/tcp@0.2.0", "connect", id="wasi-preview-2-by-name"),
        pytest.param("\\1b[31mpenstock", "log", id="terminal-escape-in-the-name"),
    ],
)
def test_what_no_host_has_is_refused_whatever_is_granted(sandbox: Sandbox, module: str, name: str) -> None:
    with pytest.raises(ModuleFault) as caught:
        sandbox.load(spec(capabilities=frozenset(Capability)), importing(f'(import "{module}" "{name}" (func))'))
    assert str(caught.value).isprintable() or "\n" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def section(**said: object) -> bytes:
    return append_custom(importing(), "penstock", json.dumps({"abi": 1, **said}).encode())


@pytest.mark.parametrize("name", Capability)
def test_a_section_that_asks_for_what_is_not_granted_is_refused_by_name(sandbox: Sandbox, name: str) -> None:
    refused(sandbox, section(capabilities=[name]), f"asks for `{name}`, which the registry does not grant")


def test_a_section_that_asks_for_more_than_granted_names_the_difference_only(sandbox: Sandbox) -> None:
    with pytest.raises(ModuleFault) as caught:
        sandbox.load(spec(capabilities={"log", "clock"}), section(capabilities=["clock", "random", "log", "key-value"]))
    assert "asks for `random`, `key-value`" in str(caught.value)
    assert "`clock`" not in str(caught.value)


@pytest.mark.parametrize("asked", ["root", "*", "log,clock", "LOG", "log\0", "filesystem", "", "\x1b[2J"])
def test_a_section_that_asks_for_a_name_that_does_not_exist_is_refused(sandbox: Sandbox, asked: str) -> None:
    with pytest.raises(ModuleFault) as caught:
        sandbox.load(spec(capabilities=frozenset(Capability)), section(capabilities=[asked]))
    assert "\x1b" not in str(caught.value)


LIES = {
    "twice, the second one asks for less": append_custom(section(capabilities=["random"]), "penstock", b'{"abi":1}'),
    "not json": append_custom(importing(), "penstock", b"capabilities: [random]"),
    "another abi": append_custom(importing(), "penstock", b'{"abi":2,"capabilities":["random"]}'),
    "larger than 64 KiB": append_custom(importing(), "penstock", b'{"abi":1,"name":"' + b"x" * 70_000 + b'"}'),
    "nested a hundred thousand deep": append_custom(importing(), "penstock", b'{"a":' + b"[" * 30_000),
    "capabilities of another type": append_custom(importing(), "penstock", b'{"abi":1,"capabilities":{"log":true}}'),
    "a number too large": append_custom(importing(), "penstock", b'{"abi":1e999}'),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_section_that_cannot_be_read_is_refused(sandbox: Sandbox, lie: str) -> None:
    refused(sandbox, LIES[lie], "section")


@pytest.mark.parametrize("lie", LIES)
def test_a_section_that_cannot_be_read_grants_nothing_where_the_registry_sets_the_encoding(
    sandbox: Sandbox, lie: str
) -> None:
    transformer = sandbox.load(spec(encoding="raw"), LIES[lie])
    assert kinds(transformer.run(batch([b"x"])).outcomes) == ["emitted"]
    assert not transformer.gate.grants.names


def test_a_section_that_asks_for_nothing_does_not_hide_an_import(sandbox: Sandbox) -> None:
    wasm = append_custom(
        importing(f'(import "penstock" "random" (func {type_of("random")}))'), "penstock", b'{"abi":1}'
    )
    refused(sandbox, wasm, "needs the capability `random`")


def test_a_section_of_another_name_is_not_believed(sandbox: Sandbox) -> None:
    wasm = append_custom(importing(), "penstock2", b'{"abi":1,"capabilities":["random"]}')
    assert kinds(sandbox.load(spec(), wasm).run(batch([b"x"])).outcomes) == ["emitted"]


COMPONENTS = {
    "log that nothing grants": ('"penstock-log"', '"penstock-log"', r"imports penstock\.log, which needs the capability `log`"),
    "sockets of preview 2": ('"penstock-log"', '"wasi:sockets/tcp"', "imports wasi:sockets/tcp"),
    "the filesystem of preview 2": ('"penstock-log"', '"wasi:filesystem/types"', "imports wasi:filesystem/types"),
    "a name nobody has": ('"penstock-log"', '"penstock-spawn"', "which this host does not have"),
}  # fmt: skip


@pytest.mark.parametrize("attack", COMPONENTS)
def test_a_component_is_refused_as_a_module_is(make_fast_world: MakeWorld, attack: str) -> None:
    from sandbox.host import HostImport

    old, new, words = COMPONENTS[attack]
    tick = HostImport("tick", ("i32",), None, lambda state, memory, ms: None, module="test")
    sandbox = make_fast_world(extra=(tick,)).sandbox
    granted = frozenset(Capability) - {Capability.LOG} if old == new else frozenset(Capability)
    refused(sandbox, wat(COMPONENT.replace(old, new)), words, granted)


def test_a_component_whose_section_asks_for_more_is_refused(make_fast_world: MakeWorld) -> None:
    from sandbox.host import HostImport

    tick = HostImport("tick", ("i32",), None, lambda state, memory, ms: None, module="test")
    sandbox = make_fast_world(extra=(tick,)).sandbox
    wasm = append_custom(wat(COMPONENT), "penstock", b'{"abi":1,"capabilities":["log","network-client"]}')
    refused(sandbox, wasm, "asks for `network-client`", {"log"})


@pytest.mark.parametrize("name", Capability)
def test_a_grant_beyond_the_operators_ceiling_is_refused(make_fast_world: MakeWorld, name: str) -> None:
    world = make_fast_world(ceiling=frozenset(Capability) - {Capability(name)})
    with pytest.raises(ConfigError, match=f"grants `{name}`, which the operator's ceiling does not leave"):
        world.sandbox.load(spec(capabilities={name}), importing())


@pytest.mark.parametrize("profile", [name for name, held in PROFILES.items() if held])
def test_a_profile_does_not_lift_a_grant_over_the_ceiling(make_fast_world: MakeWorld, profile: str) -> None:
    world = make_fast_world(ceiling=frozenset({"log"}))
    with pytest.raises(ConfigError, match="ceiling"):
        world.tenant(profile=profile, name="greedy")


def test_the_ceiling_grants_nothing(make_fast_world: MakeWorld) -> None:
    world = make_fast_world(ceiling=frozenset(Capability))
    with pytest.raises(ModuleFault, match="needs the capability `clock`"):
        world.tenant("now_ms")


def test_a_ceiling_with_a_typing_error_is_refused_instead_of_ignored(make_fast_world: MakeWorld) -> None:
    with pytest.raises(ValueError, match="netwrok-client"):
        make_fast_world(ceiling=frozenset({"netwrok-client"}))


def test_a_single_function_run_is_bound_by_grants_and_ceiling_too(make_fast_world: MakeWorld) -> None:
    sandbox = make_fast_world(ceiling=frozenset({"log"})).sandbox
    wasm = importing(f'(import "penstock" "random" (func {type_of("random")}))')
    with pytest.raises(CapabilityDenied, match="`random`"):
        sandbox.compile_module("m", wasm, capabilities={"log"})
    with pytest.raises(ConfigError, match="ceiling"):
        sandbox.compile_module("m", wasm, capabilities={"random"})


def test_a_grant_made_from_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="root"):
        grant("root")


REGISTRY = """
version: 1
transformers: {{t: {{module: m.wasm, capabilities: {capabilities}}}}}
routes: {{r: {{from: a, through: [t], to: b}}}}
"""


@pytest.mark.parametrize(
    "capabilities",
    [
        pytest.param("[root]", id="unknown-capability"),
        pytest.param("[everything]", id="everything"),
        pytest.param("['*']", id="star"),
        pytest.param("admin", id="unknown-profile"),
        pytest.param("{profile: Standard}", id="profile-other-case"),
        pytest.param("{profile: [minimal, elevated]}", id="two-profiles"),
        pytest.param("[network-server]", id="network-server"),
        pytest.param("[network-client]", id="network-without-hosts"),
        pytest.param("[filesystem-read]", id="files-without-roots"),
        pytest.param("[database-write]", id="database-without-a-connection"),
        pytest.param("[environment]", id="environment-without-names"),
        pytest.param("[{http: {hosts: ['*']}}]", id="every-host"),
        pytest.param("[{http: {hosts: ['*.*']}}]", id="star-within-a-host"),
        pytest.param("[{http: {hosts: ['https://api.example.com/']}}]", id="url-as-a-host"),
        pytest.param("[{http: {hosts: [user@api.example.com]}}]", id="user-in-a-host"),
        pytest.param("[{http: {hosts: []}}]", id="no-hosts"),
        pytest.param("[{http: {hosts: [a.example.com], ports: [0]}}]", id="port-0"),
        pytest.param("[{http: {hosts: [a.example.com], ports: [70000]}}]", id="port-beyond-65535"),
        pytest.param("[{http: {hosts: [a.example.com], methods: ['GET /']}}]", id="method-with-a-path"),
        pytest.param("[{clock: {uses: 0}}]", id="no-uses"),
        pytest.param("[{clock: {uses: -1}}]", id="negative-uses"),
        pytest.param("[{clock: {until: tomorrow}}]", id="until-that-is-no-date"),
        pytest.param("[{clock: {uses: 5, per: 0s}}]", id="window-of-nothing"),
        pytest.param("[{clock: {hosts: [a]}}]", id="scope-of-another-capability"),
        pytest.param("[{clock: {}, log: {}}]", id="two-capabilities-in-one-item"),
        pytest.param("[{database: {connection: nowhere}}]", id="undeclared-connection"),
        pytest.param("[{database: {connection: nowhere, allow: [drop]}}]", id="undeclared-action"),
        pytest.param("{grant: [log], stric: true}", id="strict-misspelt"),
        pytest.param("{grant: [log], strict: 'no thanks'}", id="strict-that-is-no-flag"),
        pytest.param("[{key-value: {quota: 100TiB}}]", id="quota-of-everything"),
        pytest.param("[{files: {read: [x], descriptors: 100000}}]", id="descriptors-of-everything"),
    ],
)
def test_the_registry_refuses_a_grant_that_says_too_much_or_nothing(tmp_path: Path, capabilities: str) -> None:
    (tmp_path / "m.wasm").write_bytes(importing())
    path = tmp_path / "registry.yaml"
    path.write_text(REGISTRY.format(capabilities=capabilities))
    with pytest.raises(ConfigError) as caught:
        load_registry(path)
    assert any(fault.path.startswith("transformers.t.capabilities") for fault in caught.value.faults)
