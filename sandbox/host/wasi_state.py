"""What the WASI shim remembers of one guest, from its start to its end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sandbox.host.holding import Closable

STDIN, STDOUT, STDERR = 0, 1, 2
LAST_WORDS_LINES_MAX = 200
"""Lines of stderr that are kept to tell why a guest ended: a Go runtime's whole report."""


@dataclass(slots=True)
class WasiState:
    """Made when a guest first calls the shim."""

    moved_ns: int = 0
    """How far the guest's clock is ahead: what it slept, and for the stand-in clock what its readings took."""
    random_calls: int = 0
    variables: list[bytes] | None = None
    """The granted variables, as the guest was last told their size."""
    closed: set[int] = field(default_factory=set)
    """Standard streams that the guest closed."""
    pending: dict[int, bytearray] = field(default_factory=lambda: {STDOUT: bytearray(), STDERR: bytearray()})
    """The begun line of each stream; empty between two crossings."""
    logged: bool = False
    """The guest may log."""
    files: Closable | None = None
    """The guest's table of open files, when it was granted some and asked."""
    last_words: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_WORDS_LINES_MAX))
    """The newest lines of stderr of this crossing, whether or not they were logged."""

    def close(self) -> None:
        """The guest is gone: what it had open is closed. Safe to repeat."""
        if self.files is not None:
            self.files.close()
