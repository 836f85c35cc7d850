"""The registry entry's `config:`, checked against a dataclass: every fault is one message that names the key."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
    """The config cannot be used. Raise it from a dataclass's `__post_init__` for what types cannot say."""


def read(shape: type[T], config: Any) -> T:
    """The config as this dataclass, or unchanged for `dict` and `Any`. Raises ConfigError with the first fault."""
    return typing.cast("T", _checked(shape, config, "config"))


def _checked(shape: Any, value: Any, place: str) -> Any:
    if shape is Any or shape is object:
        return value
    if dataclasses.is_dataclass(shape):
        return _dataclass(shape, value, place)
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if origin in (types.UnionType, typing.Union):
        return _union(arguments, value, place)
    if origin is typing.Literal:
        return _one_of(arguments, value, place)
    if isinstance(shape, type) and issubclass(shape, Enum):
        return shape(_one_of([one.value for one in shape], value, place))
    if (origin or shape) in (list, tuple, set, frozenset):
        return _items(origin or shape, arguments, value, place)
    if (origin or shape) in (dict, Mapping, typing.get_origin(typing.Mapping[str, Any])):
        return _mapping(arguments, value, place)
    return _plain(shape, value, place)


def _dataclass(shape: Any, value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: keys and values were expected, not {_shown(value)}")
    fields = {field.name: field for field in dataclasses.fields(shape) if field.init}
    for name in value:
        if name not in fields:
            close = difflib.get_close_matches(name, fields, 1)
            hint = f"did you mean `{close[0]}`?" if close else f"it has {', '.join(fields) or 'no keys'}"
            raise ConfigError(f"{place}.{name}: there is no such key; {hint}")
    types_of = typing.get_type_hints(shape)
    made = {name: _checked(types_of[name], item, f"{place}.{name}") for name, item in value.items()}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in made:
            raise ConfigError(f"{place}.{name}: is missing")
    return shape(**made)


def _union(arguments: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    choices = [one for one in arguments if one is not type(None)]
    fault = ConfigError(f"{place}: {_shown(value)} fits none of its types")
    for choice in choices:
        try:
            return _checked(choice, value, place)
        except ConfigError as error:
            fault = error if len(choices) == 1 else fault
    raise fault


def _one_of(choices: Any, value: Any, place: str) -> Any:
    if value not in choices:
        raise ConfigError(f"{place}: {_shown(value)} is none of {', '.join(map(str, choices))}")
    return value


def _items(kind: Any, arguments: tuple[Any, ...], value: Any, place: str) -> Any:
    if not isinstance(value, list):
        raise ConfigError(f"{place}: a list was expected, not {_shown(value)}")
    shape = arguments[0] if arguments else Any
    return kind(_checked(shape, item, f"{place}[{at}]") for at, item in enumerate(value))


def _mapping(arguments: tuple[Any, ...], value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: keys and values were expected, not {_shown(value)}")
    shape = arguments[1] if len(arguments) == 2 else Any
    return {name: _checked(shape, item, f"{place}.{name}") for name, item in value.items()}


def _plain(shape: Any, value: Any, place: str) -> Any:
    if shape is Decimal:
        return _decimal(value, place)
    if shape is float and type(value) is int:
        return float(value)
    if type(value) is shape or (shape is None and value is None):
        return value
    name = _NAMES.get(shape, getattr(shape, "__name__", str(shape)))
    raise ConfigError(f"{place}: {name} was expected, not {_shown(value)}")


_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _decimal(value: Any, place: str) -> Decimal:
    """From a text or a whole number. Others may not be what was written."""
    if isinstance(value, str) or type(value) is int:
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if number.is_finite():
            return number
    raise ConfigError(f'{place}: a decimal number in quotes was expected, such as "10000.00", not {_shown(value)}')


def _shown(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(value if len(value) <= 80 else value[:80] + "…")
        case dict():
            return "keys and values"
        case list():
            return "a list"
    return str(value)
