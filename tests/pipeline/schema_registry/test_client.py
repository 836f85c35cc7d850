"""The client of schema registries against a real one (Apicurio, with Confluent's API)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.schema_registry.client import DOUBT_S, RETRIES, RETRY_WAIT_MS_MAX, UNKNOWN_S, RegistryClient
from schemas.change import DecodeError
from schemas.errors import ConfigError, TransportError
from schemas.formats.schemas import SchemaKind
from schemas.sealed import Sealed
from schemas.specs import SchemaRegistrySpec
from tests.services.kafka import free_ports
from tests.services.proxy import Network, Proxy
from tests.services.schema_registry import ApicurioRegistry

pytestmark = pytest.mark.services

AVRO = json.dumps({"type": "record", "name": "Row", "fields": [{"name": "id", "type": "long"}]})
WIDER = json.dumps(
    {
        "type": "record",
        "name": "Row",
        "fields": [{"name": "id", "type": "long"}, {"name": "x", "type": ["null", "int"], "default": None}],
    }
)


@pytest.fixture
def client(apicurio: ApicurioRegistry) -> Iterator[RegistryClient]:
    with closing(RegistryClient(SchemaRegistrySpec(apicurio.url))) as made:
        yield made


def test_what_is_registered_is_found_by_id_by_subject_and_by_version(
    client: RegistryClient, unique: Callable[[str], str], apicurio: ApicurioRegistry
) -> None:
    subject = unique("orders-value")
    assert client.by_subject(subject) is None
    first = client.register(subject, SchemaKind.AVRO, AVRO)
    second = client.register(subject, SchemaKind.AVRO, WIDER)
    assert first.id != second.id
    assert client.register(subject, SchemaKind.AVRO, AVRO).id == first.id
    with closing(RegistryClient(SchemaRegistrySpec(apicurio.url))) as other:
        found = other.by_id(first.id)
        assert (found.kind, json.loads(found.text)) == (SchemaKind.AVRO, json.loads(AVRO))
        latest, one = other.by_subject(subject), other.by_subject(subject, 1)
        assert latest is not None and latest.id == second.id
        assert one is not None and one.id == first.id
        assert other.by_subject(subject, 9) is None


def test_a_schema_is_looked_up_without_being_registered(client: RegistryClient, unique: Callable[[str], str]) -> None:
    subject = unique("orders-value")
    assert client.registered(subject, SchemaKind.AVRO, AVRO) is None
    made = client.register(subject, SchemaKind.AVRO, AVRO)
    found = client.registered(subject, SchemaKind.AVRO, AVRO)
    assert found is not None and found.id == made.id
    assert client.registered(subject, SchemaKind.AVRO, WIDER) is None


def test_what_is_no_schema_is_refused_when_it_is_registered(
    client: RegistryClient, unique: Callable[[str], str]
) -> None:
    with pytest.raises(ConfigError, match="refuses the schema for"):
        client.register(unique("orders-value"), SchemaKind.AVRO, '{"type": "nonsense"}')


def test_an_unknown_id_is_the_events_fault_and_asked_for_once_a_minute(apicurio: ApicurioRegistry) -> None:
    now = [1000.0]
    with proxied(apicurio) as proxy, closing(RegistryClient(through(apicurio, proxy), lambda: now[0])) as client:
        for _ in range(3):
            with pytest.raises(DecodeError, match="no schema 2000000001"):
                client.by_id(2_000_000_001)
        proxy.set(Network.CUT)
        with pytest.raises(DecodeError):
            client.by_id(2_000_000_001)
        now[0] += UNKNOWN_S + 1
        with pytest.raises(TransportError):
            client.by_id(2_000_000_001)


def test_an_id_that_is_registered_a_moment_later_is_nobodys_fault(
    apicurio: ApicurioRegistry, unique: Callable[[str], str]
) -> None:
    """As for a node of the registry that lags behind: the next id is asked for before it is there."""
    now = [1000.0]
    with closing(RegistryClient(SchemaRegistrySpec(apicurio.url), lambda: now[0], doubts=True)) as client:
        made = client.register(unique("orders-value"), SchemaKind.AVRO, AVRO)
        late = made.id + 100_000
        with pytest.raises(TransportError, match=f"no schema {late} yet; asked again for 5 s"):
            client.by_id(late)
        assert client.by_id(made.id).id == made.id
        now[0] += DOUBT_S - 1
        with pytest.raises(TransportError, match="yet"):
            client.by_id(late + 1)
        now[0] += 2
        for unknown in (late, late + 1, late + 2):
            with pytest.raises(DecodeError, match=f"no schema {unknown}"):
                client.by_id(unknown)
        now[0] += UNKNOWN_S
        with pytest.raises(DecodeError):
            client.by_id(late)
        with pytest.raises(TransportError, match="yet"):
            client.by_id(late + 3)


def test_after_the_first_answer_nothing_is_asked(apicurio: ApicurioRegistry, unique: Callable[[str], str]) -> None:
    with proxied(apicurio) as proxy, closing(RegistryClient(through(apicurio, proxy))) as client:
        subject = unique("orders-value")
        made = client.register(subject, SchemaKind.AVRO, AVRO)
        first, latest = client.by_id(made.id), client.by_subject(subject)
        proxy.set(Network.CUT)
        assert client.by_id(made.id) is first
        assert client.by_subject(subject) is latest


def test_out_of_reach_is_nobodys_fault_and_passes(apicurio: ApicurioRegistry, unique: Callable[[str], str]) -> None:
    with closing(RegistryClient(SchemaRegistrySpec(apicurio.url))) as client:
        made = client.register(unique("orders-value"), SchemaKind.AVRO, AVRO)
    with proxied(apicurio) as proxy, closing(RegistryClient(through(apicurio, proxy))) as client:
        proxy.set(Network.CUT)
        with pytest.raises(TransportError, match="out of reach"):
            client.by_id(made.id)
        proxy.set(Network.PASS)
        assert client.by_id(made.id).id == made.id


def test_a_registry_that_says_nothing_is_given_up_within_a_bound(apicurio: ApicurioRegistry) -> None:
    with proxied(apicurio) as proxy:
        spec = replace(through(apicurio, proxy), timeout_ms=100)
        with closing(RegistryClient(spec)) as client:
            proxy.set(Network.BLACKHOLE)
            began = time.monotonic()
            with pytest.raises(TransportError, match="out of reach"):
                client.by_id(1)
            assert time.monotonic() - began < 10 * ((RETRIES + 1) * 0.1 + RETRIES * RETRY_WAIT_MS_MAX / 1000)


def test_what_is_no_schema_registry_makes_no_dead_letters(apicurio: ApicurioRegistry) -> None:
    wrong = SchemaRegistrySpec(f"http://127.0.0.1:{apicurio.port}/nothing/here")
    with closing(RegistryClient(wrong)) as client:
        with pytest.raises(TransportError, match="answers 404"):
            client.by_id(1)
        with pytest.raises(ConfigError, match="no schema registry"):
            client.probe()


def test_nobody_listening_is_a_transport_error_at_the_start_too() -> None:
    (port,) = free_ports(1)
    with (
        closing(RegistryClient(SchemaRegistrySpec(f"http://127.0.0.1:{port}"))) as client,
        pytest.raises(TransportError, match="out of reach"),
    ):
        client.probe()


def test_passwords(tmp_path: Path) -> None:
    with ApicurioRegistry(tmp_path / "registry", "alice", "s3cret:with:colons") as registry:
        right = SchemaRegistrySpec(registry.url, "alice", Sealed("s3cret:with:colons", "schema_registry"))
        with closing(RegistryClient(right)) as client:
            client.probe()
            made = client.register("orders-value", SchemaKind.AVRO, AVRO)
            assert client.by_id(made.id).id == made.id
        for wrong in (replace(right, password="other"), replace(right, username=None, password=None)):
            with closing(RegistryClient(wrong)) as client:
                with pytest.raises(ConfigError, match="does not let us in"):
                    client.probe()
                with pytest.raises(TransportError, match="401"):
                    client.by_id(made.id)
        assert "s3cret" not in repr(right)


def test_lanes_that_meet_a_schema_together_ask_once(apicurio: ApicurioRegistry, unique: Callable[[str], str]) -> None:
    with closing(RegistryClient(SchemaRegistrySpec(apicurio.url))) as client:
        made = client.register(unique("orders-value"), SchemaKind.AVRO, AVRO)
        found: list[object] = []
        threads = [threading.Thread(target=lambda: found.append(client.by_id(made.id))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len({id(one) for one in found}) == 1


def test_references_come_with_it_and_protobuf_is_compiled(client: RegistryClient, unique: Callable[[str], str]) -> None:
    from confluent_kafka.schema_registry import Schema, SchemaReference

    common, subject = unique("common"), unique("orders-value")
    client.register(common, SchemaKind.PROTOBUF, 'syntax = "proto3"; package common; message Source { int64 lsn = 1; }')
    text = 'syntax = "proto3"; package shop; import "common.proto"; message Envelope { common.Source source = 1; }'
    number = client._client.register_schema(
        subject, Schema(text, "PROTOBUF", [SchemaReference("common.proto", common, 1)])
    )
    schema = client.by_id(number)
    assert [(one.name, one.subject) for one in schema.references] == [("common.proto", common)]
    assert b"lsn" in client.descriptors(schema)
    assert client.descriptors(schema) is client.descriptors(schema)


@contextmanager
def proxied(registry: ApicurioRegistry) -> Iterator[Proxy]:
    with Proxy() as proxy:
        proxy.target = ("127.0.0.1", registry.port)
        yield proxy


def through(registry: ApicurioRegistry, proxy: Proxy) -> SchemaRegistrySpec:
    return SchemaRegistrySpec(registry.url.replace(str(registry.port), str(proxy.port)))
