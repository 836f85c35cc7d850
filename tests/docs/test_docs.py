"""Every command in the README and in docs/ is run, every Python example too, and every relative link leads somewhere.

A fenced `console` block holds commands behind `$ `. A comment before it says what it needs: `<!-- kafka -->` a broker,
`<!-- kafka, stops by SIGTERM -->` a service that runs until it is told to stop, `<!-- exits 2 -->` that it is meant to fail.
What stands behind `<!-- shows PATH -->` is that file.
The pages in docs/guests/ are walked through as a whole, in an empty folder: `test_guest_pages.py`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services.kafka import KafkaBroker

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"(?:<!--(?P<needs>[^>]*)-->\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)(?P<target>[^)#\s]+)")


@dataclass(frozen=True)
class Command:
    page: str
    text: str
    needs: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def blocks(page: Path, kind: str) -> Iterator[re.Match[str]]:
    return (block for block in _BLOCK.finditer(page.read_text()) if block["kind"] == kind)


def commands() -> list[Command]:
    found = []
    for page in PAGES:
        if page.parent.name == "guests":  # walked through as a whole: test_guest_pages.py
            continue
        for block in blocks(page, "console"):
            lines = re.sub(r"\\\n\s*", "", block["body"]).splitlines()
            needs = (block["needs"] or "").strip()
            found += [Command(page.name, line[2:], needs) for line in lines if line.startswith("$ ")]
    return found


def start(command: Command, bootstrap: str = "") -> subprocess.Popen[str]:
    here = Path(sys.executable).parent
    text = command.text.replace(".venv/bin/", f"{here}/")
    environ = {**os.environ, "PATH": f"{here}:{os.environ['PATH']}", "KAFKA_BROKERS": bootstrap, "COLUMNS": "120"}
    if not bootstrap:
        del environ["KAFKA_BROKERS"]
    return subprocess.Popen(
        ["bash", "-c", f"exec {text}" if "stops" in command.needs else text],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def expected_exit(command: Command) -> int:
    found = re.search(r"exits (\d+)", command.needs)
    return int(found[1]) if found else 0


OFFLINE = [c for c in commands() if "kafka" not in c.needs]
ON_KAFKA = [c for c in commands() if "kafka" in c.needs and "stops" not in c.needs]
SERVICES = [c for c in commands() if "stops" in c.needs]


@pytest.mark.parametrize("command", OFFLINE, ids=str)
def test_commands(command: Command) -> None:
    process = start(command)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == expected_exit(command), output
    assert "Traceback" not in output


@pytest.mark.services
@pytest.mark.parametrize("command", ON_KAFKA, ids=str)
def test_commands_on_kafka(command: Command, kafka_broker: KafkaBroker) -> None:
    process = start(command, kafka_broker.bootstrap)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == expected_exit(command), output
    assert "Traceback" not in output


@pytest.mark.services
@pytest.mark.parametrize("command", SERVICES, ids=str)
def test_services(command: Command, kafka_broker: KafkaBroker) -> None:
    process = start(command, kafka_broker.bootstrap)
    assert process.stdout is not None
    seen = ""
    until = time.monotonic() + 60
    while "is running" not in seen:
        assert process.poll() is None and time.monotonic() < until, seen
        seen += process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, seen + rest
    assert "Traceback" not in seen + rest


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name != "guests" and any(blocks(page, "python"))],
    ids=lambda page: page.name,
)
def test_python_examples(page: Path) -> None:
    text = "\n".join(block["body"] for block in blocks(page, "python"))
    ran = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!-- shows " in page.read_text()], ids=lambda page: page.name
)
def test_what_is_shown_of_a_file_is_the_file(page: Path) -> None:
    shown = [
        block for block in _BLOCK.finditer(page.read_text()) if (block["needs"] or "").strip().startswith("shows ")
    ]
    assert shown
    for block in shown:
        assert (ROOT / block["needs"].strip().removeprefix("shows ")).read_text() == block["body"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [
        found["target"] for found in _LINK.finditer(page.read_text()) if not (page.parent / found["target"]).exists()
    ]
    assert not missing


def test_the_two_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "\ndemo:" in makefile and "\ntest:" in makefile
    assert "make -s test" in (ROOT / ".ci" / "run").read_text()
