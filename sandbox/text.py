"""Text that guests choose, made fit for messages, headers and logs."""

from __future__ import annotations

import re

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A guest's text without control characters, so that it cannot steer a terminal or a log; lines and tabs stay."""
    return text if text.isprintable() else _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def cut(text: str, characters: int) -> str:
    """`text`, shortened to `characters` and saying so."""
    if len(text) <= characters:
        return text
    mark = f"\n… {len(text) - characters} more characters"
    return text[: characters - len(mark)] + mark
