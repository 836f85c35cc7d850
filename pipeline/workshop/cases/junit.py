"""Results as JUnit XML, in the strict form: every attribute that the schema of Ant's reports asks for, none that it does not know.

Threat: names and messages may hold anything; what XML 1.0 cannot say is shown as its code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from schemas.errors import ConfigError, Fault

_UNSAYABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One row of the report."""

    suite: str
    """What is tested: `enrich-order`."""
    group: str
    """Within it: the file."""
    name: str
    seconds: float
    failure: str = ""
    """What is not as expected; empty when it passed."""
    error: str = ""
    """Why it could not be run; empty when it could."""


def write_junit(path: Path, cases: Sequence[ReportRow], now: datetime) -> None:
    """The report as a file. Raises ConfigError when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(junit(cases, now))
    except OSError as error:
        raise ConfigError(
            Fault(f"cannot be written: {error.strerror}", "name another --junit file", str(path))
        ) from None


def junit(cases: Sequence[ReportRow], now: datetime) -> bytes:
    """The report. `now` is when the run began."""
    suites: dict[str, list[ReportRow]] = {}
    for case in cases:
        suites.setdefault(case.suite, []).append(case)
    root = ET.Element("testsuites")
    for number, (name, members) in enumerate(suites.items()):
        root.append(_suite(number, name, members, now))
    ET.indent(root)
    written: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{written}\n'.encode()


def _suite(number: int, name: str, cases: Sequence[ReportRow], now: datetime) -> ET.Element:
    suite = ET.Element(
        "testsuite",
        {
            "id": str(number),
            "package": "penstock",
            "name": _name(name),
            "timestamp": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": "localhost",
            "tests": str(len(cases)),
            "failures": str(sum(bool(case.failure) for case in cases)),
            "errors": str(sum(bool(case.error) and not case.failure for case in cases)),
            "time": _seconds(sum(case.seconds for case in cases)),
        },
    )
    ET.SubElement(suite, "properties")
    for case in cases:
        _case(suite, case)
    ET.SubElement(suite, "system-out")
    ET.SubElement(suite, "system-err")
    return suite


def _case(suite: ET.Element, case: ReportRow) -> None:
    attributes: Mapping[str, str] = {
        "name": _name(case.name),
        "classname": _name(f"{case.suite}.{case.group}"),
        "time": _seconds(case.seconds),
    }
    element = ET.SubElement(suite, "testcase", dict(attributes))
    for tag, text, kind in (("failure", case.failure, "unexpected"), ("error", case.error, "not-run")):
        if text:
            said = ET.SubElement(element, tag, {"type": kind, "message": _said(text.splitlines()[0])})
            said.text = _said(text)
            break


def _seconds(seconds: float) -> str:
    return f"{seconds:.6f}"


def _name(text: str) -> str:
    """Readers take white space at the ends away, and want a name to be left."""
    return _said(text).strip() or "(blank)"


def _said(text: str) -> str:
    return _UNSAYABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
