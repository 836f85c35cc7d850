"""Plain data against the file's shape: every fault at once, in words.

Where a value is refused it is set aside and the rest is looked at again, so that one typing error does not hide what is wrong
elsewhere: later checks see a registry that lacks the refused parts, and the faults are reported together.
"""

from __future__ import annotations

import difflib
import itertools
import types
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from pipeline.registry.document import Document, Steps, quoted
from schemas.errors import Fault
from schemas.fields import REFUSED, Name
from schemas.registry import RegistryFile, RouteEntry, TransformerEntry

_ROUNDS_MAX = 6
_CHOICES_MAX = 200
"""Comparing costs microseconds a pair; a hostile file could have thousands of both."""

_PLAIN = {
    "string_type": ("{shown} is not text", "put it in quotes"),
    "string_too_short": ("is empty", "write a value or leave the key out"),
    "string_too_long": ("is longer than 4096 characters", "shorten it"),
    "model_type": ("is not a mapping", "write `key: value` lines below it"),
    "dict_type": ("is not a mapping", "write `key: value` lines below it"),
    "tuple_type": ("is not a list", "write [one, two]"),
    "list_type": ("is not a list", "write [one, two]"),
    "too_short": ("is empty", "name at least one"),
}
_EXAMPLES = {
    "version": "version: 1",
    "transformers": "transformers: {mask-pii: {module: modules/mask_pii.wasm}}",
    "routes": "routes: {orders: {from: shop.public.orders, through: [mask-pii], to: orders.masked}}",
    "module": "module: modules/mask_pii.wasm, or builtin: mask",
    "from": "from: shop.public.orders",
    "through": "through: [mask-pii]",
    "to": "to: orders.masked",
    "hosts": "hosts: [api.example.com]",
    "connection": "connection: shop",
    "names": "names: [TZ]",
    "value": "value: Bearer ${TOKEN}",
}


def check_shape(document: Document, silent: Iterable[Steps] = ()) -> tuple[RegistryFile | None, list[Fault]]:
    """The file as typed entries, as much of it as can be used, and every fault of its shape.

    Values at `silent` places were refused before: they are set aside without another fault. None when nothing can be used.
    """
    data = _copied(document.data)
    if not isinstance(data, dict):
        fault = document.fault((), "is not a mapping", "begin with version: 1; the format is in docs/registry.md")
        return None, [fault]
    already = set(silent)
    for steps in already:
        _set_aside(data, steps)
    try:
        return RegistryFile.model_validate(data), []
    except ValidationError as error:
        details = _own(error.errors(include_url=False, include_input=False))
    faults = [_fault(document, steps, detail) for steps, detail in _placed(details, data) if steps not in already]
    return _remainder(data, details), faults


def faults_of(
    document: Document, error: ValidationError, below: Steps, shape: type[BaseModel], data: Any
) -> Iterator[Fault]:
    """The faults of what stands `below`: `data`, which is no `shape`."""
    for detail in _own(error.errors(include_url=False, include_input=False)):
        yield _fault(document, (*below, *_place(detail, data)), detail, shape, len(below))


class _Remainder(RegistryFile):
    """What is left of a file after the refused parts were set aside, however little that is."""

    version: Literal[1] = 1
    transformers: dict[Name, TransformerEntry] = Field(default_factory=dict)
    routes: dict[Name, RouteEntry] = Field(default_factory=dict)


def _remainder(data: dict[str, Any], details: list[ErrorDetails]) -> RegistryFile | None:
    for _ in range(_ROUNDS_MAX):
        for steps, detail in _placed(details, data):
            _set_aside(data, steps[:-1] if detail["type"] == "missing" else steps)
        try:
            return _Remainder.model_validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
    return None


