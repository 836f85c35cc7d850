"""The operator's ceiling: what registries may grant at most on this host, whoever wrote them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

import typer

from schemas.capabilities import PROFILES, Capability
from schemas.errors import ConfigError, Fault

CeilingOption = Annotated[
    str | None,
    typer.Option(
        "--ceiling",
        envvar="PENSTOCK_CEILING",
        metavar="NAMES",
        help="Profiles and capabilities that registries may grant at most: `standard,log`. Everything without it.",
        show_default=False,
    ),
]


def ceiling(text: str | None) -> frozenset[Capability] | None:
    """The capabilities that `text` leaves: names of profiles and capabilities, comma-separated; None leaves all. Raises ConfigError."""
    if text is None:
        return None
    left: set[Capability] = set()
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name in PROFILES:
            left |= PROFILES[name]
        elif name in set(Capability):
            left.add(Capability(name))
        else:
            known = [*PROFILES, *Capability]
            guess = "".join(f"did you mean '{one}'? " for one in get_close_matches(name[:40], known, n=1))
            shown = name if name.isprintable() else "a name"
            problem = f"'{shown[:40]}' is neither a profile of capabilities nor a capability"
            raise ConfigError(Fault(problem, f"{guess}(one of: {', '.join(known)})", path="--ceiling"))
    return frozenset(left)
