"""Whether what talks to schema registries is installed."""

from __future__ import annotations

import importlib.util
from typing import Final

NEEDED: Final = ("fastavro", "google.protobuf", "grpc_tools", "httpx2", "authlib", "cachetools")
INSTALL: Final = "pip install 'penstock[schema-registry]'"


def missing_extra() -> str | None:
    """What is not installed; None when all is there. Imports none of it."""
    return next((name for name in NEEDED if not _is_there(name)), None)


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # its package is not there either
        return False
