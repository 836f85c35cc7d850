"""Records in Kafka's own format to batch frames and back, by the host's own codec: one crossing per batch, no object per record."""

from sandbox.records.codec import Codec, CodecError, HeaderChange, Scan
from sandbox.records.pool import SECTION_BYTES_MAX, Codecs, codecs

__all__ = ["SECTION_BYTES_MAX", "Codec", "CodecError", "Codecs", "HeaderChange", "Scan", "codecs"]
