"""The Python SDK: natively as plain modules, and as one component that is built once for all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.workshop.build import compile_project
from pipeline.workshop.errors import MissingToolchainError
from pipeline.workshop.project import read_project
from sandbox import Sandbox
from tests.workshop.tools import GUESTS, absent

SDK = Path(__file__).resolve().parents[3] / "transformers" / "sdk" / "python"
sys.path.append(str(SDK))


@pytest.fixture(scope="session")
def enrich_order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built from its sources. Takes about ten seconds."""
    module = tmp_path_factory.mktemp("python") / "enrich_order.wasm"
    try:
        module.write_bytes(compile_project(read_project(GUESTS / "python" / "enrich-order"))[0])
    except MissingToolchainError as error:
        absent(error)
    return module


@pytest.fixture(scope="session")
def python_sandbox() -> Iterator[Sandbox]:
    """Takes from the user's cache what the build has compiled when it tried the module."""
    with Sandbox(workers=1) as sandbox:
        yield sandbox
