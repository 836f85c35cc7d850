"""Records in Kafka's own format to batch frames and back, by the host's own codec: one crossing per batch, no object per record."""

from sandbox.records.codec import Codec, CodecError, Scan
from sandbox.records.pool import Codecs, codecs

__all__ = ["Codec", "CodecError", "Codecs", "Scan", "codecs"]
