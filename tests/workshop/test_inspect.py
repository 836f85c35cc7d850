"""`penstock inspect`: what it finds in good modules, why it refuses bad ones, and what it says to what is none."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.cli.inspect_ import inspect
from sandbox.inspection import inspect_module
from sandbox.sections import COMPONENT, MalformedModuleError, Metadata, append_custom, append_metadata
from tests.workshop.tools import MODULES, ROOT, penstock

GUEST = """
(module {more}
  (memory (export "memory") {memory})
  (func (export "penstock_v1_alloc") (param i32) (result i32) i32.const 1024)
  (func (export "penstock_v1_transform") (param i32 i32) (result i64) i64.const 0))
"""


def guest(more: str = "", memory: str = "1 16") -> bytes:
    return bytes(wasmtime.wat2wasm(GUEST.format(more=more, memory=memory)))


def looked_at(tmp_path: Path, wasm: bytes) -> tuple[int, dict[str, Any]]:
    """Exit code and what was said."""
    import typer

    app = typer.Typer()
    app.command()(inspect)
    file = tmp_path / "guest.wasm"
    file.write_bytes(wasm)
    done = CliRunner().invoke(app, [str(file), "--json"], catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.parametrize("name", sorted(path.stem for path in MODULES.glob("*.wasm")))
def test_the_shipped_modules(tmp_path: Path, name: str) -> None:
    wasm = (MODULES / f"{name}.wasm").read_bytes()
    code, said = looked_at(tmp_path, wasm)
    assert (code, said["refused"], said["abi"], said["kind"]) == (0, [], 1, "module")
    assert said["sha256"] == hashlib.sha256(wasm).hexdigest()
    assert sum(one["bytes"] for one in said["sections"]) + 8 == said["bytes"] == len(wasm)
    assert said["memories"] == [
        {"bytes_min": said["memories"][0]["bytes_min"], "bytes_max": 256 << 20, "is_64": False, "is_shared": False}
    ]
    exports = {one["name"]: one["type"] for one in said["exports"]}
    assert exports["penstock_v1_transform"] == "(i32, i32) -> i64"
    assert exports["penstock_v1_alloc"] == "(i32) -> i32"
    assert [one for one in said["imports"] if one["name"] != "penstock.fail"] == []
    assert said["capabilities"] == []


def test_what_a_guest_says_and_wants(tmp_path: Path) -> None:
    more = """(import "penstock" "log" (func (param i32 i32 i32)))
              (import "penstock" "now_ms" (func (result i64)))
              (import "penstock" "fail" (func (param i32 i32 i32 i32)))"""
    metadata = Metadata(name="a", version="2", sdk="wat/1", encoding="raw", capabilities=("log", "random"))
    code, said = looked_at(tmp_path, append_metadata(guest(more), metadata))
    assert code == 0
    assert said["metadata"] == {
        "abi": 1,
        "name": "a",
        "version": "2",
        "sdk": "wat/1",
        "encoding": "raw",
        "capabilities": ["log", "random"],
    }
    assert [(one["name"], one["type"], one["capability"]) for one in said["imports"]] == [
        ("penstock.log", "(i32, i32, i32) -> ()", "log"),
        ("penstock.now_ms", "() -> i64", "clock"),
        ("penstock.fail", "(i32, i32, i32, i32) -> ()", None),
    ]
    assert said["capabilities"] == ["clock", "log", "random"]
    assert said["sections"][-1]["name"] == "penstock"


BAD_TRANSFORM = GUEST.replace("(result i64) i64.const 0", "(result i32) i32.const 0")


@pytest.mark.parametrize(
    ("wasm", "why"),
    [
        (bytes(wasmtime.wat2wasm("(module)")), "exports nothing as `memory`"),
        (bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1))')), "does not export `penstock_v1_alloc`"),
        (bytes(wasmtime.wat2wasm(BAD_TRANSFORM.format(more="", memory="1"))), "ABI v1 has (i32, i32) -> i64"),
        (guest('(import "env" "puts" (func (param i32)))'), "imports env.puts"),
        (guest('(import "penstock" "log" (func (param i64)))'), "imports penstock.log as (i64) -> ()"),
        (
            guest('(import "penstock" "kv_list" (func (param i32)))'),
            "imports penstock.kv_list, which this host does not have",
        ),
        (guest(memory="i64 1"), "memory64 must be enabled"),
        (guest(memory="5000"), "memory"),
        (guest("(func $loop (loop br 0)) (start $loop)"), "its start function failed: deadline"),
        (append_custom(guest(), "penstock", b"nonsense"), "its section `penstock` cannot be read"),
        (guest()[:8] + b"\x01\x02\x01\x00" + guest()[8:], "cannot be compiled"),
    ],
)
def test_why_a_module_is_refused(tmp_path: Path, wasm: bytes, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from schemas.limits import PROFILES

    monkeypatch.setitem(PROFILES, "trusted", PROFILES["trusted"].with_(deadline_ms=200))
    code, said = looked_at(tmp_path, wasm)
    assert code == 1
    assert any(why in reason for reason in said["refused"]), said["refused"]
    assert sum(one["bytes"] for one in said["sections"]) + 8 == len(wasm)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"hello", "not a WebAssembly module"),
        (b"(module)", "WebAssembly text"),
        (guest()[:40], "ends within a section"),
    ],
)
def test_what_is_no_module_is_one_message(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.wasm").write_bytes(content)
    done = penstock("inspect", "a.wasm", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: a.wasm: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for name in ("none.wasm", "."):
        done = penstock("inspect", name, cwd=tmp_path)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    wasm = guest('(import "\\1b[31mred" "\\0a\\0d" (func))')
    (tmp_path / "a.wasm").write_bytes(append_metadata(wasm, Metadata(name="\x1b[2J", sdk="[bold]x")))
    done = penstock("inspect", "a.wasm", cwd=tmp_path)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr
    assert "[bold]x" in done.stdout
    assert "refused: imports" in done.stdout


@given(st.binary(max_size=300), st.sampled_from([b"", guest()[:8], guest(), COMPONENT]))
def test_anything_is_looked_at_or_refused(content: bytes, head: bytes) -> None:
    try:
        found = inspect_module(head + content)
    except MalformedModuleError:
        return
    assert found.sha256


def test_a_component_is_looked_at_too(tmp_path: Path) -> None:
    wat = (ROOT / "tests" / "guests" / "component.wat").read_text()
    code, said = looked_at(tmp_path, append_metadata(bytes(wasmtime.wat2wasm(wat)), Metadata(name="a")))
    assert (code, said["kind"], said["abi"]) == (1, "component", 1)
    assert "imports test-tick" in said["refused"][0]  # which tests alone have
    imports = {one["name"]: (one["type"], one["capability"]) for one in said["imports"]}
    assert imports["penstock-log"] == ("(u32, string)", "log")
    assert imports["penstock-fail"] == ("(string, string, s32)", None)
    assert {"name": "penstock-v1-transform", "type": "(string) -> string"} in said["exports"]
    assert said["metadata"]["name"] == "a"


def test_many_sections_are_summed_up(tmp_path: Path) -> None:
    wasm = guest()
    for number in range(100):
        wasm = append_custom(wasm, f"n{number}", b"x" * number)
    (tmp_path / "a.wasm").write_bytes(append_metadata(wasm, Metadata(name="a")))
    done = penstock("inspect", "a.wasm", cwd=tmp_path)
    assert done.returncode == 0
    assert "custom n99" in done.stdout
    assert "custom penstock" in done.stdout
    assert "custom n5 " not in done.stdout
    assert "smaller ones, " in done.stdout
