"""`file_read` and `file_write`: what works, what bounds it, and what the operator is told."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from sandbox.host.files import beneath
from sandbox.host.files.beneath import FOLDER, by_kernel, by_walking
from schemas.abi import ERROR_DEADLINE, ERROR_DENIED, ERROR_INVALID, ERROR_TOO_LARGE, ERROR_UNAVAILABLE
from schemas.capabilities import FILESYSTEM, Capability, FileScope, Grant
from tests.sandbox.files.rig import Disk
from tests.sandbox.files.system import descriptors

READ, WRITE = Capability.FILESYSTEM_READ, Capability.FILESYSTEM_WRITE
CREATE, DELETE = Capability.FILESYSTEM_CREATE, Capability.FILESYSTEM_DELETE


def test_a_file_is_written_and_read(disk: Disk) -> None:
    assert disk.write(disk.root / "new", b"\0\xff") is None
    assert disk.read(disk.root / "new") == b"\0\xff"
    use = disk.state.uses[READ, str(disk.root)]
    assert (use.allowed, use.denied) == (1, 0)
    assert disk.state.uses[CREATE, str(disk.root)].allowed == 1
    assert disk.state.uses[WRITE, str(disk.root)].allowed == 1


def test_a_relative_path_begins_at_the_first_granted_folder(disk: Disk) -> None:
    disk.put("a/b")
    assert disk.read("a/b") == b"content"
    assert disk.read("./a//b") == b"content"
    assert disk.write("a/c", b"new") is None
    assert (disk.root / "a" / "c").read_bytes() == b"new"


def test_the_operators_own_links_are_followed(disk: Disk) -> None:
    """As in `read: [/data/current]`, which is moved to another release meanwhile."""
    current = disk.folder / "current"
    for name in ("v1", "v2"):
        (disk.folder / name).mkdir()
        (disk.folder / name / "table").write_text(name)
    current.symlink_to("v1")
    disk.grant(disk.scope(read=(current, disk.folder / "v1" / "table")))
    assert disk.read(current / "table") == b"v1"
    current.unlink()
    current.symlink_to("v2")
    assert disk.read(current / "table") == b"v2"


def test_writing_replaces_the_file_at_once_and_keeps_its_mode(disk: Disk) -> None:
    path = disk.put("plain")
    path.chmod(0o640)
    with path.open("rb") as before:
        assert disk.write(path, b"new") is None
        assert before.read() == b"content", "who had it open keeps what was there"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o7777 == 0o640


def test_set_user_id_does_not_survive(disk: Disk) -> None:
    path = disk.put("plain")
    path.chmod(0o4755)
    assert disk.write(path, b"new") is None
    assert path.stat().st_mode & 0o7777 == 0o755


def test_a_write_that_fails_leaves_what_was_there(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = disk.put("plain"), os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) < 3:
            raise OSError(28, "No space left on device")
        return real(descriptor, content[: len(content) // 2])

    monkeypatch.setattr("os.write", full)
    assert disk.write(path, b"x" * 64) == ERROR_UNAVAILABLE
    assert path.read_bytes() == b"content"
    assert [one.name for one in disk.root.iterdir()] == ["plain"]


def test_new_files_need_create(disk: Disk) -> None:
    path = disk.put("plain")
    disk.grant(disk.scope(), names=frozenset({READ, WRITE}))
    assert disk.write(path, b"new") is None
    assert disk.write(disk.root / "other") == ERROR_DENIED
    assert not (disk.root / "other").exists()
    assert disk.state.uses[CREATE, str(disk.root)].denied == 1


def test_reading_and_writing_are_granted_apart(disk: Disk) -> None:
    path = disk.put("plain")
    other = disk.folder / "other"
    other.mkdir()
    disk.grant(FileScope(read=(disk.root,), write=(other,)))
    assert disk.read(path) == b"content"
    assert disk.write(path) == ERROR_DENIED
    assert disk.write(other / "new") is None
    assert disk.read(other / "new") == ERROR_DENIED


def test_a_folder_within_a_folder_has_its_own_scope(disk: Disk) -> None:
    disk.put("large", b"x" * 100)
    disk.put("small/large", b"x" * 100)
    disk.grant(disk.scope(read=(disk.root / "small",), file_bytes_max=10), disk.scope(file_bytes_max=1000))
    assert disk.read(disk.root / "large") == b"x" * 100
    assert disk.read(disk.root / "small" / "large") == ERROR_TOO_LARGE


DENIED = {
    "the folder": "secrets",
    "a folder below": "secrets/deep",
    "by the operator's link": "link-to-secrets",
}


@pytest.mark.parametrize("how", DENIED)
def test_denied_beats_allowed(disk: Disk, how: str) -> None:
    disk.put("secrets/deep/key")
    disk.put("other")
    (disk.folder / "link-to-secrets").symlink_to(disk.root / "secrets")
    base = disk.folder if how == "by the operator's link" else disk.root
    disk.grant(disk.scope(denied=(base / DENIED[how],)))
    assert disk.refuses(disk.root / "secrets" / "deep" / "key")
    assert disk.write(disk.root / "secrets" / "deep" / "new") == ERROR_DENIED
    assert disk.read(disk.root / "other") == b"content"


def test_denied_beats_allowed_from_another_grant(disk: Disk) -> None:
    disk.put("secrets/key")
    disk.grant(disk.scope(denied=(disk.root / "secrets",)), disk.scope(read=(disk.root / "secrets",)))
    assert disk.refuses(disk.root / "secrets" / "key")


def test_a_grant_that_only_denies_counts(disk: Disk) -> None:
    """`- files: {deny: [./secrets]}` beside another: it grants nothing, so it used to be nothing."""
    disk.put("secrets/file", b"kept")
    open_to_all = Grant(frozenset(FILESYSTEM), disk.scope())
    disk.grants((open_to_all, Grant(frozenset(), FileScope(denied=(disk.root / "secrets",)))))
    assert disk.refuses(disk.root / "secrets" / "file")
    assert disk.read(disk.put("open")) == b"content"


def test_denied_by_its_name_while_granted_by_another(disk: Disk) -> None:
    """The granted folder is a link of the operator's; what is denied below it is denied by where it is."""
    disk.put("secrets/key")
    alias = disk.folder / "alias"
    alias.symlink_to(disk.root)
    disk.grant(disk.scope(read=(alias,), write=(alias,), denied=(disk.root / "secrets", disk.root / "later")))
    assert disk.refuses(alias / "secrets" / "key")
    assert disk.refuses(alias / "later" / "new"), "what is not there yet is denied, too"
    assert disk.write(alias / "later") == ERROR_DENIED
    assert disk.write(alias / "now", b"new") is None


