"""`--update`: what came becomes what is expected. Only the expectations that did not hold are replaced, in the text itself, so that
comments, order and the way everything else is written stay as they are.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from pipeline.workshop.cases.model import Case, CaseFile
from pipeline.workshop.cases.running import Result
from pipeline.workshop.cases.writing import block, inline, outcome_data, pretty
from schemas.errors import ConfigError, Fault


@dataclass(frozen=True, slots=True)
class _Splice:
    """New text for a part of the file."""

    start: int
    end: int
    text: str


def update(file: CaseFile, results: Sequence[Result]) -> int:
    """Rewrite the expectations of the cases that failed; how many were. Raises ConfigError when the file cannot be written.

    A case that could not be run at all keeps its own, and so does one that fails only beside others.
    """
    wrong = [result for result in results if not result.error and any(not one.together for one in result.failures)]
    text = updated(file, wrong)
    if text != file.text:
        _write(file.path, text)
    return len(wrong)


def updated(file: CaseFile, wrong: Sequence[Result]) -> str:
    """The file's text with the outcomes of these cases in place of their expectations."""
    text = file.text
    root = YAML(typ="safe", pure=True).compose(text)
    cases = _child(root, "cases")
    assert cases is not None, "the file was read before"
    splices = [_splice(text, cases.value[result.case.number], result, file.path.suffix == ".json") for result in wrong]
    for splice in sorted(splices, key=lambda one: one.start, reverse=True):
        text = text[: splice.start] + splice.text + text[splice.end :]
    return text


def _splice(text: str, case_node: MappingNode, result: Result, is_json: bool) -> _Splice:
    data = _expected(result)
    old = _child(case_node, "expect")
    if old is None:
        return _added(text, case_node, data, is_json)
    if is_json:
        return _Splice(old.start_mark.index, _end(old), pretty(data, _indent(text, old.start_mark.index)))
    if case_node.flow_style:
        return _Splice(old.start_mark.index, _end(old), inline(data))
    key = next(key for key, _ in case_node.value if key.value == "expect")
    return _block_splice(text, key, old, data)


def _expected(result: Result) -> Any:
    found = [
        outcome_data(step.event, outcome, as_text=step.as_text or result.case.exact)
        for step, outcome in zip(result.case.steps, result.ran.outcomes, strict=True)
    ]
    return found if result.case.is_list else found[0]


def _block_splice(text: str, key: Node, old: Node, data: Any) -> _Splice:
    """From behind the key `expect` to the old value's end; a comment behind the colon stays."""
    start = key.end_mark.index
    between = text[start : old.start_mark.index]
    comment = f" {between[between.index('#') :].splitlines()[0].rstrip()}" if "#" in between else ""
    return _Splice(start, _end(old), _value(data, key.start_mark.column, comment))


def _value(data: Any, column: int, comment: str = "") -> str:
    if isinstance(data, dict | list) and len(inline(data)) + column > 80:
        return f":{comment}\n" + "\n".join(block(data, column + 2))
    return f": {inline(data)}{' ' + comment.lstrip() if comment else ''}"


def _added(text: str, case_node: MappingNode, data: Any, is_json: bool) -> _Splice:
    """A case that has no expectation yet: it comes last."""
    end = _end(case_node.value[-1][1])
    if is_json:
        indent = _indent(text, case_node.value[0][0].start_mark.index)
        return _Splice(end, end, f',\n{" " * indent}"expect": {pretty(data, indent)}')
    if case_node.flow_style:
        return _Splice(end, end, f", expect: {inline(data)}")
    column = case_node.value[0][0].start_mark.column
    written = f"{' ' * column}expect{_value(data, column)}"
    if text[:end].endswith("\n"):  # behind a block of text
        return _Splice(end, end, written + "\n")
    at = text.find("\n", end)
    at = len(text) if at < 0 else at
    return _Splice(at, at, "\n" + written)


def _child(node: Node | None, name: str) -> Any:
    if not isinstance(node, MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def _end(node: Node) -> int:
    """Where a node's own text ends: that of a block also counts what follows it, up to the next thing."""
    while isinstance(node, CollectionNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, MappingNode) else node.value[-1]
    return int(node.end_mark.index)


def _indent(text: str, at: int) -> int:
    """Of the line in which this place lies."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return len(line) - len(line.lstrip(" "))


def _write(path: Path, text: str) -> None:
    """Whoever reads the file meanwhile sees the old text or the new one."""
    try:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(part).chmod(path.stat().st_mode & 0o777)
        Path(part).replace(path)
    except OSError as error:
        raise ConfigError(Fault(f"cannot be written: {error.strerror}", "check its permissions", str(path))) from None


def file_of(files: Sequence[CaseFile], case: Case) -> CaseFile:
    """The file that a case stands in."""
    return next(file for file in files if file.path == case.path)
