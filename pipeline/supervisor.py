"""`penstock run --processes N`: starts workers, restarts those that die, passes signals on. Knows no Kafka and no sandbox.

Each worker is a process of its own with one event loop; the consumer group shares the partitions out among them. A worker
holds the read end of a pipe as its standard input: when the supervisor dies, however suddenly, the workers see it close
and drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from pipeline.ports import Clock

_log = logging.getLogger(__name__)
_RESTARTS_MAX = 10
_RESTARTS_WINDOW_S = 60.0
_GRACE_S = 5.0
"""Beyond the shutdown timeout, before a worker that does not end is killed."""
_RESTART_PAUSE_S = 0.5


class Supervisor:
    """Keeps `count` workers running until told to stop."""

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        *,
        shutdown_timeout_s: float,
        clock: Clock,
        environ: Callable[[str], Mapping[str, str]],
        on_end: Callable[[str, int], None],
    ) -> None:
        """`command` starts one worker, in the environment that `environ(name)` gives for its name, which is never used twice.

        `on_end(name, code)` is told when a worker's process is gone, and with which exit code (negative: the signal).
        """
        self._command = command
        self._count = count
        self._environ = environ
        self._shutdown_timeout_s = shutdown_timeout_s
        self._clock = clock
        self._on_end = on_end
        self._started = itertools.count(1)
        self._workers: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._deaths: deque[float] = deque(maxlen=_RESTARTS_MAX)

    @property
    def alive(self) -> int:
        """How many workers run now."""
        return sum(process.returncode is None for process in self._workers.values())

    async def run(self) -> int:
        """Until stopped, or a worker ended by itself; the exit code for the whole service: the worst of the workers'."""
        codes = await asyncio.gather(*(self._keep(worker) for worker in range(self._count)))
        return max(codes)

    def stop(self) -> None:
        """Ask all workers to drain; those that have not ended after the shutdown timeout are killed."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def abort(self) -> None:
        """Kill all workers: what they had not committed will be run again."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    async def _keep(self, worker: int) -> int:
        """One worker's place: started again when it dies, until the service stops. A worker's own verdict (1, 2) ends it all."""
        while True:
            name = f"worker-{worker}.{next(self._started)}"
            code = await self._run_once(worker, name)
            self._on_end(name, code)
            if self._stopping.is_set():
                # terminated before it had set its handlers: it had not begun
                return 0 if code in (0, -signal.SIGTERM) else 1
            if code in (0, 1, 2):
                _log.error("worker %d ended with exit code %d: stopping the others", worker, code)
                self.stop()
                return code or 1
            how = f"was killed by signal {-code}" if code < 0 else f"crashed with exit code {code}"
            if not self._may_restart():
                _log.error(
                    "worker %d %s, and workers died %d times within %d s: giving up",
                    worker,
                    how,
                    _RESTARTS_MAX,
                    _RESTARTS_WINDOW_S,
                )
                self.stop()
                return 1
            _log.warning("worker %d %s: starting it again", worker, how)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RESTART_PAUSE_S):
                    await self._stopping.wait()
                    return 0

    def _may_restart(self) -> bool:
        now = self._clock.monotonic()
        self._deaths.append(now)
        return len(self._deaths) < _RESTARTS_MAX or now - self._deaths[0] > _RESTARTS_WINDOW_S

    async def _run_once(self, worker: int, name: str) -> int:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            env=dict(self._environ(name)),
            process_group=0,  # a terminal's Ctrl-C reaches the supervisor alone: with its SIGTERM it would be two signals
        )
        self._workers[worker] = process
        if self._stopping.is_set():
            process.terminate()
        stopping = asyncio.create_task(self._stopping.wait())
        ending = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await asyncio.wait({ending}, timeout=self._shutdown_timeout_s + _GRACE_S)
            if not ending.done():
                _log.error("worker %d did not drain within %.0f s: killed", worker, self._shutdown_timeout_s + _GRACE_S)
                process.kill()
            return await ending
        finally:
            stopping.cancel()

    def _signal(self, number: signal.Signals) -> None:
        for process in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


async def supervisor_is_gone() -> None:
    """In a worker: returns when the supervisor's end of standard input was closed."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while await reader.read(4_096):
            pass
    finally:
        transport.close()
