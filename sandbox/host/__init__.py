"""What a guest may import, one file per capability.

A host function gets the state of the guest that calls it and plain integers. It never raises: a bad pointer is an error code
or a trap as the ABI says, and what it learns it writes on the state. It never calls back into the guest.
"""

from __future__ import annotations

from sandbox.host.gate import Denied, Gate, Use, Uses
from sandbox.host.imports import HostFunction, HostImport, HostState, Services, granted_imports, known_imports
from sandbox.host.wasi import MODULE as WASI

__all__ = [
    "WASI",
    "Denied",
    "Gate",
    "HostFunction",
    "HostImport",
    "HostState",
    "Services",
    "Use",
    "Uses",
    "granted_imports",
    "known_imports",
]
