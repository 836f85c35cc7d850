"""The scalar types a registry file is made of: quantities within a range, topics, names, choices.

Each type checks one value and describes itself for JSON Schema. A refusal is a `Refused` error whose text never repeats the
value (it may have come from the environment); `{shown}` marks where the caller may put the text as the file has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from schemas.limits import format_bytes
from schemas.topics import pattern_problem
from schemas.units import (
    DURATION_PATTERN,
    RATE_PATTERN,
    SIZE_PATTERN,
    Rate,
    UnitError,
    format_duration,
    parse_duration_ms,
    parse_rate,
    parse_size,
    parse_time_ms,
)

REFUSED = "refused"
"""The `type` of every validation error that carries its own `problem` and `remedy`."""

VARIABLE_PATTERN = r".*\$\{.*"
"""In the schema of the file, any value may also be taken from the environment."""

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
TOPIC_PATTERN = r"[a-zA-Z0-9._-]{1,249}"
OWN_HEADERS = "penstock."
"""What the names of the headers of dead letters begin with."""
_INTERNAL_TOPICS = frozenset({"__consumer_offsets", "__transaction_state"})
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def refuse(problem: str, remedy: str) -> NoReturn:
    """Refuse the value at hand. `problem` may contain `{shown}`."""
    raise PydanticCustomError(REFUSED, "{problem}", {"problem": problem, "remedy": remedy})


@dataclass(frozen=True, slots=True)
class Quantity:
    """A whole number written with a unit, between two bounds (included)."""

    parse: Callable[[object], int]
    show: Callable[[int], str]
    pattern: str
    examples: tuple[str, ...]
    lowest: int
    highest: int

    def check(self, value: object) -> int:
        """The number in its base unit; refuses what does not parse or is out of range."""
        try:
            number = self.parse(value)
        except UnitError as error:
            refuse(error.problem, error.remedy)
        if not self.lowest <= number <= self.highest:
            refuse("{shown} is out of range", f"choose between {self.show(self.lowest)} and {self.show(self.highest)}")
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": or_variable(self.pattern), "examples": list(self.examples)}


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number without a unit, between two bounds (included). Digits as text are taken too: `${PARTITIONS}`."""

    lowest: int
    highest: int

    def check(self, value: object) -> int:
        """The number; refuses what is none or is out of range."""
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            refuse(
                "{shown} is not a whole number",
                f"write a number between {self.lowest} and {self.highest}, without a unit",
            )
        if not self.lowest <= value <= self.highest:
            only = self.lowest == self.highest
            remedy = f"{self.lowest} is the only choice" if only else f"choose between {self.lowest} and {self.highest}"
            refuse("{shown} is out of range", remedy)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        number = {"type": "integer", "minimum": self.lowest, "maximum": self.highest}
        return {"anyOf": [number, {"type": "string", "pattern": or_variable("[0-9]{1,19}")}]}


def size(lowest: str, highest: str) -> Quantity:
    """Bytes, written like `4MiB`."""
    return Quantity(parse_size, format_bytes, SIZE_PATTERN, ("512KiB", "4MiB"), parse_size(lowest), parse_size(highest))


def duration(lowest: str, highest: str) -> Quantity:
    """Milliseconds, written like `250ms`."""
    bounds = parse_duration_ms(lowest), parse_duration_ms(highest)
    return Quantity(parse_duration_ms, format_duration, DURATION_PATTERN, ("250ms", "5s"), *bounds)


def or_variable(pattern: str) -> str:
    """The pattern of a JSON Schema string that may also hold a `${VARIABLE}`."""
    return f"^(?:{pattern}|{VARIABLE_PATTERN})$"


def _rate(value: object) -> Rate:
    try:
        rate = parse_rate(value)
    except UnitError as error:
        refuse(error.problem, error.remedy)
    if not 1 <= rate.count <= 1_000_000 or not 1_000 <= rate.window_ms <= 86_400_000:
        refuse("{shown} is out of range", "choose 1 to 1000000 violations within 1s to 24h")
    return rate


