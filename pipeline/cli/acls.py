"""`penstock acls`: the access rules that a registry's service needs, for whoever administers the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from pipeline.kafka.acls import commands, default_principal, needed_acls
from pipeline.registry import load_registry
from schemas.errors import ConfigError, Fault
from schemas.specs import Registry


def acls(
    registry: Annotated[Path, typer.Argument(help="The registry file.", show_default=False)],
    principal: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE:NAME",
            help="Who runs penstock, e.g. User:shop; may be given several times. By default the registry's own user.",
            show_default=False,
        ),
    ] = None,
    checks: Annotated[
        bool, typer.Option("--checks", help="Also what the checks of topic settings at start need (DescribeConfigs).")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one rule each.")] = False,
) -> None:
    """Print the access rules (ACLs) that this registry needs, and no more, as kafka-acls.sh commands.

    Asks no broker. A route's /regular expression/ becomes the prefix that all its matches share.

    Example: penstock acls transformers/registry.yaml --principal User:penstock
    """
    loaded = load_registry(registry)
    rules = needed_acls(loaded, _principals(principal, loaded, registry), checks=checks)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(rules), indent=2).decode())
        return
    for line in commands(rules, loaded.kafka.brokers[0]):
        typer.echo(line)


def _principals(given: list[str] | None, registry: Registry, path: Path) -> list[str]:
    if not given:
        own = default_principal(registry.kafka.security)
        if own is not None:
            return [own]
        what = "certificate" if registry.kafka.security.mechanism is None else "token"
        remedy = "name it, as the brokers see it: --principal 'User:CN=shop,O=example'"
        raise ConfigError(Fault(f"the client is known by its {what} only", remedy, file=str(path), path="--principal"))
    for each in given:
        kind, colon, name = each.partition(":")
        if not (kind and colon and name):
            raise ConfigError(Fault(f"{each!r} is not a principal", "write User:NAME", path="--principal"))
    return list(dict.fromkeys(given))
