"""The demo's registry is found, complete with its modules, in a source tree and in a wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pipeline.assets import builtin_module, shop_registry
from pipeline.registry import load_registry
from schemas.builtins import NAMES

ROOT = Path(__file__).parents[2]


def test_the_registry_is_found_with_its_modules() -> None:
    registry = load_registry(shop_registry(), environ={})
    assert all(spec.module.is_file() for spec in registry.transformers.values())


def test_the_wheel_ships_what_the_demo_and_the_registry_look_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert shipped["transformers/registry.yaml"] == "pipeline/shipped/registry.yaml"
    demo = {path.name for path in (ROOT / "transformers" / "modules").iterdir() if path.is_file()}
    assert {name for path in shipped if (name := path.removeprefix("transformers/modules/")) != path} == demo | {
        "builtins"
    }
    assert shipped["transformers/modules/builtins"] == "pipeline/shipped/modules/builtins"
    assert all(builtin_module(name).is_file() for name in NAMES)
