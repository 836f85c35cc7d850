"""A finding as files: a case ready for `cases/`, and the event as a line for `penstock try`."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from pipeline.events_file import event_fields
from pipeline.registry.document import quoted
from pipeline.workshop.cases.writing import block, event_data
from pipeline.workshop.fuzz.hunt import Finding, Hunted
from pipeline.workshop.subjects import Subject
from schemas.errors import ConfigError, Fault


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a finding was written."""

    name: str
    """`trap-1a2b3c4d`."""
    case: Path
    try_line: str
    """The command that shows it; empty when its case has a config of its own, which `try` does not know."""


def keep(subject: Subject, hunted: Hunted, finding: Finding, folder: Path) -> Kept:
    """Write both files. Raises ConfigError when that fails."""
    seed = finding.seed
    line = json.dumps(event_fields(seed.event, seed.source))
    name = f"{finding.fault.kind}-{hashlib.sha256(line.encode()).hexdigest()[:8]}"
    case, event = folder / f"{name}.yaml", folder / f"{name}.ndjson"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        case.write_text(_case_text(subject, hunted, finding, name), encoding="utf-8")
        event.write_text(line + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(Fault(f"cannot be written: {error.strerror}", "choose another folder", str(folder))) from None
    command = ["penstock", "try", str(subject.registry), subject.name, "--event", str(event)]
    return Kept(name, case, "" if seed.settings.config is not None else shlex.join(command))


def _case_text(subject: Subject, hunted: Hunted, finding: Finding, name: str) -> str:
    seed, fault = finding.seed, finding.fault
    head = [
        f"# penstock test {subject.name} --fuzz {hunted.inputs} --seed {hunted.seed}, input {finding.number}:",
        f"# {fault.kind}: {quoted(fault.message)[1:-1]}",
        "# Move this file into cases/: it fails until the transformer behaves.",
    ]
    written = {"name": f"fuzzed {name}", "event": event_data(seed.source, seed.event), "expect": "well-behaved"}
    if fault.kind == "slow":
        written["deadline"] = f"{max(1, int(hunted.slow_ms))}ms"
    if seed.settings.config is not None:
        written["config"] = json.loads(json.dumps(seed.settings.config))
    first, *rest = block(written, 4)
    return "\n".join([*head, "cases:", f"  - {first[4:]}", *rest]) + "\n"
