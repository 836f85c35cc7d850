"""What a guest's statement may do in PostgreSQL, told by PostgreSQL itself: the tree that its analyzer made of the statement.

Threat: the statement is the guest's. Nothing here looks at its text. The server is asked to prepare the statement, which runs nothing, and
to send along what it understood (`debug_print_parse`): names are resolved there, so that neither quoting, search paths, comments,
nor tables hidden in sub-selects, functions or common table expressions matter. Out of the tree are read, by their labels:

- what the statement does (`commandType`), and that no part of it changes anything when it should only read;
- every relation (`relid`), as a number of the catalog; the scope's names are resolved to the same numbers;
- every type that a value is made of (a constant, a cast, a function's answer, the columns named for one): none that looks names up in
  the catalog, whether as it is, in an array or beneath a domain, and no rows of a table out of scope, which would tell its columns;
- every function, aggregate, window function and operator, as a number: only PostgreSQL's own that are immutable, and a list of others.
  So none that reads files, executes text (`query_to_xml`), sleeps, sets parameters, takes locks, notifies, or ends others' sessions;
  and none that somebody defined, whatever it claims to be.

Labels stand in the tree unescaped, while blanks and brackets in names are escaped; a name that looks like a label can only bring more to
be checked. What the operator's views, triggers, rules and defaults do beneath a table in scope is the operator's word and is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice, pairwise, takewhile

SELECT, UPDATE, INSERT, DELETE, MERGE = 1, 2, 3, 4, 5
BUILT_IN_BELOW = 16_384
"""FirstNormalObjectId in access/transam.h: what is not PostgreSQL's own has numbers from there on."""
FUNCTIONS = frozenset({"funcid", "opfuncid", "aggfnoid", "winfnoid", "tsmhandler"})
OPERATORS = frozenset({"opno", "eqop", "sortop"})
TYPES = frozenset(
    {
        "consttype",
        "resulttype",
        "paramtype",
        "funcresulttype",
        "aggtype",
        "wintype",
        "array_typeid",
        "row_typeid",
        "typid",
    }
)
COLUMN_TYPES = frozenset({"funccoltypes", "coltypes"})
"""Lists of the columns that a statement names for `json_to_record`, XMLTABLE and their like."""
CATALOG_TYPES = frozenset({24, 1033, 2202, 2203, 2204, 2205, 2206, 3769, 4089, 4096, 4191})
"""regproc, regclass and their like, and aclitem, whose texts are looked up in the catalog. Not regconfig: text search wants it."""
NAME_TYPE = "19"
"""`name`, in which PostgreSQL has the names of roles, databases and schemas."""
_STABLE = """
age array_agg array_to_json array_to_string concat concat_ws convert_from convert_to date date_part date_trunc
enum_first enum_last enum_range extract format generate_series json_agg json_build_array json_build_object
json_object_agg json_populate_record json_populate_recordset json_to_record json_to_recordset jsonb_agg
jsonb_build_array jsonb_build_object jsonb_object_agg jsonb_path_exists_tz jsonb_path_match_tz
jsonb_path_query_array_tz jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record jsonb_populate_recordset
jsonb_to_record jsonb_to_recordset length make_timestamptz money now numeric overlaps phraseto_tsquery plainto_tsquery
quote_literal quote_nullable row_to_json statement_timestamp textanycat anytextcat time timestamp timestamptz timetz
timezone to_char to_date to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector transaction_timestamp
websearch_to_tsquery clock_timestamp gen_random_uuid timeofday
"""
STABLE_ALLOWED = frozenset(_STABLE.split())
"""Of PostgreSQL's own functions that are not immutable, those that depend on time, time zone or language at most."""
COMPARISONS = re.compile(r"^(date|timestamp|timestamptz|interval|ts)_(\w+)$")
"""Operators between dates and times depend on the time zone, and so are not immutable."""
_TOKEN = re.compile(r"(?:\\.|[^\s(){}\\])+|[(){}]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a statement touches, in numbers of the catalog."""

    command: int
    """One of the constants above; another number is a statement that neither reads nor changes rows."""
    changes_within: bool
    """A common table expression changes rows."""
    locks: bool
    """FOR UPDATE and its like."""
    returning: bool
    relations: frozenset[int]
    functions: frozenset[int]
    operators: frozenset[int]
    types: frozenset[int]
    session_names: bool
    """Asks who is connected, and to what: `current_user`, `current_catalog` and their like are syntax, no functions."""
    unreadable: bool = False
    """A label is followed by no number: this server writes trees of a shape that is not known here."""


def parsed(tree: str) -> Parsed:
    """A tree, as `nodeToString` of any server from 14 on writes it."""
    tokens = _TOKEN.findall(tree)
    numbers: dict[str, set[int]] = {}
    texts: dict[str, set[str]] = {}
    unreadable = tokens[:2] != ["{", "QUERY"]
    for label, value in pairwise(tokens):
        name = label[1:]
        if not label.startswith(":"):
            continue
        if name in FUNCTIONS or name in OPERATORS or name in TYPES or name in ("relid", "commandType"):
            if value.isdecimal():
                numbers.setdefault(name, set()).add(int(value))
            else:
                unreadable = True
        elif name in ("hasModifyingCTE", "hasForUpdate", "returningList", "rowMarks", "utilityStmt"):
            texts.setdefault(name, set()).add(value)
    commands = [int(value) for label, value in pairwise(tokens) if label == ":commandType" and value.isdecimal()]
    utility = texts.get("utilityStmt") != {"<>"}
    return Parsed(
        command=-1 if utility or not commands else commands[0],
        changes_within=texts.get("hasModifyingCTE") != {"false"} or any(one != SELECT for one in commands[1:]),
        locks=texts.get("hasForUpdate") != {"false"} or texts.get("rowMarks") != {"<>"},
        returning=texts.get("returningList") != {"<>"},
        relations=frozenset(numbers.get("relid", set()) - {0}),
        functions=_those(numbers, FUNCTIONS),
        operators=_those(numbers, OPERATORS),
        types=_those(numbers, TYPES) | _column_types(tokens),
        session_names=_asks_session(tokens),
        unreadable=unreadable,
    )


def _column_types(tokens: list[str]) -> frozenset[int]:
    """`:funccoltypes (o 25 2205)`: the numbers in the brackets."""
    found: set[int] = set()
    for at, token in enumerate(tokens):
        if token[:1] == ":" and token[1:] in COLUMN_TYPES and tokens[at + 1 : at + 3] == ["(", "o"]:
            found.update(map(int, takewhile(str.isdecimal, islice(tokens, at + 3, None))))
    return frozenset(found)


def _asks_session(tokens: list[str]) -> bool:
    """Those of these values that are times have other types."""
    places = (at for at, token in enumerate(tokens) if token == "SQLVALUEFUNCTION")
    return any(
        tokens[at + 1 : at + 2] != [":op"] or tokens[at + 3 : at + 5] in ([":type", NAME_TYPE], []) for at in places
    )


def _those(numbers: dict[str, set[int]], labels: Collection[str]) -> frozenset[int]:
    return frozenset().union(*(numbers.get(one, set()) for one in labels)) - {0}


def is_allowed_function(oid: int, name: str, schema: str, volatility: str) -> bool:
    """One of PostgreSQL's own that does and tells nothing but what its arguments are about."""
    if oid >= BUILT_IN_BELOW or schema != "pg_catalog":
        return False
    if volatility == "i":
        return not name.startswith("pg_")
    return name in STABLE_ALLOWED or (volatility == "s" and COMPARISONS.match(name) is not None)
