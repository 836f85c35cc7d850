"""The broker inside this process: it answers, has topics, keeps quiet, and ends."""

from __future__ import annotations

import socket

import pytest

from pipeline.embedded import EmbeddedBroker


def test_it_listens_creates_topics_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with EmbeddedBroker() as broker:
        host, _, port = broker.address.partition(":")
        counts = broker.create_topics(["orders", "lines"])
        with socket.create_connection((host, int(port)), timeout=5):
            pass
        assert broker.create_topics(["orders"]) == {"orders": counts["orders"]}
    assert set(counts) == {"orders", "lines"}
    assert min(counts.values()) >= 1
    assert capfd.readouterr() == ("", "")


def test_it_ends_when_closed() -> None:
    broker = EmbeddedBroker()
    host, _, port = broker.address.partition(":")
    broker.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_two_do_not_disturb_each_other() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as two:
        assert one.address != two.address
