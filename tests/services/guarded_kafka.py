"""A broker that denies everything to everyone but its administrator, with a number of users who may log in."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from pipeline.kafka.acls import Acl
from tests.services.kafka import SCRIPT, KafkaBroker

PASSWORD = "open-sesame"
ADMIN = "admin"
USERS = 64
_WAIT_S = 20.0
_KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}


def user(number: int) -> str:
    """The name of one of `USERS` users without any permission."""
    return f"user{number}"


def guarded_broker(folder: Path) -> KafkaBroker:
    """SASL_PLAINTEXT with PLAIN for `admin` and the users; PLAINTEXT, for the tests themselves, may do everything."""
    logins = "".join(f' user_{name}="{PASSWORD}"' for name in (ADMIN, *(user(n) for n in range(USERS))))
    return KafkaBroker(
        folder,
        listeners=("SASL_PLAINTEXT",),
        properties={
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
                f"org.apache.kafka.common.security.plain.PlainLoginModule required{logins};"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{ADMIN}",
        },
        heap="384m",
    )


def run_commands(lines: Iterable[str], folder: Path) -> None:
    """Run `kafka-acls.sh` commands as they stand, as the administrator: the script on the path is Kafka's own tool."""
    login = (
        f'org.apache.kafka.common.security.plain.PlainLoginModule required username="{ADMIN}" password="{PASSWORD}";'
    )
    properties = folder / "admin.properties"
    properties.write_text(
        f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={login}\n", encoding="utf-8"
    )
    tool = folder / "kafka-acls.sh"
    tool.write_text(
        f"#!/bin/sh\nexec {shlex.quote(str(SCRIPT))} tool org.apache.kafka.tools.AclCommand "
        f'--command-config {shlex.quote(str(properties))} "$@"\n'
    )
    tool.chmod(0o700)
    environ = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    script = "set -e\n" + "\n".join(lines)
    ran = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, timeout=180, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def allow(bootstrap: str, acls: Sequence[Acl]) -> None:
    """Make these rules, and wait until the broker goes by them."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_acls([_binding(acl) for acl in acls]).values():
        future.result(_WAIT_S)
    end = time.monotonic() + _WAIT_S
    for principal in {acl.principal for acl in acls}:
        wanted = sum(acl.principal == principal for acl in acls)
        while len(rules_of(bootstrap, principal)) < wanted:
            assert time.monotonic() < end, f"{principal}: the broker does not know its rules"
            time.sleep(0.02)


def rules_of(bootstrap: str, principal: str) -> set[tuple[str, str, str, str]]:
    """Resource, pattern, name and operation of each rule of a principal, as the broker has them."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    everything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, principal, None, AclOperation.ANY, AclPermissionType.ANY
    )
    names = {kind: name for name, kind in _KINDS.items()}
    return {
        (
            names[rule.restype],
            rule.resource_pattern_type.name.lower(),
            rule.name,
            rule.operation.name.replace("_", "").lower(),
        )
        for rule in admin.describe_acls(everything).result(_WAIT_S)
    }


def _binding(acl: Acl) -> AclBinding:
    operation = "DESCRIBE_CONFIGS" if acl.operation == "DescribeConfigs" else acl.operation.upper()
    return AclBinding(
        _KINDS[acl.resource],
        acl.name,
        ResourcePatternType[acl.pattern.upper()],
        acl.principal,
        "*",
        AclOperation[operation],
        AclPermissionType.ALLOW,
    )
