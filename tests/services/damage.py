"""Record batches that a broker takes and a client chokes on."""

from __future__ import annotations

from collections.abc import Callable

import cramjam
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

_LENGTH = slice(8, 12)
_CRC = slice(17, 21)
"""Of a record batch; it covers what follows (Kafka message format v2)."""
_HEADER_BYTES = 61


async def produce_unreadable(bootstrap: str, topic: str, partition: int) -> None:
    """A record whose header's name is not UTF-8, as clients write it whose header names are bytes (Sarama, librdkafka)."""

    def spoil(raw: bytearray) -> None:
        at = raw.index(b"!!name!!")
        raw[at : at + 2] = b"\xff\xfe"

    await _produce(bootstrap, topic, partition, spoil, headers=[("!!name!!", b"value")])


async def produce_damaged(bootstrap: str, topic: str, partition: int) -> None:
    """A batch whose lz4 frame ends in a wrong checksum: brokers skip that checksum, the consumer's codec does not."""

    def spoil(raw: bytearray) -> None:
        frame = cramjam.lz4.Compressor(level=1, content_checksum=True, block_linked=False)
        frame.compress(bytes(cramjam.lz4.decompress(bytes(raw[_HEADER_BYTES:]))))
        payload = bytearray(frame.finish())
        payload[-1] ^= 0xFF
        raw[_HEADER_BYTES:] = payload
        raw[_LENGTH] = (len(raw) - _LENGTH.stop).to_bytes(4, "big")

    await _produce(bootstrap, topic, partition, spoil, value=b"poison" * 100, compression="lz4")


async def _produce(
    bootstrap: str,
    topic: str,
    partition: int,
    spoil: Callable[[bytearray], None],
    *,
    value: bytes = b"poison",
    headers: list[tuple[str, bytes]] | None = None,
    compression: str | None = None,
) -> None:
    """One record, its batch spoiled after it was built, under a checksum that fits."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=compression) as producer:
        batch = producer.create_batch()
        batch.append(timestamp=None, key=b"k", value=value, headers=headers or [])
        batch.close()
        build = batch._build

        def spoiled() -> bytearray:
            raw = bytearray(build())
            spoil(raw)
            raw[_CRC] = calc_crc32c(bytes(raw[_CRC.stop :])).to_bytes(4, "big")
            return raw

        batch._build = spoiled
        await (await producer.send_batch(batch, topic, partition=partition))
