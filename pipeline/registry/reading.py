"""A YAML 1.2 file becomes a `Document`. Knows nothing about registries.

The file is untrusted: its size, nesting, number of nodes (aliases counted as often as they are used) and tags are bounded, and
whatever breaks a bound is one fault, never a hang. Nothing is constructed but text, numbers, booleans, null, lists and mappings.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from pipeline.registry.document import Document, Spot, Steps, dotted, encodable, quoted
from schemas.errors import ConfigError, Fault

FILE_BYTES_MAX = 1 << 20
NODES_MAX = 50_000
DEPTH_MAX = 60
_TAG = "tag:yaml.org,2002:"
_BEGIN = "begin with version: 1; the format is in docs/registry.md"


def read_document(path: Path) -> Document:
    """The file as a document. Raises ConfigError with one fault: missing, not a file, not text, too large, not YAML."""
    file = str(path)
    return parse_document(_read_text(path, file), file)


def parse_document(text: str, file: str, *, noun: str = "registry", begin: str = _BEGIN) -> Document:
    """YAML text as a document. Raises ConfigError with one fault, or with every duplicate and non-text key.

    `noun` is what messages call such a file, `begin` what they advise for an empty one.
    """
    root = _compose(text, file, noun)
    if root is None:
        raise ConfigError(Fault("the file is empty", begin, file, 1, 1))
    reading = _Reading(file)
    data = reading.value(root, (), 1)
    document = Document(data, file, reading.values, reading.keys, reading.written)
    if reading.faults:
        raise ConfigError(*reading.faults)
    return document


def _read_text(path: Path, file: str) -> str:
    try:
        if path.is_dir():
            raise ConfigError(Fault("is a directory", "name the registry file itself, e.g. registry.yaml", file))
        if not path.exists():
            raise ConfigError(Fault("there is no such file", "check the name; a registry is a YAML file", file))
        if not path.is_file():
            raise ConfigError(Fault("is not a regular file", "name the registry file itself", file))
        with path.open("rb") as stream:
            raw = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            Fault(f"cannot be read: {error.strerror or 'I/O error'}", "check the file's permissions", file)
        ) from None
    except ValueError:
        raise ConfigError(
            Fault("is not a file name", "check the name; a registry is a YAML file", quoted(file))
        ) from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(
            Fault("is larger than 1 MiB, which no registry is", "split the routes over several registries", file)
        )
    return _decode(raw, file)


def _decode(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise ConfigError(Fault("is not UTF-8 text", "save the file as UTF-8", file, line, column)) from None


class _TooMuchError(Exception):
    """A bound was broken while the nodes were made."""

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        self.column = column


class _BoundedComposer(Composer):
    """Stops at the bounds instead of building what nobody could have written by hand."""

    nodes = 0
    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Any:
        mark = self.parser.peek_event().start_mark
        self.nodes += 1
        self.depth += 1
        if self.nodes > NODES_MAX:
            raise _TooMuchError(f"has more than {NODES_MAX} values", mark.line + 1, mark.column + 1)
        if self.depth > DEPTH_MAX:
            raise _TooMuchError(f"is nested more than {DEPTH_MAX} levels deep", mark.line + 1, mark.column + 1)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _compose(text: str, file: str, noun: str) -> Node | None:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _BoundedComposer
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return yaml.compose(text)  # type: ignore[no-any-return]
    except _TooMuchError as error:
        fault = Fault(
            f"the file {error.problem}", f"no {noun} needs that much; simplify it", file, error.line, error.column
        )
    except MarkedYAMLError as error:
        fault = _syntax_fault(error, file)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        fault = Fault(
            "is not YAML: it contains a control character", "remove it; save the file as plain UTF-8 text", file, line
        )
    except (
        YAMLError,
        ValueError,
        IndexError,
        AssertionError,
        NotImplementedError,
        AttributeError,
        KeyError,
        TypeError,
    ):
        # The parser answers some malformed directives and tags with Python's own errors.
        fault = Fault("is not YAML", "check the indentation, the quotes and any line that begins with %", file)
    except RecursionError:
        fault = Fault("is nested too deeply", f"no {noun} needs that much; simplify it", file)
    raise ConfigError(fault) from None


def _syntax_fault(error: MarkedYAMLError, file: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    detail = " ".join(part for part in (error.context, error.problem) if part)
    return Fault(
        problem=f"is not YAML: {_one_line(detail)}",
        remedy=_syntax_remedy(detail, mark),
        file=file,
        line=mark.line + 1 if mark else None,
        column=mark.column + 1 if mark else None,
    )


def _syntax_remedy(detail: str, mark: object) -> str:
    """The two mistakes that a registry invites get their own advice: tabs, and a variable's braces inside of braces."""
    if "'\\t'" in detail:
        return "indent with spaces: YAML takes no tabs"
    if isinstance(mark, StringMark) and mark.buffer[max(0, mark.pointer - 1) : mark.pointer + 1] == "${":
        return 'put the variable in quotes: "${NAME}"'
    return "check the indentation and the quotes on this line and the one before"


