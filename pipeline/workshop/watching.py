"""Sees files change, by asking for their times: a project has tens of files, and looking at them all takes well under a millisecond.

No library watches here: those that do bring a compiled extension, and the network and container file systems on which people work
do not send the events they wait for.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

POLL_S = 0.1
SETTLE_S = 0.03
"""Between two looks that must agree: an editor writes in several steps."""
FILES_MAX = 20_000
_LEFT_OUT = frozenset({"target", "node_modules", "__pycache__", "zig-out", "build"})
"""What tools write; so is everything whose name begins with a dot."""

State = tuple[int, int, int]
"""Time of the last change, size, and identity: a file that is replaced is another one."""


def snapshot(paths: Sequence[Path]) -> dict[Path, State]:
    """The files at these paths, and in those that are folders, at any depth."""
    found: dict[Path, State] = {}
    for path in paths:
        for file, state in _files(path):
            found[file] = state
            if len(found) == FILES_MAX:
                return found
    return found


def differing(before: Mapping[Path, State], after: Mapping[Path, State]) -> list[Path]:
    """What is new, gone or different, in order."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


class Watch:
    """Waits for changes. `paths` is asked every time: what is to be watched changes, too."""

    def __init__(self, paths: Callable[[], Sequence[Path]], wait: Callable[[float], None] = time.sleep) -> None:
        self._paths = paths
        self._wait = wait
        self._seen = snapshot(paths())

    @property
    def files(self) -> int:
        """How many are watched."""
        return len(self._seen)

    def next(self) -> list[Path]:
        """Waits until something is other than it was when this returned last, and has settled; what changed."""
        while True:
            now = snapshot(self._paths())
            if now != self._seen:
                return self._settled(now)
            self._wait(POLL_S)

    def _settled(self, now: dict[Path, State]) -> list[Path]:
        before = self._seen
        while True:
            self._wait(SETTLE_S)
            later = snapshot(self._paths())
            if later == now:
                self._seen = now
                return differing(before, now) or self.next()
            now = later


def _files(path: Path) -> Iterator[tuple[Path, State]]:
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            yield path, (status.st_mtime_ns, status.st_size, status.st_ino)
            return
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:  # gone meanwhile
        return
    for name in names:
        if not name.startswith(".") and name not in _LEFT_OUT:
            yield from _files(path / name)
