"""Transformers that are built-ins: their modules, and their configs against what `schemas.builtins` says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from pipeline.registry.document import Document
from pipeline.registry.shape import faults_of
from schemas.builtins import builtin
from schemas.errors import Fault
from schemas.specs import Registry, TransformerSpec


def completed(name: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config as the module is handed it; as it is written where it is refused (see `builtin_faults`)."""
    try:
        return builtin(name).completed(config)
    except ValidationError:
        return config


def builtin_faults(document: Document, registry: Registry) -> Iterator[Fault]:
    """Every key of a built-in's config that is refused, at its place."""
    for spec in registry.transformers.values():
        if spec.builtin is not None:
            yield from _config_faults(document, spec, spec.builtin)
            if spec.encoding == "raw":
                yield document.fault(
                    ("transformers", spec.name, "encoding"),
                    "a built-in transformer reads change events, not raw bytes",
                    "leave encoding out; name the source's format on the route: format: …",
                )


def _config_faults(document: Document, spec: TransformerSpec, name: str) -> Iterator[Fault]:
    written = _written(document, spec.name)
    try:
        builtin(name).config.model_validate(written)
    except ValidationError as error:
        yield from faults_of(document, error, ("transformers", spec.name, "config"), builtin(name).config, written)


def _written(document: Document, name: str) -> dict[str, Any]:
    """The entry's config, as the document has it."""
    config = document.data["transformers"][name].get("config")
    return config if isinstance(config, dict) else {}
