from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for all guests: compiled modules and engines are shared."""
    with Sandbox(workers=1) as shared:
        yield shared
