"""A schema registry over HTTP: Confluent's own client, with answers kept and errors that say whose fault it is.

An answer about an id never changes and is kept for ever; that there is no such id is kept for a minute. Confluent's client retries
what may pass (no connection, 429, 5xx) with back-off; when it gives up that is a TransportError, and so is anything that is not
plainly "no such schema": a wrong URL must not turn a stream into dead letters, nor a registry's node that lags behind.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from httpx2 import HTTPError, InvalidURL

from pipeline.schema_registry.compiler import descriptor_set
from schemas.change import DecodeError
from schemas.errors import ConfigError, Fault, TransportError
from schemas.formats.schemas import Reference, RegisteredSchema, SchemaKind
from schemas.sealed import opened
from schemas.specs import SchemaRegistrySpec

RETRIES: Final = 2
RETRY_WAIT_MS: Final = 200
RETRY_WAIT_MS_MAX: Final = 2_000
UNKNOWN_S: Final = 60.0
"""How long an id stays unknown."""
DOUBT_S: Final = 5.0
"""How long an id that nobody asked for before is not held against its events: the registry's node that is asked may lag behind the one
that the producer registered with. Once in `UNKNOWN_S`, for all ids together: ids that were made up hold a stream up by a twelfth."""
UNKNOWN_MAX: Final = 10_000
REFERENCES_MAX: Final = 500
"""Of one schema, all together."""
_NO_SCHEMA: Final = frozenset({40401, 40402, 40403})
"""Confluent's codes: no such subject, version, schema."""
_PASSING: Final = frozenset({408, 429})
T = TypeVar("T")


