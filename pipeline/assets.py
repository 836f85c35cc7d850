"""Where the shop's registry and its modules are: in a source tree, or as the copy inside the installed package."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import ConfigError, Fault

_HERE = Path(__file__).resolve().parent
_PLACES = (_HERE.parent / "transformers" / "registry.yaml", _HERE / "shipped" / "registry.yaml")


def shop_registry() -> Path:
    """The registry that `penstock demo` runs; its modules lie beside it. Raises ConfigError when the installation lacks it."""
    for place in _PLACES:
        if place.is_file():
            return place
    raise ConfigError(
        Fault(
            "this installation has no demo registry",
            "install penstock again, or run from a source tree",
            file=str(_PLACES[-1]),
        )
    )
