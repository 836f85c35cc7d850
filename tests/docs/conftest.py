"""A full run with the real services required must have run every test that docs/ rests on."""

from __future__ import annotations

import os

import pytest

from tests.docs.mapped import Ran, named_tests


def pytest_configure(config: pytest.Config) -> None:
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    chosen = config.option.keyword or config.option.markexpr or config.option.collectonly
    if everything and not chosen and os.environ.get("PENSTOCK_REQUIRE_SERVICES") == "1":
        config.pluginmanager.register(Ran(named_tests()), "tests-named-in-docs")
