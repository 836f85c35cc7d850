"""What is known of one built-in transformer without running it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.shape import Shape


def _none(_: Any) -> Iterable[str]:
    return ()


def _none_for(_: Any, __: Sequence[str]) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Builtin:
    """A built-in transformer."""

    name: str
    summary: str
    """One sentence: what it does to an event."""
    config: type[Shape]
    example: str
    """A registry entry's `config`, as YAML."""
    before: Mapping[str, Any]
    """A record as `penstock try` reads it (`value`, and `key` or `headers` where they matter)."""
    after: tuple[Mapping[str, Any], ...]
    """The records that `example` makes of it; none when it is dropped."""
    notes: str = ""
    """What a reader must know besides: paragraphs of Markdown."""
    plain: bool = False
    """What it emits is no change event any more: nothing that wants one may follow, and no format can convert it."""
    capabilities: str = ""
    """The registry entry's `capabilities` that `example` needs, as YAML."""
    topics: Callable[[Any], Iterable[str]] = _none
    """Of a checked config, the topics that it may name: a route that uses it must list them in `also_to`."""
    topics_for: Callable[[Any, Sequence[str]], Iterable[str]] = _none_for
    """The same of a checked config and the topics that the route reads, as far as they are known."""

    def completed(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The config as the module is handed it: checked, and with every default written out. Raises pydantic's ValidationError."""
        return self.config.model_validate(dict(config)).model_dump(mode="json", by_alias=True)
