"""Several worker processes under one supervisor: their samples and their health, seen as one.

Each worker writes a snapshot file every second (`relay`); the supervisor reads the files when it is asked. Files rather than
pipes: nobody ever waits for the other side, a hung worker shows as a snapshot that grows old, and what a worker counted
before it died (but for the last second) is still there to be added up. Both sides use the machine's one monotonic clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from pipeline.observe.health import Health, HealthReport, together
from pipeline.observe.meter import Meter, Samples, lasting, merge
from pipeline.ports import Clock

_log = logging.getLogger(__name__)

INTERVAL_S = 1.0
STALE_AFTER_S = 15.0
"""Age of a snapshot beyond which its worker's event loop must be stuck: many intervals, so that a busy machine passes."""


class Snapshot(msgspec.Struct, frozen=True):
    """One worker at one moment."""

    monotonic_s: float
    samples: Samples
    health: HealthReport


class SnapshotFile:
    """A worker's side. `path` is `Fleet.path(worker)`, handed over by the supervisor."""

    def __init__(self, path: Path, meter: Meter, health: Health, clock: Clock) -> None:
        self._path = path
        self._meter = meter
        self._health = health
        self._clock = clock
        self._failed = False

    def write(self) -> None:
        """Write the present state, atomically. Raises OSError when the directory is gone or full."""
        snapshot = Snapshot(self._clock.monotonic(), self._meter.samples, self._health.report())
        partial = self._path.with_suffix(".partial")
        partial.write_bytes(msgspec.msgpack.encode(snapshot))
        partial.replace(self._path)

    async def relay(self, interval_s: float = INTERVAL_S) -> None:
        """Write until cancelled, and once more then, so that the last counts arrive. A full disk is logged, once."""
        try:
            while True:
                self._try_to_write()
                await self._clock.sleep(interval_s)
        finally:
            self._try_to_write()

    def _try_to_write(self) -> None:
        try:
            self.write()
        except OSError as error:
            if not self._failed:
                _log.warning("metrics and health cannot be handed to the supervisor: %s", error)
            self._failed = True
        else:
            self._failed = False


class Fleet:
    """The supervisor's side. `directory` is private to this supervisor and empty at first; `size` is how many should run.

    Worker names must be new for each process started (`worker-0.1`, `worker-0.2`), or counters would be lost.
    """

    def __init__(
        self, directory: Path, size: int, monotonic: Callable[[], float], *, stale_after_s: float = STALE_AFTER_S
    ) -> None:
        self._directory = directory
        self._size = size
        self._monotonic = monotonic
        self._stale_after_s = stale_after_s
        self._started: dict[str, float] = {}
        self._ended = Samples()
        self._draining = False

    def path(self, worker: str) -> Path:
        """Where this worker writes."""
        return self._directory / f"{worker}.snapshot"

    def started(self, worker: str) -> None:
        """A process was started under this new name."""
        assert worker not in self._started and not self.path(worker).exists(), f"the name {worker} was used before"
        self._started[worker] = self._monotonic()

    def ended(self, worker: str) -> None:
        """The process is gone: its counts stay, its gauges go."""
        del self._started[worker]
        snapshot = self._read(worker)
        if snapshot is not None:
            self._ended = merge((self._ended, lasting(snapshot.samples)))
            self.path(worker).unlink(missing_ok=True)

    def draining(self) -> None:
        """The whole fleet is on its way out."""
        self._draining = True

    def samples(self) -> Samples:
        """All workers' samples as one, those of ended processes included."""
        snapshots = (self._read(worker) for worker in self._started)
        return merge((self._ended, *(snapshot.samples for snapshot in snapshots if snapshot is not None)))

    def health(self) -> HealthReport:
        """All workers' health as one."""
        reports = {worker: self._health_of(worker, started) for worker, started in self._started.items()}
        return together(reports, self._size, draining=self._draining)

    def _health_of(self, worker: str, started: float) -> HealthReport:
        snapshot = self._read(worker)
        age = self._monotonic() - (started if snapshot is None else snapshot.monotonic_s)
        lanes = () if snapshot is None else snapshot.health.lanes
        if age > self._stale_after_s:
            reason = f"no sign of life for {age:.0f} s, its event loop is stuck"
            return HealthReport(live=False, ready=False, reasons=[reason], lanes=lanes)
        if snapshot is None:
            return HealthReport(live=True, ready=False, reasons=["starting"])
        return snapshot.health

    def _read(self, worker: str) -> Snapshot | None:
        try:
            return msgspec.msgpack.decode(self.path(worker).read_bytes(), type=Snapshot)
        except FileNotFoundError:
            return None
