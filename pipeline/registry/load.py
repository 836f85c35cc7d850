"""From a file, or from code, to a checked registry. `check` and `run` both load here, so that what passes one passes the other.

The steps: read (one fault if it is no YAML), fill in variables, check the shape, resolve, check what must hold between values
and the files that are named. All faults of all steps are raised together, in the order of the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.registry.builtins import builtin_faults, route_faults
from pipeline.registry.cluster import cluster_faults
from pipeline.registry.document import Document, Steps
from pipeline.registry.environ import substitute
from pipeline.registry.files import file_faults
from pipeline.registry.formats import format_faults
from pipeline.registry.reading import read_document
from pipeline.registry.relations import relation_faults
from pipeline.registry.resolve import resolve
from pipeline.registry.schema_registry import schema_registry_faults
from pipeline.registry.shape import check_shape
from pipeline.registry.shorthand import written_out
from pipeline.registry.topology import topology_faults
from schemas.errors import ConfigError, Fault, ModuleFault
from schemas.registry import RegistryFile
from schemas.specs import Registry, TransformerSpec

_INTERWOVEN = frozenset({"limits", "batch", "security", "features"})
"""Sections whose values depend on each other: where one was refused, the others' relations say nothing."""


class Loaded(Protocol):
    """What is looked at in what a sandbox loaded."""

    @property
    def encoding(self) -> str:
        """How values are handed over: as the registry says, else as the module does."""
        ...


_Loaded_co = TypeVar("_Loaded_co", bound=Loaded, covariant=True)


class ModuleLoader(Protocol[_Loaded_co]):
    """What `load_checked` needs of a sandbox."""

    def load(self, spec: TransformerSpec) -> _Loaded_co:
        """The transformer, ready to run. Raises ModuleFault when the module itself is at fault."""
        ...


@dataclass(frozen=True, slots=True)
class Located:
    """A registry and where each of its parts was written."""

    registry: Registry
    document: Document

    def fault(self, *steps: str | int, problem: str, remedy: str = "") -> Fault:
        """A fault at this place of the file, e.g. `fault("transformers", "mask-pii", "module", problem=…)`."""
        return self.document.fault(steps, problem, remedy)

    def placed(self, fault: Fault) -> Fault:
        """A fault that knows its dotted path but not its place in the file (a client's, the sandbox's), put there."""
        return self.document.fault(tuple(fault.path.split(".")), fault.problem, fault.remedy)


