"""What `/livez` and `/readyz` say, decided without I/O: the app tells, `report` judges. Time is injected.

Alive means: fetching comes round. Ready means: every route has joined its group and no worker is missing. A stopped or
paused lane is neither: somebody decided so, and a restart would not help; it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from pipeline.observe.null import NullObserver
from pipeline.ports import LaneId, LaneState

STUCK_AFTER_S = 60.0
"""Seconds without a fetch coming round; well beyond any fetch's own timeout and one rebalance (30 s)."""
_DRAINING = "draining before the exit"


class LaneHealth(msgspec.Struct, frozen=True):
    """One lane as it is now."""

    lane: str
    """`route:topic/partition`."""
    state: str
    reason: str = ""


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict, and why."""

    live: bool
    ready: bool
    reasons: Sequence[str] = ()
    """Why it is not live or not ready; empty when both."""
    lanes: Sequence[LaneHealth] = ()


class Health(NullObserver):
    """One process' health. Also an `Observer`, for the lanes' states and for commits as a sign of life.

    `monotonic` returns seconds. `routes` are those that must join before the process is ready.
    """

    def __init__(
        self, routes: Iterable[str], monotonic: Callable[[], float], *, stuck_after_s: float = STUCK_AFTER_S
    ) -> None:
        self._monotonic = monotonic
        self._stuck_after_s = stuck_after_s
        self._joined = dict.fromkeys(routes, False)
        self._progress: dict[str, float] = {}
        self._lanes: dict[LaneId, LaneHealth] = {}
        self._draining = False

    def joined(self, route: str) -> None:
        """The route's consumer is a member of its group; from now on its fetch loop must come round."""
        self._joined[route] = True
        self.progressed(route)

    def left(self, route: str) -> None:
        """The route's consumer is out of its group, in order to stop or to start anew; nothing is expected of it."""
        self._joined[route] = False
        self._progress.pop(route, None)

    def progressed(self, route: str) -> None:
        """The route's fetch loop came round, with or without records."""
        if self._joined.get(route):
            self._progress[route] = self._monotonic()

    def draining(self) -> None:
        """The process is on its way out: still alive, not ready any more."""
        self._draining = True

    def lane(self, lane: LaneId, state: LaneState, reason: str) -> None:
        """Keep the lane's state; forget a closed lane."""
        if state is LaneState.CLOSED:
            self._lanes.pop(lane, None)
        else:
            self._lanes[lane] = LaneHealth(str(lane), state.value, reason)

    def report(self) -> HealthReport:
        """The verdict at this moment."""
        stuck = list(self._stuck())
        unready = [
            f"route {route} has not joined its consumer group" for route, is_in in self._joined.items() if not is_in
        ]
        if self._draining:
            unready.append(_DRAINING)
        lanes = sorted(self._lanes.values(), key=lambda lane: lane.lane)
        return HealthReport(live=not stuck, ready=not (stuck or unready), reasons=[*stuck, *unready], lanes=lanes)

    def _stuck(self) -> Iterable[str]:
        now = self._monotonic()
        for route, at in self._progress.items():
            if now - at > self._stuck_after_s:
                yield f"route {route} has not fetched for {now - at:.0f} s"


def together(reports: Mapping[str, HealthReport], size: int, *, draining: bool = False) -> HealthReport:
    """The health of the present workers, of which there should be `size`, as one.

    A missing worker is being started again by its supervisor: not ready, yet alive.
    """
    reasons = [f"{worker}: {reason}" for worker, report in reports.items() for reason in report.reasons]
    unready: list[str] = []
    if draining:
        unready.append(_DRAINING)
    elif len(reports) < size:
        unready.append(f"{size - len(reports)} of {size} workers missing")
    return HealthReport(
        live=all(report.live for report in reports.values()),
        ready=not unready and all(report.ready for report in reports.values()),
        reasons=[*unready, *reasons],
        lanes=sorted((lane for report in reports.values() for lane in report.lanes), key=lambda lane: lane.lane),
    )
