"""Sizes, durations, rates and points in time as people write them: `4MiB`, `250ms`, `20 in 1m`, `2026-01-31T08:00:00Z`.

Pure text in, whole numbers out. A number without its unit is refused: `memory: 4` says nothing, and a wrong guess costs a night.
Messages never repeat what was written (it may have come from the environment); the caller knows what may be shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

SIZE_UNITS = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}
"""Bytes. KiB, MiB, GiB are powers of 1024; KB, MB, GB are powers of 1000."""

DURATION_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
"""Milliseconds."""

NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,9})?"
SIZE_PATTERN = rf"{NUMBER} ?(?:B|[KMG]i?B)"
DURATION_PATTERN = rf"{NUMBER} ?(?:ms|s|m|h|d)"
RATE_PATTERN = rf"[0-9]{{1,9}} in {DURATION_PATTERN}"

_QUANTITY = re.compile(rf"\s*({NUMBER})\s*([A-Za-zµ]*)\s*", re.ASCII)
_RATE = re.compile(r"\s*([0-9]{1,9})\s+in\s+(.*)", re.ASCII)
_EARLIEST_PLAUSIBLE_MS = 100_000_000_000
"""March 1973. A smaller number is almost certainly seconds."""
_LATEST_MS = 1 << 53

_WRITE_SIZE = "write a number and a unit: 512KiB, 4MiB (binary), 4MB (decimal: 4,000,000 bytes)"
_WRITE_DURATION = "write a number and a unit: 250ms, 5s, 1m, 2h"
_WRITE_RATE = "write how many in how long: 20 in 1m"
_WRITE_TIME = (
    "write earliest, latest, an ISO 8601 time with its zone (2026-01-31T08:00:00Z), or milliseconds since 1970"
)


class UnitError(ValueError):
    """A value is not what its place asks for. `problem` has `{shown}` where the text as written may be put."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem.replace("{shown}", "the value"))
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Rate:
    """So many within a window."""

    count: int
    window_ms: int


def parse_size(value: object) -> int:
    """Bytes of `4MiB` and the like. Raises UnitError for anything else, numbers without a unit included."""
    amount, unit = _quantity(value, "size", _WRITE_SIZE)
    if unit not in SIZE_UNITS:
        raise UnitError("{shown} has an unknown unit of size", _size_hint(unit))
    return _whole(amount * SIZE_UNITS[unit], "bytes", _WRITE_SIZE)


def parse_duration_ms(value: object) -> int:
    """Milliseconds of `250ms` and the like. Raises UnitError for anything else, numbers without a unit included."""
    amount, unit = _quantity(value, "duration", _WRITE_DURATION)
    if unit not in DURATION_UNITS:
        raise UnitError(
            "{shown} has an unknown unit of time", f"units are {', '.join(DURATION_UNITS)}; {_WRITE_DURATION}"
        )
    return _whole(amount * DURATION_UNITS[unit], "milliseconds", _WRITE_DURATION)


def parse_rate(value: object) -> Rate:
    """`20 in 1m` as a Rate. Raises UnitError."""
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise UnitError("{shown} is not a rate", _WRITE_RATE)
    return Rate(int(found[1]), parse_duration_ms(found[2]))


def parse_time_ms(value: object) -> int:
    """Milliseconds since the epoch of an ISO 8601 time with a zone, or of milliseconds as a number or digits. Raises UnitError."""
    if isinstance(value, str) and not value.isascii():
        raise UnitError("{shown} is not a point in time", _WRITE_TIME)
    if isinstance(value, str) and not value.isdigit():
        return _iso_ms(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or len(str(value)) > 18:
        raise UnitError("{shown} is not a point in time", _WRITE_TIME)
    moment = int(value)
    if not 0 <= moment <= _LATEST_MS:
        raise UnitError("{shown} is outside of time", _WRITE_TIME)
    if 0 < moment < _EARLIEST_PLAUSIBLE_MS:
        raise UnitError("{shown} looks like seconds since 1970", "milliseconds are meant: multiply by 1000")
    return moment


def format_duration(milliseconds: int) -> str:
    """`60000` as `1m`; exact, so that what is printed can be pasted back into a registry."""
    for unit, size in reversed(DURATION_UNITS.items()):
        if milliseconds >= size and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def _quantity(value: object, noun: str, remedy: str) -> tuple[Decimal, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise UnitError(f"{{shown}} is a number without a unit, not a {noun}", remedy)
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise UnitError(f"{{shown}} is not a {noun}", remedy)
    if not found[2]:
        raise UnitError(f"{{shown}} is a number without a unit, not a {noun}", remedy)
    return Decimal(found[1]), found[2]


def _whole(amount: Decimal, noun: str, remedy: str) -> int:
    if amount != int(amount):
        raise UnitError(f"{{shown}} is not a whole number of {noun}", remedy)
    return int(amount)


def _size_hint(unit: str) -> str:
    letter = unit[:1].upper()
    if letter in {"K", "M", "G"}:
        return f"units are exact: {letter}iB is a power of 1024, {letter}B a power of 1000"
    return f"units are {', '.join(SIZE_UNITS)}; {_WRITE_SIZE}"


def _iso_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise UnitError("{shown} does not say its time zone", "add Z for UTC, or an offset such as +02:00")
        milliseconds = int(moment.timestamp() * 1000)
    except UnitError:
        raise
    except (ValueError, OverflowError):
        raise UnitError("{shown} is not a point in time", _WRITE_TIME) from None
    if milliseconds < 0:
        raise UnitError("{shown} is before 1970", _WRITE_TIME)
    return milliseconds
