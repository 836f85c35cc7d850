"""`penstock conformance`: is this module a good guest?"""

from __future__ import annotations

import json as jsonlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from pipeline.cli.trial_view import plain
from pipeline.registry.shape import did_you_mean
from pipeline.workshop.conformance import CHECKS, Finding, Verdict, examine
from sandbox import Sandbox
from sandbox.guest import RefusedConfig
from sandbox.host import Services
from sandbox.modules import MODULE_BYTES_MAX
from sandbox.sections import COMPONENT, CORE
from schemas.capabilities import Capability
from schemas.errors import ConfigError, Fault, ModuleFault
from schemas.limits import MIB, Limits
from schemas.specs import TransformerSpec

_EXIT_FAILED = 1
_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.NOT_APPLICABLE: "dim"}
_SEEN_CHARACTERS_MAX = 500
LIMITS = Limits(output_bytes_per_event=16 * MIB)
"""The `standard` profile, with room for a guest that makes much of a large value."""


def conformance(
    module: Annotated[Path, typer.Argument(help="The module.", metavar="MODULE.wasm", show_default=False)],
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its config, as JSON; without it, an empty one.", show_default=False),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="raw|event", help="Without it, as the module says.", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="CHECK", help="Run this check; may be repeated. Without it, all.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Examine a guest: does it keep to the ABI, whatever it is sent, and does it last?

    Every check starts guests of its own, under the limits of the `standard` profile, and says what it saw. What the guest makes of values is its own affair:
    rejecting is fine. Every capability this host has is granted; clocks stand still and chance is not random, so that answers repeat.

    With --json: {"module", "findings": [{"check", "meaning", "verdict": "pass" | "fail" | "not applicable", "seen"}]}.
    Exit code 1 when a check fails or the module is refused, 2 for a file that is no module and for a config that it refuses.

    Example: penstock conformance build/mask-names.wasm --config config.json
    """
    wasm = _read(module, "name a .wasm file, as `penstock build` writes it")
    if not wasm.startswith((CORE, COMPONENT)):
        raise ConfigError(Fault("is no WebAssembly module", "name a .wasm file", plain(str(module))))
    _check_names(only or ())
    spec = TransformerSpec(
        name=plain(module.stem),
        module=module,
        config={} if config is None else _config(config),
        encoding=encoding,
        limits=LIMITS,
        capabilities=frozenset(Capability),
    )
    still = Services(
        now_ms=lambda: 1_700_000_000_000, monotonic_ns=lambda: 0, random_bytes=lambda count: b"\x2a" * count
    )
    with Sandbox(workers=1, services=still) as sandbox:
        findings = _shown(_examined(sandbox, spec, wasm, only or CHECKS), show=not json)
    if json:
        typer.echo(
            jsonlib.dumps(
                {"module": str(module), "findings": [asdict(one) for one in findings]}, indent=2, ensure_ascii=False
            )
        )
    if any(one.verdict is Verdict.FAIL for one in findings):
        raise typer.Exit(_EXIT_FAILED)


def _check_names(names: Collection[str]) -> None:
    faults = [
        Fault(f"there is no check {name!r}", did_you_mean(name, CHECKS), path="--only")
        for name in names
        if name not in CHECKS
    ]
    if faults:
        raise ConfigError(*faults)


def _examined(sandbox: Sandbox, spec: TransformerSpec, wasm: bytes, only: Collection[str]) -> Iterator[Finding]:
    try:
        yield from examine(sandbox, spec, wasm, only)
    except RefusedConfig as fault:
        raise ConfigError(Fault(fault.problem, "name its config: --config FILE, as JSON", str(spec.module))) from None
    except ModuleFault as fault:
        yield Finding("loads", "It can be compiled, linked, started and configured.", Verdict.FAIL, fault.problem)


def _shown(findings: Iterator[Finding], *, show: bool) -> list[Finding]:
    """All of them, each printed as it comes."""
    console = Console(soft_wrap=True, highlight=False)
    taken = []
    for one in findings:
        taken.append(one)
        if show:
            _print(console, one)
    if show:
        counts = Counter(one.verdict for one in taken)
        console.print(", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]))
    return taken


def _print(console: Console, one: Finding) -> None:
    style = _STYLES[one.verdict]
    console.print(
        Text.assemble(
            (f"{one.verdict:<14}", style), f"  {one.check:<15}  ", (plain(one.seen, _SEEN_CHARACTERS_MAX), "")
        )
    )
    if one.verdict is Verdict.FAIL:
        console.print(Text(f"{'':<33}{one.meaning}", "dim"))


def _config(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(_read(path, "name a JSON file"), type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConfigError(
            Fault(f"is no JSON object: {error}", "write the transformer's config, e.g. {}", str(path))
        ) from None


def _read(path: Path, remedy: str) -> bytes:
    try:
        if not path.is_file() and path.exists():  # opening a pipe would wait for ever
            raise ConfigError(Fault("is not a regular file", remedy, plain(str(path))))
        with path.open("rb") as file:
            content = file.read(MODULE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a file name"
        raise ConfigError(Fault(f"cannot be read: {why}", remedy, plain(str(path)))) from None
    return content
