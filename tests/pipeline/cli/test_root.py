"""The root of the command line: it lists every command without importing any, and completes them in a shell."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pipeline.cli.root import COMMANDS

PENSTOCK = Path(sys.executable).with_name("penstock")
HEAVY = ("aiokafka", "wasmtime", "pydantic", "aiohttp", "opentelemetry")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(name: str) -> None:
    lazy = COMMANDS[name]
    found = getattr(importlib.import_module(lazy.module), lazy.attribute)
    said = found.info.help if isinstance(found, typer.Typer) else found.__doc__
    assert said.splitlines()[0] == lazy.help
    assert lazy.load(name).name == name


@pytest.mark.parametrize("options", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(options: list[str]) -> None:
    code = f"import sys; from pipeline.cli import main; sys.argv = ['penstock', *{options}]; main()"
    watched = f"import atexit, sys; atexit.register(lambda: print(sorted({set(HEAVY)} & set(sys.modules)))); {code}"
    done = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def complete(words: str, shell: str = "bash") -> list[str]:
    """What a shell's completion function is told."""
    environ = {
        **os.environ,
        "_PENSTOCK_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run([PENSTOCK], env=environ, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.split()


def test_completion_knows_commands_options_and_choices() -> None:
    assert complete("penstock r") == ["run", "resume", "registry"]
    assert "--until-end" in complete("penstock run --unt")
    assert complete("penstock offsets registry.yaml orders re") == ["reset"]
    assert complete("penstock registry ") == ["schema", "example"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    environ = {**os.environ, "_PENSTOCK_COMPLETE": f"source_{shell}"}
    done = subprocess.run([PENSTOCK], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert "_PENSTOCK_COMPLETE" in done.stdout


def test_the_service_imports_no_web_server_and_no_tracing_unless_asked() -> None:
    code = (
        "import sys, pipeline.cli.run; print(sorted({'aiohttp', 'opentelemetry', 'rich.progress'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
