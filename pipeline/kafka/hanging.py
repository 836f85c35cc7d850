"""Finds transactions of a lane that the brokers never ended, although they said so.

When a lane opens its producer, InitProducerId ends whatever its predecessor left open and waits until the markers are written.
A broker that forgot them all the same (see docs/client-limits.md, "The broker") leaves records that belong to nothing: the
producer's next commit would make them visible, beside the events' second way through. DescribeProducers (KIP-664, Kafka 2.8)
tells. It needs Read on the topics written to; where that is not allowed, or the broker is older, nothing is checked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from schemas.errors import TransportError

_NONE = -1


class DescribeProducersResponse_v0(Response):  # type: ignore[misc]  # noqa: N801 - as the client names its own
    """Who writes to a partition, by its leader."""

    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        (
                            "active_producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("current_txn_start_offset", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeProducersRequest_v0(RequestStruct):  # type: ignore[misc]  # noqa: N801
    """See the response."""

    FLEXIBLE_VERSION = True
    API_KEY = 61
    API_VERSION = 0
    RESPONSE_TYPE = DescribeProducersResponse_v0
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("partition_indexes", CompactArray(Int32)),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeProducersRequest(Request[DescribeProducersRequest_v0]):  # type: ignore[misc]
    """Of these partitions of one topic."""

    API_KEY = 61

    def __init__(self, topic: str, partitions: Collection[int]) -> None:
        self._topic = topic
        self._partitions = list(partitions)

    def build(self, request_struct_class: type[DescribeProducersRequest_v0]) -> DescribeProducersRequest_v0:
        """The request as it is sent."""
        return request_struct_class([(self._topic, self._partitions, {})], {})


async def refuse_hanging(producer: AIOKafkaProducer, topic: str, partitions: Collection[int]) -> None:
    """Raises TransportError, which no second try helps, when records of this producer's id are part of a transaction that it
    did not begin. The producer was just started and has written nothing."""
    for leader, led in _by_leader(producer, topic, partitions).items():
        try:
            answer = await producer.client.send(leader, DescribeProducersRequest(topic, led))
        except (IncompatibleBrokerVersion, NotImplementedError):  # the broker cannot tell
            continue
        identity = producer._txn_manager.producer_id  # noqa: SLF001 - there is no public name
        for partition, offset in _open(answer, identity):
            raise TransportError(
                f"{topic}/{partition} holds records of an earlier transaction of this lane, from offset {offset}, that Kafka never "
                "ended: the next commit would make them visible beside their repetition; abort it with `kafka-transactions.sh "
                f"--bootstrap-server … abort --topic {topic} --partition {partition} --start-offset {offset}`, "
                "then release the lane with `penstock resume`",
                retriable=False,
                topic=topic,
            )


def _by_leader(producer: AIOKafkaProducer, topic: str, partitions: Collection[int]) -> Mapping[int, list[int]]:
    """Partitions by the broker that leads them; those without a leader now are left out."""
    found = defaultdict[int, list[int]](list)
    for index in sorted(partitions):
        leader = producer.client.cluster.leader_for_partition(KafkaPartition(topic, index))
        if leader is not None and leader != _NONE:
            found[leader].append(index)
    return found


def _open(answer: Any, producer_id: int) -> Iterator[tuple[int, int]]:
    """Partition and first offset of each transaction of this producer that is open; partitions with an error say nothing."""
    for _, partitions, *_ in answer.topics:
        for index, code, _, producers, *_ in partitions:
            for identity, *_, offset, _ in () if code else producers:
                if identity == producer_id and offset != _NONE:
                    yield index, offset
