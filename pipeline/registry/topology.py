"""Which topics meet where: no route may feed itself, and no two routes may share a group over one topic.

Messages name topics as the file writes them, because a name may have come from the environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from pipeline.registry.document import Document, Steps
from schemas.errors import Fault
from schemas.specs import Registry, RouteSpec
from schemas.topics import matches

_TOPIC_CHARACTERS_MAX = 249


def topology_faults(document: Document, registry: Registry) -> Iterator[Fault]:
    """Every broken rule of topics, patterns and groups."""
    routes = registry.routes.values()
    for route in routes:
        yield from _sources(document, route)
        yield from _loops(document, route, registry.kafka.control_topic)
        yield from _dead_letter(document, route)
    by_group: dict[str, list[RouteSpec]] = {}
    for route in routes:
        by_group.setdefault(route.group, []).append(route)
    for members in by_group.values():
        for first, second in combinations(members, 2):
            yield from _shared_group(document, first, second)


def reads(route: RouteSpec, topic: str) -> bool:
    """Whether the route consumes this topic."""
    return topic in route.sources if route.pattern is None else matches(route.pattern, topic)


def _sources(document: Document, route: RouteSpec) -> Iterator[Fault]:
    for index, source in enumerate(route.sources):
        steps: Steps = ("routes", route.name, "from", index)
        if source.startswith("/"):
            yield document.fault(steps, "a /regular expression/ stands alone", "fold the other topics into it: /a|b/")
        elif source in route.sources[:index]:
            yield document.fault(steps, "{shown} is named twice", "keep one of them")


def _loops(document: Document, route: RouteSpec, control_topic: str) -> Iterator[Fault]:
    here: Steps = ("routes", route.name)
    outputs: list[tuple[Steps, str, str]] = [((*here, "to"), route.to, "the destination")]
    outputs += [((*here, "also_to", index), topic, "the destination") for index, topic in enumerate(route.also_to)]
    if (*here, "dead_letter") in document.values or not reads(route, route.to):
        outputs.append(((*here, "dead_letter"), route.dead_letter, "the dead-letter topic"))
    for steps, topic, role in outputs:
        if reads(route, topic):
            remedy = "write to another topic, or narrow `from`"
            yield document.fault(
                _written(document, steps), f"{role} is among the route's own sources: it would feed itself", remedy
            )
        if topic == control_topic:
            remedy = "name another topic; penstock keeps its own state in kafka.control_topic"
            yield document.fault(_written(document, steps), f"{role} is the control topic", remedy)
    if reads(route, control_topic):
        remedy = "narrow `from`, or choose another kafka.control_topic"
        yield document.fault((*here, "from"), "the control topic is among the route's sources", remedy)


def _written(document: Document, steps: Steps) -> Steps:
    """A dead-letter topic that was not written comes of `to`."""
    derived = steps[-1] == "dead_letter" and steps not in document.values and (*steps[:-1], "to") in document.values
    return (*steps[:-1], "to") if derived else steps


def _dead_letter(document: Document, route: RouteSpec) -> Iterator[Fault]:
    steps = _written(document, ("routes", route.name, "dead_letter"))
    if route.dead_letter in route.destinations:
        yield document.fault(
            steps, "the dead-letter topic is also a destination", "keep dead letters in a topic of their own"
        )
    if len(route.dead_letter) > _TOPIC_CHARACTERS_MAX:
        problem = "with '.dead-letter' added, the destination is too long for a topic name"
        yield document.fault(steps, problem, "name the dead-letter topic: dead_letter: …")


def _shared_group(document: Document, first: RouteSpec, second: RouteSpec) -> Iterator[Fault]:
    if not _may_share(first, second):
        return
    at = "group" if ("routes", second.name, "group") in document.values else "from"
    yield document.fault(
        ("routes", second.name, at),
        f"routes {first.name} and {second.name} have the same consumer group and may read the same topic: each event would reach only one",
        "give each route a group of its own (leave `group` out)",
    )


def _may_share(first: RouteSpec, second: RouteSpec) -> bool:
    """Whether both could read one topic. Of two patterns this is not asked: they might."""
    if first.pattern is not None and second.pattern is not None:
        return True
    if first.pattern is not None:
        return any(reads(first, topic) for topic in second.sources)
    return any(reads(second, topic) for topic in first.sources)
