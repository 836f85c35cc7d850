"""docker-compose.yml: it is what the compose specification says, and what it mounts is there and right.

No container is started here: `test_debezium.py` runs the same services with the same configuration on this machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.observe.catalogue import CATALOGUE
from tests.services.compose import FILE, ROOT, Compose

SERVICES: dict[str, Any] = YAML(typ="safe").load(FILE)["services"]
NO_SHELL = {"otel-collector", "jaeger"}
"""Images without anything that a health check could be run with."""
ENDS = {"connector"}


def test_it_is_what_the_specification_says() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_by_version(name: str) -> None:
    service = SERVICES[name]
    images = [service["image"]] if "image" in service else _bases(service["build"])
    for image in images:
        assert re.search(r":v?\d+\.\d+", image), image


def test_the_collector_and_jaeger_are_the_ones_that_tests_run() -> None:
    """Jaeger's module is v1.N where its image is v2.(N-63): one release has had both names since v1.63 was v2.0."""
    modules = dict(re.findall(r"^\s+(\S+) v(\S+)", (ROOT / "tests/services/tracing/go.mod").read_text(), re.MULTILINE))
    collector, jaeger = (SERVICES[name]["image"].split(":")[1] for name in ("otel-collector", "jaeger"))
    assert collector == modules["go.opentelemetry.io/collector/otelcol"]
    major, minor, patch = modules["github.com/jaegertracing/jaeger"].split(".")
    assert (major, jaeger) == ("1", f"2.{int(minor) - 63}.{patch}")


def _bases(build: Any) -> list[str]:
    folder, file = (
        (build["context"], build["dockerfile"]) if isinstance(build, dict) else (build, f"{build}/Dockerfile")
    )
    text = (ROOT / (file if isinstance(build, dict) else Path(folder) / "Dockerfile")).read_text()
    return re.findall(r"^FROM (\S+)", text, re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_says_when_it_is_well(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) != (name in NO_SHELL | ENDS)


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_published_beyond_this_machine(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


def test_what_is_waited_for_is_there() -> None:
    for service in SERVICES.values():
        wanted = service.get("depends_on", {})
        for name in wanted:
            if isinstance(wanted, dict):
                has = "healthcheck" in SERVICES[name]
                assert has == (wanted[name]["condition"] == "service_healthy")
            assert name in SERVICES


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            assert (ROOT / volume.split(":")[0]).exists(), volume


def test_the_registry_has_no_fault() -> None:
    file = Compose({"/opt/penstock/modules": str(ROOT / "transformers" / "modules")})
    environment = {**os.environ, **file.environment("penstock"), "PENSTOCK_MODULES": str(ROOT / "transformers/modules")}
    registry = file.source("penstock", "/etc/penstock/registry.yaml")
    command = [sys.executable, "-m", "pipeline.cli", "check", str(registry)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def test_prometheus_takes_its_configuration() -> None:
    if shutil.which("promtool") is None:
        if os.environ.get("PENSTOCK_REQUIRE_SERVICES") == "1":
            pytest.fail("PENSTOCK_REQUIRE_SERVICES=1, but there is no promtool: install prometheus", pytrace=False)
        pytest.skip("there is no promtool: install prometheus")
    path = Compose({}).source("prometheus", "/etc/prometheus/prometheus.yml")
    done = subprocess.run(
        ["promtool", "check", "config", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    path = Compose({}).source("grafana", "/var/lib/grafana/dashboards/penstock.json")
    asked = {
        name
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
        for name in re.findall(r"penstock_\w+", target["expr"])
    }
    suffix = re.compile(r"_(?:bucket|sum|count)$")
    known = {metric.name for metric in CATALOGUE}
    assert asked and {name for name in asked if name not in known and suffix.sub("", name) not in known} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").rglob("*.y*ml")), ids=str)
def test_every_configuration_is_yaml(path: Path) -> None:
    assert YAML(typ="safe").load(path)
