"""WASI's clocks and waiting. Nobody waits here: what a guest sleeps is added to its own clock.

Threat: a sleeping guest would hold a worker, and no deadline cuts a host call short. So `poll_oneoff` returns at once, as if the time had
passed: for the guest it has. Without the capability `clock` time is a stand-in that begins at the same moment in every guest and moves
by a microsecond with each reading and by what is slept, so that the same input gives the same output.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from sandbox.host.imports import HostState
from sandbox.host.wasi_errno import Errno
from sandbox.host.wasi_state import STDIN
from sandbox.host.wasi_streams import is_open
from sandbox.memory import GuestMemory

REALTIME, MONOTONIC = 0, 1
STAND_IN_REALTIME_NS = 946_684_800_000_000_000
"""2000-01-01T00:00:00Z."""
MONOTONIC_LEAST_NS = 1_000_000_000
"""Where the monotonic clock begins, added to the host's own: Go's runtime takes 0 for a broken clock, and a host's may stand there."""
READING_NS = 1000
NS_MAX = (1 << 63) - 1
REAL_RESOLUTION_NS = {REALTIME: 1_000_000, MONOTONIC: 1}

SUBSCRIPTIONS_MAX = 256
SUBSCRIPTION_BYTES = 48
CLOCK, FD_READ, FD_WRITE = 0, 1, 2
ABSOLUTE = 1
HANGUP = 1


def clock_time_get(state: HostState, memory: GuestMemory, clock: int, _precision: int, out: int) -> Errno:
    """The host's clock, with the capability `clock`."""
    return _tell(memory, out, _real_ns(state, clock))


def clock_time_get_stand_in(state: HostState, memory: GuestMemory, clock: int, _precision: int, out: int) -> Errno:
    """Without it."""
    state.shim.moved_ns = min(state.shim.moved_ns + READING_NS, NS_MAX)
    return _tell(memory, out, _stand_in_ns(state, clock))


def _tell(memory: GuestMemory, out: int, now_ns: int | None) -> Errno:
    if now_ns is None:
        return Errno.INVAL
    memory.write(out, min(now_ns, NS_MAX).to_bytes(8, "little"))
    return Errno.SUCCESS


def _real_ns(state: HostState, clock: int) -> int | None:
    if clock == REALTIME:
        return state.services.now_ms() * 1_000_000
    if clock != MONOTONIC:
        return None
    return MONOTONIC_LEAST_NS + state.services.monotonic_ns() + state.shim.moved_ns


def _stand_in_ns(state: HostState, clock: int) -> int | None:
    if clock == REALTIME:
        return STAND_IN_REALTIME_NS + state.shim.moved_ns
    return MONOTONIC_LEAST_NS + state.shim.moved_ns if clock == MONOTONIC else None


def clock_res_get(state: HostState, memory: GuestMemory, clock: int, out: int) -> Errno:
    """With the capability `clock`."""
    return _tell(memory, out, REAL_RESOLUTION_NS.get(clock))


def clock_res_get_stand_in(state: HostState, memory: GuestMemory, clock: int, out: int) -> Errno:
    """Without it."""
    return _tell(memory, out, READING_NS if clock in REAL_RESOLUTION_NS else None)


class _Wish(NamedTuple):
    """One subscription: when or whether it is fulfilled."""

    userdata: bytes
    kind: int
    errno: Errno
    wait_ns: int
    """Until it is fulfilled; 0 for what is so already."""
    flags: int = 0


def poll_oneoff(state: HostState, memory: GuestMemory, wishes: int, out: int, count: int, told: int) -> Errno:
    """With the capability `clock`."""
    return _poll(state, memory, wishes, out, count, told, real=True)


def poll_oneoff_stand_in(state: HostState, memory: GuestMemory, wishes: int, out: int, count: int, told: int) -> Errno:
    """Without it."""
    return _poll(state, memory, wishes, out, count, told, real=False)


def _poll(state: HostState, memory: GuestMemory, wishes: int, out: int, count: int, told: int, *, real: bool) -> Errno:
    """What is fulfilled first, and the guest's clock moved to that moment."""
    if not 1 <= count <= SUBSCRIPTIONS_MAX:
        return Errno.INVAL
    raw = memory.read(wishes, SUBSCRIPTION_BYTES * count)
    parts = (raw[at : at + SUBSCRIPTION_BYTES] for at in range(0, len(raw), SUBSCRIPTION_BYTES))
    found = [_wish(state, one, real=real) for one in parts]
    wait_ns = min(one.wait_ns for one in found)
    fulfilled = [one for one in found if one.wait_ns <= wait_ns]
    memory.write(told, len(fulfilled).to_bytes(4, "little"))
    memory.write(out, b"".join(map(_event, fulfilled)))
    state.shim.moved_ns = min(state.shim.moved_ns + wait_ns, NS_MAX)
    return Errno.SUCCESS


def _wish(state: HostState, raw: bytes, *, real: bool) -> _Wish:
    userdata, kind = raw[:8], raw[8]
    if kind == CLOCK:
        clock, timeout, flags = struct.unpack_from("<I4xQ8xH", raw, 16)
        return _alarm(state, userdata, clock, timeout, flags, real=real)
    (fd,) = struct.unpack_from("<I", raw, 16)
    if kind not in (FD_READ, FD_WRITE):
        return _Wish(userdata, CLOCK, Errno.INVAL, 0)
    if not is_open(state, fd) or (kind == FD_READ) != (fd == STDIN):
        return _Wish(userdata, kind, Errno.BADF, 0)
    return _Wish(userdata, kind, Errno.SUCCESS, 0, HANGUP if kind == FD_READ else 0)


def _alarm(state: HostState, userdata: bytes, clock: int, timeout: int, flags: int, *, real: bool) -> _Wish:
    now_ns = _real_ns(state, clock) if real else _stand_in_ns(state, clock)
    if now_ns is None:
        return _Wish(userdata, CLOCK, Errno.INVAL, 0)
    wait_ns = max(0, timeout - now_ns) if flags & ABSOLUTE else timeout
    return _Wish(userdata, CLOCK, Errno.SUCCESS, wait_ns)


def _event(wish: _Wish) -> bytes:
    return wish.userdata + struct.pack("<HB5xQH6x", wish.errno, wish.kind, 0, wish.flags)
