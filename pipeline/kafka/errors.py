"""aiokafka's errors become ours, by one table. The reactions are those of `schemas.errors`, not the library's."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator

from aiokafka import errors as kafka

from schemas.errors import FencedError, OffsetOutOfRangeError, PenstockError, TransportError
from schemas.event import TopicPartition

_FENCED: tuple[type[Exception], ...] = (
    kafka.ProducerFenced,
    kafka.InvalidProducerEpoch,
    kafka.InvalidProducerIdMapping,
    kafka.UnknownProducerId,
    # aiokafka answers this for a call on a producer that its background task has found fenced
    kafka.IllegalOperation,
)

# A second try cannot help: someone has to change something first. Everything else is worth one.
_PERMANENT: dict[type[Exception], str] = {
    kafka.MessageSizeTooLargeError: "raise the topic's max.message.bytes, or lower kafka.client.max_batch_size",
    kafka.RecordListTooLargeError: "raise the topic's segment.bytes, or lower kafka.client.max_batch_size",
    kafka.RecordTooLargeError: "raise kafka.client.max_partition_fetch_bytes",
    kafka.SaslAuthenticationFailed: "check kafka.security.username and password",
    kafka.AuthenticationFailedError: "check kafka.security.username and password",
    kafka.UnsupportedSaslMechanismError: "set kafka.security.mechanism to one the broker has",
    kafka.IllegalSaslStateError: "check kafka.security.protocol: the port may not expect SASL",
    kafka.SecurityDisabled: "the cluster has no authorizer",
    kafka.InvalidTopicError: "topic names are 1 to 249 letters, digits, dots, dashes and underscores",
    kafka.InvalidGroupIdError: "check kafka.group and the routes' groups",
    kafka.InconsistentGroupProtocolError: "another program uses this consumer group: name a group of its own",
    kafka.InvalidSessionTimeoutError: "keep kafka.session_timeout within the broker's group.max.session.timeout.ms",
    kafka.InvalidTransactionTimeout: "keep kafka.transaction_timeout below the broker's transaction.max.timeout.ms",
    kafka.InvalidTimestampError: "raise the topic's message.timestamp.before.max.ms or after.max.ms, or use `timestamps: now`",
    kafka.InvalidReplicationFactorError: "set create_topics.replication_factor to at most the number of brokers",
    kafka.InvalidPartitionsError: "set create_topics.partitions to at least 1",
    kafka.InvalidConfigurationError: "the cluster does not accept this topic setting",
    kafka.PolicyViolationError: "the cluster's policy forbids this",
    kafka.UnsupportedVersionError: "the broker is too old or too new for this client",
    kafka.IncompatibleBrokerVersion: "the broker is too old or too new for this client",
    kafka.UnsupportedForMessageFormatError: "raise the topic's message format version",
    kafka.UnsupportedCodecError: "install the codec that the topic's records are compressed with",
    kafka.InvalidRequiredAcksError: "the broker does not accept acks=all",
}

_DENIED: dict[type[Exception], tuple[str, str]] = {
    kafka.TopicAuthorizationFailedError: (
        "topic",
        "allow this user Describe and Read (sources) or Write (destinations, dead letters)",
    ),
    kafka.GroupAuthorizationFailedError: ("consumer group", "allow this user Describe and Read on the group"),
    kafka.TransactionalIdAuthorizationFailed: (
        "transactional id",
        "allow this user Describe and Write on the transactional id",
    ),
    kafka.ClusterAuthorizationFailedError: (
        "the cluster",
        "allow this user IdempotentWrite (or Create, for create_topics) on the cluster",
    ),
}

_OURS_OR_THE_SYSTEMS = (kafka.KafkaError, kafka.ConsumerStoppedError, kafka.IllegalOperation, OSError)


def translate(error: BaseException) -> PenstockError:
    """The error of ours that stands for `error`; use as `raise translate(error) from error`.

    Raises `error` itself when it is not the transport's: cancellation and our own bugs are nobody's to retry.
    """
    if isinstance(error, PenstockError):
        return error
    if isinstance(error, AssertionError) and "FATAL_ERROR" in str(error):
        return FencedError(_sentence("the producer was fenced and is done", error))
    if not isinstance(error, _OURS_OR_THE_SYSTEMS):
        raise error
    return _translated(_root(error))


def _root(error: BaseException) -> BaseException:
    """aiokafka wraps what its background tasks meet into a bare KafkaError: the cause says more."""
    while type(error) is kafka.KafkaError and isinstance(error.__cause__, _OURS_OR_THE_SYSTEMS):
        error = error.__cause__
    return error


def _translated(error: BaseException) -> PenstockError:
    if isinstance(error, _FENCED):
        return FencedError(_sentence("another process took this producer over, or its transaction timed out", error))
    if isinstance(error, kafka.OffsetOutOfRangeError):
        return _out_of_range(error)
    for kind, (resource, remedy) in _DENIED.items():
        if isinstance(error, kind):
            return _denied(error, resource, remedy)
    for kind, remedy in _PERMANENT.items():
        if isinstance(error, kind):
            return TransportError(f"{_sentence('the broker refused', error)} — {remedy}", retriable=False)
    if isinstance(error, ssl.SSLCertVerificationError):
        return TransportError(_sentence("the broker's certificate is not trusted", error), retriable=False)
    if isinstance(error, kafka.UnknownTopicOrPartitionError):
        topic = next(_names(error.args), None)
        return TransportError(
            _sentence(f"the broker does not know {topic or 'a topic or partition'}", error), topic=topic
        )
    return TransportError(_sentence("no answer from Kafka, or one that asks for another try", error))


def _out_of_range(error: BaseException) -> OffsetOutOfRangeError:
    offsets = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    partitions = [TopicPartition(each.topic, each.partition) for each in offsets]
    missing = ", ".join(f"{each} at offset {offset}" for each, offset in zip(partitions, offsets.values(), strict=True))
    return OffsetOutOfRangeError(
        f"the broker no longer (or not yet) has the records of {missing or 'a partition'}", partitions
    )


def _denied(error: BaseException, resource: str, remedy: str) -> TransportError:
    names = sorted(_names(error.args))
    what = " ".join((resource, ", ".join(names))) if names else resource
    topic = names[0] if resource == "topic" and len(names) == 1 else None
    return TransportError(f"no permission for {what} ({type(error).__name__}) — {remedy}", retriable=False, topic=topic)


def _names(args: Iterable[object]) -> Iterator[str]:
    """aiokafka puts the resource's name, its partition, a set of names, or nothing into an error."""
    for arg in args:
        if isinstance(arg, str):
            yield arg
        elif hasattr(arg, "topic"):
            yield str(arg.topic)
        elif isinstance(arg, set | frozenset | list | tuple):
            yield from _names(arg)


def _sentence(what: str, error: BaseException) -> str:
    """`what`, then the library's own words in brackets: they are what a search engine knows."""
    name, words = type(error).__name__, " ".join(str(error).split())
    said = words if name in words else f"{name}: {words}" if words else name
    return f"{what} ({said})"
