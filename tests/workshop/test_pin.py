"""Pins written into registries: the right entries get them, and nothing else of the file changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.workshop.pin import pin, pinned
from schemas.errors import ConfigError

OLD, NEW = "a" * 64, "b" * 64
HEAD = "version: 1  # of the format\n\ntransformers:\n"


def pin_in(folder: Path, text: str) -> str:
    registry = folder / "registry.yaml"
    registry.write_bytes(text.encode())
    assert pin(registry, folder / "build" / "shout.wasm", NEW)
    return registry.read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "  shout: # loud\n    module: build/shout.wasm # built\n    limits: untrusted\n",
            f'  shout: # loud\n    module: build/shout.wasm # built\n    sha256: "{NEW}"\n    limits: untrusted\n',
        ),
        ("  shout:\n    module: build/shout.wasm", f'  shout:\n    module: build/shout.wasm\n    sha256: "{NEW}"\n'),
        (
            f"  shout:\n    sha256: {OLD} # pinned\n    module: ./build/shout.wasm\n",
            f'  shout:\n    sha256: "{NEW}" # pinned\n    module: ./build/shout.wasm\n',
        ),
        (
            f"  shout:\n      module: \"build/shout.wasm\"\n      sha256: '{OLD}'\n",
            f'  shout:\n      module: "build/shout.wasm"\n      sha256: "{NEW}"\n',
        ),
        (
            "  shout: { module: build/shout.wasm, limits: untrusted } # short\n",
            f'  shout: {{ sha256: "{NEW}", module: build/shout.wasm, limits: untrusted }} # short\n',
        ),
        (
            f'  shout: {{module: build/shout.wasm, sha256: "{OLD}"}}\n',
            f'  shout: {{module: build/shout.wasm, sha256: "{NEW}"}}\n',
        ),
        (
            "  shout:\n    sha256: # none yet\n    module: build/shout.wasm\n",
            f'  shout:\n    sha256: "{NEW}" # none yet\n    module: build/shout.wasm\n',
        ),
        (
            "  shout:\r\n    module: build/shout.wasm\r\n    limits: trusted\r\n",
            f'  shout:\r\n    module: build/shout.wasm\r\n    sha256: "{NEW}"\r\n    limits: trusted\r\n',
        ),
    ],
)
def test_only_the_pin_changes(tmp_path: Path, before: str, after: str) -> None:
    tail = "\n\nroutes: {}  # none\n"
    assert pin_in(tmp_path, HEAD + before + tail).removesuffix(tail.lstrip("\n")).rstrip() == (HEAD + after).rstrip()


def test_every_entry_with_the_module_and_no_other(tmp_path: Path) -> None:
    text = (
        HEAD
        + f"  a:\n    module: build/shout.wasm\n  b:\n    module: other.wasm\n    sha256: {OLD}\n"
        + "  c: {module: x/../build/shout.wasm}\n  d: {module: '${WHERE}/shout.wasm'}\n  e: 7\n"
    )
    after = pin_in(tmp_path, text)
    assert after.count(NEW) == 2
    assert after.count(OLD) == 1
    registry = tmp_path / "registry.yaml"
    assert pinned(registry, tmp_path / "build" / "shout.wasm") == {"a": NEW, "c": NEW}
    assert pinned(registry, tmp_path / "other.wasm") == {"b": OLD}
    assert pinned(registry, tmp_path / "none.wasm") == {}


def test_again_changes_nothing(tmp_path: Path) -> None:
    once = pin_in(tmp_path, HEAD + "  shout:\n    module: build/shout.wasm\n")
    assert pin_in(tmp_path, once) == once


def test_a_module_that_nobody_uses(tmp_path: Path) -> None:
    registry = tmp_path / "registry.yaml"
    registry.write_text(HEAD + "  shout: {module: other.wasm}\n")
    with pytest.raises(ConfigError, match=r"no transformer here has the module .*shout\.wasm — add one with `module:`"):
        pin(registry, tmp_path / "shout.wasm", NEW)


def test_a_place_that_cannot_be_edited_is_left_alone(tmp_path: Path) -> None:
    """An alias stands for both entries: to pin one would pin the other."""
    text = "version: 1\nx: &both\n  module: build/shout.wasm\ntransformers:\n  a: *both\n"
    registry = tmp_path / "registry.yaml"
    registry.write_text(text)
    with pytest.raises(ConfigError, match=r"write it by hand: transformers\.a\.sha256"):
        pin(registry, tmp_path / "build" / "shout.wasm", NEW)
    assert registry.read_text() == text