class RegistryClient:
    """The port `Schemas`, over HTTP. Safe from any thread; `close` it."""

    def __init__(
        self, spec: SchemaRegistrySpec, clock: Callable[[], float] = time.monotonic, *, doubts: bool = False
    ) -> None:
        """`doubts`: somebody tries again after a TransportError, so an id that is not known yet may be one."""
        self._url = spec.url
        self._client: Any = SchemaRegistryClient(_settings(spec))
        self._clock = clock
        self._asking = threading.Lock()
        self._ids: dict[int, RegisteredSchema] = {}
        self._unknown: dict[int, float] = {}
        self._doubts = doubts
        self._doubt_until = self._doubt_again = -math.inf
        self._subjects: dict[tuple[str, int | None], RegisteredSchema] = {}
        self._compiled: dict[int, bytes] = {}

    def by_id(self, schema_id: int) -> RegisteredSchema:
        """See `Schemas`."""
        found = self._ids.get(schema_id)
        if found is None:
            with self._asking:  # lanes that meet a new schema together ask for it once
                found = self._ids.get(schema_id) or self._fetched(schema_id)
        return found

    def by_subject(self, subject: str, version: int | None = None) -> RegisteredSchema | None:
        """See `Schemas`. The latest version is what it was when it was first asked for."""
        found = self._subjects.get((subject, version))
        if found is None:
            with self._asking:
                found = self._subjects.get((subject, version)) or self._version(subject, version)
        return found

    def register(self, subject: str, kind: SchemaKind, text: str) -> RegisteredSchema:
        """See `Schemas`."""
        try:
            number = self._asked(lambda: self._client.register_schema(subject, Schema(text, str(kind))))
        except SchemaRegistryError as error:
            raise _refused(f"the schema registry refuses the schema for {subject}", error) from None
        return RegisteredSchema(number, kind, text)

    def registered(self, subject: str, kind: SchemaKind, text: str) -> RegisteredSchema | None:
        """This very schema under this subject; None when it is not there. Raises TransportError."""
        try:
            found = self._asked(lambda: self._client.lookup_schema(subject, Schema(text, str(kind))))
        except SchemaRegistryError as error:
            if error.error_code in _NO_SCHEMA:
                return None
            raise _refused(f"the schema registry cannot read the schema for {subject}", error) from None
        return RegisteredSchema(found.schema_id, kind, text)

    def descriptors(self, schema: RegisteredSchema) -> bytes:
        """See `Schemas`."""
        with self._asking:
            if schema.id not in self._compiled:
                self._compiled[schema.id] = descriptor_set(schema)
            return self._compiled[schema.id]

    def probe(self) -> None:
        """That it answers and lets us in. Raises ConfigError when it never will, TransportError when it does not now."""
        try:
            self._asked(self._client.get_schema_types)
        except SchemaRegistryError as error:
            if error.http_status_code in (401, 403):
                problem = f"the schema registry at {self._url} does not let us in ({error.http_status_code})"
                raise ConfigError(Fault(problem, "check auth", path="schema_registry.url")) from None
            raise _refused(f"what answers at {self._url} is no schema registry", error) from None

    def close(self) -> None:
        """Let go of its connections."""
        self._client.close()

    def _fetched(self, schema_id: int) -> RegisteredSchema:
        if self._unknown.get(schema_id, 0.0) > self._clock():
            raise DecodeError(f"the schema registry has no schema {schema_id}")
        try:
            schema = self._asked(lambda: self._client.get_schema(schema_id))
        except SchemaRegistryError as error:
            if error.error_code not in _NO_SCHEMA:
                raise self._unclear(error) from None
            if self._is_doubtful(schema_id):
                raise TransportError(
                    f"the schema registry at {self._url} has no schema {schema_id} yet; asked again for {DOUBT_S:g} s"
                ) from None
            if len(self._unknown) >= UNKNOWN_MAX:
                self._unknown.clear()
            self._unknown[schema_id] = self._clock() + UNKNOWN_S
            raise DecodeError(f"the schema registry has no schema {schema_id}") from None
        self._ids[schema_id] = found = self._with_references(schema_id, schema)
        return found

    def _is_doubtful(self, schema_id: int) -> bool:
        now = self._clock()
        if not self._doubts or schema_id in self._unknown:
            return False
        if now >= self._doubt_again:
            self._doubt_until, self._doubt_again = now + DOUBT_S, now + UNKNOWN_S
        return now < self._doubt_until

    def _version(self, subject: str, version: int | None) -> RegisteredSchema | None:
        try:
            if version is None:
                found = self._asked(lambda: self._client.get_latest_version(subject))
            else:
                found = self._asked(lambda: self._client.get_version(subject, version))
        except SchemaRegistryError as error:
            if error.error_code in _NO_SCHEMA:
                return None
            raise self._unclear(error) from None
        schema = self._with_references(found.schema_id, found.schema)
        self._subjects[subject, version] = schema
        self._ids.setdefault(schema.id, schema)
        return schema

    def _with_references(self, schema_id: int, schema: Any) -> RegisteredSchema:
        found: dict[str, Reference] = {}
        self._collect(schema, found, 0)
        kind = schema.schema_type or SchemaKind.AVRO
        if kind not in list(SchemaKind):
            raise DecodeError(f"schema {schema_id} is of the kind {kind!r:.40}")
        return RegisteredSchema(schema_id, SchemaKind(kind), schema.schema_str, tuple(found.values()))

    def _collect(self, schema: Any, found: dict[str, Reference], depth: int) -> None:
        """What a schema refers to, whatever that refers to first."""
        for one in schema.references or ():
            if one.name in found:
                continue
            if len(found) >= REFERENCES_MAX or depth >= REFERENCES_MAX:
                raise DecodeError(f"its schema refers to more than {REFERENCES_MAX} others")
            inner = self._reference(one)
            self._collect(inner, found, depth + 1)
            found[one.name] = Reference(one.name, inner.schema_str, one.subject, one.version)

    def _reference(self, one: SchemaReference) -> Any:
        try:
            return self._asked(lambda: self._client.get_version(one.subject, one.version)).schema
        except SchemaRegistryError as error:
            raise self._unclear(error) from None

    def _asked(self, call: Callable[[], T]) -> T:
        """What the registry says. Raises SchemaRegistryError when it refuses, TransportError when it does not say."""
        try:
            return call()
        except SchemaRegistryError as error:
            if 400 <= error.http_status_code < 500 and error.http_status_code not in _PASSING:
                raise
            raise self._unclear(error) from None
        except (HTTPError, InvalidURL, OSError, ValueError, TypeError) as error:
            why = str(error) or type(error).__name__
            raise TransportError(f"the schema registry at {self._url} is out of reach: {why[:200]}") from None

    def _unclear(self, error: Any) -> TransportError:
        status, said = error.http_status_code, str(error.error_message)[:200]
        return TransportError(f"the schema registry at {self._url} answers {status}: {said}")


def _refused(problem: str, error: Any) -> ConfigError:
    return ConfigError(Fault(f"{problem}: {str(error.error_message)[:300]}", path="schema_registry.url"))


def _settings(spec: SchemaRegistrySpec) -> dict[str, Any]:
    """Confluent's names for what a registry file says. Raises ConfigError for a certificate that cannot be read."""
    settings: dict[str, Any] = {
        "url": spec.url,
        "timeout": spec.timeout_ms / 1000,
        "max.retries": RETRIES,
        "retries.wait.ms": RETRY_WAIT_MS,
        "retries.max.wait.ms": RETRY_WAIT_MS_MAX,
    }
    if spec.ca_file is not None:
        settings["ssl.ca.location"] = str(spec.ca_file)
    if spec.username is not None and spec.password is not None:
        settings["basic.auth.user.info"] = f"{spec.username}:{opened(spec.password, spec.owner)}"
    if spec.token is not None:
        settings |= {
            "bearer.auth.credentials.source": "STATIC_TOKEN",
            "bearer.auth.token": opened(spec.token, spec.owner),
            "bearer.auth.logical.cluster": "",
        }
    return settings
