"""The folder of compiled modules, with whatever a crash, a full disk or a stranger left in it: recompiled, never loaded, never fatal."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.cache import CompiledCache
from schemas.errors import ConfigError
from tests.fuzz.children import ROOT, penstock
from tests.fuzz.effort import FACTOR, chance
from tests.sandbox.guests import batch, guest, kinds, spec


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A cache that holds the saboteur."""
    folder = tmp_path / "cache"
    assert works(folder) == 0
    return folder


def works(folder: Path) -> int:
    """Load and run the saboteur over this cache: how many modules came from the disk."""
    with Sandbox(cache_dir=folder) as sandbox:
        transformer = sandbox.load(spec(), guest("saboteur"))
        assert kinds(transformer.run(batch([b"k", b"U"])).outcomes) == ["emitted", "trap"]
        return sandbox.stats().cache_hits


def entry(folder: Path) -> Path:
    (found,) = folder.glob("*.cwasm")
    return found


def test_damaged_entries_are_never_loaded(filled: Path) -> None:
    drawn = chance("cache")
    whole = entry(filled).read_bytes()
    assert works(filled) == 1
    cache = CompiledCache(filled, entries_max=8)
    for _ in range(60 * FACTOR):
        damaged = bytearray(whole)
        match drawn.randrange(4):
            case 0:
                damaged[drawn.randrange(len(damaged))] ^= 1 << drawn.randrange(8)
            case 1:
                del damaged[drawn.randrange(len(damaged)) :]
            case 2:
                damaged += drawn.randbytes(drawn.randint(1, 100))
            case _:
                at = drawn.randrange(len(damaged))
                damaged[at : at + 64] = drawn.randbytes(64)
        entry(filled).write_bytes(damaged)
        name = next(iter(_names(filled, cache)), None)
        assert name is None, "authentic after damage"
    assert works(filled) == 0
    assert works(filled) == 1, "replaced by a good one"


def _names(folder: Path, cache: CompiledCache) -> Iterator[str]:
    """What `get` would take: its name is a hash, so the real one is asked for through a sandbox's own key."""
    with Sandbox(cache_dir=folder) as sandbox:
        disk = sandbox._compiler._disk
        assert disk is not None
        original = disk.get
        seen: list[str] = []
        disk.get = lambda name: seen.append(name) or original(name)  # type: ignore[assignment,func-returns-value]
        disk.put = lambda name, payload: 0  # type: ignore[method-assign]
        sandbox.load(spec(), guest("saboteur"))
    yield from (name for name in seen if cache.get(name) is not None)


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _as_link(path: Path) -> None:
    target = path.with_suffix(".elsewhere")
    path.rename(target)
    path.symlink_to(target)


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _as_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _as_huge(path: Path) -> None:
    os.truncate(path, 1 << 40)


SPOILERS: dict[str, Callable[[Path], object]] = {
    "a folder": _as_folder,
    "a link to a good one": _as_link,
    "a pipe": _as_pipe,
    "a loop of links": _as_loop,
    "a terabyte of nothing": _as_huge,
    "empty": lambda path: path.write_bytes(b""),
    "readable by all": lambda path: path.chmod(0o644),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS.keys())
@pytest.mark.parametrize("what", ["entry", "key"])
def test_files_in_the_wrong_shape_cost_only_the_cache(filled: Path, spoil: Callable[[Path], object], what: str) -> None:
    spoil(entry(filled) if what == "entry" else filled / "key")
    try:
        assert works(filled) == 0
    except ConfigError as error:  # what cannot be replaced is said
        assert what == "key" and "cannot cache compiled modules" in str(error)


def test_strange_files_beside_the_entries_are_left_alone(filled: Path) -> None:
    drawn = chance("strange")
    for number in range(50):
        (filled / f"{number}.cwasm").write_bytes(drawn.randbytes(drawn.randint(0, 300)))
    (filled / "folder.cwasm").mkdir()
    (filled / "notes.txt").write_text("mine")
    (filled / "\udcff\udcfe.tmp").write_bytes(b"")
    assert works(filled) == 1
    assert (filled / "notes.txt").read_text() == "mine"


def test_a_folder_that_is_read_only_is_used_for_reading(filled: Path) -> None:
    filled.chmod(0o500)
    try:
        assert works(filled) == 1
    finally:
        filled.chmod(0o700)


def test_a_disk_that_is_full_costs_only_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As /dev/full answers: the file can be made, and takes nothing."""
    write = os.fdopen

    def full(descriptor: int, mode: str = "r", **options: object) -> object:
        if "w" in mode:
            os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)
        return write(descriptor, mode, **options)  # type: ignore[call-overload]

    CompiledCache(tmp_path, entries_max=8)
    monkeypatch.setattr("sandbox.cache.os.fdopen", full)
    with caplog.at_level(logging.WARNING):
        assert works(tmp_path) == 0
    monkeypatch.undo()
    assert os.strerror(errno.ENOSPC) in caplog.text
    assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.glob("*.cwasm"))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A registry whose one module is compiled in no time."""
    path = tmp_path / "small.yaml"
    path.write_text(
        f"version: 1\ntransformers: {{t: {{module: {ROOT}/transformers/modules/passthrough.wasm}}}}\n"
        "routes: {r: {from: a, through: [t], to: b, dead_letter: c}}\n"
    )
    return path


@pytest.mark.parametrize("make", ["file", "loop", "unwritable parent", "relative", "missing home"])
def test_the_command_works_without_a_cache(tmp_path: Path, small: Path, make: str) -> None:
    cache = tmp_path / "x"
    environ = {"XDG_CACHE_HOME": str(cache)}
    match make:
        case "file":
            cache.write_text("")
        case "loop":
            cache.symlink_to(cache)
        case "unwritable parent":
            environ["XDG_CACHE_HOME"] = "/proc/self/nowhere"
        case "relative":
            environ = {"XDG_CACHE_HOME": "relative/../..", "HOME": str(tmp_path)}
        case _:
            environ = {"XDG_CACHE_HOME": "", "HOME": ""}
    ended = penstock("check", small, environ=environ)
    assert ended.code == 0, ended.said
    assert b"Traceback" not in ended.err


def test_a_cache_of_garbage_does_not_change_what_the_command_says(tmp_path: Path, small: Path) -> None:
    folder = tmp_path / "penstock" / "modules"
    good = penstock("check", small, environ={"XDG_CACHE_HOME": str(tmp_path)})
    for path in folder.iterdir():
        if path.suffix == ".cwasm":
            path.write_bytes(os.urandom(1000))
    again = penstock("check", small, environ={"XDG_CACHE_HOME": str(tmp_path)})
    assert (again.code, again.out) == (good.code, good.out) == (0, good.out)
