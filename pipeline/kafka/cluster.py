"""What a cluster says about its topics, and asking it to make one. Looks only: no topic is made by being looked at.

aiokafka's admin client lets a metadata request create what it asks for, raises nothing when a creation fails, and falls
over clusters without a controller (librdkafka's mock has none); so the requests are sent one level below it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from pipeline.kafka.client import admin_options
from pipeline.kafka.errors import translate
from schemas.specs import KafkaSpec

SETTINGS = (
    "max.message.bytes",
    "retention.ms",
    "cleanup.policy",
    "message.timestamp.type",
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
    "message.timestamp.difference.max.ms",  # before Kafka 3.6
)
_TOPIC = 2  # resource type of the Kafka protocol
_MEET_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class NewTopic:
    """A topic to be made."""

    name: str
    partitions: int
    replication_factor: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the broker said instead of doing it."""

    kind: type[errors.BrokerResponseError]
    message: str = ""

    def __str__(self) -> str:
        return f"{self.kind.__name__}: {self.message}" if self.message else self.kind.__name__


class Cluster:
    """An open connection to the cluster; see `open_cluster`. Methods raise TransportError."""

    def __init__(self, client: AIOKafkaClient, timeout_ms: int) -> None:
        self._client = client
        self._timeout_ms = timeout_ms
        self.is_complete = True
        """False once the broker turned out to be one that cannot tell a topic's settings (librdkafka's mock)."""

    @property
    def client(self) -> AIOKafkaClient:
        """The client underneath, to ask what this class has no question for."""
        return self._client

    @property
    def brokers(self) -> int:
        """How many brokers are up."""
        return len(self._client.cluster.brokers())

    async def topics(self, names: Collection[str] | None = None) -> dict[str, int | Refusal]:
        """Partition count of each of these topics, or why there is none; without names, of all that this user may see."""
        answer = await self._send(MetadataRequest(None if names is None else sorted(names), False))
        found: dict[str, int | Refusal] = {}
        for topic in answer.to_object()["topics"]:
            kind = errors.for_code(topic["error_code"])
            if kind is errors.NoError or kind is errors.LeaderNotAvailableError:
                if names is not None or not topic["is_internal"]:
                    found[topic["topic"]] = len(topic["partitions"])
            else:
                found[topic["topic"]] = Refusal(kind)
        return found

    async def settings(self, names: Collection[str]) -> dict[str, dict[str, str] | Refusal]:
        """The `SETTINGS` of each topic, or why they are not told; of none when the broker cannot tell settings at all."""
        resources = [(_TOPIC, name, list(SETTINGS)) for name in sorted(names)]
        try:
            answer = await self._send(DescribeConfigsRequest(resources, include_synonyms=False))
        except errors.IncompatibleBrokerVersion:
            self.is_complete = False
            return {}
        return {name: _settings(code, said, entries) for code, said, _, name, entries in answer.resources}

    async def create(self, topics: Collection[NewTopic]) -> dict[str, Refusal | None]:
        """Make these topics; each one's refusal, or None. One that exists by now counts as made."""
        wanted: list[tuple[Any, ...]] = [
            (t.name, t.partitions, t.replication_factor, [], list(t.settings.items())) for t in topics
        ]
        try:
            answer = await self._send(CreateTopicsRequest(wanted, self._timeout_ms, False), to_controller=True)
        except errors.IncompatibleBrokerVersion:
            return await self._summon([topic.name for topic in topics])
        return {name: _creation_refusal(code, *said) for name, code, *said in answer.topic_errors}

    async def _summon(self, names: list[str]) -> dict[str, Refusal | None]:
        """A broker that cannot create on request (librdkafka's mock) may still create what is asked for."""
        answer = await self._send(MetadataRequest(names))
        return {topic["topic"]: _creation_refusal(topic["error_code"]) for topic in answer.to_object()["topics"]}

    async def _send(self, request: Any, *, to_controller: bool = False) -> Any:
        try:
            await self._met()
            controller = self._client.cluster.controller if to_controller else None
            node = controller.nodeId if controller is not None else self._client.get_random_node()
            return await self._client.send(node, request)
        except errors.IncompatibleBrokerVersion:
            raise
        except Exception as error:
            raise translate(error) from error

    async def _met(self) -> None:
        """A broker that has just started may know of no broker yet, itself included."""
        ends = time.monotonic() + self._timeout_ms / 1000
        while not self._client.cluster.brokers() and time.monotonic() < ends:
            await asyncio.sleep(_MEET_AGAIN_S)
            await self._client.force_metadata_update()


@contextlib.asynccontextmanager
async def open_cluster(kafka: KafkaSpec) -> AsyncIterator[Cluster]:
    """A cluster to ask. Raises ConfigError for bad settings, TransportError when no broker answers."""
    client = AIOKafkaClient(**admin_options(kafka))
    try:
        try:
            await client.bootstrap()
        except Exception as error:
            raise translate(error) from error
        yield Cluster(client, kafka.request_timeout_ms)
    finally:
        await client.close()


async def learn_topics(consumer: AIOKafkaConsumer, topics: Collection[str]) -> None:
    """Let a consumer look these topics up now. Asked for the offsets of one it does not know, it would do so too, and then
    sleep 100 ms."""
    await consumer._client.set_topics(list(topics))  # noqa: SLF001 - there is no public way but to subscribe


def _settings(code: int, said: str | None, entries: Collection[tuple[Any, ...]]) -> dict[str, str] | Refusal:
    kind = errors.for_code(code)
    if kind is not errors.NoError:
        return Refusal(kind, said or "")
    return {entry[0]: entry[1] for entry in entries if entry[1] is not None}


def _creation_refusal(code: int, said: str | None = None) -> Refusal | None:
    kind = errors.for_code(code)
    return None if kind in (errors.NoError, errors.TopicAlreadyExistsError) else Refusal(kind, said or "")
