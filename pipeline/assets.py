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


def builtin_module(name: str) -> Path:
    """The module of the built-in transformer of this name; whether it is there is for the registry's checks to say."""
    place = _HERE.parent / "transformers" / "modules" / "builtins" / f"{name}.wasm"
    return place if place.is_file() else _HERE / "shipped" / "modules" / "builtins" / f"{name}.wasm"


def sdk_folder(language: str) -> Path:
    """The SDK of this language: in a source tree, or as the copy inside the installed package. Raises ConfigError when it is missing."""
    places = (_HERE.parent / "transformers" / "sdk" / language, _HERE / "shipped" / "sdk" / language)
    for place in places:
        if place.is_dir():
            return place
    raise ConfigError(
        Fault(
            f"this installation has no SDK for {language}",
            "install penstock again, or run from a source tree",
            file=str(places[-1]),
        )
    )


def toolchain_pins() -> Path:
    """Which tools, in which versions and with which hashes, the guests are built with."""
    place = _HERE.parent / "transformers" / "toolchain.toml"
    return place if place.is_file() else _HERE / "shipped" / "toolchain.toml"


def checkout() -> Path | None:
    """The source tree this runs from; None for an installed package."""
    return _HERE.parent if (_HERE.parent / "transformers" / "toolchain.toml").is_file() else None
