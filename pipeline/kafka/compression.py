"""How hard batches are compressed. aiokafka 0.14 has no setting for it and compresses lz4 at level 9, on the event loop.

Measured on recorded Debezium events: 3.2 µs per 400 bytes at level 9, 0.14 µs at level 1, for batches a fifth smaller. All
the rest of a lane's Python costs 5 µs per event. The level is the sender's business alone; every reader reads any.
"""

from __future__ import annotations

import inspect

from aiokafka import codec

_LEVEL = 1


def compress_fast() -> bool:
    """Make lz4 fast for every producer of this process. False when aiokafka's function is not the one known: nothing is changed then."""
    level = inspect.signature(codec.lz4_encode).parameters.get("level")
    if level is None or not isinstance(level.default, int):
        return False
    # Every module of the client imported this very function by name: its default is the one place that all of them use.
    codec.lz4_encode.__defaults__ = (_LEVEL,)
    return True
