"""A registry whose transformers are only called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline import RegistryBuilder, load_registry
from pipeline.sql import ProcedureExecutor
from tests.sandbox.guests import wat

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "shop_rules.wat"
TEXT = """version: 1
transformers:
  order_validator: {module: rules.wasm, limits: untrusted, function: validate}
routes: {}
"""


def penstock(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_needs_no_route(tmp_path: Path) -> None:
    (tmp_path / "rules.wasm").write_bytes(wat(EXAMPLE.read_text()))
    path = tmp_path / "registry.yaml"
    path.write_text(TEXT)
    with ProcedureExecutor(load_registry(path)) as executor:
        assert executor.call("order_validator", None, [{"after": {"total": 1}}]).value is None
    assert not RegistryBuilder(tmp_path).register("order_validator", module="rules.wasm").build().routes
    checked = penstock("check", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    ran = penstock("run", path)
    assert ran.returncode == 2
    assert "there is no route to run" in ran.stderr and "declare a route" in ran.stderr
    assert "Traceback" not in ran.stderr
