"""Kafka's promises in memory, for tests: a broker, the transport over it, a clock that moves by hand."""
