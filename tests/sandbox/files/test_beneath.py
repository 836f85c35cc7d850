"""The two ways to open beneath a folder, without the checks around them: both refuse the same."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.host.files.beneath import FOLDER, SAFE, Opener
from sandbox.host.files.paths import parse
from sandbox.host.files.problems import FileDenied
from schemas.abi import ERROR_DENIED
from tests.sandbox.files.rig import SECRET, Disk

READ = os.O_RDONLY | SAFE


@contextmanager
def held(path: Path) -> Iterator[int]:
    opened = os.open(path, FOLDER)
    try:
        yield opened
    finally:
        os.close(opened)


def test_names_lead_to_what_is_beneath(disk: Disk, way: Opener) -> None:
    disk.put("a/b/c")
    with held(disk.root) as root:
        for names in (("a", "b", "c"), ("a", "b"), ("a",), ()):
            flags = READ if len(names) == 3 else FOLDER
            opened = way(root, names, flags)
            assert os.path.samestat(os.fstat(opened), disk.root.joinpath(*names).stat())
            assert not os.get_inheritable(opened)
            os.close(opened)


@pytest.mark.parametrize("flags", [FOLDER, READ])
def test_links_on_the_way_and_at_the_end(disk: Disk, way: Opener, flags: int) -> None:
    disk.put("a/b")
    (disk.root / "folder").symlink_to("a")
    (disk.root / "file").symlink_to("a/b")
    with held(disk.root) as root:
        for names in (("folder", "b"), ("folder",), ("file",)):
            with pytest.raises(OSError) as raised:
                way(root, names, flags)
            assert raised.value.errno == errno.ELOOP


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="there is no /proc")
@pytest.mark.parametrize("names", [("proc", "version"), ("proc",), ("sys", "kernel"), ("proc", "self", "fd", "0")])
def test_another_file_system_on_the_way(way: Opener, names: tuple[str, ...]) -> None:
    with held(Path("/")) as top, pytest.raises(OSError) as raised:
        os.close(way(top, names, FOLDER))
    assert raised.value.errno == errno.EXDEV


def test_what_is_not_there(disk: Disk, way: Opener) -> None:
    disk.put("plain")
    with held(disk.root) as root:
        for names, number in (
            (("gone",), errno.ENOENT),
            (("gone", "x"), errno.ENOENT),
            (("plain", "x"), errno.ENOTDIR),
        ):
            with pytest.raises(OSError) as raised:
                way(root, names, READ)
            assert raised.value.errno == number


@contextmanager
def bound(source: Path, target: Path) -> Iterator[None]:
    """`source`, at `target` as well."""
    target.mkdir()
    done = subprocess.run(["mount", "--bind", str(source), str(target)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("only root may mount")
    try:
        yield
    finally:
        subprocess.run(["umount", str(target)], check=True, capture_output=True)


def test_a_bind_mount_beneath_the_folder(disk: Disk) -> None:
    outside = disk.folder / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(SECRET)
    with bound(outside, disk.root / "way"):
        assert disk.refuses(disk.root / "way" / "file")


def test_a_denied_folder_reached_through_a_bind_mount_of_its_parent(disk: Disk) -> None:
    """No name says that it is the same: its identity does."""
    disk.put("secrets/deep/key")
    disk.put("other")
    alias = disk.folder / "alias"
    with bound(disk.root, alias):
        disk.grant(disk.scope(read=(alias,), write=(alias,), denied=(disk.root / "secrets",)))
        assert disk.refuses(alias / "secrets" / "deep" / "key")
        assert disk.read(alias / "other") == b"content"
        disk.grant(disk.scope(read=(alias,), write=(alias,), denied=(disk.root / "other",)))
        assert disk.refuses(alias / "other")


TEXTS = st.text(st.sampled_from("ab./\\\0~%2e\u2024\uff0e é"), max_size=12) | st.text(max_size=40)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
def test_no_text_leads_out(disk: Disk, text: str) -> None:
    """Whatever a path says, it is read as names beneath the folder, or denied."""
    (disk.folder / "a").mkdir(exist_ok=True)
    for path in (text, f"{disk.root}/{text}"):
        answer = disk.read(path)
        assert isinstance(answer, int), "there is no file"
        try:
            names = parse(path).names
        except FileDenied:
            assert answer == ERROR_DENIED
            continue
        assert not {"", ".", ".."}.intersection(names)
        assert all("/" not in name and "\0" not in name for name in names)
    disk.write(text, b"new")
    below = {one for one in disk.folder.rglob("*") if disk.root not in (one, *one.parents)}
    assert below == {disk.secret, disk.folder / "a"}
    for one in sorted(disk.root.rglob("*"), reverse=True):
        one.rmdir() if one.is_dir() else one.unlink()
