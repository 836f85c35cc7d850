"""Bugs to plant, each in one place of the product's source, and the proof that the simulation finds every one of them.

A bug is planted while its module is imported, in a process of its own; nothing on disk changes. One whose place is no
longer in the source is `NotApplicable`, loudly: write it anew, do not drop it. `make mutations` prints the table.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).parents[2]


class NotApplicable(Exception):
    """The source no longer has the place where this bug would be."""


@dataclass(frozen=True)
class Edit:
    """In `module`, `before` becomes `after`. `before` must be there exactly once."""

    module: str
    before: str
    after: str

    @property
    def path(self) -> Path:
        return ROOT / (self.module.replace(".", "/") + ".py")

    def source(self) -> str:
        """The module with the bug in it. Raises NotApplicable."""
        text = self.path.read_text()
        if (found := text.count(self.before)) != 1:
            raise NotApplicable(
                f"{self.path.relative_to(ROOT)} has this place {found} times, not once; look for what became of it:\n{self.before}"
            )
        return text.replace(self.before, self.after)


@dataclass(frozen=True)
class Mutation:
    """A bug."""

    name: str
    edits: tuple[Edit, ...]
    first: int = 0
    """Where the hunt begins: what takes a rare coincidence is not waited for from the beginning at every run."""
    atomic: bool = False
    """It is looked for in worlds with an atomic route."""


def _in(name: str, module: str, before: str, after: str, first: int = 0, *, atomic: bool = False) -> Mutation:
    return Mutation(name, (Edit(module, before, after),), first, atomic)


MUTATIONS = (
    _in(
        "commit before the records are acknowledged",
        "pipeline.kafka.sink",
        "        await self._begin()\n        await self._settle()\n        producer, at =",
        "        await self._begin()\n        producer, at =",
    ),
    _in(
        "at-least-once offset before the records are acknowledged",
        "pipeline.kafka.sink",
        "            await self._settle()\n            await self._source.commit(",
        "            await self._source.commit(",
    ),
    Mutation(  # two of its three guards gone: one alone is made good by the others
        "offsets committed across a rebalance",
        (
            Edit("pipeline.kafka.source", "if epoch != self.epoch:", "if False:"),
            Edit("pipeline.route", "        for task in late:\n            task.cancel()\n", ""),
        ),
    ),
    _in(
        "no fence: every producer has an id of its own",
        "pipeline.kafka.transport",
        'return f"{partition.topic}/{partition.partition}/{group}"',
        'return f"{partition.topic}/{partition.partition}/{group}/{next(_NUMBERS)}"\n\n\n_NUMBERS = iter(range(1 << 30))',
    ),
    _in(
        "the committed offset is read before the fence",
        "pipeline.passage",
        "            await self._sink.open()\n            position = await around.source.locate(self._lane.source)\n",
        "            position = await around.source.locate(self._lane.source)\n            await self._sink.open()\n",
    ),
    _in(
        "no seek at the start of a passage",
        "pipeline.passage",
        "        self._around.source.seek(self._lane.source, self.next_offset)\n        self.started = True",
        "        self.started = True",
    ),
    _in(
        "a passage starts where the topic does",
        "pipeline.passage",
        "self._resume_at = position.start if committed is None else committed",
        "self._resume_at = position.start",
    ),
    _in(
        "events that an earlier passage asked for are taken",
        "pipeline.lane",
        "if current is passage and offset_at(events, 0) >= current.next_offset:",
        "if offset_at(events, 0) >= current.next_offset:",
    ),
    _in(
        "a fetch is taken unseen, whatever its offsets",
        "pipeline.lane",
        "if current is passage and offset_at(events, 0) >= current.next_offset:",
        "if current is passage or True:",
    ),
    _in(
        "dead letters in a transaction of their own",
        "pipeline.kafka.sink",
        "            self._sent.append((out.topic, future))\n",
        "            self._sent.append((out.topic, future))\n"
        "            if out.topic == 'dead' and self._in_transaction:\n"
        "                await self._settle()\n"
        "                await producer.commit_transaction()\n"
        "                self._in_transaction = False\n"
        "                await self._begin()\n",
    ),
    _in(
        "dead letters lost",
        "pipeline.plan",
        "groups[at] = [*groups.get(at, ()), *some]",
        "groups[at] = [*groups.get(at, ()), *some[1:]]",
    ),
    _in(
        "offset too low by one",
        "pipeline.passage",
        "self.offset = offset_at(verdicts.batch.events, verdicts.decided - 1) + 1",
        "self.offset = offset_at(verdicts.batch.events, verdicts.decided - 1)",
    ),
    _in(
        "offset too high by one",
        "pipeline.passage",
        "self.offset = offset_at(verdicts.batch.events, verdicts.decided - 1) + 1",
        "self.offset = offset_at(verdicts.batch.events, verdicts.decided - 1) + 2",
    ),
    _in(
        "siblings of a violated event are emitted",
        "pipeline.chain",
        "gone = self._dead.keys() | self._dropped",
        "gone = self._dropped",
    ),
    _in(
        "siblings of a dropped event are emitted",
        "pipeline.chain",
        "gone = self._dead.keys() | self._dropped",
        "gone = self._dead.keys()",
    ),
    _in(
        "verdicts taken from a run of the batch",
        "sandbox.session",
        "        if fresh and len(self._part) == 1 and not trouble.is_doubtful:\n            return [self.condemn(trouble, attempts)]\n",
        "        if fresh:\n            return [self.condemn(trouble, attempts) for _ in self._part]\n",
    ),
    _in(
        "the guest's cursor trusted as a verdict",
        "sandbox.isolation",
        "            self._pending.appendleft(Step((suspect,), rest, trouble))\n",
        "            self._outcomes[suspect] = self._runner.condemn(trouble, 1)\n"
        "            self._pending.extendleft([Step(rest)] if rest else [])\n",
    ),
    _in(
        "a reused guest goes on after a trap",
        "sandbox.session",
        "if not (healthy and self._plan.instance is InstancePolicy.REUSED):",
        "if self._plan.instance is not InstancePolicy.REUSED:",
    ),
    _in(
        "a guest outlives its batch",
        "sandbox.session",
        "if not (healthy and self._plan.instance is InstancePolicy.REUSED):",
        "if not healthy:",
    ),
    _in(
        "a worn guest's trouble is the event's",
        "sandbox.session",
        "        attempts, fresh = 1, not self._guest.is_open\n",
        "        attempts, fresh = 1, True\n",
    ),
    _in(
        "events beyond the isolation budget count as dropped",
        "pipeline.chain",
        "        if len(outcomes) < len(self.events):\n",
        "        if False:\n",
    ),
    _in(
        "a budget that ends inside of an event leaves it undecided for ever",
        "pipeline.chain",
        "            while report.outcomes and len(",
        "            while False and len(",
        first=1_100,
    ),
    _in(
        "a halt is not remembered",
        "pipeline.lane",
        "        self._noted = await self._remember(halt.state, halt.reason)\n",
        "        self._noted = True\n",
    ),
    _in(
        "a remembered halt is not recalled",
        "pipeline.lane",
        "        if note.state in (LaneState.STOPPED, LaneState.PAUSED):\n            self._enter(note.state, note.reason)\n",
        "",
    ),
    _in(
        "a halted lane goes on",
        "pipeline.lane",
        "            if self.state in (LaneState.STOPPED, LaneState.PAUSED):\n                await self._stay_halted()\n",
        "            if False:\n                await self._stay_halted()\n",
    ),
    _in(
        "events after a halt are committed",
        "pipeline.chain",
        "        self._decided = min(self._decided, index)\n",
        "",
    ),
    _in(
        "quarantine forgotten at a restart",
        "pipeline.lane",
        "                breaker.trip(_kind(note.kinds.get(name), breaker), reason)\n",
        "                pass\n",
    ),
    _in(
        "a released lane keeps its strikes",
        "pipeline.lane",
        "            breaker.reset()\n",
        "            pass\n",
    ),
    _in(
        "the allowance is not given back at a write",
        "pipeline.passage",
        "            self._hold(-len(work.verdicts.batch.events), -work.size_bytes)\n",
        "",
    ),
    _in(
        "the allowance is not given back at a failure",
        "pipeline.passage",
        "        self._hold(-self._held_events, -self._held_bytes)\n",
        "        pass\n",
    ),
    _in(
        "the inbox hands out the newest first",
        "pipeline.inbox",
        "            self._chunks.append(chunk)\n",
        "            self._chunks.appendleft(chunk)\n",
    ),
    _in(
        "a commit that failed is taken for done",
        "pipeline.passage",
        '                raise DeadLetterError(f"the dead letters of {self._lane.source} cannot be written: {error}") from error\n            raise\n',
        '                raise DeadLetterError(f"the dead letters of {self._lane.source} cannot be written: {error}") from error\n',
    ),
    _in(
        "lanes are not drained when their partitions are revoked",
        "pipeline.route",
        "            await self._drain(lanes, self._drain_budget_s)\n",
        "            pass\n",
    ),
    _in(
        "pass-through drops",
        "pipeline.chain",
        "                self._tolerated.append((index, violation))\n                return True\n",
        "                self._tolerated.append((index, violation))\n",
    ),
    _in(
        "records under a new key stay in their partition",
        "pipeline.plan",
        "if same and event.to is None and event.key == origin_key:",
        "if event.to is None:",
    ),
    _in(
        "a transaction's second batch is written twice",
        "pipeline.passage",
        "                await self._sink.write(planned)\n                break\n",
        "                await self._sink.write(planned)\n"
        "                if self._pending.offset is not None:\n"
        "                    await self._sink.write(planned)\n"
        "                break\n",
    ),
    _in(
        "a source transaction is written before all its events are here",
        "pipeline.atomic.gathering",
        "return all(len(entry.orders.get(table, ())) >= count for table, count in awaited.items())",
        "return all(len(entry.orders.get(table, ())) >= count - 1 for table, count in awaited.items())",
        atomic=True,
    ),
    _in(
        "a source transaction overtakes another one",
        "pipeline.atomic.gathering",
        "if self._is_complete(key, entry) and self._is_first(key, entry):",
        "if self._is_complete(key, entry):",
        atomic=True,
    ),
    _in(
        "what was written again counts as a transaction of its own",
        "pipeline.atomic.gathering",
        "        if member is None or member.key in self._released:",
        "        if member is None:",
        atomic=True,
    ),
    _in(
        "an event that was written twice holds its transaction back",
        "pipeline.atomic.gathering",
        "        if member.total_order in orders:\n            return Item(event, size, None)\n",
        "",
        atomic=True,
    ),
    _in(
        "what was released before the start is not recalled",
        "pipeline.atomic.passage",
        "        self._gathering.recall(events[:past])\n",
        "",
        atomic=True,
    ),
    _in(
        "records of the past are taken for new ones",
        "pipeline.atomic.passage",
        "        return events[past:]",
        "        return events",
        atomic=True,
    ),
    _in(
        "a quarantine pauses within a source transaction",
        "pipeline.atomic.passage",
        "            with self._chain.undivided():\n                halt",
        "            if True:\n                halt",
        atomic=True,
    ),
    _in(
        "what was not judged in time is left out of its transaction",
        "pipeline.atomic.passage",
        "rest = rest[verdicts.decided :]",
        "rest = rest[:0]",
        atomic=True,
    ),
    _in(
        "a source transaction that must stop is written as far as it came",
        "pipeline.atomic.passage",
        "                        if verdicts.halt is not None:\n                            return verdicts.halt\n",
        "                        if verdicts.halt is not None:\n                            break\n",
        atomic=True,
    ),
)
BY_NAME = {one.name: one for one in MUTATIONS}


def apply(name: str) -> None:
    """Plant this bug in every later import of its module. Raises NotApplicable, KeyError for no such bug."""
    mutation = BY_NAME[name]
    for edit in mutation.edits:
        if edit.module in sys.modules:
            raise NotApplicable(f"{edit.module} is imported already")
        sys.meta_path.insert(0, _Finder(edit, edit.source()))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module: the one with the bug."""

    def __init__(self, edit: Edit, source: str) -> None:
        self._edit = edit
        self._source = source

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != self._edit.module:
            return None
        file = str(self._edit.path)
        return importlib.util.spec_from_file_location(name, file, loader=_Loader(name, file, self._source))


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles other source than the file's, and leaves the bytecode cache alone."""

    def __init__(self, name: str, file: str, source: str) -> None:
        super().__init__(name, file)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)


