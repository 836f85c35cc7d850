"""How a group's leader deals the partitions of an atomic route out: all of them to one member, and the others stand by."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


class AllToOne(RangePartitionAssignor):  # type: ignore[misc]
    """Everything to the member with the first id. A group takes no member that knows only other ways of dealing out."""

    name = "penstock-all-to-one"

    @classmethod
    def assign(
        cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """See the base class."""
        first = min(members)
        topics = sorted({topic for metadata in members.values() for topic in metadata.subscription})
        everything = [(topic, sorted(cluster.partitions_for_topic(topic) or ())) for topic in topics]
        return {
            member: ConsumerProtocolMemberAssignment(cls.version, everything if member == first else [], b"")
            for member in members
        }
