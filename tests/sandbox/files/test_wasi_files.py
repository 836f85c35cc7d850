"""WASI's files under a grant: what works, what bounds it, and the same attacks by descriptor."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.host import WASI
from sandbox.host.files.wasi import SERVED
from sandbox.host.wasi_errno import Errno
from schemas.abi import ERROR_DENIED
from schemas.capabilities import FILESYSTEM, Capability, Grant
from tests.sandbox.files.rig import SECRET, Disk
from tests.sandbox.files.system import (
    APPEND,
    BUFFER,
    CREAT,
    DIRECTORY,
    EXCL,
    OK,
    OUT,
    READ,
    TEXT,
    TRUNC,
    VECTORS,
    WRITE,
    Entry,
    System,
    descriptors,
)
from tests.sandbox.files.test_attacks import LINKS

RDWR = READ | WRITE


@pytest.fixture
def system(disk: Disk) -> Iterator[System]:
    yield System(disk)
    if disk.state.wasi is not None:
        disk.state.wasi.close()
    assert not descriptors(disk.folder), "a descriptor was left open"
    assert disk.secret.read_bytes() == SECRET


def test_granted_folders_are_open_from_the_start(disk: Disk, system: System) -> None:
    assert system.call("fd_prestat_get", 3, OUT) is OK
    kind, length = struct.unpack("<B3xI", system.memory.read(OUT, 8))
    assert (kind, length) == (0, len(str(disk.root)))
    assert system.call("fd_prestat_dir_name", 3, BUFFER, length) is OK
    assert system.memory.read(BUFFER, length).decode() == str(disk.root)
    assert system.call("fd_prestat_dir_name", 3, BUFFER, length - 1) is Errno.NAMETOOLONG
    assert system.call("fd_prestat_get", 4, OUT) is Errno.BADF


def test_a_file_is_written_and_read_again(disk: Disk, system: System) -> None:
    fd = system.must_open("notes", CREAT, RDWR)
    assert system.write(fd, b"hello world") == 11
    assert system.call("fd_seek", fd, 0, 0, OUT) is OK
    assert system.read(fd) == b"hello world"
    assert system.read(fd, 100, offset=6) == b"world"
    assert system.write(fd, b"W", offset=6) == 1
    assert system.call("fd_tell", fd, OUT) is OK
    assert int.from_bytes(system.memory.read(OUT, 8), "little") == 11
    assert system.call("fd_close", fd) is OK
    assert (disk.root / "notes").read_bytes() == b"hello World"
    assert system.read(fd) is Errno.BADF
    assert system.stat("notes") == (OK, 4, 11)
    assert system.stat(".")[:2] == (OK, 3)


def test_ways_to_open(disk: Disk, system: System) -> None:
    disk.put("there", b"content")
    assert system.open("new")[0] is Errno.NOENT
    assert system.open("there", CREAT | EXCL, RDWR)[0] is Errno.EXIST
    assert system.open("there", DIRECTORY)[0] is Errno.NOTDIR
    assert system.open("there/")[0] is Errno.NOTDIR
    assert system.open("there", 16)[0] is Errno.INVAL
    assert system.open(".", DIRECTORY | TRUNC)[0] is Errno.INVAL
    assert system.open("there", 0, WRITE, 2)[0] is Errno.NOTSUP  # DSYNC
    assert system.open(".", CREAT, RDWR)[0] is OK, "the granted folder itself, which is there already"
    fd = system.must_open("there", TRUNC, WRITE)
    assert (disk.root / "there").read_bytes() == b""
    assert system.read(fd) is Errno.BADF


def test_times_are_told_only_with_the_clock(disk: Disk, system: System) -> None:
    """Else whoever may write has a clock: the time of what it just wrote."""
    disk.put("plain")

    def times(system: System) -> tuple[int, ...]:
        assert system.stat("plain")[0] is OK
        return struct.unpack_from("<QQQ", system.memory.read(OUT, 64), 40)

    assert times(system) == (0, 0, 0)
    assert system.call("fd_filestat_get", system.must_open("plain"), OUT) is OK
    assert struct.unpack_from("<QQQ", system.memory.read(OUT, 64), 40) == (0, 0, 0)
    disk.state.shim.close()
    disk.grant(disk.scope(), names=frozenset({*FILESYSTEM, Capability.CLOCK}))
    assert times(System(disk))[1] == (disk.root / "plain").stat().st_mtime_ns


def test_appending(disk: Disk, system: System) -> None:
    disk.put("log", b"one\n")
    fd = system.must_open("log", 0, WRITE, APPEND)
    assert system.write(fd, b"two\n") == 4
    assert system.write(fd, b"x", offset=0) is Errno.NOTSUP
    assert (disk.root / "log").read_bytes() == b"one\ntwo\n"
    assert system.call("fd_fdstat_set_flags", fd, 0) is OK
    assert system.write(fd, b"1", offset=0) == 1
    assert (disk.root / "log").read_bytes() == b"1ne\ntwo\n"


def test_folders(disk: Disk, system: System) -> None:
    assert system.path("path_create_directory", "a") is OK
    assert system.path("path_create_directory", "a") is Errno.EXIST
    disk.put("a/b", b"")
    disk.put("\u017c\u00f3\u0142w", b"")
    fd = system.must_open("a", DIRECTORY)
    assert system.list(fd) == [Entry("b", 4)]
    assert system.list(3) == [Entry("a", 3), Entry("\u017c\u00f3\u0142w", 4)]
    assert system.open("b", at=fd)[0] is OK
    assert system.open("a")[0] is OK  # a folder, without saying so
    assert system.read(fd) is Errno.ISDIR
    assert system.path("path_remove_directory", "a") is Errno.NOTEMPTY
    assert system.path("path_unlink_file", "a/b") is OK
    assert system.path("path_unlink_file", "a") is Errno.ISDIR
    assert system.path("path_remove_directory", "a") is OK
    assert system.list(fd) is Errno.NOENT


def test_listing_goes_on_where_the_cookie_says(disk: Disk, system: System) -> None:
    names = [f"{n:02}" for n in range(20)]
    for name in names:
        disk.put(name)
    seen: list[str] = []
    while found := system.list(3, room=100, cookie=len(seen)):
        assert not isinstance(found, Errno)
        seen += [one.name for one in found]
    assert seen == names


def test_a_folder_too_large_to_list(disk: Disk, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.host.files.wasi_descriptors.ENTRIES_MAX", 5)
    for n in range(6):
        disk.put(str(n))
    assert system.list(3) is Errno.OVERFLOW


def test_names_that_are_no_text_are_not_listed(disk: Disk, system: System) -> None:
    (Path(os.fsdecode(os.fsencode(disk.root) + b"/\xff"))).write_bytes(b"")
    assert system.list(3) == []


WAYS_OUT: dict[str, tuple[str | bytes, Errno]] = {
    "up": ("..", Errno.NOTCAPABLE),
    "up and over": ("../secret", Errno.NOTCAPABLE),
    "up from below": ("a/../../secret", Errno.NOTCAPABLE),
    "absolute": ("/etc/passwd", Errno.NOTCAPABLE),
    "absolute, within": ("/plain", Errno.NOTCAPABLE),
    "empty": ("", Errno.NOENT),
    "a NUL": ("plain\0", Errno.INVAL),
    "no UTF-8": (b"\xff", Errno.ILSEQ),
    "an overlong dot of UTF-8": (b"\xc0\xae\xc0\xae/secret", Errno.ILSEQ),
    "half a surrogate pair": (b"\xed\xa0\x80", Errno.ILSEQ),
    "a long name": ("a" * 256, Errno.NAMETOOLONG),
    "a long path": ("a/" * 2048, Errno.NAMETOOLONG),
}


@pytest.mark.parametrize("attack", WAYS_OUT)
def test_paths_that_lead_out(disk: Disk, system: System, attack: str) -> None:
    disk.put("plain")
    path, errno = WAYS_OUT[attack]
    assert system.open(path)[0] is errno
    assert system.open(path, CREAT, RDWR)[0] is errno
    assert system.open(path, DIRECTORY)[0] is errno
    assert system.stat(path)[0] is errno
    for name in ("path_create_directory", "path_unlink_file", "path_remove_directory"):
        assert system.path(name, path) is errno
    assert disk.denials() == 7


@pytest.mark.parametrize("attack", LINKS)
def test_links_and_devices(disk: Disk, system: System, attack: str) -> None:
    way = str(LINKS[attack](disk).relative_to(disk.root))
    before = disk.denials()
    for how, rights in ((0, READ), (0, RDWR), (CREAT, RDWR), (TRUNC, WRITE), (CREAT | TRUNC, WRITE), (0, 0)):
        assert system.open(way, how, rights)[0] is Errno.NOTCAPABLE
    assert system.stat(way)[0] is Errno.NOTCAPABLE
    assert system.path("path_unlink_file", way) is Errno.NOTCAPABLE
    assert disk.denials() == before + 8
    assert not (disk.folder / "made").exists()


def test_nobody_makes_links_or_moves_things(disk: Disk, system: System) -> None:
    path = disk.put("plain")
    text, length = system.text("plain")
    assert system.call("path_link", 3, 0, text, length, 3, text, length) is Errno.PERM
    assert system.call("path_symlink", text, length, 3, text, length) is not OK
    assert system.call("path_rename", 3, text, length, 3, text, length) is Errno.NOTSUP
    assert system.call("path_readlink", 3, text, length, BUFFER, 100, OUT) is Errno.NOTSUP
    assert path.read_bytes() == b"content"
    assert [one.name for one in disk.root.iterdir()] == ["plain"]


def test_a_symlink_put_where_a_listed_folder_was(disk: Disk, system: System) -> None:
    """The folder's descriptor is a name; what took its place is looked at anew."""
    disk.put("a/b")
    fd = system.must_open("a", DIRECTORY)
    (disk.root / "a").rename(disk.root / "b")
    (disk.root / "a").symlink_to(disk.folder)
    assert system.open("secret", at=fd)[0] is Errno.NOTCAPABLE
    assert system.list(fd) is Errno.NOTCAPABLE


