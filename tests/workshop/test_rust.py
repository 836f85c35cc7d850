"""Rust's toolchains, the secure template and the restricted preset."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from pipeline.workshop import toolchains
from pipeline.workshop.build import compile_project
from pipeline.workshop.errors import MissingToolchainError
from pipeline.workshop.languages import rust
from pipeline.workshop.project import Project, read_project
from pipeline.workshop.scaffold import create
from sandbox import Sandbox
from schemas.event import Batch
from schemas.outcome import Emitted, Violation
from schemas.specs import TransformerSpec
from tests.transformers.shipped import SOURCE, value_event
from tests.workshop.tools import need

SECONDS_MAX = 600


def script(folder: Path, name: str, lines: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{lines}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it, and no Debian toolchain."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchains, "rust_missing", lambda: ["/usr/bin/cargo"])
    return tmp_path


def test_rustup_serves_once_the_target_is_added(only: Path) -> None:
    sysroot = only / "sysroot"
    script(only, "cargo", "exit 1")
    script(only, "rustc", f'[ "$*" = "--print sysroot" ] && echo {sysroot}')
    script(only, "rustup", "exit 1")
    assert rust.rustup() is None
    assert list(rust.LANGUAGE.missing()) == ["rustup target add wasm32-unknown-unknown"]
    with pytest.raises(MissingToolchainError, match="rustup target add"):
        rust.toolchain()
    (sysroot / "lib" / "rustlib" / "wasm32-unknown-unknown" / "lib").mkdir(parents=True)
    assert list(rust.LANGUAGE.missing()) == []
    found = rust.toolchain()
    assert (found.cargo, found.library_options()) == (str(only / "cargo"), ())
    assert "RUSTC_BOOTSTRAP" not in found.environment(only, ())


def test_without_any_rust_the_commands_are_told(only: Path) -> None:
    assert "rustup" in rust.LANGUAGE.missing()[0]
    script(only, "apt-get", "exit 1")
    assert rust.LANGUAGE.missing()[0].endswith("apt-get install -y rustc-web cargo-web rust-web-src lld")


def careful(folder: Path, preset: str = "default") -> Project:
    project = create("rust", "careful", folder, "secure")
    file = project.folder / "guest.toml"
    file.write_text(f'{file.read_text()}\n[build]\npreset = "{preset}"\n')
    return read_project(project.folder)


def test_the_secure_template_rejects_what_it_should(tmp_path: Path) -> None:
    need("rust")
    code, metadata = compile_project(careful(tmp_path))[:2]
    assert metadata.name == "careful"
    module = tmp_path / "careful.wasm"
    module.write_bytes(code)
    large = '{"op":"c","after":{"x":"' + "x" * (1 << 20) + '"}}'
    script_behind_an_escape = '{"op":"c","after":{"x":"\\u003cSCRIPT>"}}'
    values = ["", large, script_behind_an_escape, '{"op":"c","after":{"email":"A@B"}}', None]
    with Sandbox(workers=1) as sandbox:
        spec = TransformerSpec(name="careful", module=module, function="process_secure_request")
        outcomes = sandbox.load(spec).run(Batch(SOURCE, [value_event(value) for value in values])).outcomes
    codes = [outcome.code for outcome in outcomes if isinstance(outcome, Violation)]
    assert codes == ["empty-input", "input-too-large", "suspicious-input"]
    passed = [outcome.events[0].value for outcome in outcomes if isinstance(outcome, Emitted)]
    assert passed == [b'{"op":"c","after":{"email":"a@b"}}', None]


def test_the_secure_templates_own_tests_pass_and_unsafe_code_does_not_compile(tmp_path: Path) -> None:
    need("rust")
    project = careful(tmp_path)
    environ = {
        **os.environ,
        "RUSTC": "/usr/bin/rustc",
        "RUSTDOC": "/usr/bin/rustdoc",
        "CARGO_TARGET_DIR": str(tmp_path / "target"),
    }

    def cargo(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["/usr/bin/cargo", *arguments, "--locked", "--quiet"]
        return subprocess.run(
            command, cwd=project.folder, env=environ, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )

    if shutil.which("/usr/bin/cargo") is None:
        pytest.skip("the native tests take Debian's cargo")
    done = cargo("test", "--lib")
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stderr
    source = project.folder / "src" / "lib.rs"
    source.write_text(source.read_text() + "\n/// No.\npub fn no() -> u8 {\n    unsafe { *std::ptr::null() }\n}\n")
    assert "unsafe_code" in cargo("check").stderr


@pytest.mark.parametrize("language", ["rust", "typescript"])
def test_the_restricted_preset_uses_nothing_beyond_webassembly_1(tmp_path: Path, language: str) -> None:
    need(language)
    need("typescript")  # whose compiler brings the judge
    project = create(language, "plain", tmp_path)
    file = project.folder / "guest.toml"
    file.write_text(f'{file.read_text()}\n[build]\npreset = "reference"\n')
    module = tmp_path / "plain.wasm"
    code = compile_project(read_project(project.folder))[0]
    module.write_bytes(code)
    assert b"target_features" not in code, "the judge would allow whatever that section claims"
    judged = subprocess.run(
        [*toolchains.wasm_opt(), "--mvp-features", str(module), "-o", os.devnull],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert judged.returncode == 0, judged.stderr


def test_the_sdks_own_tests_pass(tmp_path: Path) -> None:
    need("rust")
    if shutil.which("/usr/bin/cargo") is None:
        pytest.skip("the native tests take Debian's cargo")
    done = subprocess.run(
        ["/usr/bin/cargo", "test", "--lib", "--locked", "--quiet"],
        cwd=Path(__file__).parents[2] / "transformers" / "sdk" / "rust",
        env=os.environ | {"RUSTC": "/usr/bin/rustc", "CARGO_TARGET_DIR": str(tmp_path / "target")},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.partition("test result: ok. ")[2].partition(" ")[0]) >= 43
