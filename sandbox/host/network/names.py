"""How names become addresses: a function that is injected. Imports no event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TypeAlias

Resolve: TypeAlias = Callable[[str], Sequence[str]]
"""The addresses of a name, as text; blocks. Raises OSError when there are none."""


def system_addresses(name: str) -> Sequence[str]:
    """As the operating system resolves it: files, then name servers."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(one[4][0]) for one in found))