def test_descriptors_are_bounded(disk: Disk) -> None:
    disk.grant(disk.scope(descriptors=3))
    system = System(disk)
    disk.put("plain")
    opened = [system.must_open("plain"), system.must_open(".", DIRECTORY), system.must_open("plain")]
    assert opened == [4, 5, 6]
    assert system.open("plain")[0] is Errno.MFILE
    assert system.open("new", CREAT, RDWR)[0] is Errno.MFILE
    assert not (disk.root / "new").exists()
    assert system.call("fd_close", 5) is OK
    assert system.must_open("plain") == 5
    disk.state.shim.close()


def test_file_size_is_bounded(disk: Disk) -> None:
    disk.grant(disk.scope(file_bytes_max=10))
    system = System(disk)
    fd = system.must_open("new", CREAT, RDWR)
    assert system.write(fd, b"x" * 8) == 8
    assert system.write(fd, b"x" * 8) == 2  # as much as there is room for
    assert system.write(fd, b"x") is Errno.FBIG
    assert system.write(fd, b"x", offset=1 << 40) is Errno.FBIG
    assert system.call("fd_seek", fd, 1 << 40, 0, OUT) is OK
    assert system.write(fd, b"x") is Errno.FBIG
    assert system.call("fd_filestat_set_size", fd, 11) is Errno.FBIG
    assert system.call("fd_filestat_set_size", fd, 4) is OK
    assert (disk.root / "new").read_bytes() == b"xxxx"
    disk.put("large", b"x" * 11)
    assert system.open("large")[0] is Errno.FBIG
    assert system.open("large", 0, WRITE, APPEND)[0] is Errno.FBIG
    disk.state.shim.close()


