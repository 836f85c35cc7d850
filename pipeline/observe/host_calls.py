"""What a running service says about its guests' host calls: its `/metrics`, read back.

Threat: whatever answers at the address may be no penstock. The answer's size and the wait are bounded, and names that are no
capability are left out.
"""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from pipeline.observe import catalogue
from schemas.capabilities import Capability
from schemas.errors import ConfigError, Fault, TransportError

_WAIT_S = 10.0
_BYTES_MAX = 64 << 20
_BARE = re.compile(r"[^/?#\s]+:\d{1,5}/?")
_REMEDY = "write the address of `penstock run --admin`, e.g. http://127.0.0.1:9464"


@dataclass(slots=True)
class Calls:
    """Host calls of one transformer under one capability."""

    allowed: int = 0
    denied: int = 0
    bytes: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class HostCalls:
    """What was counted, since the processes started that counted it."""

    calls: dict[tuple[str, Capability], Calls] = field(default_factory=dict)
    """By transformer and capability."""
    modules: dict[str, str] = field(default_factory=dict)
    """The sha256 of the module that runs, by transformer. Who is not here does not run there."""

    def of(self, transformer: str, capability: Capability) -> Calls:
        """Zeros when there was none."""
        return self.calls.get((transformer, capability), Calls())


def fetch_host_calls(address: str) -> HostCalls:
    """Ask the admin port at this URL (or HOST:PORT). Raises ConfigError for what is no address, TransportError when it does not answer."""
    url = _url(address)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, headers={"Accept": "text/plain"}), timeout=_WAIT_S) as response:  # noqa: S310 - http, https
            body = response.read(_BYTES_MAX)
    except urllib.error.HTTPError as error:
        raise TransportError(f"{url} answers {error.code}: it is no admin port of penstock") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise TransportError(f"{url} cannot be read: {reason} — {_REMEDY}") from None
    return parse_host_calls(body.decode("utf-8", "replace"), url)


def parse_host_calls(text: str, source: str = "") -> HostCalls:
    """From the text of `/metrics`. Raises TransportError for text that is none."""
    found = HostCalls()
    try:
        for name, labels, value in _samples(text):
            _take(found, name, labels, value)
    except (ValueError, KeyError, OverflowError):
        raise TransportError(f"{source} does not answer with metrics: it is no admin port of penstock") from None
    return found


def _url(address: str) -> str:
    text = f"http://{address}" if _BARE.fullmatch(address) else address
    try:
        parts = urllib.parse.urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        raise ConfigError(Fault(f"{address!r} is not an address", _REMEDY, path="--from")) from None
    path = parts.path if parts.path.rstrip("/") else "/metrics"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _samples(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def _take(found: HostCalls, name: str, labels: Mapping[str, str], value: float) -> None:
    if name == catalogue.MODULE_INFO.name:
        found.modules[labels["transformer"]] = labels["digest"]
        return
    if name not in _COUNTED or labels["capability"] not in _CAPABILITIES:
        return
    calls = found.calls.setdefault((labels["transformer"], Capability(labels["capability"])), Calls())
    if name == catalogue.HOST_CALLS.name and labels["result"] == "allowed":
        calls.allowed += int(value)
    elif name == catalogue.HOST_CALLS.name:
        calls.denied += int(value)
    elif name == catalogue.HOST_CALL_BYTES.name:
        calls.bytes += int(value)
    else:
        calls.seconds += value


_CAPABILITIES = frozenset(one.value for one in Capability)
_COUNTED = frozenset(one.name for one in (catalogue.HOST_CALLS, catalogue.HOST_CALL_BYTES, catalogue.HOST_CALL_SECONDS))
