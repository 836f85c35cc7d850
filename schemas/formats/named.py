"""The formats by the names that the registry file knows them by. A format is imported when a route uses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from schemas.formats.format import Format
from schemas.specs import FormatSpec


def _debezium_json(spec: FormatSpec) -> Format:
    from schemas.formats.debezium import DebeziumJson

    return DebeziumJson()


FORMATS: Final[Mapping[str, Callable[[FormatSpec], Format]]] = {
    "debezium-json": _debezium_json,
}
"""Makers that need nothing but what the registry file says."""


def make_format(spec: FormatSpec) -> Format:
    """The format of one side of a route. The name is one of `FORMATS`."""
    return FORMATS[spec.name](spec)
