"""docs/troubleshooting.md knows every violation, error, lane state and exit code that the code has, and no other."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline
import sandbox
import schemas
from pipeline.ports import LaneState
from sandbox.errors import SandboxError
from schemas.errors import PenstockError
from schemas.outcome import ViolationKind

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "troubleshooting.md").read_text()


def section(title: str) -> str:
    """The text below a heading, up to the next one of its rank or higher."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    if found[1] == "###":
        return re.split(r"^### ", found[2], flags=re.MULTILINE)[0]
    return found[2]


def table(title: str) -> dict[str, list[str]]:
    """The section's first table: first column, without quotes, to the others."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {first if " " in first else first.strip("`"): rest for first, *rest in cells}


def everything() -> Iterator[object]:
    """Every module of the three packages."""
    for package in (schemas, sandbox, pipeline):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not info.name.endswith("__main__"):
                yield importlib.import_module(info.name)


def family(root: type[PenstockError]) -> set[type[PenstockError]]:
    found = {root}
    for kind in root.__subclasses__():
        found |= family(kind)
    return {kind for kind in found if kind.__module__.partition(".")[0] in ("schemas", "sandbox", "pipeline")}


MODULES = list(everything())


def test_every_violation_has_cause_fix_and_prevention() -> None:
    headings = re.findall(r"^### (.+)$", section("Violations"), re.MULTILINE)
    assert headings == [kind.value for kind in ViolationKind]
    for kind in headings:
        said = re.findall(r"^- \*\*(\w+)\.\*\* (\S.*)$", section(kind), re.MULTILINE)
        assert [name for name, _ in said] == ["Cause", "Fix", "Prevention"], kind


def test_every_error_code_and_its_classes() -> None:
    documented = {code: row[0].strip("`") for code, row in table("Codes").items()}
    owners = {kind.code: kind.__name__ for kind in family(PenstockError) if "code" in vars(kind)}
    assert documented == owners


def test_every_name_in_the_sandbox_with_its_kind() -> None:
    documented = {name: row[0].strip("`") for name, row in table("Names in the sandbox").items()}
    assert documented == {kind.__name__: kind.kind.value for kind in family(SandboxError) - {SandboxError}}  # type: ignore[attr-defined]
    assert all(cell for row in table("Names in the sandbox").values() for cell in row)


def test_every_lane_state() -> None:
    assert list(table("Lanes")) == [state.value for state in LaneState]


def test_every_exit_code() -> None:
    named = {
        int(value)
        for module in MODULES
        for name, value in vars(module).items()
        if re.fullmatch(r"_?EXIT_[A-Z]+", name) and isinstance(value, int)
    }
    direct = {
        int(code)
        for path in (ROOT / "pipeline").rglob("*.py")
        for code in re.findall(r"_exit\((\d+)\)", path.read_text())
    }
    assert {0} | named | direct == {int(code) for code in table("Exit codes")}


@pytest.mark.parametrize("message", table("At start"))
def test_every_message_at_start_is_one_that_is_said(message: str) -> None:
    """The fixed words of each quoted piece are in a source file."""
    folders = [ROOT / "pipeline" / "kafka", ROOT / "sandbox"]
    source = " ".join(path.read_text() for folder in folders for path in folder.glob("*.py"))
    for quoted in re.findall(r"`([^`]+)`", message):
        for words in quoted.split("…"):
            assert words.strip(" ,") in source


def test_the_examples_resume_as_the_command_does() -> None:
    commands = re.findall(r"^penstock (\w+)", section("Lanes"), re.MULTILINE)
    assert set(commands) == {"resume"}
    help_text = (ROOT / "pipeline" / "cli" / "resume.py").read_text()
    assert {"--partition", "--all"} <= set(re.findall(r"--[a-z]+", section("Lanes")))
    assert '"--all"' in help_text and "partition:" in help_text
