"""Procedures at every level of isolation: the same values, the same refusals, the same counts."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from pipeline.sql import ProcedureExecutor
from sandbox.process import guest as host_half
from schemas.capabilities import Capability, Grant, Grants
from schemas.errors import ModuleFault
from schemas.limits import Limits
from schemas.outcome import ViolationKind
from schemas.specs import IsolationLevel, Registry, TransformerSpec
from tests.pipeline.sql.test_executor import CLOCK
from tests.sandbox.guests import wat

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "shop_rules.wat"


@pytest.mark.parametrize("level", IsolationLevel)
def test_every_level_comes_to_the_same(tmp_path: Path, level: IsolationLevel) -> None:
    for name, wasm in (("shop", wat(EXAMPLE.read_text())), ("clock", CLOCK)):
        (tmp_path / f"{name}.wasm").write_bytes(wasm)
    limits = Limits(memory_bytes=4 << 20, deadline_ms=5_000, allocation_bytes_max=2 << 20)
    twice = Grants((Grant(frozenset({Capability.CLOCK}), uses=3),), strict=True)
    registry = Registry(
        {
            "shop": TransformerSpec("shop", tmp_path / "shop.wasm", limits=limits, isolation=level),
            "clock": TransformerSpec(
                "clock", tmp_path / "clock.wasm", limits=limits, isolation=level, capabilities=twice
            ),
        },
        {},
    )
    with ProcedureExecutor(registry, workers=2) as executor:
        assert executor.call("shop", "apply_rules", [{"tier": "gold", "total": 5}]).value == 0.5
        refused = executor.call("shop", "validate", [{"after": {"total": 0}}]).violation
        assert refused is not None and (refused.kind, refused.code) == (ViolationKind.REJECTED, "total")
        large = executor.call("shop", "apply_rules", [{"total": 1, "x": b"x" * (3 << 20)}]).violation
        assert large is not None and large.kind is ViolationKind.MEMORY
        executor.call("clock", "ask_twice")
        executor.call("clock", "ask", profile="standard")
        spent = executor.call("clock", "ask_twice", profile="standard").violation
        assert spent is not None and spent.kind is ViolationKind.CAPABILITY
        (use,) = executor.uses()["clock"].values()
        assert (use.allowed, use.denied) == (3, 1)
        with pytest.raises(ModuleFault, match="`clock`"):
            executor.call("clock", "ask", profile="minimal")


def test_many_procedures_do_not_keep_a_process_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module and the SQL choose how many functions there are; processes cost some 40 MB each."""
    monkeypatch.setattr(host_half, "WAITING_LEAST", 3)
    functions = [f"f{number}" for number in range(6)]
    exported = " ".join(f'(export "{name}")' for name in functions)
    many = f"""(module (memory (export "memory") 1) (data (i32.const 8) "\\92\\00\\c0")
      (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const 1024))
      (func {exported} (param i32 i32) (result i64) (i64.const 0x800000003)))"""
    path = tmp_path / "many.wasm"
    path.write_bytes(wat(many))
    spec = TransformerSpec("many", path, limits=Limits(deadline_ms=5_000), isolation=IsolationLevel.PROCESS)
    before = set(psutil.Process().children())
    with ProcedureExecutor(Registry({"many": spec}, {}), workers=1) as executor:
        for name in functions:
            assert executor.call("many", name).violation is None
        alive = {one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE} - before
        assert len(alive) == 3
        again = executor.call("many", functions[-1])
        assert again.violation is None
        assert set(psutil.Process().children()) - before == alive, "who was called last waits still"
    assert not set(psutil.Process().children()) - before
