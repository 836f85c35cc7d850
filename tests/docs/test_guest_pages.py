"""Every page in docs/guests/ is walked through from its top, in an empty folder, as its reader would.

A fenced `console` block holds commands behind `$ `; they run one after the other, and `cd` holds for those below. A line under a
command is what it must print, in order, where `…` stands for anything and runs of blanks count as one. `<!-- exits 1 -->` before a
block says that its last command fails. `<!-- file: src/lib.rs -->` before any other block means that the reader writes that file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.workshop.languages import NAMES
from tests.workshop.tools import need

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "guests").glob("*.md"))
_BLOCK = re.compile(r"(?:<!--(?P<note>[^>]*)-->\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```", re.DOTALL | re.MULTILINE)
_SECONDS_MAX = 900


@dataclass
class Command:
    text: str
    exit_code: int = 0
    prints: list[str] = field(default_factory=list)


@dataclass
class File:
    name: str
    text: str


def steps(page: Path) -> Iterator[Command | File]:
    for block in _BLOCK.finditer(page.read_text()):
        note = (block["note"] or "").strip()
        if note.startswith("file:"):
            yield File(note.removeprefix("file:").strip(), block["body"])
        elif block["kind"] == "console":
            yield from commands(block["body"], note)


def commands(body: str, note: str) -> list[Command]:
    found: list[Command] = []
    for line in re.sub(r"\\\n\s*", "", body).splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:]))
        elif line.strip():
            assert found, f"{line!r} stands before the first command"
            found[-1].prints.append(line)
    fails = re.search(r"exits (\d+)", note)
    if fails:
        found[-1].exit_code = int(fails[1])
    return found


def printed(pattern: str, output: str) -> re.Match[str] | None:
    words = [r"\s+".join(re.escape(word) for word in part.split()) for part in pattern.split("…")]
    return re.search(r"^\s*" + ".*".join(words), output, re.MULTILINE)


class Reader:
    """Someone with a terminal in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.here = folder
        tools = Path(sys.executable).parent
        self.environ = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "COLUMNS": "160",
            "PYTHONPATH": str(ROOT),
        }
        self.environ.pop("KAFKA_BROKERS", None)

    def do(self, step: Command | File) -> None:
        if isinstance(step, File):
            file = self.here / step.name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(step.text)
        elif step.text.startswith("cd "):
            self.here = (self.here / step.text[3:].strip()).resolve(strict=True)
        else:
            self._run(step)

    def _run(self, command: Command) -> None:
        done = subprocess.run(
            ["bash", "-c", command.text],
            cwd=self.here,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS_MAX,
            check=False,
        )
        told = f"$ {command.text}\n{done.stdout}"
        assert done.returncode == command.exit_code, told
        assert "Traceback" not in done.stdout, told
        rest = done.stdout
        for line in command.prints:
            found = printed(line, rest)
            assert found is not None, f"{line!r} was not printed (in this order)\n{told}"
            rest = rest[found.end() :]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    if page.stem in NAMES:
        need(page.stem)
    reader = Reader(tmp_path)
    for step in steps(page):
        reader.do(step)


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem in NAMES], ids=lambda page: page.stem)
def test_a_languages_page_walks_the_whole_loop(page: Path) -> None:
    ran = [step.text for step in steps(page) if isinstance(step, Command)]
    for part in ("penstock new", "penstock build", "penstock test"):
        assert any(part in text for text in ran), part
    built = next(at for at, text in enumerate(ran) if "penstock build" in text)
    changed = [text for text in ran[built + 1 :] if "sed -i" in text or "penstock build" in text]
    assert changed or any(isinstance(step, File) for step in steps(page)), "it changes something"


def test_a_reader_notices() -> None:
    assert printed("a  b … c", "x\n  a b and then c\n")
    assert not printed("a b … c", "a b\nc")
    (command,) = commands("$ one \\\n  two\nout\n", "exits 3")
    assert (command.text, command.exit_code, command.prints) == ("one two", 3, ["out"])
