"""The whole command against real Kafka."""