def test_a_denied_file(disk: Disk) -> None:
    disk.put("key")
    disk.grant(disk.scope(denied=(disk.root / "key",)))
    assert disk.refuses(disk.root / "key")
    disk.grant(disk.scope(denied=(disk.root,)))
    disk.put("other")
    assert disk.refuses(disk.root / "other")


def test_a_denied_folder_moved_elsewhere_within(disk: Disk) -> None:
    """Its name is denied, and while it is there by that name it is denied by what it is, whatever leads to it."""
    secrets = disk.root / "secrets"
    disk.put("secrets/key")
    disk.grant(disk.scope(denied=(disk.folder / "mark",)))
    (disk.folder / "mark").symlink_to(secrets)
    assert disk.refuses(secrets / "key")


def test_answers_are_a_megabyte_at_most(disk: Disk) -> None:
    fits = (1 << 20) - 8
    assert disk.read(disk.put("fits", b"x" * fits)) == b"x" * fits
    assert disk.read(disk.put("larger", b"x" * (fits + 1))) == ERROR_TOO_LARGE


@pytest.mark.parametrize("value", [None, 7, b"/x", ["/x"], {"path": "/x"}])
def test_requests_that_are_none(disk: Disk, value: object) -> None:
    assert disk.ask("file_read", value) == ERROR_INVALID
    assert disk.ask("file_write", value) == ERROR_INVALID
    assert disk.ask("file_write", ["/x", "text"]) == ERROR_INVALID
    assert disk.ask("file_write", [value, b"x"]) == ERROR_INVALID


def test_nothing_is_done_when_no_time_is_left(disk: Disk) -> None:
    path = disk.put("plain")
    disk.clock_ns, disk.ends_ns = 5, 5
    assert disk.read(path) == ERROR_DEADLINE
    assert disk.write(path, b"new") == ERROR_DEADLINE
    assert path.read_bytes() == b"content"
    assert [one.name for one in disk.root.iterdir()] == ["plain"]


