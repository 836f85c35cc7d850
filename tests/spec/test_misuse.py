"""Scripts of misuse: every invalid module is refused, every trap is of the right kind, and nothing ends the process. On both call paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.calls import CallsName
from tests.spec.runner import Runner, Tally

FOLDER = Path(__file__).parent / "misuse"
OTHERS = [Path(one) for one in os.environ.get("PENSTOCK_WAST", "").split(os.pathsep) if one]
OWN = sorted(FOLDER.glob("*.wast"))
SCRIPTS = [*OWN, *sorted(path for folder in OTHERS for path in folder.rglob("*.wast"))]


def ran(path: Path, calls: CallsName) -> Tally:
    with Sandbox(calls=calls, cache=False) as sandbox:
        runner = Runner(sandbox)
        try:
            return runner.run(path.read_text(encoding="utf-8"))
        finally:
            runner.close()


@pytest.mark.parametrize("calls", [CallsName.FAST, CallsName.PUBLIC])
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_carried_out(path: Path, calls: CallsName) -> None:
    tally = ran(path, calls)
    assert not tally.wrong
    if path in OWN:
        assert not tally.left_out and tally.done, "ours are all about the sandbox"


FAULTY = """
(module (memory 1) (func $deep (export "deep") (call $deep)) (func (export "stop") unreachable)
  (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))
(assert_return (invoke "load" (i32.const 0)) (i32.const 1))
(assert_return (invoke "load" (i32.const -1)) (i32.const 0))
(assert_trap (invoke "load" (i32.const 0)) "out of bounds memory access")
(assert_trap (invoke "load" (i32.const -1)) "unreachable")
(assert_trap (invoke "stop") "out of bounds memory access")
(assert_trap (invoke "deep") "unreachable")
(assert_exhaustion (invoke "stop") "call stack exhausted")
(assert_invalid (module (func)) "is valid")
(assert_unlinkable (module (import "penstock" "fail" (func (param i32 i32 i32 i32)))) "is granted")
(assert_trap (module (memory 1) (data (i32.const 0) "a")) "starts")
"""


@pytest.mark.parametrize("calls", [CallsName.FAST, CallsName.PUBLIC])
def test_what_is_expected_wrongly_is_found(calls: CallsName) -> None:
    with Sandbox(calls=calls, cache=False) as sandbox:
        runner = Runner(sandbox)
        tally = runner.run(FAULTY)
        runner.close()
    assert len(tally.wrong) == FAULTY.count("(assert_") and not tally.left_out
