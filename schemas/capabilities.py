"""What a guest may ask of the host. A guest starts with nothing; each name here must be granted in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Capability(StrEnum):
    """The capabilities that the host can serve today; the registry refuses any other name."""

    LOG = "log"
    CLOCK = "clock"
    RANDOM = "random"


NEEDED_FOR: Mapping[str, str] = {
    "log": "log",
    "now_ms": "clock",
    "monotonic_ns": "clock",
    "random": "random",
    "env_get": "environment",
    "file_read": "filesystem-read",
    "file_write": "filesystem-write",
    "http_request": "network-client",
    "kv_get": "key-value",
    "kv_put": "key-value",
    "kv_delete": "key-value",
    "lookup": "database-read",
    "lookup_many": "database-read",
    "db_execute": "database-write",
}
"""ABI v1's imports and the capability each needs; a guest may be built for all of them, whether or not this host serves them."""

WANTED = tuple(dict.fromkeys(NEEDED_FOR.values()))
"""The names that a guest may say it wants."""
