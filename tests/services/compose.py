"""What docker-compose.yml says of a service, for tests that start the same services with the same configuration, without containers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"


class Compose:
    """The file, with every address that a container knows replaced by one of this machine."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        """`addresses` from `service:port` as the file and what it mounts have them, to `host:port` here."""
        self._services: Mapping[str, Any] = YAML(typ="safe").load(FILE)["services"]
        self._addresses = addresses

    def environment(self, service: str) -> dict[str, str]:
        """The service's environment."""
        return {name: self.here(value) for name, value in self._services[service].get("environment", {}).items()}

    def command(self, service: str) -> list[str]:
        """The service's command."""
        return [self.here(part) for part in self._services[service]["command"]]

    def mounted(self, service: str, path: str) -> str:
        """The text of a file as the service finds it at `path`."""
        return self.here(self.source(service, path).read_text())

    def source(self, service: str, path: str) -> Path:
        """The file of the repository that the service finds at `path`."""
        for volume in self._services[service]["volumes"]:
            source, target, *_ = volume.split(":")
            if path == target or path.startswith(f"{target}/"):
                return ROOT / source / Path(path).relative_to(target)
        raise LookupError(f"{service} has nothing at {path}")

    def here(self, text: str) -> str:
        """The text with addresses of this machine."""
        for there, address in self._addresses.items():
            text = text.replace(there, address)
        return text


def kafka_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """A broker's properties, as the image of Apache Kafka makes them of its environment: those that name no address and no listener."""
    placed = ("listener", "controller.", "process.roles", "node.id")
    properties = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith("KAFKA_")
    }
    return {name: value for name, value in properties.items() if not any(word in name for word in placed)}


def postgres_settings(command: list[str]) -> dict[str, str]:
    """The settings of `-c name=value` options."""
    return dict(part.split("=", 1) for option, part in itertools.pairwise(command) if option == "-c")
