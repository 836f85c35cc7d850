"""Which topics a registry needs and what must hold of them: pure decisions over what the cluster said."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from aiokafka import errors

from pipeline.kafka.cluster import NewTopic, Refusal
from pipeline.kafka.topic_prefix import Prefix, prefixes
from schemas.dead_letter import HEADROOM_BYTES
from schemas.errors import Fault
from schemas.specs import KafkaSpec, Registry, RouteSpec
from schemas.topics import matches

_MESSAGE_BYTES_DEFAULT = 1_048_588
"""Kafka's own `max.message.bytes`."""
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}", re.ASCII)
_SIZE = "max.message.bytes"

Settings = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Use:
    """What one route (or penstock itself) does with a topic."""

    path: str
    """Where the registry says so."""
    what: str
    reads: bool = False
    writes: bool = True


def needs(registry: Registry, existing: Collection[str]) -> dict[str, list[Use]]:
    """Each topic that the registry needs, with its uses; patterns are matched against the existing ones."""
    found: dict[str, list[Use]] = {}
    for route in registry.routes.values():
        here, name = f"routes.{route.name}", f"route {route.name}"
        for topic in sources(route, existing):
            found.setdefault(topic, []).append(Use(f"{here}.from", f"{name} reads it", reads=True, writes=False))
        found.setdefault(route.to, []).append(Use(f"{here}.to", f"{name} writes to it"))
        for topic in route.also_to:
            found.setdefault(topic, []).append(Use(f"{here}.also_to", f"{name} may write to it"))
        letters = Use(f"{here}.dead_letter", f"{name} writes its dead letters to it")
        found.setdefault(route.dead_letter, []).append(letters)
    control = Use("kafka.control_topic", "penstock keeps there which lanes are stopped", reads=True)
    found.setdefault(registry.kafka.control_topic, []).append(control)
    return found


def sources(route: RouteSpec, existing: Collection[str]) -> tuple[str, ...]:
    """The topics that the route reads: those it names, or those there are that match its pattern."""
    if route.pattern is None:
        return route.sources
    return tuple(sorted(topic for topic in existing if matches(route.pattern, topic)))


def name_fault(topic: str, uses: list[Use]) -> Fault | None:
    """A name that Kafka cannot have; asking for it would end in a timeout."""
    if _NAME.fullmatch(topic) and topic not in (".", ".."):
        return None
    remedy = "use 1 to 249 letters, digits, dots, dashes and underscores"
    return Fault(f"{topic!r} is not a topic name ({_listed(uses)})", remedy, path=uses[0].path)


def new_topic(
    topic: str, registry: Registry, brokers: int, settings: Settings, existing: Mapping[str, int]
) -> NewTopic:
    """How a missing topic is made, or would be: a dead-letter topic takes what its sources take, the control topic is compacted.

    `existing` has the partition count of each topic there is: without `create_topics`, a topic gets as many partitions as the
    sources of what is written to it, so that events keep their partition.
    """
    shape = registry.create_topics
    if topic == registry.kafka.control_topic:
        replicas = shape.replication_factor if shape is not None else min(3, max(1, brokers))
        return NewTopic(topic, 1, replicas, {"cleanup.policy": "compact"})
    size = dead_letter_bytes(topic, registry, settings, existing)
    if size is None and shape is None and _awaits_sources(topic, registry, existing):
        size = _MESSAGE_BYTES_DEFAULT + HEADROOM_BYTES
    partitions, replicas = (
        (shape.partitions, shape.replication_factor)
        if shape is not None
        else (_like_sources(topic, registry, existing), min(3, max(1, brokers)))
    )
    return NewTopic(topic, partitions, replicas, {_SIZE: str(size)} if size else {})


def _like_sources(topic: str, registry: Registry, existing: Mapping[str, int]) -> int:
    """The most partitions that a source has whose events may go to this topic; 1 when there is none yet."""
    routes = [r for r in registry.routes.values() if topic in (*r.destinations, r.dead_letter)]
    return max((existing[s] for r in routes for s in sources(r, existing) if s in existing), default=1)


def _awaits_sources(topic: str, registry: Registry, existing: Collection[str]) -> bool:
    """Whether it takes the dead letters of routes whose sources are still to be made too, most likely as the broker makes them by default."""
    routes = [route for route in registry.routes.values() if route.dead_letter == topic]
    return bool(routes) and not any(source in existing for route in routes for source in sources(route, existing))


def dead_letter_bytes(topic: str, registry: Registry, settings: Settings, existing: Collection[str]) -> int | None:
    """The least `max.message.bytes` of a dead-letter topic; None when it is none, or its sources do not say theirs."""
    routes = [route for route in registry.routes.values() if route.dead_letter == topic]
    sizes = [_size(settings, source) for route in routes for source in sources(route, existing)]
    known = [size for size in sizes if size is not None]
    return max(known) + HEADROOM_BYTES if known else None


