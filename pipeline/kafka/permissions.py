"""What this user may do, asked before anything is done.

Kafka has no question for it that aiokafka speaks, so each one is a request that cannot have an effect (a fetch beyond the
end, a produce of nothing, a heartbeat of nobody, an offset for a producer id that cannot be): brokers check permissions
before they look at the rest. Any other answer, or none, counts as allowed; the first real use then says the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Any

from aiokafka import errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddOffsetsToTxnRequest

from pipeline.kafka.topic_rules import Use, sources
from pipeline.kafka.transport import transactional_id_of
from schemas.errors import Fault
from schemas.event import TopicPartition
from schemas.specs import Delivery, KafkaSpec, Registry, RouteSpec

_ANSWER_S_MAX = 5.0
_NEVER = 1 << 62
"""An offset that no partition reaches."""


class Permissions:
    """Asks the brokers behind `client`. Raises nothing: who cannot be asked is taken to allow."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self._client = client

    async def unreadable(self, topics: Collection[str]) -> set[str]:
        """Those of the topics that this user may see but not read."""
        partitions = [(topic, [(0, _NEVER, 1)]) for topic in topics]
        return _denied_topics(await self._ask(FetchRequest(0, 0, 1, 0, partitions)))

    async def unwritable(self, topics: Collection[str]) -> set[str]:
        """Those of the topics that this user may see but not write."""
        partitions = [(topic, [(0, b"")]) for topic in topics]
        return _denied_topics(await self._ask(ProduceRequest(None, -1, 1_000, partitions)))

    async def denies_group(self, group: str) -> bool:
        """Whether this user may not be a member of a consumer group."""
        answer = await self._ask(HeartbeatRequest(group, -1, ""))
        return _kind(answer) is errors.GroupAuthorizationFailedError

    async def denies_transactional_id(self, transactional_id: str, group: str) -> bool:
        """Whether this user may not open transactions under an id."""
        answer = await self._ask(AddOffsetsToTxnRequest(transactional_id, -1, -1, group))
        return _kind(answer) is errors.TransactionalIdAuthorizationFailed

    async def _ask(self, request: Any) -> Any:
        try:
            async with asyncio.timeout(_ANSWER_S_MAX):
                return await self._client.send(self._client.get_random_node(), request)
        except (errors.KafkaError, OSError, ValueError):
            return None


async def permission_faults(
    registry: Registry, uses: Mapping[str, list[Use]], existing: Collection[str], permissions: Permissions
) -> AsyncIterator[Fault]:
    """One fault for each topic, consumer group and transactional id that the routes need and this user does not have."""
    seen = {topic: found for topic, found in uses.items() if topic in existing}
    reads = [topic for topic, found in seen.items() if any(use.reads for use in found)]
    writes = [topic for topic, found in seen.items() if any(use.writes for use in found)]
    for verb, operation, topics in (
        ("read", "Read", await permissions.unreadable(reads)),
        ("write", "Write", await permissions.unwritable(writes)),
    ):
        for topic in sorted(topics):
            what = ", ".join(dict.fromkeys(use.what for use in seen[topic]))
            yield _fault(
                f"no permission to {verb} topic {topic} ({what})",
                seen[topic][0].path,
                registry.kafka,
                f"--operation {operation} --topic {topic}",
            )
    for route in registry.routes.values():
        async for fault in _route_faults(registry, route, existing, permissions):
            yield fault


async def _route_faults(
    registry: Registry, route: RouteSpec, existing: Collection[str], permissions: Permissions
) -> AsyncIterator[Fault]:
    if await permissions.denies_group(route.group):
        problem = f"no permission for consumer group {route.group} (route {route.name})"
        yield _fault(problem, f"routes.{route.name}.group", registry.kafka, f"--operation Read --group {route.group}")
    if registry.delivery is not Delivery.EXACTLY_ONCE:
        return
    for topic in sources(route, existing):
        name = transactional_id_of(TopicPartition(topic, 0), route.group)
        if await permissions.denies_transactional_id(name, route.group):
            options = f"--operation Write --resource-pattern-type prefixed --transactional-id {topic}/"
            problem = f"no permission for transactional id {name} (route {route.name}, exactly-once)"
            yield _fault(problem, f"routes.{route.name}.from", registry.kafka, options)


def _fault(problem: str, path: str, kafka: KafkaSpec, options: str) -> Fault:
    user = kafka.security.username or "<user>"
    command = f"kafka-acls.sh --bootstrap-server {kafka.brokers[0]} --add --allow-principal User:{user} {options}"
    return Fault(problem, f"allow it: {command}", path=path)


def _denied_topics(answer: Any) -> set[str]:
    return {
        topic for topic, code in _topic_codes(answer) if errors.for_code(code) is errors.TopicAuthorizationFailedError
    }


def _topic_codes(answer: Any) -> Iterator[tuple[str, int]]:
    for topic, partitions in answer.topics if answer is not None else ():
        for _, code, *_ in partitions:
            yield topic, code


def _kind(answer: Any) -> type[errors.BrokerResponseError] | None:
    return errors.for_code(answer.error_code) if answer is not None else None
