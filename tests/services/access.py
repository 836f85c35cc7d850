"""Access rules of a broker with an authorizer."""

from __future__ import annotations

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

_ANYWHERE = "*"


def deny(bootstrap: str, user: str, kind: ResourceType, name: str, operation: AclOperation) -> None:
    """Take one operation on one resource away from a user who may still see it."""
    who, literal = f"User:{user}", ResourcePatternType.LITERAL
    _create(bootstrap, AclBinding(kind, name, literal, who, _ANYWHERE, AclOperation.DESCRIBE, AclPermissionType.ALLOW))
    _create(bootstrap, AclBinding(kind, name, literal, who, _ANYWHERE, operation, AclPermissionType.DENY))


def reserve(bootstrap: str, kind: ResourceType, name: str, pattern: ResourcePatternType) -> None:
    """Give a resource to someone else, so that nobody but them (and super users) has it."""
    _create(
        bootstrap, AclBinding(kind, name, pattern, "User:else", _ANYWHERE, AclOperation.ALL, AclPermissionType.ALLOW)
    )


def _create(bootstrap: str, rule: AclBinding) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_acls([rule]).values():
        future.result(30)