def absence_fault(
    new: NewTopic, uses: list[Use], refusal: Refusal, kafka: KafkaSpec, *, creating: bool = False
) -> Fault:
    """A topic that is not there, may not be seen, or (`creating`) could not be made."""
    path, server = uses[0].path, f"--bootstrap-server {kafka.brokers[0]}"
    denied = refusal.kind is errors.TopicAuthorizationFailedError
    if denied and creating:
        user = kafka.security.username or "<user>"
        remedy = (
            f"allow it: kafka-acls.sh {server} --add --allow-principal User:{user} --operation Create --topic {new.name}"
            ", or create it yourself"
        )
        return Fault(f"no permission to create topic {new.name} ({_listed(uses)})", remedy, path=path)
    if denied:
        operations = "--operation Describe --operation " + ("Write" if any(use.writes for use in uses) else "Read")
        user = kafka.security.username or "<user>"
        remedy = f"allow it: kafka-acls.sh {server} --add --allow-principal User:{user} {operations} --topic {new.name}"
        return Fault(f"no permission for topic {new.name}, or it does not exist ({_listed(uses)})", remedy, path=path)
    options = "".join(f" --config {key}={value}" for key, value in new.settings.items())
    command = (
        f"kafka-topics.sh {server} --create --topic {new.name} --partitions {new.partitions} "
        f"--replication-factor {new.replication_factor}{options}"
    )
    if refusal.kind is errors.UnknownTopicOrPartitionError:
        problem = f"topic {new.name} does not exist ({_listed(uses)})"
        return Fault(problem, f"create it ({command}), or set create_topics", path=path)
    return Fault(
        f"topic {new.name} could not be created ({refusal}; {_listed(uses)})", f"create it: {command}", path=path
    )


def size_findings(
    registry: Registry, settings: Settings, existing: Collection[str], server: str
) -> Iterator[tuple[Fault, bool]]:
    """Dead-letter topics too small for what may have to go there; True says that it is only a warning (`oversize: truncate`)."""
    for route in registry.routes.values():
        have, by_source = _size(settings, route.dead_letter), {s: _size(settings, s) for s in sources(route, existing)}
        largest = max(by_source, key=lambda source: by_source[source] or 0, default=None)
        size = by_source[largest] if largest is not None else None
        if have is None or size is None or have >= size + HEADROOM_BYTES:
            continue
        least = dead_letter_bytes(route.dead_letter, registry, settings, existing)
        problem = (
            f"a dead letter may not fit topic {route.dead_letter}: {_SIZE} is {have}, but a record of {largest} may have "
            f"{size} bytes, and its dead letter up to {HEADROOM_BYTES} more in headers"
        )
        command = f"kafka-configs.sh --bootstrap-server {server} --alter --topic {route.dead_letter} --add-config {_SIZE}={least}"
        remedy = f"{command}{'' if route.truncate_oversize else ', or set oversize: truncate'}"
        yield Fault(problem, remedy, path=f"routes.{route.name}.dead_letter"), route.truncate_oversize


def setting_warnings(registry: Registry, settings: Settings, existing: Collection[str]) -> Iterator[str]:
    """What works, but probably not as someone expects."""
    for route in registry.routes.values():
        if route.pattern is not None and not sources(route, existing):
            names = " and ".join(_named(each) for each in prefixes(route.pattern))
            yield (
                f"route {route.name}: no topic matches /{route.pattern}/ yet, or none that this user may see (it needs "
                f"Read on {names}); it begins when one appears"
            )
        for topic in sorted({*route.destinations, route.dead_letter}):
            if route.preserve_timestamps and settings.get(topic, {}).get("message.timestamp.type") == "LogAppendTime":
                yield (
                    f"topic {topic} stamps records itself (message.timestamp.type=LogAppendTime), "
                    f"so `timestamps: preserve` of route {route.name} has no effect on it"
                )
        if "compact" in settings.get(route.dead_letter, {}).get("cleanup.policy", ""):
            yield (
                f"dead-letter topic {route.dead_letter} is compacted: of dead letters with the same key only the last is kept, "
                "and one without a key stops its lane; set cleanup.policy=delete"
            )
    control = registry.kafka.control_topic
    policy = settings.get(control, {}).get("cleanup.policy")
    if policy is not None and policy != "compact":
        yield (
            f"control topic {control} has cleanup.policy={policy}: after its retention, stopped and paused lanes are "
            "forgotten and start again; set it to compact"
        )


def _size(settings: Settings, topic: str) -> int | None:
    value = settings.get(topic, {}).get(_SIZE)
    return int(value) if value is not None else None


def _named(prefix: Prefix) -> str:
    if not prefix.text:
        return "all topics"
    return f"topic {prefix.text}" if prefix.is_whole else f"topics that begin with {prefix.text}"


def _listed(uses: list[Use]) -> str:
    return ", ".join(dict.fromkeys(use.what for use in uses))