@pytest.mark.parametrize(
    "names",
    [
        {Capability.FILESYSTEM_READ},
        {Capability.FILESYSTEM_WRITE},
        {Capability.FILESYSTEM_WRITE, Capability.FILESYSTEM_CREATE},
        {Capability.FILESYSTEM_WRITE, Capability.FILESYSTEM_DELETE},
        {Capability.FILESYSTEM_READ, Capability.FILESYSTEM_CREATE},
    ],
)
def test_each_capability_is_needed_for_its_own(disk: Disk, names: set[Capability]) -> None:
    disk.put("plain")
    disk.put("doomed")
    disk.grant(disk.scope(), names=frozenset(names))
    system = System(disk)
    may = {one.removeprefix("filesystem-") for one in names}
    assert (system.open("plain", 0, READ)[0] is OK) == ("read" in may)
    assert (system.open("plain", 0, WRITE)[0] is OK) == ("write" in may)
    assert (system.open("plain", TRUNC, READ)[0] is OK) == (may >= {"read", "write"})
    assert (system.open("new", CREAT, WRITE)[0] is OK) == (may >= {"write", "create"})
    assert (system.path("path_create_directory", "folder") is OK) == ("create" in may)
    assert (system.path("path_unlink_file", "doomed") is OK) == ("delete" in may)
    assert (disk.root / "new").exists() == (may >= {"write", "create"})
    disk.state.shim.close()


