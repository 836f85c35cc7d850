"""Change events through sandboxed transformers, exactly once: what a user's own program needs of this package.

Names are imported when they are first used, so that `from pipeline import PipelineDriver` loads no Kafka client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.app import LaneStatus, Pipeline
    from pipeline.memory.driver import PipelineDriver
    from pipeline.memory.driver_lane import LaneHaltedError, Sent
    from pipeline.registry import RegistryBuilder, load_registry

__all__ = [
    "LaneHaltedError",
    "LaneStatus",
    "Pipeline",
    "PipelineDriver",
    "RegistryBuilder",
    "Sent",
    "load_registry",
]

_HOMES = {
    "LaneHaltedError": "pipeline.memory.driver_lane",
    "LaneStatus": "pipeline.app",
    "Pipeline": "pipeline.app",
    "PipelineDriver": "pipeline.memory.driver",
    "RegistryBuilder": "pipeline.registry",
    "Sent": "pipeline.memory.driver_lane",
    "load_registry": "pipeline.registry",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
