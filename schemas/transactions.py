"""What Debezium says of a source's transactions (`provide.transaction.metadata=true`): marks on the transaction topic, and the member
`transaction` of every change event.

An id is `txId:LSN` in PostgreSQL, and the LSN is another in every event: what is before the colon joins them. Any other id is taken as
a whole (MySQL's GTID is `uuid:number`, and the uuid is the server's). Debezium JSON, with schemas and without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

TRANSACTION_SUFFIX = ".transaction"
"""`{topic.prefix}.transaction` is where BEGIN and END are, unless `topic.transaction` says otherwise."""
UNCOUNTED = frozenset({None, "r", "m"})
"""Operations that may belong to no transaction: heartbeats and other records without one, what a snapshot read, and messages
(PostgreSQL has some that are written outside of any)."""

MESSAGES = "message"
"""What is behind the prefix in the name of the topic that PostgreSQL's logical messages are written to. They are counted like a table's
events, but under the name of a Java class and the hash of an object (Debezium 3.7)."""
_MESSAGE_ID = "$LogicalDecodingMessageId@"


class Malformed(ValueError):
    """A record that cannot be understood as what its topic holds; the text says why."""


class Membership(msgspec.Struct, frozen=True):
    """An event's place in its transaction."""

    id: str
    total_order: int
    """From 1 on, over all of the transaction's events."""

    @property
    def key(self) -> str:
        """What all records of one transaction share."""
        return transaction_key(self.id)


class _Change(msgspec.Struct):
    op: str | None = None
    transaction: Membership | None = None


class _Count(msgspec.Struct):
    data_collection: str
    event_count: int


class _Mark(msgspec.Struct):
    status: str
    id: str
    data_collections: list[_Count] | None = None


class _Wrapped(msgspec.Struct):
    payload: msgspec.Raw = msgspec.Raw()
    status: str | None = None
    op: str | None = None


class End(msgspec.Struct, frozen=True):
    """An END: how many events each table has in this transaction, by `schema.table`."""

    key: str
    counts: Mapping[str, int]


_wrapped = msgspec.json.Decoder(_Wrapped).decode
_change = msgspec.json.Decoder(_Change).decode
_mark = msgspec.json.Decoder(_Mark).decode


def transaction_key(transaction_id: str) -> str:
    """The part of an id that all records of its transaction share."""
    number, _, lsn = transaction_id.partition(":")
    return number if number.isdecimal() and lsn.isdecimal() else transaction_id


def membership(value: bytes) -> Membership | None:
    """Which transaction a change event is of; None for what belongs to none. Raises Malformed."""
    try:
        change = _change(_payload(value))
    except msgspec.MsgspecError as error:
        raise Malformed(f"not a change event in Debezium JSON: {error}") from None
    if change.transaction is None and change.op not in UNCOUNTED:
        raise Malformed(
            f"a change (op {change.op}) that does not say its transaction: "
            "set provide.transaction.metadata=true on the connector"
        )
    return change.transaction


def end_mark(value: bytes) -> End | None:
    """The END that a record of the transaction topic is; None for a BEGIN. Raises Malformed."""
    try:
        mark = _mark(_payload(value))
    except msgspec.MsgspecError as error:
        raise Malformed(f"neither BEGIN nor END of a transaction: {error}") from None
    if mark.status == "BEGIN":
        return None
    if mark.status != "END" or mark.data_collections is None:
        raise Malformed(f"neither BEGIN nor END with data_collections: status {mark.status}")
    counts = Counter[str]()
    for each in mark.data_collections:
        counts[MESSAGES if _MESSAGE_ID in each.data_collection else each.data_collection] += each.event_count
    return End(transaction_key(mark.id), counts)


def _payload(value: bytes) -> bytes | msgspec.Raw:
    """The value itself, or what is inside the envelope of a converter with schemas."""
    wrapped = _wrapped(value)
    if not bytes(wrapped.payload) or wrapped.status is not None or wrapped.op is not None:
        return value
    return wrapped.payload
