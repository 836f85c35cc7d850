"""What there is to read about a built-in transformer, made of what `schemas.builtins` says: as Markdown, and as plain data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from textwrap import indent
from typing import Any

from schemas.builtins import NAMES, Builtin, builtin

_OPENING = """\
# Built-in transformers

<!-- Made by `penstock builtins --markdown` of schemas/builtins/; a test compares them. -->

Transformers that come with penstock, for what everybody needs. They are named in the registry in place of a module, and `penstock builtins NAME`
prints what this page says of one:

```yaml
transformers:
  hide-personal-data:
    builtin: mask
    config:
      rules:
        - { columns: email, action: redact }
```

They are WebAssembly modules like any other, under the same limits, grants and verdicts; their sources and golden cases are in
`transformers/builtins/`. They read change events that the
host has decoded, so they work for every [format](registry.md#format) of a route that has change events. The `config` is checked when the registry is
loaded, and handed to the module complete.

A pattern of columns or tables takes `*` for any characters and `?` for one. A table is `table`, or `schema.table` (`db.table` where the source has no
schemas). **An event that does not say its table** (formats of plain rows, such as `json` and `msgpack`) is of no table: only rules for all tables fit it.
Columns that are missing, null or were not sent by the source are left as they are unless it says otherwise below. Record keys are never changed
except where it is said.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a config."""

    name: str
    """With the way to it: `rules[].columns`."""
    type: str
    required: bool
    default: Any
    meaning: str


def keys(one: Builtin) -> list[Key]:
    """Every key of its config, nested ones behind the one they are in."""
    schema = one.config.model_json_schema(by_alias=True)
    return list(_keys(schema, schema.get("$defs", {}), ""))


def _keys(schema: Mapping[str, Any], shapes: Mapping[str, Any], way: str) -> Iterator[Key]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        found, below, suffix = _type(field, shapes)
        yield Key(way + name, found, name in required, field.get("default"), field.get("description", ""))
        if below is not None:
            yield from _keys(below, shapes, f"{way}{name}{suffix}.")


def _type(field: Mapping[str, Any], shapes: Mapping[str, Any]) -> tuple[str, Mapping[str, Any] | None, str]:
    """What a value is, in a word or two; the shape inside of it, and what stands between the names."""
    if "$ref" in field:
        return "mapping", shapes[field["$ref"].rpartition("/")[2]], ""
    if "enum" in field:
        return " \\| ".join(f"`{choice}`" for choice in field["enum"]), None, ""
    if "const" in field:
        return f"`{field['const']}`", None, ""
    if "anyOf" in field:
        return _any_of(field["anyOf"], shapes)
    kind = field.get("type", "any value")
    if kind == "array":
        inner, below, suffix = _type(field.get("items", {}), shapes)
        return f"list of {inner}s" if below is not None else f"list of {inner}", below, f"[]{suffix}"
    if kind == "object":
        inner, below, suffix = _type(field.get("additionalProperties") or {}, shapes)
        return f"mapping to {inner}", below, f".*{suffix}"
    return {"string": "text", "integer": "number", "boolean": "true or false"}.get(kind, str(kind)), None, ""


def _any_of(
    branches: Sequence[Mapping[str, Any]], shapes: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any] | None, str]:
    if any(branch.get("type") == "integer" for branch in branches) and any("pattern" in branch for branch in branches):
        branches = [branch for branch in branches if "pattern" not in branch]  # digits from the environment
    found = [_type(branch, shapes) for branch in branches]
    below, suffix = next(((below, suffix) for _, below, suffix in found if below is not None), (None, ""))
    return " or ".join(dict.fromkeys(words for words, _, _ in found)), below, suffix


def markdown(one: Builtin, heading: str = "##") -> str:
    """Its page."""
    parts = [f"{heading} {one.name}", one.summary, _entry(one), _table(one), *_example(one)]
    if one.notes:
        parts.append(one.notes.strip())
    return "\n\n".join(parts) + "\n"


def document() -> str:
    """`docs/builtins.md`."""
    listed = "\n".join(f"| [`{name}`](#{name}) | {builtin(name).summary} |" for name in NAMES)
    pages = "\n".join(markdown(builtin(name)) for name in NAMES)
    return f"{_OPENING}\n| name | |\n|---|---|\n{listed}\n\n{pages}"


def entry(one: Builtin) -> str:
    """An entry of the registry's `transformers`, as YAML."""
    grants = f"  capabilities:\n{indent(one.capabilities, '    ')}" if one.capabilities else ""
    return f"my-{one.name}:\n  builtin: {one.name}\n{grants}  config:\n{indent(one.example, '    ')}"


def _entry(one: Builtin) -> str:
    return f"```yaml\n{entry(one)}```"


def _table(one: Builtin) -> str:
    rows = [
        f"| `{key.name}` | {key.type} | {'required' if key.required else f'`{_json(key.default)}`'} | {key.meaning} |"
        for key in keys(one)
    ]
    return "\n".join(["| key | | default | |", "|---|---|---|---|", *rows])


def _example(one: Builtin) -> Iterator[str]:
    yield f"This event:\n\n```json\n{_record(one.before)}\n```"
    if not one.after:
        yield "is dropped."
        return
    noun = "this" if len(one.after) == 1 else f"these {len(one.after)} records"
    yield f"becomes {noun}:\n\n```json\n" + "\n".join(_record(record) for record in one.after) + "\n```"


def _record(record: Mapping[str, Any]) -> str:
    """One member a line, rows in one line each: short to read."""
    return "{" + ",\n ".join(f"{_json(name)}: {_member(value)}" for name, value in record.items()) + "}"


def _member(value: Any) -> str:
    if isinstance(value, dict) and "op" in value:
        return "{" + ",\n   ".join(f"{_json(name)}: {_json(part)}" for name, part in value.items()) + "}"
    return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def as_data(one: Builtin) -> dict[str, Any]:
    """The same for machines."""
    return {
        "name": one.name,
        "summary": one.summary,
        "keys": [asdict(key) for key in keys(one)],
        "schema": one.config.model_json_schema(by_alias=True),
        "entry": entry(one),
        "before": one.before,
        "after": list(one.after),
        "plain": one.plain,
        "notes": one.notes,
    }
