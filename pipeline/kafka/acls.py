"""Which access rules (ACLs) a registry needs of its cluster, and no more: a pure function of the registry. Asks no broker.

Kafka's own implications are used, so that no rule says what another one says already: Read and Write include Describe; a
transactional producer, and on Kafka 2.8+ an idempotent one that may write to some topic, needs no IdempotentWrite.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

import msgspec

from pipeline.kafka.topic_prefix import Prefix, prefixes
from schemas.specs import Delivery, Registry, RouteSpec, Security

ANONYMOUS = "User:ANONYMOUS"
"""Who a client is to the broker that neither logs in nor shows a certificate."""


class Resource(StrEnum):
    """What a rule is about, as `kafka-acls.sh` calls it in its options."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"


class Pattern(StrEnum):
    """How a rule's name is meant."""

    LITERAL = "literal"
    PREFIXED = "prefixed"


class Acl(msgspec.Struct, frozen=True, gc=False):
    """One rule: this principal may do this to these resources, from any host."""

    principal: str
    resource: Resource
    pattern: Pattern
    name: str
    operation: str
    """As Kafka spells it: Read, Write, Create, DescribeConfigs."""
    why: str
    """Which routes need it, and for what."""


class _Need(msgspec.Struct, frozen=True, gc=False):
    """An `Acl` without the principal."""

    resource: Resource
    pattern: Pattern
    name: str
    operation: str
    why: str


def default_principal(security: Security) -> str | None:
    """Who the registry's client is to the broker; None when only a certificate or a token says so."""
    if security.username is not None:
        return f"User:{security.username}"
    return ANONYMOUS if security.mechanism is None and security.cert_file is None else None


def needed_acls(registry: Registry, principals: Sequence[str], *, checks: bool = False) -> list[Acl]:
    """The rules without which the service cannot run, per principal, each once.

    With `checks`, also those without which it runs but checks less at start (sizes, retention, compaction of topics).
    """
    needs = [*_topics(registry), *_groups(registry)]
    if registry.delivery is Delivery.EXACTLY_ONCE:
        needs += _transactional_ids(registry)
    if checks:
        needs += _settings(needs)
    merged = _merged(needs)
    return [
        Acl(principal, need.resource, need.pattern, need.name, need.operation, need.why)
        for principal in principals
        for need in merged
    ]


def commands(acls: Iterable[Acl], server: str) -> list[str]:
    """The same as `kafka-acls.sh` commands: one for each principal and resource."""
    grouped: dict[tuple[str, Resource, Pattern, str], list[str]] = {}
    for acl in acls:
        grouped.setdefault((acl.principal, acl.resource, acl.pattern, acl.name), []).append(acl.operation)
    return [
        command(server, principal, resource, pattern, name, operations)
        for (principal, resource, pattern, name), operations in grouped.items()
    ]


def command(
    server: str, principal: str, resource: Resource, pattern: Pattern, name: str, operations: Iterable[str]
) -> str:
    """One `kafka-acls.sh` command, quoted for a shell."""
    words = ["kafka-acls.sh", "--bootstrap-server", server, "--add", "--allow-principal", principal]
    for operation in operations:
        words += ["--operation", operation]
    if pattern is Pattern.PREFIXED:
        words += ["--resource-pattern-type", "prefixed"]
    return shlex.join([*words, f"--{resource}", name])


def _topics(registry: Registry) -> Iterator[_Need]:
    makes = registry.create_topics is not None
    for route in registry.routes.values():
        for name, pattern in _source_names(route):
            yield _Need(Resource.TOPIC, pattern, name, "Read", f"route {route.name} reads it")
            if makes and route.pattern is None:
                yield _Need(Resource.TOPIC, pattern, name, "Create", "create_topics")
        for name, what in (
            *((topic, "emits to it") for topic in (route.to, *route.also_to)),
            (route.dead_letter, "writes its dead letters to it"),
        ):
            yield _Need(Resource.TOPIC, Pattern.LITERAL, name, "Write", f"route {route.name} {what}")
            if makes:
                yield _Need(Resource.TOPIC, Pattern.LITERAL, name, "Create", "create_topics")
    control = registry.kafka.control_topic
    for operation in ("Read", "Write"):
        yield _Need(Resource.TOPIC, Pattern.LITERAL, control, operation, "penstock keeps there which lanes are stopped")
    yield _Need(Resource.TOPIC, Pattern.LITERAL, control, "Create", "made at the first start, unless it is there")


def _groups(registry: Registry) -> Iterator[_Need]:
    for route in registry.routes.values():
        yield _Need(Resource.GROUP, Pattern.LITERAL, route.group, "Read", f"route {route.name} is its member")


def _transactional_ids(registry: Registry) -> Iterator[_Need]:
    """Ids are `topic/partition/group`: a prefix takes all partitions of a topic, those it will grow as well."""
    for route in registry.routes.values():
        for name, pattern in _source_names(route):
            prefix = f"{name}/" if pattern is Pattern.LITERAL and name != "*" else name
            kind = Pattern.LITERAL if name == "*" else Pattern.PREFIXED
            why = f"route {route.name} commits in transactions"
            yield _Need(Resource.TRANSACTIONAL_ID, kind, prefix, "Write", why)


def _source_names(route: RouteSpec) -> Iterator[tuple[str, Pattern]]:
    """Each source, or what all topics that match the route's pattern begin with; `*` when that is nothing."""
    if route.pattern is None:
        yield from ((topic, Pattern.LITERAL) for topic in route.sources)
        return
    for found in prefixes(route.pattern):
        yield _as_resource(found)


def _as_resource(prefix: Prefix) -> tuple[str, Pattern]:
    if not prefix.text:
        return "*", Pattern.LITERAL
    return prefix.text, Pattern.LITERAL if prefix.is_whole else Pattern.PREFIXED


def _settings(needs: Iterable[_Need]) -> list[_Need]:
    topics = dict.fromkeys((need.pattern, need.name) for need in needs if need.resource is Resource.TOPIC)
    why = "sizes, retention and compaction are checked at start"
    return [_Need(Resource.TOPIC, pattern, name, "DescribeConfigs", why) for pattern, name in topics]


def _merged(needs: Iterable[_Need]) -> list[_Need]:
    """Each rule once, with all reasons; grouped by resource, topics first."""
    whys: dict[tuple[Resource, Pattern, str, str], dict[str, None]] = {}
    for need in needs:
        whys.setdefault((need.resource, need.pattern, need.name, need.operation), {})[need.why] = None
    order = list(Resource)
    merged = [_Need(*rule, "; ".join(reasons)) for rule, reasons in whys.items()]
    return sorted(merged, key=lambda need: order.index(need.resource))
