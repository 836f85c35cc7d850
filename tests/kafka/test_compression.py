"""aiokafka offers no compression level: when it does one day, the first test says so and `compress_fast` can go."""

from __future__ import annotations

import inspect
import subprocess
import sys

from aiokafka import AIOKafkaProducer

PROGRAM = """
from aiokafka import codec
from pipeline.kafka.compression import compress_fast
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

def batch():
    builder = DefaultRecordBatchBuilder(2, DefaultRecordBatch.CODEC_LZ4, False, -1, -1, 0, 1 << 20)
    for number in range(200):
        builder.append(number, 1, b"key", b'{"id":%d,"name":"%x"}' % (number, number * 7919 % 65536), [])
    return bytes(builder.build())

slow = batch()
assert compress_fast()
fast = batch()
assert fast != slow, "the record builder does not use the function that was changed"
for raw in (slow, fast):
    read = MemoryRecords(raw).next_batch()
    assert [record.value for record in read][7] == b'{"id":7,"name":"%x"}' % (7 * 7919 % 65536)
"""


def test_aiokafka_still_has_no_compression_level() -> None:
    assert not [name for name in inspect.signature(AIOKafkaProducer).parameters if "level" in name]
    asked = "import inspect; from aiokafka import codec; print(inspect.signature(codec.lz4_encode).parameters['level'].default)"
    said = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True, timeout=60).stdout
    assert said.strip() == "9", "in a process of its own: in this one, another test may have tuned it"


def test_batches_are_compressed_at_the_fast_level_and_read_back() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
