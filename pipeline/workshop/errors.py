"""What can go wrong when a guest is built, one class per reaction."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import ConfigError, Fault, PenstockError


class BuildError(PenstockError):
    """The sources do not build, or what came out is no guest. `text` is what the compiler said, as it said it."""

    code = "build"

    def __init__(self, problem: str, text: str = "") -> None:
        super().__init__(f"{problem}\n{text}" if text else problem)
        self.problem = problem
        self.text = text


class MissingToolchainError(ConfigError):
    """A language's tools are not on this machine. `commands` are the lines that install them here."""

    code = "toolchain"

    def __init__(self, what: str, commands: Sequence[str]) -> None:
        super().__init__(Fault(f"{what}: the toolchain is not here", "install it with: " + "; ".join(commands)))
        self.what = what
        self.commands = tuple(commands)
