"""Ways out of a granted folder, by name: each is refused and counted, and nothing outside is read or changed."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.abi import ERROR_DENIED, ERROR_INVALID, ERROR_TOO_LARGE, ERROR_UNAVAILABLE
from schemas.capabilities import Capability
from tests.sandbox.files.rig import SECRET, Disk


@pytest.fixture(autouse=True)
def _secret_untouched(disk: Disk) -> Iterator[None]:
    yield
    assert disk.secret.read_bytes() == SECRET
    assert not list(disk.root.rglob(".penstock-*")), "a temporary file was left"


OUTSIDE: dict[str, str] = {
    "absolute path of the secret": "{top}/secret",
    "parent of the root": "{root}/../secret",
    "parent, from below": "{root}/a/../../secret",
    "parent and back in": "{root}/../granted/plain",
    "only dots": "..",
    "the root's name as a prefix": "{root}x",
    "the root's name as a prefix, with more": "{root}-old/secret",
    "relative, upwards": "../secret",
    "another root entirely": "/etc/passwd",
    "top": "/",
    "two slashes before": "//etc/passwd",
    "slashes around the dots": "{root}//..//secret",
    "dots at the end": "{root}/..",
    "this process's memory": "/proc/self/mem",
    "this process's environment": "/proc/self/environ",
    "a descriptor of this process": "/proc/self/fd/0",
    "the root of this process, through /proc": "/proc/self/root{top}/secret",
    "the working folder of this process": "/proc/self/cwd/secret",
    "a device": "/dev/zero",
    "a terminal": "/dev/tty",
    "kernel settings": "/sys/kernel/uevent_helper",
    "a NUL before the end": "{root}/plain\0.txt",
    "a NUL that cuts the way short": "{top}/secret\0{root}/plain",
    "an empty path": "",
    "a path of 4096 bytes": "{root}/" + "a/" * 2048,
    "a path of a megabyte less a bit": "{root}/" + "a" * 900_000,
    "a name of 256 bytes": "{root}/" + "a" * 256,
    "a name of 128 letters of two bytes": "{root}/" + "ä" * 128,
    "the root in other letters": "{upper}",
    "a home": "~/secret",
    "a variable": "$HOME/secret",
    "a URL": "file://{top}/secret",
}


@pytest.mark.parametrize("attack", OUTSIDE)
def test_a_path_that_leads_elsewhere(disk: Disk, attack: str) -> None:
    disk.put("plain")
    disk.put("a/b")
    names = {"top": disk.folder, "root": disk.root, "upper": str(disk.root / "plain").upper()}
    path = OUTSIDE[attack].format(**names)
    if attack in ("a home", "a variable", "a URL"):  # relative names like any other: they begin below the root
        assert disk.read(path) == ERROR_UNAVAILABLE
    else:
        assert disk.refuses(path), attack


LOOKALIKES = {
    "a backslash": "..\\secret",
    "a full-width full stop": "\uff0e\uff0e",
    "a fraction slash": "..\u2044secret",
    "two dots and a zero-width space": "..\u200b",
    "percent-encoded": "%2e%2e%2fsecret",
    "overlong UTF-8 as Latin-1": "\u00c0\u00ae\u00c0\u00ae",
    "three dots": "...",
    "a dot and a space": ". ",
    "a line feed": "a\nb",
    "right to left": "\u202etxt.exe",
}


@pytest.mark.parametrize("attack", LOOKALIKES)
def test_what_only_looks_like_a_way_up_is_a_name(disk: Disk, attack: str) -> None:
    name = LOOKALIKES[attack]
    assert disk.write(f"{disk.root}/{name}", b"mine") is None
    assert disk.read(f"{disk.root}/{name}") == b"mine"
    assert [one.name for one in disk.root.iterdir()] == [name]


def test_names_are_not_normalised(disk: Disk) -> None:
    disk.put("caf\u00e9", b"composed")
    assert disk.read(f"{disk.root}/cafe\u0301") == ERROR_UNAVAILABLE


def test_half_a_character(disk: Disk) -> None:
    """msgpack that is no UTF-8 is no request."""
    raw = b"\xa3/\xff\xfe"
    from tests.sandbox.files.rig import CALLS, ROOM, START

    disk.memory.write(START, raw)
    assert CALLS["file_read"].invoke(disk.state, disk.memory, (START, len(raw), ROOM, ROOM)) == ERROR_INVALID


Make = Callable[[Disk], Path]
LINKS: dict[str, Make] = {}


def link(name: str) -> Callable[[Make], Make]:
    def kept(make: Make) -> Make:
        LINKS[name] = make
        return make

    return kept


@link("a symlink to a file outside")
def _(disk: Disk) -> Path:
    (disk.root / "way").symlink_to(disk.secret)
    return disk.root / "way"


@link("a relative symlink upwards")
def _(disk: Disk) -> Path:
    (disk.root / "way").symlink_to("../secret")
    return disk.root / "way"


@link("a symlink to a folder outside")
def _(disk: Disk) -> Path:
    (disk.root / "way").symlink_to(disk.folder)
    return disk.root / "way" / "secret"


@link("a symlink to a symlink")
def _(disk: Disk) -> Path:
    (disk.root / "first").symlink_to(disk.secret)
    (disk.root / "way").symlink_to("first")
    return disk.root / "way"


@link("a symlink in the middle, back into the root")
def _(disk: Disk) -> Path:
    disk.put("a/b")
    (disk.root / "way").symlink_to("a")
    return disk.root / "way" / "b"


@link("a symlink to a file inside")
def _(disk: Disk) -> Path:
    disk.put("plain")
    (disk.root / "way").symlink_to("plain")
    return disk.root / "way"


@link("a symlink to itself")
def _(disk: Disk) -> Path:
    (disk.root / "way").symlink_to("way")
    return disk.root / "way"


@link("a dangling symlink to a place outside")
def _(disk: Disk) -> Path:
    (disk.root / "way").symlink_to(disk.folder / "made")
    return disk.root / "way"


@link("a symlink to /proc/self/environ")
def _(disk: Disk) -> Path:
    (disk.root / "way").symlink_to("/proc/self/environ")
    return disk.root / "way"


@link("a symlink to a descriptor of the host")
def _(disk: Disk) -> Path:
    (disk.root / "way").symlink_to("/proc/self/fd/2")
    return disk.root / "way"


@link("a symlink to the root folder of the host")
def _(disk: Disk) -> Path:
    (disk.root / "way").symlink_to("/")
    return disk.root / "way" / "etc" / "passwd"


@link("a hard link to a file outside")
def _(disk: Disk) -> Path:
    os.link(disk.secret, disk.root / "way")
    return disk.root / "way"


@link("a hard link deep below")
def _(disk: Disk) -> Path:
    (disk.root / "a" / "b").mkdir(parents=True)
    os.link(disk.secret, disk.root / "a" / "b" / "way")
    return disk.root / "a" / "b" / "way"


@link("a hard link between two files inside")
def _(disk: Disk) -> Path:
    os.link(disk.put("plain"), disk.root / "way")
    return disk.root / "way"


@link("a fifo that nobody writes")
def _(disk: Disk) -> Path:
    os.mkfifo(disk.root / "way")
    return disk.root / "way"


@link("a socket")
def _(disk: Disk) -> Path:
    here = Path.cwd()
    os.chdir(disk.root)  # a socket's path may have 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("way")
    finally:
        os.chdir(here)
    return disk.root / "way"


@link("a device: endless zeros")
def _(disk: Disk) -> Path:
    return _node(disk, os.makedev(1, 5))


@link("a device: the machine's memory")
def _(disk: Disk) -> Path:
    return _node(disk, os.makedev(1, 1))


def _node(disk: Disk, device: int) -> Path:
    try:
        os.mknod(disk.root / "way", 0o20666, device)
    except PermissionError:
        pytest.skip("only root makes devices")
    return disk.root / "way"


@pytest.mark.parametrize("attack", LINKS)
def test_what_lies_in_the_folder_and_is_no_plain_file_of_it(disk: Disk, attack: str) -> None:
    path = LINKS[attack](disk)
    assert disk.refuses(path), attack
    assert not (disk.folder / "made").exists()


def test_the_top_of_the_tree_is_granted_and_proc_is_not_in_it(disk: Disk) -> None:
    """A mount on the way is another file system, whatever is granted above it."""
    disk.grant(disk.scope(read=(Path("/"),), write=(Path("/"),)))
    for path in ("/proc/self/environ", "/proc/self/mem", "/proc/self/root/etc/passwd", "/sys/kernel/uevent_seqnum"):
        assert disk.read(path) == ERROR_DENIED, path
        assert disk.write(path) == ERROR_DENIED, path


@pytest.mark.parametrize("place", ["/proc", "/proc/self", "/proc/self/environ", "/proc/self/fd", "/sys", "/dev/null"])
def test_kernel_places_are_not_served_even_when_granted(disk: Disk, place: str) -> None:
    disk.grant(disk.scope(read=(Path(place),), write=(Path(place),)))
    name = place if Path(place).is_file() or place == "/dev/null" else f"{place}/version"
    assert disk.read(name) == ERROR_DENIED
    assert disk.write(name) == ERROR_DENIED


def test_a_folder_is_no_file(disk: Disk) -> None:
    disk.put("a/b")
    for path in (disk.root, disk.root / "a", f"{disk.root}/a/", f"{disk.root}/."):
        assert disk.read(path) == ERROR_UNAVAILABLE
        assert disk.write(path) == ERROR_UNAVAILABLE


@pytest.mark.parametrize("tail", ["/", "//", "/.", "/./"])
def test_a_file_with_a_trailing_slash_is_no_file(disk: Disk, tail: str) -> None:
    path = disk.put("plain")
    assert disk.read(f"{path}{tail}") == ERROR_UNAVAILABLE
    assert disk.write(f"{path}{tail}") == ERROR_UNAVAILABLE
    assert path.read_bytes() == b"content"


def test_a_file_in_the_middle_of_a_path(disk: Disk) -> None:
    assert disk.read(disk.put("plain") / "below") == ERROR_UNAVAILABLE


def test_a_sparse_file_of_a_terabyte_costs_nothing(disk: Disk) -> None:
    path = disk.put("huge", b"")
    os.truncate(path, 1 << 40)
    assert disk.read(path) == ERROR_TOO_LARGE


def test_a_file_one_byte_over_the_cap(disk: Disk) -> None:
    disk.grant(disk.scope(file_bytes_max=10))
    assert disk.read(disk.put("ten", b"x" * 10)) == b"x" * 10
    assert disk.read(disk.put("eleven", b"x" * 11)) == ERROR_TOO_LARGE
    assert disk.write(disk.root / "ten", b"y" * 10) is None
    assert disk.write(disk.root / "ten", b"z" * 11) == ERROR_TOO_LARGE
    assert (disk.root / "ten").read_bytes() == b"y" * 10


def test_a_file_that_says_it_is_empty_and_is_not(disk: Disk) -> None:
    """As /proc's files do; here a file grows between the look at its size and the reading."""
    disk.grant(disk.scope(file_bytes_max=10))
    path = disk.put("grows", b"")
    real = os.read
    grown: list[int] = []

    def growing(descriptor: int, size: int) -> bytes:
        if not grown:
            grown.append(path.write_bytes(b"x" * 100))
        return real(descriptor, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.read", growing)
        assert disk.read(path) == ERROR_TOO_LARGE


@contextmanager
def racing(*steps: Callable[[], object]) -> Iterator[None]:
    """Another thread does these, over and over."""
    over = threading.Event()

    def race() -> None:
        while not over.is_set():
            for step in steps:
                step()

    racer = threading.Thread(target=race)
    racer.start()
    try:
        yield
    finally:
        over.set()
        racer.join()


ROUNDS = 1_000


def test_a_race_that_swaps_a_file_for_a_symlink(disk: Disk) -> None:
    plain, link, name = disk.root / "plain", disk.root / "link", disk.root / "name"
    link.symlink_to(disk.secret)

    def swap(to: Path) -> None:
        if to is plain:
            plain.write_bytes(b"content")
            plain.replace(name)
        else:
            (disk.root / "next").symlink_to(disk.secret)
            (disk.root / "next").replace(name)

    swap(plain)
    with racing(lambda: swap(link), lambda: swap(plain)):
        seen = [disk.read(name) for _ in range(ROUNDS)]
    assert {b"content"} <= set(seen) <= {b"content", b"", ERROR_DENIED, ERROR_UNAVAILABLE}


def test_a_race_that_swaps_a_folder_for_a_symlink(disk: Disk) -> None:
    """`renameat2` could exchange them in one step; two renames leave a moment without either, which is fine."""
    outside = disk.folder / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(SECRET)
    disk.put("real/file")
    (disk.root / "link").symlink_to(outside)
    at, real, link = disk.root / "at", disk.root / "real", disk.root / "link"

    def in_and_out(one: Path) -> None:
        one.rename(at)
        at.rename(one)

    with racing(lambda: in_and_out(real), lambda: in_and_out(link)):
        seen = [disk.read(at / "file") for _ in range(ROUNDS)]
        written = [disk.write(at / "file", b"content") for _ in range(ROUNDS)]
    assert set(seen) <= {b"content", ERROR_DENIED, ERROR_UNAVAILABLE}
    assert set(written) <= {None, ERROR_DENIED, ERROR_UNAVAILABLE}
    assert (outside / "file").read_bytes() == SECRET


def test_a_race_that_moves_the_folder_out_of_the_root(disk: Disk) -> None:
    """What was opened while it was beneath may be read; a way up from where it is now there is not."""
    disk.put("a/b/file")
    away = disk.folder / "away"

    def move() -> None:
        (disk.root / "a").rename(away)
        away.rename(disk.root / "a")

    with racing(move):
        seen = {disk.read(f"{disk.root}/a/b/file") for _ in range(ROUNDS)}
        up = {disk.read(f"{disk.root}/a/b/../../../secret") for _ in range(100)}
    assert seen <= {b"content", ERROR_UNAVAILABLE, ERROR_DENIED}
    assert up == {ERROR_DENIED}


def test_a_race_that_swaps_a_file_for_a_hard_link(disk: Disk) -> None:
    name, spare = disk.root / "name", disk.folder / "spare"
    name.write_bytes(b"content")

    def swap() -> None:
        os.link(disk.secret, spare)
        spare.replace(name)
        spare.write_bytes(b"content")
        spare.replace(name)

    with racing(swap):
        seen = {disk.read(name) for _ in range(ROUNDS)}
    assert seen <= {b"content", ERROR_DENIED, ERROR_UNAVAILABLE}


def test_a_race_that_swaps_a_file_for_a_fifo(disk: Disk) -> None:
    """Opened for reading without O_NONBLOCK it would hold the worker for ever."""
    name = disk.root / "name"
    name.write_bytes(b"content")

    def swap() -> None:
        os.mkfifo(disk.root / "fifo")
        (disk.root / "fifo").replace(name)
        (disk.root / "plain").write_bytes(b"content")
        (disk.root / "plain").replace(name)

    with racing(swap):
        seen = {disk.read(name) for _ in range(ROUNDS)}
    assert seen <= {b"content", ERROR_DENIED, ERROR_UNAVAILABLE}


WITHOUT_CREATE = frozenset({Capability.FILESYSTEM_READ, Capability.FILESYSTEM_WRITE})


@contextmanager
def before_renaming(step: Callable[[], object]) -> Iterator[None]:
    """Somebody does this after the look at what is to be replaced: while its content is written to a file beside it."""
    real = os.write
    done: list[object] = []

    def write(descriptor: int, content: bytes) -> int:
        if not done:
            done.append(step())
        return real(descriptor, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.write", write)
        yield
    assert done


@pytest.fixture(params=["exchanged", "renamed"])
def _either_way_to_replace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every file system exchanges names."""
    if request.param == "renamed":
        monkeypatch.setattr("sandbox.host.files.replacing._renameat2", lambda: None)


@pytest.mark.usefixtures("_either_way_to_replace")
def test_a_file_that_is_deleted_while_it_is_replaced_is_not_made_anew(disk: Disk) -> None:
    disk.grant(disk.scope(), names=WITHOUT_CREATE)
    path = disk.put("plain")
    with before_renaming(path.unlink):
        assert disk.write(path) == ERROR_UNAVAILABLE
    assert list(disk.root.iterdir()) == []


@pytest.mark.usefixtures("_either_way_to_replace")
def test_a_file_that_becomes_a_hard_link_while_it_is_replaced_stays(disk: Disk) -> None:
    path = disk.put("plain")

    def swap() -> None:
        path.unlink()
        os.link(disk.secret, path)

    with before_renaming(swap):
        assert disk.write(path) == ERROR_DENIED
    assert path.read_bytes() == SECRET


@pytest.mark.usefixtures("_either_way_to_replace")
def test_a_file_that_becomes_a_folder_while_it_is_replaced_stays(disk: Disk) -> None:
    path = disk.put("plain")

    def swap() -> None:
        path.unlink()
        (path / "below").mkdir(parents=True)

    with before_renaming(swap):
        assert disk.write(path) == ERROR_UNAVAILABLE
    assert (path / "below").is_dir()


def test_a_race_of_deleting_never_lets_a_file_be_made(disk: Disk) -> None:
    """The other one moves the file away and looks: whoever put one there since has made it."""
    disk.grant(disk.scope(), names=WITHOUT_CREATE)
    path, away = disk.put("plain"), disk.folder / "away"
    made: list[bytes] = []

    def move() -> None:
        path.rename(away)
        try:
            os.link(away, path)
        except FileExistsError:
            made.append(path.read_bytes())
            path.unlink()
            os.link(away, path)
        away.unlink()

    with racing(move):
        for _ in range(ROUNDS):
            disk.write(path)
    assert made == []


def test_a_race_of_writers_leaves_whole_files(disk: Disk) -> None:
    path = disk.put("shared", b"a" * 5000)
    texts = [letter * 5000 for letter in (b"a", b"b", b"c")]

    def write(text: bytes) -> None:
        part = disk.folder / "part"
        part.write_bytes(text)
        part.replace(path)

    with racing(lambda: write(texts[1]), lambda: write(texts[2])):
        for _ in range(200):
            assert disk.write(path, texts[0]) is None
            assert path.read_bytes() in texts