def test_a_grant_that_ends_ends_for_open_files(disk: Disk) -> None:
    disk.put("plain")
    disk.grant(disk.scope(), until_ms=2_000)
    system = System(disk)
    fd = system.must_open("plain", 0, RDWR)
    assert system.read(fd) == b"content"
    disk.now_ms = 2_000
    assert system.read(fd) is Errno.NOTCAPABLE
    assert system.write(fd, b"x") is Errno.NOTCAPABLE
    assert system.list(3) is Errno.NOTCAPABLE
    assert system.call("fd_close", fd) is OK
    assert disk.denials() == 3


def test_uses_run_out_call_by_call(disk: Disk) -> None:
    disk.put("plain")
    disk.grant(disk.scope(), uses=3)
    system = System(disk)
    fd = system.must_open("plain")
    assert system.read(fd) == b"content"
    assert system.read(fd) == b""
    assert system.read(fd) is Errno.NOTCAPABLE
    use = disk.state.uses[Capability.FILESYSTEM_READ, str(disk.root)]
    assert (use.allowed, use.denied, use.bytes) == (3, 0, len(b"content"))
    disk.state.shim.close()


def test_denied_places_beat_granted_ones(disk: Disk) -> None:
    disk.put("secrets/key")
    disk.put("secrets.txt")
    disk.grant(disk.scope(denied=(disk.root / "secrets",)))
    system = System(disk)
    assert system.open("secrets/key")[0] is Errno.NOTCAPABLE
    assert system.open("secrets", DIRECTORY)[0] is Errno.NOTCAPABLE
    assert system.stat("secrets")[0] is Errno.NOTCAPABLE
    assert system.path("path_create_directory", "secrets/new") is Errno.NOTCAPABLE
    assert system.path("path_remove_directory", "secrets") is Errno.NOTCAPABLE
    assert system.list(3) == [Entry("secrets.txt", 4)]
    assert system.must_open("secrets.txt")
    disk.state.shim.close()


def test_no_time_is_left(disk: Disk, system: System) -> None:
    disk.put("plain")
    fd = system.must_open("plain")
    disk.clock_ns, disk.ends_ns = 5, 5
    assert system.read(fd) is Errno.TIMEDOUT
    assert system.open("plain")[0] is Errno.TIMEDOUT


@pytest.mark.parametrize("outside", [0xFFFFFFFF, 3 << 20, (3 << 20) - 1])
def test_addresses_outside_memory(disk: Disk, system: System, outside: int) -> None:
    fd = system.must_open("plain", CREAT, RDWR)
    system.write(fd, b"content")
    system.memory.write(VECTORS, struct.pack("<IIII", BUFFER, 4, outside, 4))
    calls = {
        "fd_read": (fd, VECTORS, 2, OUT),
        "fd_pread": (fd, VECTORS, 2, 0, OUT),
        "fd_write": (fd, VECTORS, 2, OUT),
        "fd_readdir": (3, outside, 100, 0, OUT),
        "fd_seek": (fd, 0, 0, outside),
        "fd_filestat_get": (fd, outside),
        "fd_fdstat_get": (fd, outside),
        "fd_prestat_get": (3, outside),
        "path_open": (3, 0, TEXT, 5, 0, READ, 0, 0, outside),
        "path_filestat_get": (3, 0, outside, 10, OUT),
        "path_unlink_file": (3, outside, 10),
    }
    system.call("fd_seek", fd, 3, 0, OUT)
    for name, arguments in calls.items():
        system.text("plain")
        assert system.call(name, *arguments) is Errno.FAULT, name
    assert system.read(fd) == b"tent", "what faulted has moved nothing"