@dataclass(frozen=True)
class Finding:
    """What the simulation said of one bug."""

    mutation: Mutation
    seed: int | None
    """The seed that found it; None when it survived."""
    worlds: int
    seconds: float
    said: str


def hunt(mutation: Mutation, seeds: int) -> Finding:
    """Plant it and look for it in so many worlds. Raises NotApplicable."""
    for edit in mutation.edits:
        edit.source()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.simulation",
            "--mutation",
            mutation.name,
            "--seeds",
            str(seeds),
            "--first",
            str(mutation.first),
            "--until-found",
            "--json",
            *(["--atomic"] if mutation.atomic else []),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"{mutation.name}: {done.stderr}")
    said = json.loads(done.stdout)
    seed, wrong = next(iter(said["broken"].items()), (None, ""))
    return Finding(mutation, None if seed is None else int(seed), said["worlds"], said["seconds"], wrong)


def hunt_all(mutations: Sequence[Mutation], seeds: int, at_once: int = 1) -> list[Finding]:
    """All of them, each in a process of its own."""
    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(lambda one: hunt(one, seeds), mutations))


def main() -> int:
    """Print the table; exit code 1 when one survived."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    survivors = 0
    print(f"{'planted bug':<66}{'seed':>6}{'worlds':>8}{'s':>7}  found as")
    for mutation in MUTATIONS:
        found = hunt(mutation, seeds)
        survivors += found.seed is None
        seed = "-" if found.seed is None else str(found.seed)
        print(
            f"{mutation.name:<66}{seed:>6}{found.worlds:>8}{found.seconds:>7.1f}  {found.said[:90] or 'SURVIVED'}",
            flush=True,
        )
    print(f"{len(MUTATIONS) - survivors} of {len(MUTATIONS)} found")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
