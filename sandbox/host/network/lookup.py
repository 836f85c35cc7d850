"""Names to addresses, off the loop and bounded: a name server that does not answer holds one look-up of one grant, no more."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence

from sandbox.host.network.names import Resolve

ADDRESSES_MAX = 64
"""Of one name; with more the rest is not looked at, and not connected to either."""


class Busy(OSError):
    """As many look-ups as are allowed hang already."""


class Lookups:
    """Asks `resolve`, each time anew: what was true a moment ago says nothing. `most` at once; those given up on count until they end."""

    def __init__(self, resolve: Resolve, most: int) -> None:
        self._resolve = resolve
        self._free = threading.BoundedSemaphore(most)

    async def addresses(self, name: str) -> Sequence[str]:
        """Raises OSError when there is none, Busy."""
        if not self._free.acquire(blocking=False):
            raise Busy("name servers do not answer: as many look-ups as the grant has connections hang")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()
        try:
            threading.Thread(
                target=self._look_up, args=(name, loop, found), name="penstock look-up", daemon=True
            ).start()
        except RuntimeError:  # the system gives no more threads
            self._free.release()
            raise Busy("no thread is to be had for a look-up") from None
        return (await found)[:ADDRESSES_MAX]

    def _look_up(self, name: str, loop: asyncio.AbstractEventLoop, found: asyncio.Future[Sequence[str]]) -> None:
        """In a thread of its own: nothing ends a look-up of the system's before it ends itself."""
        addresses: Sequence[str] = ()
        error: OSError | None = None
        try:
            addresses = self._resolve(name)
        except (OSError, UnicodeError) as failed:
            error = failed if isinstance(failed, OSError) else OSError("the name cannot be asked for")
        finally:
            self._free.release()
        if error is None and not addresses:
            error = OSError("the name has no address")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, found, addresses, error)


def _settle(found: asyncio.Future[Sequence[str]], addresses: Sequence[str], error: OSError | None) -> None:
    if found.done():
        return
    if error is None:
        found.set_result(addresses)
    else:
        found.set_exception(error)
