"""Regular expressions over topic names, matched in linear time.

Threat: a pattern such as `(a+)+$` makes a backtracking matcher work for years on one topic name, and topic names are made by
others. So a pattern is matched by an engine without backtracking (the one in pydantic-core), which also refuses look-around
and back-references; and it must be one that Python's `re` reads too, because Kafka clients take only that.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

PATTERN_CHARACTERS_MAX = 500


def pattern_problem(pattern: str) -> str | None:
    """What is wrong with this expression, or None. Never repeats the expression."""
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        return f"is longer than {PATTERN_CHARACTERS_MAX} characters"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
            re.compile(f"^(?:{pattern})$")  # as Kafka clients are given it: flags such as (?i) cannot stand inside
    except re.error as error:
        return f"is not a regular expression: {error.msg}"
    except (RecursionError, OverflowError):
        return "is not a regular expression: it is nested too deeply or repeats too much"
    try:
        _validator(pattern)
    except SchemaError:
        return "is not a regular expression that can be matched in linear time (no look-around, no back-references)"
    return None


def matches(pattern: str, topic: str) -> bool:
    """Whether the whole topic name matches. The pattern must have passed `pattern_problem`."""
    try:
        _validator(pattern).validate_python(topic)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=256)
def _validator(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=rf"\A(?:{pattern})\z", regex_engine="rust-regex"))
