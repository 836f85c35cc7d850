"""Checks at start that every topic is there and fits its use, so that nothing is found out in the middle of a stream.

aiokafka answers a missing or misnamed topic with forty seconds of silence, and a failed creation with nothing at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from aiokafka import TopicPartition as KafkaPartition
from aiokafka import errors

from pipeline.clock import SystemClock
from pipeline.kafka import retention, topic_rules
from pipeline.kafka.client import consumer_options
from pipeline.kafka.cluster import Cluster, NewTopic, Refusal, open_cluster
from pipeline.kafka.permissions import Permissions, permission_faults
from pipeline.kafka.stamps import Window, window_of
from pipeline.kafka.topic_rules import Use
from pipeline.ports import Clock
from schemas.errors import ConfigError, Fault, TransportError
from schemas.specs import Registry, RouteSpec

_APPEAR_S_MAX = 10.0
"""How long a created topic may take until every broker knows it."""
_MISSING = Refusal(errors.UnknownTopicOrPartitionError)


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What the topics of a registry look like."""

    partitions: Mapping[str, int]
    """Partition count by topic, sources that match a pattern included."""
    message_bytes_max: Mapping[str, int]
    """`max.message.bytes` by topic, for those whose settings could be read."""
    compacted: frozenset[str] = frozenset()
    """Topics that take no record without a key."""
    windows: Mapping[str, Window] = field(default_factory=dict)
    """Which timestamps each topic takes, for those whose settings could be read."""
    created: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


async def ensure_topics(registry: Registry, clock: Clock | None = None) -> TopicReport:
    """Every topic of the registry, checked, and created where the registry says so (the control topic always).

    Raises ConfigError with one fault per topic, group or transactional id that cannot be used; TransportError when the
    cluster does not answer. Where the broker tells less (librdkafka's mock tells no settings), less is checked.
    """
    timeout_s = 3 * registry.kafka.request_timeout_ms / 1000
    try:
        async with asyncio.timeout(timeout_s), open_cluster(registry.kafka) as cluster:
            return await _Check(registry, cluster, clock or SystemClock()).report()
    except TimeoutError as error:
        raise TransportError(f"the topics could not be checked within {timeout_s:g} s") from error


