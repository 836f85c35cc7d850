"""What reaches stderr."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.observe.logs import _ROUTINE, configure_logging
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
    for name in _ROUTINE:
        logging.getLogger(name).filters.clear()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, was in libraries.items():
        logging.getLogger(name).setLevel(was)


def configured(*, json: bool, level: str = "info", worker: str | None = None) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(json=json, level=level, stream=stream, worker=worker)
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


@pytest.mark.parametrize("json", [True, False])
def test_a_worker_among_several_says_its_name_in_every_line(json: bool) -> None:
    stream = configured(json=json, worker="worker-1.3")
    logging.getLogger("pipeline.lane").info("lane orders/3 is running", extra={"worker": "somebody else"})
    if json:
        assert lines(stream)[0]["worker"] == "worker-1.3"
    else:
        assert " INFO    worker-1.3 pipeline.lane: lane orders/3 is running" in stream.getvalue()


def test_a_single_process_says_no_name() -> None:
    stream = configured(json=True)
    logging.getLogger("pipeline.lane").info("lane orders/3 is running")
    assert "worker" not in lines(stream)[0]


def test_a_rebalance_is_no_warning_unless_debugging() -> None:
    ((name, routine),) = _ROUTINE.items()
    for level, said in (("info", 0), ("debug", len(routine)), ("info", 0)):
        stream = configured(json=True, level=level)
        for message in routine:
            logging.getLogger(name).warning(message, "g")
        assert len(lines(stream)) == said
        logging.getLogger(name).warning("Marking the coordinator dead (node %s)for group %s.", 1, "g")
        assert "coordinator dead" in lines(stream)[-1]["message"]


def test_the_client_still_says_what_is_kept_quiet() -> None:
    for name, routine in _ROUTINE.items():
        source = inspect.getsource(importlib.import_module(name))
        assert [message for message in routine if f'"{message}"' not in source] == []
