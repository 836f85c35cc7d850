"""How hard to try. `make test` takes the bounded part, `make fuzz` sets PENSTOCK_FUZZ to a multiple of it and the seed of every draw."""

from __future__ import annotations

import os
import random
import zlib

from hypothesis import HealthCheck, Phase, settings

FACTOR = max(1, int(os.environ.get("PENSTOCK_FUZZ", "1")))
SEED = int(os.environ.get("PENSTOCK_FUZZ_SEED", "4"))


def examples(count: int) -> settings:
    """Hypothesis settings for so many examples (times the factor); never a deadline, since cores may be shared."""
    return settings(
        max_examples=count * FACTOR,
        deadline=None,
        derandomize=FACTOR == 1,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )


def chance(name: str) -> random.Random:
    """Chance for one test, the same for the same seed."""
    return random.Random(SEED << 32 | zlib.crc32(name.encode()))
