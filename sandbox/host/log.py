"""`log(level, text)`: lines for the operator, bounded per batch. A line that does not fit is counted, not kept."""

from __future__ import annotations

from sandbox.errors import OutOfBounds
from sandbox.host.imports import HostImport, HostState
from sandbox.memory import GuestMemory
from sandbox.text import printable
from schemas.capabilities import Capability
from schemas.outcome import LogLine

LINE_BYTES_MAX = 4096
LINE_BYTES_LEAST = 16
"""What an empty line still costs of the batch's log bytes, so that empty lines are bounded too."""
LEVEL_MAX = 4


def log(state: HostState, memory: GuestMemory | None, level: int, text: int, length: int) -> None:
    """Keep one line, cut to 4 KiB. A range outside memory is no line and costs the guest nothing but its mention in the stats."""
    length = min(length, LINE_BYTES_MAX)
    if max(length, LINE_BYTES_LEAST) > state.log_bytes_left:  # nothing is read for a line that is not kept
        state.logs_suppressed += 1
        return
    try:
        line = memory.read_bytes(text, length) if memory else b""
    except OutOfBounds as error:
        state.refused(error)
        return
    keep_line(state, min(level, LEVEL_MAX), line)


def keep_line(state: HostState, level: int, line: bytes) -> None:
    """Keep one line of 4 KiB at most if the batch's log bytes allow it."""
    cost = max(len(line), LINE_BYTES_LEAST)
    if cost > state.log_bytes_left:
        state.logs_suppressed += 1
        return
    state.log_bytes_left -= cost
    state.moved += len(line)
    state.logs.append(LogLine(level=level, text=printable(line.decode("utf-8", "replace"))))


IMPORTS = (HostImport("log", ("i32", "i32", "i32"), None, log, Capability.LOG, counts_as=Capability.LOG),)