def test_a_grant_ends_and_its_uses_run_out(disk: Disk) -> None:
    path = disk.put("plain")
    disk.grant(disk.scope(), until_ms=2_000, uses=2, per_ms=500)
    assert [disk.read(path) for _ in range(3)] == [b"content", b"content", ERROR_DENIED]
    disk.now_ms, disk.clock_ns = 1_500, 500_000_000
    assert disk.read(path) == b"content"
    disk.now_ms = 2_000
    assert disk.read(path) == ERROR_DENIED


def test_two_tenants_of_two_folders(disk: Disk, tmp_path: Path) -> None:
    mine, theirs = disk.root / "mine", disk.root / "theirs"
    for folder in (mine, theirs):
        folder.mkdir()
        (folder / "file").write_bytes(b"content")
    disk.grant(FileScope(read=(mine,), write=(mine,)))
    assert disk.read(mine / "file") == b"content"
    assert disk.refuses(theirs / "file")
    assert disk.refuses(f"{mine}/../theirs/file")
    disk.grant(FileScope(read=(theirs,), write=(theirs,)))
    assert disk.refuses(mine / "file")


TOLD = {
    "CapabilityDenied": ("nothing granted", "/etc/passwd"),
    "InsufficientPrivileges": ("reading only", "plain"),
    "PermissionDenied": ("everything", "/etc/passwd"),
    "InvalidPath": ("everything", "../secret"),
    "IOError": ("everything", "gone/file"),
    "ResourceExhausted": ("everything", "plain"),
}


@pytest.mark.parametrize("code", TOLD)
def test_the_operator_is_told_by_the_references_codes(disk: Disk, code: str, caplog: pytest.LogCaptureFixture) -> None:
    disk.put("plain")
    granted, path = TOLD[code]
    if granted == "nothing granted":
        disk.grants(())
    elif granted == "reading only":
        disk.grant(disk.scope(), names=frozenset({READ}))
    content = b"x" * (11 if code == "ResourceExhausted" else 1)
    if code == "ResourceExhausted":
        disk.grant(disk.scope(file_bytes_max=10))
    with caplog.at_level(logging.DEBUG, logger="penstock.sandbox"):
        assert disk.write(path, content) < 0
    assert f" {code}: " in caplog.messages[-1]


def test_a_guests_path_does_not_steer_the_log(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="penstock.sandbox"):
        disk.read("/etc/\x1b[2J\nroot: all is well\u202e" + "x" * 900)
    (message,) = caplog.messages
    assert message.isprintable() or "\N{REPLACEMENT CHARACTER}" in message
    assert "\x1b" not in message and "\u202e" not in message and len(message) < 400


def test_a_missing_granted_folder_is_told(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    disk.grant(disk.scope(read=(disk.folder / "gone",)))
    with caplog.at_level(logging.DEBUG, logger="penstock.sandbox"):
        assert disk.read(disk.folder / "gone" / "x") == ERROR_UNAVAILABLE
    assert f"the granted folder {disk.folder / 'gone'} cannot be opened" in caplog.text


def test_nothing_stays_open(disk: Disk) -> None:
    path = disk.put("a/b/c")
    disk.grant(disk.scope(denied=(disk.root / "secrets",)))
    for one in (path, disk.root, disk.root / "a", "/etc/passwd", disk.root / "gone" / "x", disk.root / "secrets" / "x"):
        disk.read(one)
        disk.write(one)
    assert not descriptors(disk.folder)


@pytest.mark.parametrize("capability", sorted(FILESYSTEM))
def test_a_capability_without_a_scope_reaches_nothing(disk: Disk, capability: str) -> None:
    disk.grants((Grant(frozenset({Capability(capability)})),))
    assert disk.refuses(disk.put("plain"))


def test_a_kernel_without_openat2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a container whose seccomp profile forbids it: EPERM and ENOSYS both lead to the walk."""
    monkeypatch.setattr(beneath, "OPENAT2", 9999)
    top = os.open("/", FOLDER)
    with pytest.raises(OSError, match="not implemented"):
        by_kernel(top, ("etc",), FOLDER)
    os.close(top)
    assert beneath.opener.__wrapped__() is by_walking


def test_this_kernels_way_is_used_where_there_is_one() -> None:
    if beneath.opener() is by_walking:
        pytest.skip("this kernel has no openat2, or forbids it")
    assert beneath.opener() is by_kernel
