"""The clusters and the sandbox of the contract suite."""

from __future__ import annotations

from tests.contracts.conftest import embedded_cluster, kafka_cluster, sandbox

__all__ = ["embedded_cluster", "kafka_cluster", "sandbox"]
