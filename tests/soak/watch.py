"""Samples the supervisor and its workers, and the gauges of the fleet, twice a second, from outside."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections import defaultdict

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.soak.lives import Sample

EVERY_S = 0.5
GAUGES = ("penstock_guests", "penstock_tasks", "penstock_threads")


class Watch(threading.Thread):
    """`samples` by process, `gauges` by name as (seconds, value); both only grow."""

    def __init__(self, pid: int, generation: int, admin: str) -> None:
        super().__init__(daemon=True)
        self.samples: defaultdict[str, list[Sample]] = defaultdict(list)
        self.gauges: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        self._supervisor = psutil.Process(pid)
        self._generation = generation
        self._admin = admin
        self._ended = threading.Event()
        self._chapter = ""

    def run(self) -> None:
        while not self._ended.wait(EVERY_S):
            now = time.monotonic()
            self._sample("supervisor", self._supervisor, now)
            for worker in self._workers():
                self._sample("worker", worker, now)
            self._scrape(now)

    def turn(self) -> None:
        """Something changed for every process (a neighbour's partitions are theirs now): what follows is judged by itself."""
        self._chapter += "*"

    def close(self) -> None:
        """Sample no more."""
        self._ended.set()
        self.join()

    def _workers(self) -> list[psutil.Process]:
        try:
            return self._supervisor.children()
        except psutil.NoSuchProcess:
            return []

    def _sample(self, role: str, process: psutil.Process, now: float) -> None:
        try:
            with process.oneshot():
                rss, threads, descriptors = process.memory_info().rss, process.num_threads(), process.num_fds()
        except psutil.Error:
            return  # it ended in between
        name = f"{role} {self._generation}.{process.pid}{self._chapter}"
        self.samples[name].append(Sample(now, rss / (1 << 20), threads, descriptors))

    def _scrape(self, now: float) -> None:
        try:
            with urllib.request.urlopen(f"http://{self._admin}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return  # it starts or ends
        for family in text_string_to_metric_families(text):
            if family.name in GAUGES and family.samples:
                self.gauges[family.name].append((now, family.samples[0].value))
