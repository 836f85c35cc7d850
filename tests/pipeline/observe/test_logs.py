"""What reaches stderr."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.observe.logs import configure_logging
from schemas.errors import ConfigError


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    libraries = {
        name: logging.getLogger(name).level
        for name in ("aiokafka", "kafka", "aiohttp", "asyncio", "opentelemetry", "urllib3", "requests")
    }
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, was in libraries.items():
        logging.getLogger(name).setLevel(was)


def configured(*, json: bool, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(json=json, level=level, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines() -> None:
    stream = configured(json=True)
    logging.getLogger("pipeline.lane").warning(
        "lane %s stopped\nat once", "orders/3", extra={"route": "orders", "offset": 12}
    )
    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "warning",
        "logger": "pipeline.lane",
        "message": "lane orders/3 stopped\nat once",
        "route": "orders",
        "offset": 12,
    }


def test_json_has_the_exception() -> None:
    stream = configured(json=True)
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("pipeline").exception("it failed")
    (line,) = lines(stream)
    assert line["exception"].startswith("Traceback") and line["exception"].endswith("ValueError: boom")


@pytest.mark.parametrize(
    "awkward", [float("nan"), {1: object()}, {(1, 2): 3}, "\udc80 é ☃", b"\xff", {"deep": [float("inf")]}]
)
def test_json_takes_any_field(awkward: object) -> None:
    stream = configured(json=True)
    logging.getLogger("pipeline").info("fields", extra={"awkward": awkward, "level": "forged", "time": 0})
    (line,) = lines(stream)
    assert "awkward" in line and line["level"] == "info" and line["time"] != 0
    assert stream.getvalue().isascii()


def test_a_structure_that_contains_itself_is_logged() -> None:
    stream = configured(json=True)
    loop: list[object] = []
    loop.append(loop)
    logging.getLogger("pipeline").info("fields", extra={"loop": loop})
    assert lines(stream)[0]["loop"] == "[[...]]"


def test_plain_lines_cannot_be_forged() -> None:
    stream = configured(json=False)
    logging.getLogger("guest").info("hi\n12:00:00.000 ERROR forged \x1b[2J é", extra={"route": "a\nb"})
    (line,) = stream.getvalue().splitlines()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} INFO    guest: hi\\n12:00:00.000 ERROR forged \\x1b\[2J é route=a\\nb", line
    )


def test_plain_lines_show_the_traceback() -> None:
    stream = configured(json=False)
    try:
        raise ValueError("bo\x1bom")
    except ValueError:
        logging.getLogger("pipeline").exception("it failed")
    head, *trace = stream.getvalue().splitlines()
    assert head.endswith("pipeline: it failed")
    assert trace[0].startswith("Traceback") and trace[-1] == "ValueError: bo\\x1bom"


def test_libraries_only_warn() -> None:
    stream = configured(json=True, level="debug")
    for name in ("pipeline.lane", "aiokafka.consumer", "opentelemetry.sdk"):
        logging.getLogger(name).debug("detail")
        logging.getLogger(name).warning("trouble")
    assert [(line["logger"], line["message"]) for line in lines(stream)] == [
        ("pipeline.lane", "detail"),
        ("pipeline.lane", "trouble"),
        ("aiokafka.consumer", "trouble"),
        ("opentelemetry.sdk", "trouble"),
    ]


def test_error_level_holds_for_libraries_too() -> None:
    stream = configured(json=True, level="ERROR")
    logging.getLogger("aiokafka").warning("trouble")
    logging.getLogger("pipeline").warning("trouble")
    assert not lines(stream)


def test_configuring_twice_does_not_double_the_lines() -> None:
    configured(json=True)
    stream = configured(json=True)
    logging.getLogger("pipeline").info("once")
    assert len(lines(stream)) == 1


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ConfigError, match="no log level 'loud' — choose one of debug, info, warning, error"):
        configure_logging(json=False, level="loud")
