"""The shape of `guest.toml`, and its faults in words: all at once, each with its line and what to do."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from pipeline.registry.document import Document, Spot, Steps
from pipeline.registry.shape import did_you_mean
from schemas.capabilities import WANTED
from schemas.errors import ConfigError, Fault
from schemas.fields import REFUSED, refuse, size

FILE_NAME = "guest.toml"
FILE_BYTES_MAX = 256 << 10
NAME_PATTERN = r"[a-z][a-z0-9_-]{0,62}"
VERSION_PATTERN = r"[0-9]+(\.[0-9]+){0,3}([-+][0-9A-Za-z.+-]+)?"
MEMORY_BYTES_MAX = 256 << 20
"""What a guest declares as its most unless it says otherwise: the largest profile's limit. The host's own limit is what holds."""

_EXAMPLES = {
    "name": 'name = "shout"',
    "version": 'version = "0.1.0"',
    "language": 'language = "c"',
    "module": 'module = "build/shout.wasm"',
}
_PLAIN = {
    "string_type": ("{shown} is not text", "put it in quotes"),
    "bool_type": ("{shown} is neither true nor false", "write true or false"),
    "int_type": ("{shown} is not a whole number", "write digits, without quotes"),
    "tuple_type": ("is not a list", 'write ["one", "two"]'),
    "list_type": ("is not a list", 'write ["one", "two"]'),
    "dict_type": ("is not a table", "write `key = value` lines below its [heading]"),
    "model_type": ("is not a table", "write `key = value` lines below its [heading]"),
    "string_too_short": ("is empty", "write a value or leave the key out"),
}
_TABLE = re.compile(r"\s*\[([A-Za-z0-9_.-]+)\]")
_KEY = re.compile(r"""(\s*)["']?([A-Za-z0-9_-]+)["']?\s*=\s*(.*)""")

Shape = TypeVar("Shape", bound=BaseModel)


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(NAME_PATTERN, value, re.ASCII):
        refuse("{shown} is not a guest's name", "1 to 63 of: a-z, 0-9, hyphen, underscore; it begins with a letter")
    return value


def _version(value: object) -> str:
    if not isinstance(value, str) or len(value) > 64 or not re.fullmatch(VERSION_PATTERN, value, re.ASCII):
        refuse("{shown} is not a version", 'write it like "0.1.0", in quotes')
    return value


def _module(value: object) -> str:
    if not isinstance(value, str) or not value.endswith(".wasm") or not value.isprintable():
        refuse("{shown} is not a module's file name", "a path that ends in .wasm, relative to guest.toml")
    path = Path(value)
    if path.is_absolute() or ".." in path.parts:
        refuse("{shown} is outside of the project", "write a path below the folder of guest.toml")
    return value


def _capability(value: object) -> str:
    if value not in WANTED:
        refuse("{shown} is no capability", did_you_mean(value, WANTED))
    return str(value)


class GuestFile(BaseModel):
    """`guest.toml` as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    name: Annotated[str, BeforeValidator(_name)]
    version: Annotated[str, BeforeValidator(_version)]
    language: str
    module: Annotated[str, BeforeValidator(_module)]
    encoding: Literal["raw", "event"] = "raw"
    capabilities: Annotated[list[Annotated[str, BeforeValidator(_capability)]], Field(default_factory=list)]
    memory: Annotated[int, size("64KiB", "4GiB")] = MEMORY_BYTES_MAX
    """Bytes; the maximum that the module declares."""
    wasm_opt: str = ""
    """Options for Binaryen's wasm-opt; empty leaves the module as the compiler made it."""
    build: Annotated[dict[str, Any], Field(default_factory=dict)]
    """For the language."""


def read_guest_file(path: Path) -> tuple[GuestFile, Document]:
    """The file, checked, and where everything stands in it. Raises ConfigError with every fault."""
    document = _read(path)
    return checked(document, GuestFile), document


def checked(document: Document, shape: type[Shape], below: Steps = ()) -> Shape:
    """What stands at `below` in the file, as this shape. Raises ConfigError with every fault."""
    data = document.data
    for step in below:
        data = data.get(step, {})
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    raise ConfigError(*(_fault(document, shape, below, detail) for detail in details))


def _fault(document: Document, shape: type[BaseModel], below: Steps, detail: ErrorDetails) -> Fault:
    steps, kind, context = (*below, *detail["loc"]), detail["type"], detail.get("ctx", {})
    if kind == REFUSED:
        return document.fault(steps, context["problem"], context["remedy"])
    if kind == "missing":
        example = _EXAMPLES.get(str(steps[-1]), f"{steps[-1]} = …")
        return document.fault(steps, f"'{steps[-1]}' is missing", f"add {example}", at_key=True)
    if kind == "extra_forbidden":
        known = [field.alias or name for name, field in shape.model_fields.items()]
        return document.fault(steps, "unknown key", did_you_mean(steps[-1], known), at_key=True)
    if kind == "literal_error":
        choices = [part.strip().strip("'") for part in str(context["expected"]).replace(" or ", ", ").split(",")]
        return document.fault(steps, "{shown} is not one of the choices", did_you_mean(None, choices))
    problem, remedy = _PLAIN.get(kind, ("is not what belongs here", "see docs/guests/README.md"))
    return document.fault(steps, problem, remedy)


def _read(path: Path) -> Document:
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        remedy = "a guest project is a folder with a guest.toml; `penstock new` makes one"
        raise ConfigError(Fault(f"cannot be read: {error.strerror or 'I/O error'}", remedy, file)) from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(Fault("is larger than 256 KiB, which no guest.toml is", file=file))
    try:
        text = raw.decode("utf-8-sig")
        data = tomllib.loads(text)
    except UnicodeDecodeError:
        raise ConfigError(Fault("is not UTF-8 text", "save the file as UTF-8", file)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_fault(str(error), file, text)) from None
    except RecursionError:
        raise ConfigError(Fault("is nested too deeply", "no guest.toml needs that much", file)) from None
    keys, written = _places(text)
    return Document(data, file, {(): Spot(1, 1)}, keys, written)


def _syntax_fault(message: str, file: str, text: str) -> Fault:
    place = re.search(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)", message)
    problem = f"is not TOML: {message[: place.start()] if place else message}"
    line = int(place[1]) if place and place[1] else max(1, len(text.splitlines()))
    column = int(place[2]) if place and place[2] else None
    return Fault(problem, 'write `key = "value"` lines', file, line, column)


def _places(text: str) -> tuple[dict[Steps, Spot], dict[Steps, str]]:
    """Where plain keys stand, and what is written behind them: tomllib does not say. Keys in other forms have no place."""
    keys: dict[Steps, Spot] = {}
    written: dict[Steps, str] = {}
    table: Steps = ()
    for number, line in enumerate(text.splitlines(), 1):
        if heading := _TABLE.match(line):
            table = tuple(heading[1].split("."))
            keys.setdefault(table, Spot(number, 1))
        elif found := _KEY.match(line):
            steps = (*table, found[2])
            keys.setdefault(steps, Spot(number, len(found[1]) + 1))
            written.setdefault(steps, found[3].partition(" #")[0].strip().strip("\"'"))
    return keys, written
