"""How a route's chain is put together: sessions, breakers and stages for one lane."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.breaker import Breaker
from pipeline.chain import Chain, Stage
from pipeline.ports import Clock
from pipeline.workers import GuestThreads
from sandbox import Transformer
from schemas.specs import RouteSpec


def make_breakers(route: RouteSpec, transformers: Mapping[str, Transformer], clock: Clock) -> dict[str, Breaker]:
    """One breaker for each transformer of the route; a lane keeps them for its whole life."""
    return {name: Breaker(transformers[name].spec.quarantine, clock) for name in route.through}


def make_chain(
    route: RouteSpec, transformers: Mapping[str, Transformer], breakers: Mapping[str, Breaker], threads: GuestThreads
) -> Chain:
    """A fresh chain: its sessions belong to one passage of one lane."""
    topics = route.destinations
    stages = [
        Stage(transformer.spec, transformer.sha256, transformer.session(allowed_topics=topics), breakers[name], threads)
        for name, transformer in ((name, transformers[name]) for name in route.through)
    ]
    return Chain(stages)
