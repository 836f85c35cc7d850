"""The registry: a YAML file, or code, that declares transformers and routes; checked as a whole before anything starts."""

from pipeline.registry.builder import RegistryBuilder
from pipeline.registry.load import (
    Located,
    load_checked,
    load_located,
    load_registry,
    load_transformers,
    registry_schema,
)

__all__ = [
    "Located",
    "RegistryBuilder",
    "load_checked",
    "load_located",
    "load_registry",
    "load_transformers",
    "registry_schema",
]
