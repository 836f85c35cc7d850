"""Schema registries: the client behind `schemas.formats.schemas.Schemas`, and what routes need of it before they start."""

from __future__ import annotations

from pipeline.schema_registry.formats import NEEDS_REGISTRY, RouteSchemas, needs_registry, open_schemas, reading, settle
from pipeline.schema_registry.missing import missing_extra

__all__ = ["NEEDS_REGISTRY", "RouteSchemas", "missing_extra", "needs_registry", "open_schemas", "reading", "settle"]
