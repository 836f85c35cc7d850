"""Out of a consumer group on behalf of a member that cannot say so itself any more.

A process that was killed stays a member until its session times out, and whoever joins meanwhile makes the whole group
wait for it. Whoever knows that it is gone can leave for it, and nobody waits.
"""

from __future__ import annotations

from collections.abc import Collection

from aiokafka.client import CoordinationType
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.group import LeaveGroupRequest

from pipeline.kafka.cluster import Cluster, open_cluster
from pipeline.kafka.source import within
from schemas.specs import KafkaSpec

TIMEOUT_S = 5.0
"""For all of it: beyond that the session's own timeout does it as well."""


async def bid_farewell(kafka: KafkaSpec, groups: Collection[str], client_id: str) -> int:
    """Remove every member with this client id, which nobody alive may use, from the groups; how many there were.

    Needs Describe and Read on the groups, as consuming does. Raises TransportError; a member that had left is none.
    """
    return await within(TIMEOUT_S, f"taking {client_id} out of its groups", _leave_all(kafka, groups, client_id))


async def _leave_all(kafka: KafkaSpec, groups: Collection[str], client_id: str) -> int:
    async with open_cluster(kafka) as cluster:
        return sum([await _leave(cluster, group, client_id) for group in groups])


async def _leave(cluster: Cluster, group: str, client_id: str) -> int:
    node = await cluster.client.coordinator_lookup(CoordinationType.GROUP, group)
    described = await cluster.client.send(node, DescribeGroupsRequest([group]))
    orphans = [name for row in described.groups for name, client, *_ in row[5] if client == client_id]
    for name in orphans:
        await cluster.client.send(node, LeaveGroupRequest(group, name))
    return len(orphans)