def test_numbers_that_are_none(disk: Disk, system: System) -> None:
    for fd in (4, 99, 0xFFFFFFFF):
        for name in ("fd_close", "fd_filestat_get", "fd_fdstat_get", "fd_tell", "fd_prestat_get"):
            arguments = (fd,) if name == "fd_close" else (fd, OUT)
            assert system.call(name, *arguments) is Errno.BADF
        assert system.read(fd) is Errno.BADF
        assert system.open("plain", at=fd)[0] is Errno.BADF
    fd = system.must_open("plain", CREAT, RDWR)
    assert system.open("plain", at=fd)[0] is Errno.NOTDIR
    assert system.call("fd_seek", fd, 0, 3, OUT) is Errno.INVAL
    assert system.call("fd_seek", fd, -1, 0, OUT) is Errno.INVAL
    assert system.read(fd, 10, offset=-1) is Errno.INVAL
    assert system.call("fd_read", fd, VECTORS, 1025, OUT) is Errno.INVAL
    assert system.call("fd_sync", fd) is Errno.NOTSUP


def test_standard_streams_are_as_without_files(disk: Disk, system: System) -> None:
    assert system.read(0) == b""
    assert system.write(1, b"hello\n") == 6
    assert system.open("plain", at=1)[0] is Errno.NOTDIR
    assert system.call("fd_close", 1) is OK
    assert system.write(1, b"hello\n") is Errno.BADF
    assert system.must_open("plain", CREAT, RDWR) == 4


def test_a_granted_file_is_all_there_is_of_its_folder(disk: Disk) -> None:
    one, other = disk.put("one"), disk.put("other")
    disk.grant(disk.scope(read=(one,), write=()))
    system = System(disk)
    assert system.read(system.must_open("one")) == b"content"
    assert system.open("other")[0] is Errno.NOTCAPABLE
    assert system.list(3) is Errno.NOTCAPABLE
    assert disk.read(one) == b"content"
    assert disk.read(other) == ERROR_DENIED
    assert disk.write(one) == ERROR_DENIED
    disk.state.shim.close()


def test_two_folders_of_two_grants(disk: Disk) -> None:
    other = disk.folder / "other"
    other.mkdir()
    (other / "file").write_bytes(b"theirs")
    disk.grants(
        (
            Grant(frozenset({Capability.FILESYSTEM_READ}), disk.scope(write=())),
            Grant(frozenset({Capability.FILESYSTEM_WRITE}), disk.scope(read=(), write=(other,))),
        )
    )
    system = System(disk)
    disk.put("plain")
    assert system.open("plain", at=3)[0] is OK
    assert system.open("plain", 0, WRITE, at=3)[0] is Errno.NOTCAPABLE
    assert system.open("file", 0, WRITE, at=4)[0] is OK
    assert system.open("file", 0, READ, at=4)[0] is Errno.NOTCAPABLE
    disk.state.shim.close()


WORDS = st.sampled_from(
    [0, 1, 2, 3, 4, 5, 8, TEXT, VECTORS, OUT, BUFFER, (3 << 20) - 1, 3 << 20, 0x7FFFFFFF, 0xFFFFFFFF]
) | (st.integers(0, 2**64 - 1))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(st.tuples(st.sampled_from(sorted(SERVED)), st.lists(WORDS, min_size=10, max_size=10)), max_size=8)
)
def test_any_calls_with_any_arguments_are_answered(disk: Disk, calls: list[tuple[str, list[int]]]) -> None:
    """No exception, nothing outside the folder, and all is closed in the end."""
    disk.put("plain")
    disk.grant(disk.scope())
    system = System(disk)
    system.text("plain")
    system.memory.write(VECTORS, struct.pack("<IIII", BUFFER, 4, BUFFER, 4))
    system.call("path_open", 3, 0, TEXT, 5, 0, RDWR, 0, 0, OUT)
    for name, words in calls:
        kinds = system.imports[WASI, name].parameters
        system.call(
            name,
            *(word & (0xFFFFFFFF if kind == "i32" else 2**64 - 1) for word, kind in zip(words, kinds, strict=False)),
        )
    if disk.state.wasi is not None:
        disk.state.wasi.close()
    assert not descriptors(disk.folder)
    assert sorted(one.name for one in disk.folder.iterdir()) == ["granted", "secret"]
