"""What `penstock resume` refuses before it asks a broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli.resume import resume
from schemas.errors import ConfigError

REGISTRY = Path(__file__).parents[3] / "transformers" / "registry.yaml"


@pytest.mark.parametrize(
    ("route", "partition", "said"),
    [
        (None, "shop.public.orders/2", "--partition names no route"),
        ("orders", "shop.public.orders", "is not a partition"),
        ("ordres", None, "there is no route 'ordres'"),
    ],
)
def test_a_release_that_names_nothing_is_refused(
    route: str | None, partition: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "x")
    with pytest.raises(ConfigError, match=said):
        resume(REGISTRY, route, partition=partition, everything=False, json=False)
