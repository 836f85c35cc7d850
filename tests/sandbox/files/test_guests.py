"""Files from real guests: what links, what is reported, and that a guest's descriptors end with it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.calls import CallsName
from sandbox.host import WASI
from sandbox.host.files.wasi import SERVED
from sandbox.host.wasi import wasi_imports
from sandbox.host.wasi_errno import Errno
from schemas.capabilities import FILESYSTEM, Capability, FileScope, Grant, Grants
from schemas.outcome import ViolationKind
from schemas.specs import InstancePolicy
from tests.sandbox.files.system import descriptors
from tests.sandbox.guests import batch, kinds, spec, values, violation
from tests.sandbox.test_wasi import ANSWER, asking, call, vectors

NAME, VECTORS = 1024, 1100


def grants(*scopes: FileScope, strict: bool = False, names: frozenset[Capability] = frozenset(FILESYSTEM)) -> Grants:
    return Grants(tuple(Grant(names, scope) for scope in scopes), strict=strict)


def opening(name: bytes) -> tuple[str, bytes]:
    """Opens `name` below the first granted folder, and reads 16 bytes of it to where the answer has them."""
    data = name.ljust(VECTORS - NAME, b"\0") + vectors((ANSWER + 64, 16))
    body = (
        call("fd_prestat_get", 3, ANSWER + 16, at=8)
        + call("path_open", 3, 0, NAME, len(name), 0, 2, 0, 0, ANSWER + 32)
        + call("fd_read", 4, VECTORS, 1, ANSWER + 36, at=4)
    )
    return body, data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plain").write_bytes(b"0123456789abcdefgh")
    (tmp_path / "way").symlink_to("/etc/passwd")
    return tmp_path


def test_a_guest_reads_a_file_and_the_report_says_so(sandbox: Sandbox, folder: Path) -> None:
    scope = FileScope(read=(folder,))
    report = sandbox.load(spec(capabilities=grants(scope)), asking(*opening(b"plain"))).run(batch([b"x"]))
    (value,) = values(report.outcomes[0])
    assert value is not None
    assert struct.unpack_from("<II", value) == (0, 0)
    assert struct.unpack_from("<II", value, 32) == (4, 16)
    assert value[64:80] == b"0123456789abcdef"
    (use,) = report.uses
    assert (use.capability, use.scope, use.allowed, use.denied, use.bytes) == ("filesystem-read", str(folder), 2, 0, 16)


def test_without_a_grant_there_is_nothing(sandbox: Sandbox, folder: Path) -> None:
    """As it was before there were files: `tests/sandbox/test_wasi.py` says it function by function."""
    report = sandbox.load(spec(), asking(*opening(b"plain"))).run(batch([b"x"]))
    (value,) = values(report.outcomes[0])
    assert value is not None
    assert struct.unpack_from("<III", value) == (Errno.BADF, Errno.BADF, Errno.BADF)
    assert not report.uses


def test_only_a_file_grant_changes_any_function() -> None:
    """The very same objects link without one, and with one what takes no descriptor stays."""
    other = sorted({*Capability} - FILESYSTEM)
    before, with_files = wasi_imports(other), wasi_imports([*other, "filesystem-read"])
    assert all(one is before[key] for key, one in wasi_imports(other).items())
    changed = {name for (_, name), one in with_files.items() if one is not before[WASI, name]}
    assert changed == set(SERVED)
    assert all(name.startswith(("fd_", "path_")) for name in changed)


@pytest.mark.parametrize("strict", [False, True])
def test_an_escape_is_denied_and_with_strict_a_violation(sandbox: Sandbox, folder: Path, *, strict: bool) -> None:
    granted = grants(FileScope(read=(folder,)), strict=strict)
    report = sandbox.load(spec(capabilities=granted), asking(*opening(b"way"))).run(batch([b"x"]))
    if strict:
        assert violation(report.outcomes[0]).kind is ViolationKind.CAPABILITY
        assert "a symbolic link" in violation(report.outcomes[0]).message
    else:
        assert kinds(report.outcomes) == ["emitted"]
    assert sum(use.denied for use in report.uses) >= 1


@pytest.mark.parametrize("instance", list(InstancePolicy))
@pytest.mark.parametrize("end", ["", "unreachable", "(loop $l (br $l))"])
def test_descriptors_end_with_the_guest(sandbox: Sandbox, folder: Path, instance: InstancePolicy, end: str) -> None:
    """Well, by a trap, at the deadline."""
    body, data = opening(b"plain")
    transformer = sandbox.load(
        spec(capabilities=grants(FileScope(read=(folder,))), instance=instance), asking(body + end, data)
    )
    session = transformer.session()
    for _ in range(3):
        session.run(batch([b"x", b"y"]))
    session.close()
    assert not descriptors(folder)


def test_a_called_function_ends_with_its_descriptors(calls: CallsName, folder: Path) -> None:
    text = f"""(module
      (import "{WASI}" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 64) "plain")
      (func (export "open") (result i32)
        (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 0) (i64.const 2) (i64.const 0)
          (i32.const 0) (i32.const 128))))"""
    from tests.sandbox.guests import wat

    with Sandbox(calls=calls, cache=False) as sandbox:
        sandbox.compile_module("opener", wat(text), capabilities=grants(FileScope(read=(folder,))))
        assert sandbox.execute("opener", "open") in (0, (0,))
        for _ in range(5):
            sandbox.execute("opener", "open")
        assert not descriptors(folder)
