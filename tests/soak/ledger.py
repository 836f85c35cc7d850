"""Where each order of the stream ended, one byte an order, kept while the stream runs."""

from __future__ import annotations

from collections import Counter

from tests.e2e.stream import fate

FAULTS_TOLD = 20


class Ledger:
    """Exactly-once, counted as the records arrive: each order once, where it belongs, in order within its partition."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.emitted = self.dead = self.duplicates = self.misplaced = self.out_of_order = 0
        self.faults: list[str] = []
        self._seen = bytearray(count)
        self._last: dict[int, int] = {}

    def take(self, number: int, partition: int, *, dead: bool) -> None:
        """One record of the output (or the dead letters), with the partition of the order's source."""
        if self._seen[number]:
            self.duplicates += 1
            self._tell(number, "came twice")
            return
        self._seen[number] = 1
        does = fate(number)
        if dead == (does == "emitted") or does == "dropped":
            self.misplaced += 1
            self._tell(number, f"{does} was expected, and it is {'dead-lettered' if dead else 'emitted'}")
        if dead:
            self.dead += 1
            return
        self.emitted += 1
        if self._last.get(partition, -1) >= number:
            self.out_of_order += 1
            self._tell(number, f"came after {self._last[partition]}")
        self._last[partition] = number

    @property
    def arrived(self) -> int:
        """Records that were counted, each order once."""
        return self.emitted + self.dead

    def missing(self) -> int:
        """Orders that should have arrived and did not."""
        lost = [n for n, seen in enumerate(self._seen) if not seen and fate(n) != "dropped"]
        for number in lost[:FAULTS_TOLD]:
            self._tell(number, "never came")
        return len(lost)

    def _tell(self, number: int, what: str) -> None:
        if len(self.faults) < FAULTS_TOLD:
            self.faults.append(f"order {number}: {what}")


def expected(count: int) -> Counter[str]:
    """How many of `count` orders are emitted, dropped and dead-lettered."""
    fates = Counter(map(fate, range(count)))
    dead = sum(fates.values()) - fates["emitted"] - fates["dropped"]
    return Counter(emitted=fates["emitted"], dropped=fates["dropped"], dead=dead)
