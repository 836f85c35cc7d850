from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.registry import load_registry
from schemas.errors import ConfigError, Fault
from schemas.specs import Registry

MODULE = b"\0asm\1\0\0\0"
MINIMAL = """\
version: 1
transformers:
  mask: {module: a.wasm}
routes:
  orders: {from: shop.orders, through: [mask], to: orders.out}
"""

Load = Callable[..., Registry]
Faults = Callable[..., list[Fault]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one module, `a.wasm`."""
    (tmp_path / "a.wasm").write_bytes(MODULE)
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Load:
    """Loads YAML text as a registry file in `folder`."""

    def _load(text: str = MINIMAL, **options: object) -> Registry:
        path = folder / "registry.yaml"
        path.write_text(text, encoding="utf-8")
        return load_registry(path, **({"environ": {}} | options))  # type: ignore[arg-type]

    return _load


@pytest.fixture
def faults(load: Load) -> Faults:
    """The faults of a registry that has some."""

    def _faults(text: str, **options: object) -> list[Fault]:
        with pytest.raises(ConfigError) as caught:
            load(text, **options)
        assert caught.value.__cause__ is None
        return list(caught.value.faults)

    return _faults


@pytest.fixture
def minimal() -> str:
    """The smallest registry."""
    return MINIMAL
