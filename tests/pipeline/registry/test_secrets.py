"""What a registry file says in secret is sealed from when it was read on."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.capabilities import Capability, HttpScope
from schemas.errors import ConfigError
from schemas.sealed import Sealed, opened
from tests.pipeline.registry.conftest import Load

TEXT = """\
version: 1
databases:
  crm: {postgresql: "host=db.example.com user=reader", password: "${CRM}"}
transformers:
  mask:
    module: a.wasm
    capabilities:
      - http: {hosts: [api.example.com], credentials: {api.example.com: {value: "Bearer ${TOKEN}"}}}
      - database: {connection: crm}
routes:
  orders: {from: shop.orders, through: [mask], to: orders.out}
"""


def test_passwords_and_credentials_are_sealed_and_open_for_their_owner(load: Load, folder: Path) -> None:
    registry = load(TEXT, environ={"CRM": "hunter2", "TOKEN": "correct-horse"})
    spec = registry.databases["crm"]
    assert isinstance(spec.password, Sealed) and isinstance(spec.dsn, Sealed)
    assert opened(spec.password, spec.owner) == "hunter2"
    (grant,) = registry.transformers["mask"].grants.of_capability(Capability.NETWORK_CLIENT)
    scope = grant.scope
    assert isinstance(scope, HttpScope)
    credential = scope.credentials["api.example.com"]
    assert isinstance(credential.value, Sealed) and credential.reveal() == "Bearer correct-horse"
    assert not {"hunter2", "correct-horse"} & set(repr(registry).replace('"', " ").replace("'", " ").split())
    assert registry == load(TEXT, environ={"CRM": "hunter2", "TOKEN": "correct-horse"})
    assert registry != load(TEXT, environ={"CRM": "hunter3", "TOKEN": "correct-horse"})


def test_a_credential_that_ends_in_a_line_end_is_refused_and_not_shown(load: Load) -> None:
    """As variables from files do; each request would fail, with words about the server."""
    with pytest.raises(ConfigError) as caught:
        load(TEXT, environ={"CRM": "x", "TOKEN": "correct-horse\n"})
    assert "line end" in str(caught.value) and "correct-horse" not in str(caught.value)
