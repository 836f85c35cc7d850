"""The parts of a case: payloads, headers, texts and quantities as they stand in a file, with a fault at the line of each that will not do.

A payload may be text, a mapping or list (which is JSON, written compactly, every number as it stands in the file), a number or a
boolean (its text), or null. `value_base64` and `key_base64` hold bytes that are no text.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pipeline.registry.document import Document, Steps
from pipeline.registry.shape import did_you_mean
from schemas.errors import Fault
from schemas.event import Headers
from schemas.units import UnitError

INT64_MAX = (1 << 63) - 1
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)

Parsed = TypeVar("Parsed")


class Fields:
    """Reads single values of one document and collects what is wrong with them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.faults: list[Fault] = []

    def fault(self, steps: Steps, problem: str, remedy: str = "", *, at_key: bool = False) -> None:
        """Note what is wrong at this place."""
        self.faults.append(self.document.fault(steps, problem, remedy, at_key=at_key))

    def mapping(self, data: Any, steps: Steps, known: tuple[str, ...], what: str) -> dict[str, Any]:
        """The mapping at this place, without unknown keys; an empty one when it is none."""
        if not isinstance(data, dict):
            self.fault(steps, f"{what} is not a mapping", f"its keys are: {', '.join(known)}")
            return {}
        for key in data.keys() - set(known):
            self.fault((*steps, key), "unknown key", did_you_mean(key, known), at_key=True)
        return {key: value for key, value in data.items() if key in known}

    def text(self, data: Any, steps: Steps) -> str | None:
        """The text at this place; None is noted as a fault."""
        if isinstance(data, str):
            return data
        self.fault(steps, "is not text", "put it in quotes")
        return None

    def number(self, data: Any, steps: Steps, lowest: int, highest: int = INT64_MAX) -> int:
        """The whole number at this place."""
        if isinstance(data, int) and not isinstance(data, bool) and lowest <= data <= highest:
            return data
        self.fault(steps, "{shown} is not a whole number in range", f"write one from {lowest} to {highest}")
        return lowest

    def quantity(self, data: Any, steps: Steps, parse: Callable[[object], int], lowest: int) -> int | None:
        """A size or a duration with its unit."""
        if data is None:
            return None
        try:
            found = parse(data)
        except UnitError as error:
            self.fault(steps, error.problem, error.remedy)
            return None
        if found < lowest:
            self.fault(steps, "{shown} is too little", "write more")
        return found

    def flag(self, data: Any, steps: Steps) -> bool:
        """true or false."""
        if not isinstance(data, bool):
            self.fault(steps, "{shown} is neither true nor false", "write true or false")
        return data is True

    def payload(self, name: str, data: Mapping[str, Any], steps: Steps, otherwise: bytes | None) -> bytes | None:
        """The key or value among these fields; `otherwise` when neither it nor its base64 is there."""
        coded = f"{name}_base64"
        if coded in data:
            if data.get(name) is not None:
                self.fault((*steps, coded), f"there is both {name} and {coded}", "keep one of them", at_key=True)
            return self.base64(data[coded], (*steps, coded))
        return self.bytes_of(data[name], (*steps, name)) if name in data else otherwise

    def bytes_of(self, data: Any, steps: Steps) -> bytes | None:
        """A payload's bytes."""
        if data is None:
            return None
        if isinstance(data, str):
            return data.encode()
        return self._json(data, steps).encode()

    def headers(self, data: Any, steps: Steps) -> Headers:
        """A mapping of names to values, or a list of pairs; a value is text, null, or {base64: …}."""
        if isinstance(data, dict):
            return tuple((name, self._header(value, (*steps, name))) for name, value in data.items())
        if not isinstance(data, list):
            self.fault(steps, "headers are neither a mapping nor a list", 'write {name: text} or [["name", "text"]]')
            return ()
        found: list[tuple[str, bytes | None]] = []
        for at, pair in enumerate(data):
            if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str):
                found.append((pair[0], self._header(pair[1], (*steps, at, 1))))
            else:
                self.fault((*steps, at), "a header is not a pair", 'write ["name", "text"]')
        return tuple(found)

    def base64(self, data: Any, steps: Steps) -> bytes | None:
        """The bytes that this text stands for."""
        if data is None:
            return None
        try:
            return b64decode(data, validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            self.fault(steps, f"is not base64: {error}", "`base64 -w0 FILE` prints a file so")
            return None

    def _header(self, data: Any, steps: Steps) -> bytes | None:
        if isinstance(data, dict) and list(data) == ["base64"]:
            return self.base64(data["base64"], (*steps, "base64"))
        return self.bytes_of(data, steps)

    def _json(self, data: Any, steps: Steps) -> str:
        """As compact JSON, in the order of the file."""
        match data:
            case dict():
                members = (f"{_quoted(name)}:{self._json(value, (*steps, name))}" for name, value in data.items())
                return "{" + ",".join(members) + "}"
            case list():
                return "[" + ",".join(self._json(value, (*steps, at)) for at, value in enumerate(data)) + "]"
            case bool() | None:
                return json.dumps(data)
            case int() | float():
                return self._number_text(data, steps)
            case _:
                return _quoted(data)

    def _number_text(self, data: float, steps: Steps) -> str:
        """As it is written where JSON can say it so: no digit is lost to a double."""
        written = self.document.written.get(steps, "")
        if _JSON_NUMBER.fullmatch(written):
            return written
        if isinstance(data, float) and (data != data or data in (float("inf"), float("-inf"))):
            self.fault(steps, "{shown} is no number in JSON", "put it in quotes, or write the whole value as text")
        return json.dumps(data)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
