"""A bounded part of `make chaos`, with one or two breaks each; the schedules come from a fixed seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.__main__ import BROKER_FAULTS_MAX
from tests.chaos.scenes import SCENES
from tests.chaos.scenes.brokers import may_mount
from tests.chaos.stage import BrokerForgotError, Stage

pytestmark = [pytest.mark.services, pytest.mark.chaos]

SEED = 4
_EVENTS = {
    "kills": 12_000,
    "network": 8_000,
    "broker-stands-still": 6_000,
    "broker-disk-full": 4_000,
    "offsets-gone": 600,
    "topics-created": 3_000,
}


@pytest.mark.parametrize("name", _EVENTS)
def test_nothing_is_lost_or_doubled_while(name: str, tmp_path: Path) -> None:
    if name == "broker-disk-full" and not may_mount():
        pytest.skip("mounting a small tmpfs takes root")
    (scene,) = (scene for scene in SCENES if scene.name == name)
    for attempt in range(BROKER_FAULTS_MAX):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        try:
            with Stage(name, SEED + attempt, folder, full=False) as stage:
                scene.play(stage, _EVENTS[name])
                assert stage.breaks
                return
        except BrokerForgotError as error:
            print(f"proves nothing: {error}")
    pytest.fail("the broker was at fault every time")
