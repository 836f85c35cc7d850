r"""What every topic name that matches a regular expression begins with: access rules know prefixes, not expressions.

Reads an expression just far enough to be sure. What it does not understand ends the prefix, which makes a rule broader, never
one that leaves a matching topic out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ENDS = frozenset(".^$*+?{}[]()|\\")
_MAY_REPEAT_NEVER = frozenset("*?{")
"""After these, the character before them may be missing."""
_ODD_CLASS = re.compile(r"\[\^?\]|\[[^\]]*\[")
"""A class that begins with a bracket or holds another one: dialects differ on where it ends."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The common beginning of one alternative; empty when there is none."""

    text: str
    is_whole: bool
    """The alternative matches this one name and no other."""


def prefixes(pattern: str) -> list[Prefix]:
    """One for each top-level alternative; those that another one covers are left out."""
    found = list(dict.fromkeys(_prefix(branch) for branch in _branches(pattern)))
    return [each for each in found if not any(other != each and _covers(other, each) for other in found)]


def _covers(wide: Prefix, narrow: Prefix) -> bool:
    return not wide.is_whole and narrow.text.startswith(wide.text)


def _branches(pattern: str) -> Iterator[str]:
    """The alternatives outside of any group or character class; one that says nothing, where classes make it hard to tell."""
    if "|" in pattern and _ODD_CLASS.search(pattern):
        yield ".*"
        return
    begin = depth = 0
    in_class = escaped = False
    for at, character in enumerate(pattern):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and depth == 0:
            yield pattern[begin:at]
            begin = at + 1
    yield pattern[begin:]


def _prefix(branch: str) -> Prefix:
    text, rest = "", branch.removeprefix("^")
    while rest:
        character, length = rest[0], 1
        if character == "\\" and len(rest) > 1 and not rest[1].isalnum():
            character, length = rest[1], 2
        elif character in _ENDS:
            break
        if rest[length : length + 1] in _MAY_REPEAT_NEVER and rest[length:]:
            break
        text, rest = text + character, rest[length:]
    return Prefix(text, is_whole=rest in ("", "$"))
