"""The table of errors: one reaction for each of aiokafka's ways to fail."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from aiokafka import TopicPartition as ClientPartition
from aiokafka import errors as kafka

from pipeline.kafka.errors import translate
from schemas.errors import ConfigError, FencedError, OffsetOutOfRangeError, TransportError
from schemas.event import TopicPartition


@pytest.mark.parametrize(
    "error",
    [
        kafka.ProducerFenced(),
        kafka.InvalidProducerEpoch(),
        kafka.UnknownProducerId(),
        kafka.IllegalOperation("Can't send messages while not in transaction"),
        AssertionError("Invalid state transition TransactionState.FATAL_ERROR -> TransactionState.IN_TRANSACTION"),
    ],
)
def test_a_lost_lane_is_fenced(error: Exception) -> None:
    assert isinstance(translate(error), FencedError)


@pytest.mark.parametrize(
    "error",
    [
        kafka.KafkaConnectionError("Unable to bootstrap"),
        kafka.NodeNotReadyError(),
        kafka.KafkaTimeoutError(),
        kafka.RequestTimedOutError(),
        kafka.OutOfOrderSequenceNumber(),
        kafka.CommitFailedError(),
        kafka.IllegalGenerationError("g"),
        kafka.UnknownError(),
        kafka.NotEnoughReplicasError(),
        kafka.ConsumerStoppedError(),
        kafka.KafkaError("Unexpected error during batch delivery"),
        TimeoutError(),
        ConnectionResetError("reset"),
    ],
)
def test_what_may_pass_by_itself_is_tried_again(error: Exception) -> None:
    ours = translate(error)
    assert type(ours) is TransportError
    assert ours.retriable
    assert type(error).__name__ in str(ours)
    assert "\n" not in str(ours)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (kafka.TopicAuthorizationFailedError("orders"), "no permission for topic orders"),
        (kafka.TopicAuthorizationFailedError({"b", "a"}), "no permission for topic a, b"),
        (kafka.GroupAuthorizationFailedError("penstock-orders"), "consumer group penstock-orders"),
        (kafka.TransactionalIdAuthorizationFailed("t/0/g"), "transactional id t/0/g"),
        (kafka.ClusterAuthorizationFailedError(), "IdempotentWrite"),
        (kafka.SaslAuthenticationFailed("invalid credentials"), "check kafka.security.username and password"),
        (kafka.MessageSizeTooLargeError(), "max.message.bytes"),
        (kafka.InvalidTransactionTimeout(), "transaction.max.timeout.ms"),
        (kafka.InvalidTopicError("a b"), "topic names are"),
        (ssl.SSLCertVerificationError("self-signed certificate"), "not trusted"),
    ],
)
def test_what_someone_must_change_is_not_tried_again(error: Exception, says: str) -> None:
    ours = translate(error)
    assert isinstance(ours, TransportError)
    assert not ours.retriable
    assert says in str(ours)


def test_the_topic_is_named_for_the_caller() -> None:
    denied, unknown = (
        kafka.TopicAuthorizationFailedError("orders"),
        kafka.UnknownTopicOrPartitionError(ClientPartition("orders", 1)),
    )
    assert [getattr(translate(error), "topic", None) for error in (denied, unknown)] == ["orders", "orders"]
    assert getattr(translate(unknown), "retriable", None)


def test_missing_records_name_their_partitions() -> None:
    ours = translate(kafka.OffsetOutOfRangeError({ClientPartition("orders", 3): 17}))
    assert isinstance(ours, OffsetOutOfRangeError)
    assert ours.partitions == {TopicPartition("orders", 3)}
    assert "orders/3 at offset 17" in str(ours)


def test_a_wrapped_error_counts_as_what_it_wraps() -> None:
    wrapped = kafka.KafkaError("Unexpected error during batch delivery")
    wrapped.__cause__ = kafka.KafkaError("again")
    wrapped.__cause__.__cause__ = kafka.InvalidProducerEpoch()
    assert isinstance(translate(wrapped), FencedError)


def test_ours_stay_ours() -> None:
    error = ConfigError()
    assert translate(error) is error


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), ValueError("x"), AssertionError("ours"), KeyboardInterrupt()]
)
def test_cancellation_and_bugs_pass_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised:
        translate(error)
    assert raised.value is error
