"""The examples of docs/registry.md are registries."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.registry.reading import parse_document
from schemas.registry import LimitsEntry, QuarantineEntry, RouteEntry, SecurityEntry, TransformerEntry

from .conftest import MODULE, Load

DOCS = (Path(__file__).parents[3] / "docs" / "registry.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)


def examples(first: str) -> list[dict[str, object]]:
    """Every example that begins with this key; each line of its own when the key stands in several."""
    texts = [text for text in EXAMPLES if text.startswith(first)]
    lines = [line for text in texts for line in (text.splitlines() if text.count(f"\n{first}") else [text])]
    found = [parse_document(line, "docs").data for line in lines]
    assert found
    return found


def test_the_smallest_registry(load: Load, folder: Path) -> None:
    (folder / "modules").mkdir()
    (folder / "modules" / "mask_pii.wasm").write_bytes(MODULE)
    (text,) = [text for text in EXAMPLES if text.startswith("version:")]
    assert load(text).routes["orders"].to == "orders.masked"


@pytest.mark.parametrize("example", examples("limits:"))
def test_limits(example: dict[str, object]) -> None:
    entry = TransformerEntry.model_validate({"module": "x.wasm", **example})
    assert isinstance(entry.limits, LimitsEntry)


def test_a_route_a_breaker_and_a_login() -> None:
    for example in examples("routes:"):
        routes = example["routes"]
        assert isinstance(routes, dict)
        assert RouteEntry.model_validate(routes["orders"]).start == "1769846400000"
    for example in examples("quarantine:"):
        assert QuarantineEntry.model_validate(example["quarantine"]).after is not None
    for example in examples("security:"):
        assert SecurityEntry.model_validate(example["security"]).protocol == "SASL_SSL"
