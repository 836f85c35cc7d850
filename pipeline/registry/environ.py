"""`${VAR}` in values: taken from the environment, once, and never shown again.

`${VAR}` must be set; `${VAR:-default}` may be missing or empty; `$$` is one dollar sign. Keys are left alone, and what a
variable holds is not searched for further variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.registry.document import Document, Steps, encodable
from schemas.errors import Fault

_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<inside>[^}]*)(?P<closed>\})?)")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL | re.ASCII)


def substitute(document: Document, environ: Mapping[str, str]) -> tuple[Document, dict[Steps, Fault]]:
    """The document with its variables filled in, and the fault of each place where one is missing or malformed."""
    faults: dict[Steps, Fault] = {}

    def walk(value: Any, steps: Steps) -> Any:
        if isinstance(value, str):
            return fill(value, steps) if "$" in value else value
        if isinstance(value, dict):
            return {key: walk(item, (*steps, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*steps, index)) for index, item in enumerate(value)]
        return value

    def fill(text: str, steps: Steps) -> str:
        try:
            return _REFERENCE.sub(lambda found: _replacement(found, environ), text)
        except _UnusableError as error:
            faults[steps] = document.fault(steps, error.problem, error.remedy)
            return text

    return replace(document, data=walk(document.data, ())), faults


class _UnusableError(Exception):
    """A reference that cannot be replaced."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def _replacement(found: re.Match[str], environ: Mapping[str, str]) -> str:
    if found["dollar"]:
        return "$"
    reference = _INSIDE.fullmatch(found["inside"]) if found["closed"] else None
    if reference is None:
        raise _UnusableError(
            "has a ${…} that names no variable", "write ${NAME} or ${NAME:-default}; $$ is one dollar sign"
        )
    name, default = reference["name"], reference["default"]
    held = environ.get(name)
    if default is not None and not held:
        return str(default)
    if held is None:
        raise _UnusableError(
            f"the environment variable {name} is not set", f"set it, or give a default: ${{{name}:-…}}"
        )
    if not encodable(held):
        raise _UnusableError(f"the environment variable {name} does not hold UTF-8 text", "set it to text")
    return held