def _one_line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text[:300]).split())


class _Reading:
    """One walk over the nodes: data out, places and faults noted on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[Steps, Spot] = {}
        self.keys: dict[Steps, Spot] = {}
        self.written: dict[Steps, str] = {}
        self.faults: list[Fault] = []
        self.visited = 0

    def value(self, node: Node, steps: Steps, depth: int) -> Any:
        """The node's data. Raises ConfigError when aliases unfold into too much."""
        self.visited += 1
        if self.visited > NODES_MAX or depth > DEPTH_MAX:
            raise ConfigError(
                self._fault(
                    node, steps, "aliases unfold into too much", "write the values out instead of using *aliases"
                )
            )
        self.values[steps] = _spot(node)
        if isinstance(node, MappingNode):
            return self._mapping(node, steps, depth)
        if isinstance(node, SequenceNode):
            self._check_tag(node, steps, "seq")
            return [self.value(item, (*steps, index), depth + 1) for index, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        if not encodable(node.value):
            self.faults.append(
                self._fault(node, steps, "contains half of a surrogate pair", "write the character itself")
            )
            return None
        self.written[steps] = node.value
        return self._scalar(node, steps)

    def _mapping(self, node: MappingNode, steps: Steps, depth: int) -> dict[str, Any]:
        self._check_tag(node, steps, "map")
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, steps)
            if key is None:
                continue
            here = (*steps, key)
            if key in data:
                first = self.keys[here].line
                self.faults.append(
                    self._fault(key_node, here, f"is written twice, first on line {first}", "keep one of them")
                )
                continue
            self.keys[here] = _spot(key_node)
            data[key] = self.value(value_node, here, depth + 1)
        return data

    def _key(self, node: Node, steps: Steps) -> str | None:
        if not isinstance(node, ScalarNode):
            self.faults.append(self._fault(node, steps, "a key is a list or a mapping", "keys are plain text"))
            return None
        if node.tag == _TAG + "merge":
            remedy = "YAML 1.2 has no merge keys; put what is shared under defaults, or repeat it"
            self.faults.append(self._fault(node, steps, "'<<' is not supported", remedy))
            return None
        if node.tag != _TAG + "str":
            problem = f"the key {quoted(node.value)} is not text"
            self.faults.append(self._fault(node, steps, problem, "put the key in quotes"))
            return None
        if not encodable(node.value):
            self.faults.append(
                self._fault(node, steps, "a key contains half of a surrogate pair", "keys are plain text")
            )
            return None
        return str(node.value)

    def _scalar(self, node: ScalarNode, steps: Steps) -> str | int | float | bool | None:
        kind = node.tag.removeprefix(_TAG) if isinstance(node.tag, str) else ""
        match kind:
            case "str" | "timestamp":
                return str(node.value)
            case "null":
                return None
            case "bool":
                return str(node.value).lower() in {"true", "yes", "on", "y"}
            case "int":
                return _integer(node.value)
            case "float":
                return _float(node.value)
            case _:
                self._check_tag(node, steps, "str")
                return str(node.value)

    def _check_tag(self, node: Node, steps: Steps, kind: str) -> None:
        if node.tag != _TAG + kind:
            self.faults.append(self._fault(node, steps, "a tag (!…) is not supported here", "write the plain value"))

    def _fault(self, node: Node, steps: Steps, problem: str, remedy: str) -> Fault:
        spot = _spot(node)
        return Fault(problem, remedy, self.file, spot.line, spot.column, dotted(steps))


def _spot(node: Node) -> Spot:
    return Spot(node.start_mark.line + 1, node.start_mark.column + 1)


def _integer(text: str) -> int | str:
    """YAML 1.2: `0o17`, `0x1f`, `0b1` and decimal, leading zeros and underscores included. Text when it is none after all."""
    plain = text.replace("_", "")
    sign, digits = (-1, plain[1:]) if plain.startswith("-") else (1, plain.removeprefix("+"))
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2].lower(), 10)
    try:
        return sign * int(digits if base == 10 else digits[2:], base)
    except ValueError:
        return text


def _float(text: str) -> float | str:
    plain = text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan")
    try:
        return float(plain)
    except ValueError:
        return text
