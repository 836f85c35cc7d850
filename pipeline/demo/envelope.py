"""Change events as Debezium's PostgreSQL connector writes them: schemaless JSON, default replica identity, transaction metadata.

Text is put together instead of serialised: the demo makes tens of thousands of events beside the pipeline that it shows.
"""

from __future__ import annotations

from collections import Counter

from schemas.event import Headers

_RUN_ID = b"01a20361-a4ad-7d28-8234-be1e4699477c"
CONTEXT_HEADERS: Headers = (
    ("__debezium.context.connectorLogicalName", b"shop"),
    ("__debezium.context.taskId", b"0"),
    ("__debezium.context.connectorName", b"postgresql"),
    ("__debezium.context.runId", _RUN_ID),
)


class Envelope:
    """Writes values; knows log position, transaction and time of the database that the events claim to come from."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        """Milliseconds since the epoch, in the database."""
        self._lsn = 26_585_320
        self._tx_id = 748
        self._tx_events = 0
        self._tx_events_by_table = Counter[str]()
        self._in_tx = False

    def begin(self) -> None:
        """The next events belong to a new transaction, a few milliseconds later."""
        self._in_tx = True
        self._tx_id += 1
        self._tx_events = 0
        self._tx_events_by_table.clear()
        self.now_ms += 3

    def value(self, op: str, table: str, before: str, after: str, snapshot: str = "false") -> bytes:
        """A change event. `before` and `after` are JSON texts."""
        self._lsn += 56
        lsn, at = self._lsn, self.now_ms
        return (
            f'{{"before":{before},"after":{after},"source":{{"version":"3.7.0.Final","connector":"postgresql","name":"shop",'
            f'"ts_ms":{at},"snapshot":"{snapshot}","db":"shop","sequence":"[\\"{lsn - 56}\\",\\"{lsn}\\"]",'
            f'"ts_us":{at}018,"ts_ns":{at}018000,"schema":"public","table":"{table}","txId":{self._tx_id},"lsn":{lsn},'
            f'"xmin":null,"origin":null,"origin_lsn":null}},"transaction":{self._transaction(table)},"op":"{op}",'
            f'"ts_ms":{at + 220},"ts_us":{at + 220}498,"ts_ns":{at + 220}498634}}'
        ).encode()

    def _transaction(self, table: str) -> str:
        if not self._in_tx:
            return "null"
        self._tx_events += 1
        self._tx_events_by_table[table] += 1
        orders = f'"total_order":{self._tx_events},"data_collection_order":{self._tx_events_by_table[table]}'
        return f'{{"id":"{self._tx_id}:{self._lsn}",{orders}}}'
