"""Transformers that are built-ins: their modules, and their configs against what `schemas.builtins` says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from pipeline.registry.document import Document
from pipeline.registry.shape import faults_of
from schemas.builtins import Builtin, builtin
from schemas.errors import Fault
from schemas.specs import Registry, RouteSpec, TransformerSpec


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


def route_faults(document: Document, registry: Registry) -> Iterator[Fault]:
    """Routes that lack a topic which a built-in will name, or that expect change events behind one that ends them."""
    for route in registry.routes.values():
        chain = [registry.transformers[name] for name in route.through if name in registry.transformers]
        for at, spec in enumerate(chain):
            if spec.builtin is not None:
                yield from _unlisted(document, route, spec, builtin(spec.builtin))
                if builtin(spec.builtin).plain:
                    yield from _behind(document, route, spec, chain[at + 1 :])


def _unlisted(document: Document, route: RouteSpec, spec: TransformerSpec, one: Builtin) -> Iterator[Fault]:
    try:
        config = one.config.model_validate(_written(document, spec.name))
    except ValidationError:
        return  # it has its own faults
    wanted = dict.fromkeys((*one.topics(config), *one.topics_for(config, route.sources)))
    missing = [topic for topic in wanted if topic not in route.destinations]
    if missing:
        listed = ", ".join(missing)
        yield document.fault(
            ("routes", route.name, "also_to"),
            f"{spec.name} sends records to {listed}, which the route does not list",
            f"add also_to: [{', '.join((*route.also_to, *missing))}]",
        )


def _behind(
    document: Document, route: RouteSpec, spec: TransformerSpec, rest: list[TransformerSpec]
) -> Iterator[Fault]:
    for further in rest:
        if further.builtin is not None or further.encoding == "event":
            yield document.fault(
                ("routes", route.name, "through"),
                f"{further.name} is sent change events, and behind {spec.name} there are none: builtin {spec.builtin} ends them",
                f"put {spec.name} last",
            )
    if route.format_out != route.format_in:
        yield document.fault(
            ("routes", route.name, "format", "out"),
            f"what {spec.name} emits is no change event, and cannot be converted to {route.format_out.name}",
            f"leave format.out away, or take {spec.name} out of the route",
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
