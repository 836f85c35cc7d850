"""One suite of promises, run over every transport: in memory, on the embedded broker, on real Kafka."""
