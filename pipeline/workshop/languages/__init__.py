"""What penstock knows of a language: one file per language, one table of them, and what each must be able to do.

A language's file is imported when it is asked for. It builds with the project's own copy of the SDK (`Project.sdk`), in a way
that the same sources give the same bytes in any folder: relative paths or remapped ones, no times, pinned tools.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from pipeline.registry.shape import did_you_mean
from pipeline.workshop.project import Project
from schemas.errors import ConfigError, Fault

NAMES = ("rust", "c", "zig", "typescript", "javascript", "go", "python")
"""In the order in which they are listed."""


class Language(Protocol):
    """What a file in this folder offers as `LANGUAGE`."""

    @property
    def name(self) -> str:
        """As in `NAMES`."""
        ...

    @property
    def sdk(self) -> str:
        """The SDK and its version, as the module's metadata has it: `c/0.1.0`."""
        ...

    def missing(self) -> Sequence[str]:
        """The commands that install on this system what this language needs and cannot fetch by itself; empty when nothing is missing.

        Quick, and asks no network: what pip or npm fetch by hash (`toolchains.wheel`, `toolchains.npm_packages`) counts as there.
        """
        ...

    def build(self, project: Project, out: Path) -> str | None:
        """Write the module to the file `out`, whose folder exists and is empty. Leaves nothing else behind in the project.

        Returns what the compiler said all the same: warnings, for the user to see.
        Raises BuildError with what the compiler said, MissingToolchainError when a fetch fails, ConfigError for a bad `[build]`.
        """
        ...

    def sources(self, project: Project) -> Sequence[Path]:
        """The files and folders whose change means another build; `penstock dev` watches them."""
        ...


@runtime_checkable
class QuickLanguage(Protocol):
    """What a language offers beside, when its `build` takes longer than anyone wants to wait after each changed line."""

    def build_quickly(self, project: Project, out: Path) -> str | None:
        """As `Language.build`, for `penstock dev`: a module that does the same, sooner there, and larger or slower for it."""
        ...


def available() -> tuple[str, ...]:
    """The languages that this installation has."""
    here = Path(__file__).parent
    return tuple(name for name in NAMES if (here / f"{name}.py").is_file())


def language(name: str) -> Language:
    """The language of this name. Raises ConfigError when there is none."""
    if name not in available():
        raise ConfigError(Fault(f"'{name}' is not a language", did_you_mean(name, available())))
    found: Language = importlib.import_module(f"{__name__}.{name}").LANGUAGE
    return found
