"""Runs the checks over one module, each on fresh guests, so that one failure is one finding."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from pipeline.workshop.conformance import checks
from pipeline.workshop.conformance.checks import CheckFunction
from pipeline.workshop.conformance.samples import SOURCE
from pipeline.workshop.conformance.stage import FailedCheckError, NotApplicableError, Stage, fault_of
from sandbox import Sandbox
from schemas.errors import ModuleFault
from schemas.specs import TransformerSpec


class Verdict(StrEnum):
    """What came of a check."""

    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one module."""

    check: str
    meaning: str
    verdict: Verdict
    seen: str


CHECKS: Final[dict[str, CheckFunction]] = {
    "empty-batch": checks.empty_batch,
    "batch-of-one": checks.one_event,
    "batch-of-10000": checks.many_events,
    "frame-widths": checks.widths,
    "tombstones": checks.tombstones,
    "null-keys": checks.null_keys,
    "large-values": checks.large_values,
    "unicode": checks.unicode,
    "any-bytes": checks.any_bytes,
    "offsets": checks.offsets,
    "number-extremes": checks.extremes,
    "config-refused": checks.config_refused,
    "alloc-failing": checks.alloc_failing,
    "reuse": checks.reuse,
    "determinism": checks.determinism,
    "honest-cursor": checks.cursor,
}
"""By name, in the order in which they run."""


def examine(
    sandbox: Sandbox, spec: TransformerSpec, wasm: bytes, only: Collection[str] = CHECKS.keys()
) -> Iterator[Finding]:
    """One finding per check of these names. Raises ModuleFault when the module cannot be loaded and started at all, ConfigError for its limits."""
    transformer = sandbox.load(spec, wasm)
    rehearsal = transformer.rehearsal(SOURCE)
    stage = Stage(
        sandbox, replace(spec, encoding=transformer.encoding), wasm, rehearsal.is_module, transformer.encoding
    )
    for name, check in CHECKS.items():
        if name in only:
            yield _finding(name, check, stage)


def _finding(name: str, check: CheckFunction, stage: Stage) -> Finding:
    meaning = (check.__doc__ or "").strip()
    try:
        return Finding(name, meaning, Verdict.PASS, check(stage))
    except NotApplicableError as reason:
        return Finding(name, meaning, Verdict.NOT_APPLICABLE, str(reason))
    except FailedCheckError as failure:
        return Finding(name, meaning, Verdict.FAIL, str(failure))
    except ModuleFault as fault:
        return Finding(name, meaning, Verdict.FAIL, fault_of(fault))