def _start(value: object) -> str:
    if value in ("earliest", "latest"):
        return str(value)
    try:
        return str(parse_time_ms(value))
    except UnitError as error:
        refuse(error.problem, error.remedy)


def _topic(value: object) -> str:
    if not isinstance(value, str):
        refuse("{shown} is not a topic name", "write the topic's name as text")
    if not re.fullmatch(TOPIC_PATTERN, value, re.ASCII) or value in {".", ".."}:
        refuse(
            "{shown} is not a topic name Kafka takes",
            "1 to 249 of: letters a-z A-Z, digits, dot, underscore, hyphen; not . or ..",
        )
    if value in _INTERNAL_TOPICS:
        refuse("{shown} is a topic that Kafka keeps for itself", "name a topic of your own")
    return value


def _source(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        return _topic(value)
    remedy = "write it between slashes, over the topics' whole names: /shop\\.public\\..*/"
    if len(value) < 3 or not value.endswith("/"):
        refuse("{shown} is not a /regular expression/", remedy)
    problem = pattern_problem(value[1:-1])
    if problem is not None:
        refuse(f"{{shown}} {problem}", remedy)
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(NAME_PATTERN, value, re.ASCII):
        refuse("{shown} is not a name", "1 to 63 of: a-z, 0-9, hyphen, underscore; it begins with a letter or digit")
    return value


def _group(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 200 or not value.isprintable() or " " in value:
        refuse("{shown} is not a consumer group's name", "1 to 200 printable characters, no spaces")
    return value


def _header(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 249:
        refuse("{shown} is not a header's name", "1 to 249 characters")
    if value.startswith(OWN_HEADERS):
        refuse("{shown} is a header that penstock keeps for itself", "choose another name")
    return value


def _header_value(value: object) -> str:
    if not isinstance(value, str):
        refuse("{shown} is not text", "put it in quotes")
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse("is not text: it contains half of a surrogate pair", "write the character itself")
    return value


def _sha256(value: object) -> str:
    if not isinstance(value, str) or not _HEX_DIGEST.fullmatch(value.lower()):
        refuse("{shown} is not a sha256", "64 hexadecimal digits in quotes, as sha256sum prints them")
    return value.lower()


def _flag(value: object) -> bool:
    written = value.lower() if isinstance(value, str) else value
    if written is True or written == "true":
        return True
    if written is False or written == "false":
        return False
    refuse("{shown} is neither true nor false", "write true or false")


def _text_schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": or_variable(pattern)})


RateText = Annotated[Rate, BeforeValidator(_rate), _text_schema(RATE_PATTERN)]
"""`20 in 1m`."""

Start = Annotated[
    str,
    BeforeValidator(_start),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "examples": ["earliest", "latest"]}, {"type": "integer", "minimum": 0}]}
    ),
]
"""`earliest`, `latest`, or milliseconds since the epoch in decimal digits."""

Topic = Annotated[str, BeforeValidator(_topic), _text_schema(TOPIC_PATTERN)]
Source = Annotated[str, BeforeValidator(_source), _text_schema(f"{TOPIC_PATTERN}|/.+/")]
"""A topic, or a `/regular expression/` with its slashes."""

Name = Annotated[str, BeforeValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})]
Group = Annotated[str, BeforeValidator(_group), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 200})]
Sha256 = Annotated[str, BeforeValidator(_sha256), _text_schema("[0-9a-fA-F]{64}")]
HeaderName = Annotated[str, BeforeValidator(_header), WithJsonSchema({"type": "string", "minLength": 1})]
HeaderValue = Annotated[str, BeforeValidator(_header_value), WithJsonSchema({"type": "string"})]
Text = Annotated[str, Field(min_length=1, max_length=4096)]
Flag = Annotated[
    bool,
    BeforeValidator(_flag),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": or_variable("true|false")}]}),
]
