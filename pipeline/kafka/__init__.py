"""Kafka through aiokafka; nothing outside this package imports it."""
