"""What must hold between a route's formats and the transformers that it goes through."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from schemas.errors import Fault
from schemas.formats.named import make_format
from schemas.specs import Registry, RouteSpec


def format_faults(registry: Registry, decoded: Collection[str]) -> Iterator[Fault]:
    """Routes whose formats cannot do what is asked of them; `decoded` are the names of transformers that are sent change events."""
    for route in registry.routes.values():
        yield from _undecodable(route, decoded)


def _undecodable(route: RouteSpec, decoded: Collection[str]) -> Iterator[Fault]:
    name, path = route.format_in.name, f"routes.{route.name}.format"
    if make_format(route.format_in).is_change:
        return
    for transformer in route.through:
        if transformer in decoded:
            yield Fault(
                f"values in the format {name} are no change events, and {transformer} is sent change events",
                "name the format that the sources are written in, or set encoding: raw if the module can do with bytes",
                path=path,
            )
    if route.dedupe is not None:
        yield Fault(
            f"values in the format {name} are no change events: there are no members to compare",
            "name the format that the sources are written in",
            path=f"routes.{route.name}.dedupe",
        )
    if route.contracts:
        yield Fault(
            f"values in the format {name} are no change events: there are no rows to hold to a contract",
            "name the format that the sources are written in",
            path=f"routes.{route.name}.contract",
        )
    if route.format_out != route.format_in:
        yield Fault(
            f"values in the format {name} cannot be converted to {route.format_out.name}",
            "name the format that the sources are written in, or use one format for both sides",
            path=path,
        )