def _own(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that are too short only because their items were refused."""
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(other is not detail and other["loc"][: len(detail["loc"])] == detail["loc"] for other in details)
    ]


def _placed(details: Iterable[ErrorDetails], data: Any) -> list[tuple[Steps, ErrorDetails]]:
    return [(_place(detail, data), detail) for detail in details]


def _copied(value: Any) -> Any:
    """The same mappings and lists anew; what they hold is shared (code may have put live objects there)."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that was probably meant."""
    known = list(itertools.islice(choices, _CHOICES_MAX))
    found = difflib.get_close_matches(word[:100], known, n=1, cutoff=0.6)
    if not found:
        folded = {choice.lower().replace("_", "-"): choice for choice in known}
        found = [folded[key] for key in (word[:100].lower().replace("_", "-"),) if key in folded]
    return found[0] if found else None


def did_you_mean(word: object, choices: Iterable[str]) -> str:
    """`did you mean 'x'?`, or what there is to choose from."""
    known = list(choices)
    guess = nearest(word, known) if isinstance(word, str) else None
    listed = ", ".join(quoted(name)[1:-1] for name in known[:20])  # a user's own names, too: they may hold anything
    return (
        f"did you mean {quoted(guess)}? (one of: {listed})" if guess else f"choose one of: {listed}" if listed else ""
    )


def _fault(
    document: Document, steps: Steps, detail: ErrorDetails, shape: type[BaseModel] = RegistryFile, depth: int = 0
) -> Fault:
    """`shape` is what should stand below the first `depth` steps."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == REFUSED:
        return document.fault(steps, context["problem"], context["remedy"], at_key=detail["loc"][-1:] == ("[key]",))
    if kind == "missing":
        remedy = f"add {_EXAMPLES.get(str(steps[-1]), f'{steps[-1]}: …')}"
        return document.fault(steps, f"'{steps[-1]}' is missing", remedy, at_key=True)
    if kind == "extra_forbidden":
        return document.fault(
            steps, "unknown key", did_you_mean(steps[-1], keys_at(shape, steps[depth:-1])), at_key=True
        )
    if kind in {"enum", "literal_error"}:
        choices = _choices(str(context["expected"]))
        return document.fault(
            steps, "{shown} is not one of the choices", did_you_mean(_value_at(document.data, steps), choices)
        )
    problem, remedy = _PLAIN.get(kind, ("is not what belongs here", "see docs/registry.md"))
    return document.fault(steps, problem, remedy)


def _choices(expected: str) -> list[str]:
    """`'a', 'b' or 'c'` as a list; the text is pydantic's, made of our own enums."""
    return [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",") if part.strip()]


def _place(detail: ErrorDetails, data: Any) -> Steps:
    """The error's place in the file: without pydantic's marks, and not below a text that stood for a list or a mapping."""
    steps = tuple(step for step in detail["loc"] if step != "[key]")
    if detail["type"] in {"missing", "extra_forbidden"}:
        return steps
    return steps[: _depth_of(data, steps)]


def _depth_of(data: Any, steps: Steps) -> int:
    for depth, step in enumerate(steps):
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return depth
        if not isinstance(data, dict | list):
            return depth + 1
    return len(steps)


def _value_at(data: Any, steps: Steps) -> Any:
    for step in steps:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _set_aside(data: Any, steps: Steps) -> None:
    """Remove what stands there. A list's item takes the whole list with it: the others would move to wrong places."""
    while steps and isinstance(steps[-1], int):
        steps = steps[:-1]
    if not steps:
        return
    holder = _value_at(data, steps[:-1])
    if isinstance(holder, dict):
        holder.pop(steps[-1], None)


def keys_at(model: Any, steps: Steps) -> list[str]:
    """The keys that may stand below this place."""
    for step in steps:
        model = _below(model, step)
    found = _model(model)
    return [field.alias or name for name, field in found.model_fields.items()] if found else []


def _below(annotation: Any, step: str | int) -> Any:
    found = _model(annotation)
    if found is not None:
        fields = {field.alias or name: field for name, field in found.model_fields.items()}
        return fields[step].annotation if step in fields else None
    for part in _parts(annotation):
        if get_origin(part) is dict:
            return get_args(part)[1]
        if get_origin(part) is tuple and isinstance(step, int):
            return get_args(part)[0]
    return None


def _model(annotation: Any) -> type[BaseModel] | None:
    for part in _parts(annotation):
        if isinstance(part, type) and get_origin(part) is None and issubclass(part, BaseModel):
            return part
    return None


def _parts(annotation: Any) -> Iterator[Any]:
    """The members of a union, without their `Annotated` wrapping."""
    if hasattr(annotation, "__metadata__"):
        yield from _parts(annotation.__origin__)
    elif get_origin(annotation) in {Union, types.UnionType}:
        for part in get_args(annotation):
            yield from _parts(part)
    else:
        yield annotation
