"""How a route's chain is put together: sessions, breakers and stages for one lane."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.breaker import Breaker
from pipeline.chain import Chain, Stage
from pipeline.ports import Clock
from pipeline.steps import RouteFormats, Step
from pipeline.steps.contract import ContractGate
from pipeline.steps.dedupe import Dedupe
from pipeline.steps.step import NO_MODULE
from pipeline.workers import GuestThreads
from sandbox import Transformer
from schemas.specs import RouteSpec


def make_breakers(route: RouteSpec, transformers: Mapping[str, Transformer], clock: Clock) -> dict[str, Breaker]:
    """One breaker for each transformer of the route; a lane keeps them for its whole life."""
    return {name: Breaker(transformers[name].spec.quarantine, clock) for name in route.through}


def make_chain(
    route: RouteSpec,
    transformers: Mapping[str, Transformer],
    breakers: Mapping[str, Breaker],
    threads: GuestThreads,
    clock: Clock,
    formats: RouteFormats | None = None,
) -> Chain:
    """A fresh chain: its sessions belong to one passage of one lane. Without `formats`, those that the route names."""
    formats = formats or RouteFormats.of(route)
    topics = route.destinations
    chosen = [transformers[name] for name in route.through]
    guests = [
        Stage(
            transformer.spec,
            transformer.sha256,
            transformer.session(allowed_topics=topics, format_=formats.source),
            breakers[transformer.name],
            threads,
        )
        for transformer in chosen
    ]
    decoded = any(transformer.encoding == "event" for transformer in chosen)
    first = formats.before(decoded=decoded or route.dedupe is not None or bool(route.contracts))
    if route.dedupe is not None:
        first.append(Dedupe(route.dedupe, formats.source))
    remembering = len(first)
    first += [ContractGate(contract, formats.source) for contract in route.contracts]
    before = [_stage(step, threads, clock) for step in first]
    behind = [_stage(step, threads, clock) for step in formats.behind(route)]
    stages = [*before, *guests, *behind]
    return Chain(stages) if route.dedupe is None else Chain(stages, route.dedupe.events, remembering)


def _stage(step: Step, threads: GuestThreads, clock: Clock) -> Stage:
    """Its violations are judgements, which strike no breaker."""
    return Stage(step.spec, NO_MODULE, step, Breaker(step.spec.quarantine, clock), threads)
