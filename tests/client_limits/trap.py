"""A trap of a client: as long as it is there, its work-around stays. Once it is gone, the test says which may go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import version

import pytest


class Trap:
    """One row of docs/client-limits.md."""

    def __init__(self, row: str, workaround: str, client: str = "aiokafka") -> None:
        self.row = row
        self._workaround = workaround
        self._client = client

    def holds(self, so: object, instead: str = "") -> None:
        """It is still so. Otherwise the test fails, and says what to do about it."""
        if not so:
            pytest.fail(self.vanished(instead), pytrace=False)

    @contextlib.contextmanager
    def raises(self, *kinds: type[BaseException], match: str = "") -> Iterator[None]:
        """What is done here still fails, and in this way."""
        try:
            yield
        except kinds as error:
            self.holds(match in str(error), f"it says {error!r}")
        else:
            self.holds(False, f"no {' or '.join(kind.__name__ for kind in kinds)} is raised")

    def vanished(self, instead: str = "") -> str:
        """The message."""
        seen = f" ({instead})" if instead else ""
        return (
            f"row {self.row} of docs/client-limits.md has vanished with {self._client} {version(self._client)}{seen}: "
            f"{self._workaround} can go, once this test says so for every version that is allowed"
        )
