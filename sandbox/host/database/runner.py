"""Threads that wait for databases, so that a guest's worker never waits longer than its deadline.

Threat: one call inside a database (a function over a megabyte of text, a server that accepts and answers nothing) cannot be
interrupted between its steps. So each connection has a thread of its own, and the caller waits for it no longer than its budget:
then the call is given up, the connection is broken off, and the thread ends with it whenever it comes back. Until then it
occupies its place in the pool, so that guests cannot pile threads up.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from sandbox.host.database.budget import Budget
from sandbox.host.requests import HostFailure
from schemas.abi import ERROR_DEADLINE, ERROR_UNAVAILABLE

T = TypeVar("T")
CONNECT_LEAST_S = 0.1
"""Whoever left less time to connect was slow itself: no outage, or a guest that burns its deadline before it asks would keep its lane waiting."""


class Connection(Protocol):
    """What a pool keeps. Used by its own thread only, but for `interrupt`."""

    def interrupt(self) -> None:
        """From another thread: end what is going on, as soon as that is possible."""
        ...

    def close(self) -> None:
        """Give it back to the system."""
        ...


C = TypeVar("C", bound=Connection)


class GivenUp(Exception):
    """Inside the thread: nobody waits for this call any more."""


@dataclass(slots=True)
class Job:
    """One call on its way through a connection's thread."""

    work: Callable[[], Any]
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: BaseException | None = None
    given_up: bool = False

    def run(self) -> None:
        """Do the work, and say so."""
        try:
            self.result = self.work()
        except BaseException as error:  # it belongs to the caller
            self.error = error
        finally:
            self.done.set()


class _Place(Generic[C]):
    """One thread and, once it was opened, its connection."""

    def __init__(self, name: str, left: Callable[[_Place[C]], None]) -> None:
        self.connection: C | None = None
        self.lost = False
        """A call was given up: whatever comes back, nobody uses it again."""
        self._left = left
        self._touch = threading.Lock()
        """Nobody interrupts what is being closed."""
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def run(self, work: Callable[[Job], T], budget: Budget) -> T:
        """Raises what `work` raises, and HostFailure when the budget is over first: then this place is lost."""
        job = Job(lambda: work(job))
        remaining_s = budget.remaining_ms() / 1e3
        self._jobs.put(job)
        if not job.done.wait(remaining_s):
            job.given_up = self.lost = True
            outage = self.connection is None and remaining_s >= CONNECT_LEAST_S
            self._jobs.put(None)
            self._interrupt()
            if outage:
                raise HostFailure(ERROR_DEADLINE, "cannot connect in time", outage=True)
            raise HostFailure(ERROR_DEADLINE, "the database did not answer in time")
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def end(self) -> None:
        """Close the connection, once what is going on is over."""
        self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            if job.given_up:
                break
            del job
        with self._touch:
            connection, self.connection = self.connection, None
            if connection is not None:
                connection.close()
        self._left(self)

    def _interrupt(self) -> None:
        with self._touch:
            if self.connection is not None:
                with contextlib.suppress(OSError):  # it broke by itself
                    self.connection.interrupt()


class Pool(Generic[C]):
    """At most `size` connections to one database, opened when they are needed. Safe from any thread."""

    def __init__(self, name: str, size: int, connect: Callable[[], C]) -> None:
        self._name = name
        self._connect = connect
        self._free: list[_Place[C]] = []
        self._room = threading.Condition()
        self._places = 0
        self._size = size
        self._closed = False

    def run(self, work: Callable[[C, Job], T], budget: Budget) -> T:
        """`work` on a connection that nobody else uses meanwhile. Raises what it raises, and HostFailure.

        A connection that was unavailable is not used again; any other failure it has mended itself (`ROLLBACK`).
        """
        place = self._lease(budget)
        broken = True
        try:
            result = place.run(lambda job: work(self._connected(place), job), budget)
            broken = False
            return result
        except HostFailure as failure:
            broken = failure.code == ERROR_UNAVAILABLE
            raise
        except Exception:
            broken = False
            raise
        finally:
            self._give_back(place, kept=not (broken or place.lost or place.connection is None))

    def close(self) -> None:
        """Close what is free now, and the rest when it comes back."""
        with self._room:
            self._closed = True
            free, self._free = self._free, []
            self._room.notify_all()
        for place in free:
            place.end()

    def _connected(self, place: _Place[C]) -> C:
        if place.connection is None:
            place.connection = self._connect()
        return place.connection

    def _lease(self, budget: Budget) -> _Place[C]:
        with self._room:
            while not self._free and self._places >= self._size and not self._closed:
                if not self._room.wait(budget.remaining_ms() / 1e3):
                    raise HostFailure(ERROR_DEADLINE, f"all {self._size} connections of {self._name} are busy")
            if self._closed:
                raise HostFailure(ERROR_UNAVAILABLE, f"{self._name} is closed")
            if self._free:
                return self._free.pop()
            self._places += 1
        return _Place(f"penstock-{self._name}", self._leave)

    def _give_back(self, place: _Place[C], *, kept: bool) -> None:
        with self._room:
            if kept and not self._closed:
                self._free.append(place)
                self._room.notify()
                return
        place.end()

    def _leave(self, place: _Place[C]) -> None:
        with self._room:
            self._places -= 1
            self._room.notify()
