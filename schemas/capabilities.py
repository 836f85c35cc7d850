"""What a guest may ask of the host. A guest starts with nothing; each name here must be granted in the registry."""

from __future__ import annotations

from enum import StrEnum


class Capability(StrEnum):
    """The capabilities that the host can serve today; the registry refuses any other name."""

    LOG = "log"
    CLOCK = "clock"
    RANDOM = "random"
