"""Reads `.wast`: S-expressions, of which modules are kept as the text they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(r'\s+|;;[^\n]*|(?P<open>\()|(?P<close>\))|(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>[^\s()";]+|.)', re.S)
_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", '"': b'"', "'": b"'", "\\": b"\\"}
_ESCAPE = re.compile(rb"\\(u\{([0-9a-fA-F_]+)\}|[0-9a-fA-F]{2}|.)", re.S)


@dataclass(frozen=True)
class Node:
    """A list, with the place of its text."""

    items: list[Node | str]
    source: str
    line: int

    @property
    def head(self) -> str:
        """Its first word."""
        return str(self.items[0]) if self.items else ""

    def lists(self) -> list[Node]:
        """The lists in it."""
        return [one for one in self.items if isinstance(one, Node)]

    def texts(self) -> list[bytes]:
        """The strings in it, unescaped."""
        return [unescaped(one) for one in self.items if isinstance(one, str) and one.startswith('"')]


def commands(text: str) -> Iterator[Node]:
    """The script's top-level lists. Raises ValueError for what is no script."""
    stack: list[tuple[int, list[Node | str]]] = []
    at = 0
    while at < len(text):
        if text.startswith("(;", at):
            at = _comment_end(text, at)
            continue
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"no token at {at}: {text[at : at + 20]!r}")
        if found["open"]:
            stack.append((at, []))
        elif found["close"]:
            start, items = stack.pop()
            node = Node(items, text[start : found.end()], text.count("\n", 0, start) + 1)
            if stack:
                stack[-1][1].append(node)
            else:
                yield node
        elif found["text"] or found["word"]:
            stack[-1][1].append(found[0])
        at = found.end()


def _comment_end(text: str, at: int) -> int:
    depth = 0
    for found in re.compile(r"\(;|;\)").finditer(text, at):
        depth += 1 if found[0] == "(;" else -1
        if not depth:
            return found.end()
    raise ValueError("a comment without an end")


def unescaped(token: str) -> bytes:
    """The bytes of a string as it is written, quotes and all."""

    def plain(found: re.Match[bytes]) -> bytes:
        code = found[1].decode()
        if code.startswith("u{"):
            return chr(int(found[2].replace(b"_", b""), 16)).encode("utf-8", "surrogatepass")
        return _ESCAPES[code] if code in _ESCAPES else bytes.fromhex(code)

    return _ESCAPE.sub(plain, token[1:-1].encode())
