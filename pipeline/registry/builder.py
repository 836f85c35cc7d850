"""A registry built in code, checked by the very rules that a file is checked by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.registry.document import Document, Steps
from pipeline.registry.load import check_document
from pipeline.registry.shorthand import written_out
from schemas.limits import Limits, format_bytes
from schemas.specs import Registry
from schemas.units import format_duration


class RegistryBuilder:
    """Collects transformers and routes; `build` checks them all. Values are those of the file, in the same units.

    >>> registry = RegistryBuilder()
    >>> registry.register("enrich-order", module="enrich_order.wasm", limits="untrusted", config={"currency": "EUR"})
    >>> registry.route("orders", sources="shop.public.orders", through=["enrich-order"], to="orders.enriched")
    >>> registry.build()

    Does not replace `${VAR}`: code reads its own environment.
    """

    def __init__(self, base: Path | None = None, **settings: Any) -> None:
        """`base` is where relative module paths start (the working directory if None); `settings` are the file's other sections,
        e.g. `kafka={"brokers": "localhost:9092"}`, `delivery="at-least-once"`.
        """
        self._base = base if base is not None else Path()
        self._data: dict[str, Any] = {"version": 1, **settings, "transformers": {}, "routes": {}}

    def register(
        self,
        name: str,
        *,
        module: str | Path | None = None,
        builtin: str | None = None,
        limits: Limits | str | Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        function: str | None = None,
        **settings: Any,
    ) -> RegistryBuilder:
        """Add a transformer. `settings` are the file's other keys: `on_violation="drop"`. Replaces one of the same name."""
        entry = {
            "module": None if module is None else str(module),
            "builtin": builtin,
            "limits": _limits(limits) if isinstance(limits, Limits) else limits,
            "config": config,
            "function": function,
            **settings,
        }
        self._data["transformers"][name] = _given(entry)
        return self

    def register_transformer(self, name: str, module: str | Path, function: str, **settings: Any) -> RegistryBuilder:
        """`register` in its shortest form: a name, a module, and the exported function to call."""
        return self.register(name, module=module, function=function, **settings)

    def route(
        self, name: str, *, sources: str | Sequence[str], through: str | Sequence[str], to: str, **settings: Any
    ) -> RegistryBuilder:
        """Add a route. `sources` is the file's `from`; `settings` are its other keys: `also_to=["orders.flagged"]`."""
        self._data["routes"][name] = _given({"from": sources, "through": through, "to": to, **settings})
        return self

    def build(self) -> Registry:
        """The checked registry. Raises ConfigError with every fault at once."""
        data = _as_in_a_file(self._data)
        document = written_out(Document(data, written=dict(_texts(data, ()))))
        return check_document(document, self._base, None).registry


def _given(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


def _as_in_a_file(value: Any) -> Any:
    """Code's values as a file would hold them: plain mappings, lists and text."""
    if isinstance(value, Mapping):
        return {key: _as_in_a_file(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_in_a_file(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _texts(value: Any, steps: Steps) -> Iterator[tuple[Steps, str]]:
    """What messages may show: the texts and numbers, by place. Secret places are never shown (see `Document.shown`)."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*steps, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*steps, index))
    elif isinstance(value, str | int | float):
        yield steps, str(value)


def _limits(limits: Limits) -> dict[str, Any]:
    return {
        "memory": format_bytes(limits.memory_bytes),
        "deadline": format_duration(limits.deadline_ms),
        "allocation": format_bytes(limits.allocation_bytes_max),
        "fuel": limits.fuel_per_event,
        "output": format_bytes(limits.output_bytes_per_event),
        "log": format_bytes(limits.log_bytes_per_batch),
        "stack": format_bytes(limits.stack_bytes),
        "table_elements": limits.table_elements,
        "tables": limits.tables,
        "instances": limits.instances,
        "memories": limits.memories,
    }