class _Check:
    """One run of the checks: gathers faults and warnings over the steps."""

    def __init__(self, registry: Registry, cluster: Cluster, clock: Clock) -> None:
        self._registry = registry
        self._cluster = cluster
        self._clock = clock
        self._existing: dict[str, int] = {}
        self._uses: dict[str, list[Use]] = {}
        self._settings: dict[str, dict[str, str]] = {}
        self._faults: list[Fault] = []
        self._warnings: list[str] = []
        self._created: list[str] = []

    async def report(self) -> TopicReport:
        """All steps, in order; the faults of all of them together."""
        await self._look()
        await self._complete()
        self._judge()
        await self._ask_permissions()
        if self._faults:
            raise ConfigError(*self._faults)
        await self._compare_ages()
        return TopicReport(
            partitions={topic: self._existing[topic] for topic in self._uses},
            message_bytes_max={
                topic: int(known["max.message.bytes"])
                for topic, known in self._settings.items()
                if "max.message.bytes" in known
            },
            compacted=frozenset(
                topic for topic, known in self._settings.items() if "compact" in known.get("cleanup.policy", "")
            ),
            windows={topic: window_of(known) for topic, known in self._settings.items()},
            created=tuple(self._created),
            warnings=tuple(self._warnings),
        )

    async def _look(self) -> None:
        seen = await self._cluster.topics()
        self._existing = {topic: count for topic, count in seen.items() if isinstance(count, int)}
        self._uses = topic_rules.needs(self._registry, self._existing)
        await self._read_settings([topic for topic in self._uses if topic in self._existing])

    async def _complete(self) -> None:
        """Create what is missing and may be created; a fault for the rest. Dead-letter topics last: their size follows the sources'."""
        missing = await self._missing()
        letters = {route.dead_letter for route in self._registry.routes.values()}
        for group in (missing.keys() - letters, missing.keys() & letters):
            made = await self._create([topic for topic in sorted(group) if self._may_create(topic, missing[topic])])
            for topic in sorted(group - made):
                self._fault(topic, missing[topic])

    async def _missing(self) -> dict[str, Refusal]:
        """Why each topic is not in the list. Asked by name: the list leaves out what this user may not see."""
        absent = [topic for topic in self._uses if topic not in self._existing]
        bad = {topic: fault for topic in absent if (fault := topic_rules.name_fault(topic, self._uses[topic]))}
        self._faults += bad.values()
        wanted = [topic for topic in absent if topic not in bad]
        answer = await self._cluster.topics(wanted) if wanted else {}
        found = {topic: answer.get(topic, _MISSING) for topic in wanted}
        late = {topic: state for topic, state in found.items() if isinstance(state, int)}
        self._existing |= late
        await self._read_settings(late.keys())
        return {topic: state for topic, state in found.items() if isinstance(state, Refusal)}

    def _may_create(self, topic: str, refusal: Refusal) -> bool:
        declared = self._registry.create_topics is not None or topic == self._registry.kafka.control_topic
        return declared and refusal.kind is errors.UnknownTopicOrPartitionError

    async def _create(self, topics: list[str]) -> set[str]:
        """The topics that a verdict was reached for: made, or faulted with what the broker said."""
        if not topics:
            return set()
        for topic, refusal in (await self._cluster.create([self._new(topic) for topic in topics])).items():
            if refusal is None:
                self._created.append(topic)
            else:
                self._fault(topic, refusal, creating=True)
        await self._await_appearance([topic for topic in topics if topic in self._created])
        await self._read_settings([topic for topic in topics if topic in self._created])
        return set(topics)

    async def _await_appearance(self, topics: list[str]) -> None:
        end = self._clock.monotonic() + _APPEAR_S_MAX
        while topics:
            seen = await self._cluster.topics(topics)
            self._existing |= {topic: count for topic, count in seen.items() if isinstance(count, int)}
            topics = [topic for topic in topics if topic not in self._existing]
            if topics and self._clock.monotonic() > end:
                raise TransportError(f"created, but not to be seen within {_APPEAR_S_MAX:g} s: {', '.join(topics)}")
            if topics:
                await self._clock.sleep(0.05)

    async def _read_settings(self, topics: Collection[str]) -> None:
        if not topics:
            return
        for topic, known in (await self._cluster.settings(topics)).items():
            if isinstance(known, Refusal):
                self._warnings.append(
                    f"the settings of topic {topic} are not told ({known.kind.__name__}), so its size and retention "
                    "are not checked; allow DescribeConfigs on it"
                )
            else:
                self._settings[topic] = known

    def _judge(self) -> None:
        server = self._registry.kafka.brokers[0]
        for fault, mild in topic_rules.size_findings(self._registry, self._settings, self._existing, server):
            if mild:
                self._warnings.append(str(fault))
            else:
                self._faults.append(fault)
        self._warnings += topic_rules.setting_warnings(self._registry, self._settings, self._existing)

    async def _ask_permissions(self) -> None:
        if not self._cluster.is_complete:
            return
        permissions = Permissions(self._cluster.client)
        async for fault in permission_faults(self._registry, self._uses, self._existing, permissions):
            self._faults.append(fault)

    async def _compare_ages(self) -> None:
        found = await asyncio.gather(*map(self._compare_age, self._registry.routes.values()))
        self._warnings += [warning for warning in found if warning]

    async def _compare_age(self, route: RouteSpec) -> str:
        """The warning about this route's oldest records, if there is one to give."""
        shortest = retention.shortest_retention(route, self._settings)
        partitions = [
            KafkaPartition(topic, index)
            for topic in topic_rules.sources(route, self._existing)
            for index in range(self._existing[topic])
        ]
        if shortest is None or not partitions:
            return ""
        topic, retention_ms = shortest
        cutoff_ms = max(0, self._clock.time_ms() - retention_ms)
        try:
            options = consumer_options(self._registry.kafka)
            old = await retention.old_partitions(route, partitions, cutoff_ms, options)
        except errors.KafkaError:  # a courtesy: what is wrong here shows when the lanes start
            return ""
        return retention.retention_warning(route, topic, retention_ms, old) if old else ""

    def _new(self, topic: str) -> NewTopic:
        return topic_rules.new_topic(topic, self._registry, self._cluster.brokers, self._settings, self._existing)

    def _fault(self, topic: str, refusal: Refusal, *, creating: bool = False) -> None:
        new, uses = self._new(topic), self._uses[topic]
        self._faults.append(topic_rules.absence_fault(new, uses, refusal, self._registry.kafka, creating=creating))