def load_registry(
    path: Path | str,
    *,
    environ: Mapping[str, str] = os.environ,
    brokers: str | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Registry:
    """The registry of this file. Raises ConfigError with every fault at once.

    `overrides` replaces values before they are checked, by dotted path (`{"routes.orders.start": "latest"}`); `brokers` is short
    for `kafka.brokers`. Overrides are taken literally: `${VAR}` in them is not replaced.
    """
    return load_located(path, environ=environ, brokers=brokers, overrides=overrides).registry


def load_located(
    path: Path | str,
    *,
    environ: Mapping[str, str] = os.environ,
    brokers: str | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Located:
    """As `load_registry`, with the places of everything."""
    path = Path(path)
    document = written_out(read_document(path))
    changes = dict(overrides or {}) | ({"kafka.brokers": brokers} if brokers is not None else {})
    document, faults = substitute(_without(document, changes), environ)
    document = _with(document, changes)
    return check_document(document, path.parent, path, faults)


def load_checked(
    path: Path | str,
    sandbox: ModuleLoader[_Loaded_co],
    *,
    environ: Mapping[str, str] = os.environ,
    brokers: str | None = None,
    overrides: Mapping[str, object] | None = None,
) -> tuple[Registry, dict[str, _Loaded_co]]:
    """The registry, and each of its transformers loaded. Raises ConfigError, also for every module that is itself at fault."""
    located = load_located(path, environ=environ, brokers=brokers, overrides=overrides)
    return located.registry, load_transformers(located, sandbox)


def load_transformers(located: Located, sandbox: ModuleLoader[_Loaded_co]) -> dict[str, _Loaded_co]:
    """Every transformer of a checked registry, loaded.

    Raises ConfigError with a fault for each module that is itself at fault, or whose settings this machine cannot give it.
    """
    loaded: dict[str, _Loaded_co] = {}
    faults: list[Fault] = []
    for name, spec in located.registry.transformers.items():
        try:
            loaded[name] = sandbox.load(spec)
        except ModuleFault as fault:
            faults.append(
                located.fault("transformers", name, spec.origin_key, problem=fault.problem, remedy=fault.remedy)
            )
        except ConfigError as error:
            faults += [located.placed(fault) for fault in error.faults]
    decoded = {name for name, transformer in loaded.items() if transformer.encoding == "event"}
    faults += [located.placed(fault) for fault in format_faults(located.registry, decoded)]
    if faults:
        raise ConfigError(*faults)
    return loaded


def check_document(
    document: Document, base: Path, path: Path | None, known: Mapping[Steps, Fault] | None = None
) -> Located:
    """A filled-in document, checked and resolved; relative paths start at `base`. `known` are faults found before, by place."""
    known = known or {}
    file, faults = check_shape(document, known)
    faults = [*known.values(), *faults]
    if file is not None:
        registry = resolve(file, base, path)
        faults += _unhidden(_deeper_faults(document, registry), faults)
    if faults:
        raise ConfigError(*_ordered(faults))
    assert file is not None
    return Located(registry, document)


def _deeper_faults(document: Document, registry: Registry) -> Iterable[Fault]:
    yield from builtin_faults(document, registry)
    yield from route_faults(document, registry)
    yield from relation_faults(document, registry, _declared(document))
    yield from topology_faults(document, registry)
    yield from cluster_faults(document, registry)
    yield from file_faults(document, registry)
    yield from schema_registry_faults(document, registry)


def _declared(document: Document) -> list[str]:
    """All names of transformers, those of refused entries too: a route that uses one is not at fault."""
    section = document.data.get("transformers")
    return [name for name in section if isinstance(name, str)] if isinstance(section, dict) else []


def _unhidden(found: Iterable[Fault], before: Iterable[Fault]) -> list[Fault]:
    """Without faults at places (or around or below places) that were refused before: those may only be consequences."""
    refused = {fault.path for fault in before}
    around = {outer for path in refused for outer in _outer(path)}
    sections = {_section(path) for path in refused if _section(path).rpartition(".")[2] in _INTERWOVEN}

    def is_consequence(path: str) -> bool:
        return path in around or path in refused or not refused.isdisjoint(_outer(path)) or _section(path) in sections

    return [fault for fault in found if not is_consequence(fault.path)]


def _outer(path: str) -> list[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c[0]`."""
    return [path[: found.start()] for found in re.finditer(r"[.\[]", path)]


def _section(path: str) -> str:
    return path.rpartition(".")[0]


def _ordered(faults: Iterable[Fault]) -> list[Fault]:
    return sorted(dict.fromkeys(faults), key=lambda fault: (fault.line or 0, fault.column or 0, fault.path))


def _steps(dotted: str) -> tuple[str, ...]:
    return tuple(dotted.split("."))


def _without(document: Document, changes: Mapping[str, object]) -> Document:
    """The document without the values that are to be replaced: their variables need not exist."""
    data = document.data
    for dotted in changes:
        data = _changed(data, _steps(dotted), None)
    return replace(document, data=data)


def _with(document: Document, changes: Mapping[str, object]) -> Document:
    data, written = document.data, dict(document.written)
    for dotted, value in changes.items():
        steps = _steps(dotted)
        data = _changed(data, steps, value)
        written = {place: text for place, text in written.items() if place[: len(steps)] != steps}
        if isinstance(value, str):
            written[steps] = value
    return replace(document, data=data, written=written)


def _changed(data: Any, steps: tuple[str, ...], value: object) -> Any:
    """The data with one value replaced; mappings on the way are made when absent, and nothing is replaced below a scalar."""
    if not steps:
        return value
    if not isinstance(data, dict):
        return data if data is not None else _changed({}, steps, value)
    return data | {steps[0]: _changed(data.get(steps[0]), steps[1:], value)}


def registry_schema() -> dict[str, Any]:
    """The JSON Schema of the registry file, for editors; generated from the types."""
    schema = RegistryFile.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "penstock registry"
    return {key: _for_editors(value) for key, value in schema.items()}


def _for_editors(schema: Any) -> Any:
    """Choices may also come from the environment, and a mapping by name takes no other names."""
    if isinstance(schema, list):
        return [_for_editors(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _for_editors(value) for key, value in schema.items() if key != "default" or value is not None}
    if "patternProperties" in closed:
        closed["additionalProperties"] = False
    if closed.get("type") == "string" and isinstance(closed.get("enum"), list):
        choices = {key: closed.pop(key) for key in ("type", "enum")}
        closed["anyOf"] = [choices, {"type": "string", "pattern": r"\$\{"}]
    return closed
