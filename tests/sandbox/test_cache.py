"""Compiled code is machine code: a file counts only if this user's key says so."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.cache import KEY_BYTES, CompiledCache, default_folder, open_cache
from schemas.errors import ConfigError
from schemas.specs import EngineSettings, Tier
from tests.sandbox.guests import LIMITS, batch, guest, kinds, spec, wat

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def open_sandbox(folder: Path) -> Iterator[Callable[..., Sandbox]]:
    opened: list[Sandbox] = []

    def make(**options: object) -> Sandbox:
        opened.append(Sandbox(cache_dir=folder, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.cwasm"))


def _load(sandbox: Sandbox, **changes: object) -> tuple[int, int]:
    """Hits and misses after loading the saboteur once, which must then work."""
    transformer = sandbox.load(spec(**changes), guest("saboteur"))
    assert kinds(transformer.run(batch([b"k", b"U"])).outcomes) == ["emitted", "trap"]
    stats = sandbox.stats()
    return stats.cache_hits, stats.cache_misses


def test_a_module_is_compiled_once_for_all_processes(open_sandbox: Callable[..., Sandbox]) -> None:
    first = open_sandbox()
    assert _load(first) == (0, 1)
    assert _load(first) == (1, 1), "from memory"
    assert _load(open_sandbox()) == (1, 0), "from disk"


def test_files_are_private(open_sandbox: Callable[..., Sandbox], folder: Path) -> None:
    _load(open_sandbox())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_other_settings_are_other_entries(open_sandbox: Callable[..., Sandbox], folder: Path) -> None:
    sandbox = open_sandbox()
    _load(sandbox)
    _load(sandbox, engine=EngineSettings(tier=Tier.INTERPRETER))
    _load(sandbox, limits=LIMITS.with_(fuel_per_event=100_000))
    _load(sandbox, limits=LIMITS.with_(stack_bytes=128 << 10))
    assert len(_entries(folder)) == 4


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _flip_tag(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)


def _link_elsewhere(path: Path) -> None:
    other = path.with_suffix(".elsewhere")
    path.rename(other)
    path.symlink_to(other)


def _make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "one bit of code": _flip,
    "one bit of the tag": _flip_tag,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "cut to nothing": lambda path: path.write_bytes(b""),
    "cut inside the tag": lambda path: path.write_bytes(path.read_bytes()[:30]),
    "continued": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "not ours at all": lambda path: path.write_bytes(b"\x7fELF" + os.urandom(4096)),
    "writable by others": lambda path: path.chmod(0o666),
    "readable by others": lambda path: path.chmod(0o644),
    "a symbolic link": _link_elsewhere,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_or_foreign_file_is_recompiled_and_replaced(
    open_sandbox: Callable[..., Sandbox], folder: Path, damage: Callable[[Path], object]
) -> None:
    _load(open_sandbox())
    (entry,) = _entries(folder)
    damage(entry)
    assert _load(open_sandbox()) == (0, 1)
    assert _load(open_sandbox()) == (1, 0), "replaced by a good one"


def test_a_folder_in_the_place_of_a_file_costs_only_the_cache(
    open_sandbox: Callable[..., Sandbox], folder: Path
) -> None:
    _load(open_sandbox())
    (entry,) = _entries(folder)
    _make_folder(entry)
    assert _load(open_sandbox()) == (0, 1)


def test_an_authentic_file_under_another_name_is_not_loaded(open_sandbox: Callable[..., Sandbox], folder: Path) -> None:
    """Swapping two entries must not make one module's code run as another's."""
    sandbox = open_sandbox()
    sandbox.load(spec("one"), guest("saboteur"))
    sandbox.load(spec("two"), guest("counter"))
    one, two = _entries(folder)
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)
    again = open_sandbox()
    again.load(spec("one"), guest("saboteur"))
    again.load(spec("two"), guest("counter"))
    assert (again.stats().cache_hits, again.stats().cache_misses) == (0, 2)


def test_a_key_that_others_can_read_is_no_key(open_sandbox: Callable[..., Sandbox], folder: Path) -> None:
    _load(open_sandbox())
    before = (folder / "key").read_bytes()
    (folder / "key").chmod(0o644)
    assert _load(open_sandbox()) == (0, 1)
    assert (folder / "key").read_bytes() != before
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"x" * (KEY_BYTES + 1)])
def test_a_damaged_key_is_replaced(open_sandbox: Callable[..., Sandbox], folder: Path, content: bytes) -> None:
    _load(open_sandbox())
    (folder / "key").write_bytes(content)
    assert _load(open_sandbox()) == (0, 1)
    assert _load(open_sandbox()) == (1, 0)


def test_a_folder_that_others_may_write_to_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for mode in (0o770, 0o707, 0o777):
        folder.chmod(mode)
        with pytest.raises(ConfigError, match="others may write"):
            Sandbox(cache_dir=folder)


def test_a_symbolic_link_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="symbolic link"):
        Sandbox(cache_dir=tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot cache compiled modules"):
        Sandbox(cache_dir=tmp_path / "file")


def test_the_default_folder_follows_xdg_and_is_done_without_when_unusable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "penstock" / "modules"
    with Sandbox() as sandbox:
        assert _load(sandbox) == (0, 1)
    assert len(_entries(default_folder())) == 1
    default_folder().chmod(0o777)
    assert open_cache(None, 10) is None
    with Sandbox() as sandbox:
        assert _load(sandbox) == (0, 1)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder().is_absolute()


def test_no_cache_touches_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with Sandbox(cache=False) as sandbox:
        assert _load(sandbox) == (0, 1)
        assert _load(sandbox) == (0, 2)
        assert sandbox.stats().cached_modules == 0
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_bounded_and_the_oldest_goes_first(folder: Path) -> None:
    cache = CompiledCache(folder, entries_max=3)
    for n in range(5):
        evicted = cache.put(f"m{n}", b"x" * 100)
        _age(folder)
        assert evicted == (1 if n >= 3 else 0)
    assert [cache.get(f"m{n}") is not None for n in range(5)] == [False, False, True, True, True]


def _age(folder: Path) -> None:
    """Make every entry a second older, so that order does not hang on the clock's grain."""
    for path in _entries(folder):
        facts = path.stat()
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns - 1_000_000_000))


def test_what_is_used_stays(folder: Path) -> None:
    cache = CompiledCache(folder, entries_max=2)
    cache.put("a", b"a")
    _age(folder)
    cache.put("b", b"b")
    _age(folder)
    assert cache.get("a") == b"a"
    cache.put("c", b"c")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"a", None, b"c")


def test_bytes_are_bounded_too(folder: Path) -> None:
    cache = CompiledCache(folder, entries_max=100, bytes_max=1000)
    for n in range(5):
        cache.put(f"m{n}", b"x" * 400)
        _age(folder)
    assert len(_entries(folder)) == 2


def test_leftovers_of_dead_processes_are_removed(folder: Path) -> None:
    cache = CompiledCache(folder, entries_max=100)
    old, new = folder / "a.cwasm.0.tmp", folder / "b.cwasm.0.tmp"
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (0, 0))
    cache.put("a", b"a")
    assert (old.exists(), new.exists()) == (False, True)


def test_a_vanished_folder_costs_only_the_cache(folder: Path) -> None:
    cache = CompiledCache(folder, entries_max=3)
    (folder / "key").unlink()
    folder.rmdir()
    assert cache.put("a", b"a") == 0
    assert cache.get("a") is None


def test_modules_in_memory_are_bounded_and_evicted_ones_go_on_working(open_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = open_sandbox(cache_entries_max=2)
    transformers = [sandbox.load(spec(f"t{n}"), wat(_variant(n))) for n in range(4)]
    assert sandbox.stats().cached_modules == 2
    assert sandbox.stats().cache_evictions == 2
    assert [kinds(one.run(batch([b"x"])).outcomes) for one in transformers] == [["trap"]] * 4


def _variant(n: int) -> str:
    return f"""(module (memory (export "memory") 1)
      (func (export "penstock_v1_alloc") (param i32) (result i32) (i32.const {8 * (n + 1)}))
      (func (export "penstock_v1_transform") (param i32 i32) (result i64) unreachable))"""


SHARE = """
import sys
from pathlib import Path
from sandbox import Sandbox
from tests.sandbox.guests import batch, guest, kinds, spec
for _ in range(5):
    with Sandbox(cache_dir=Path(sys.argv[1])) as sandbox:
        for name in ("saboteur", "counter", "parrot"):
            sandbox.load(spec(name), guest(name))
        assert kinds(sandbox.load(spec(), guest("saboteur")).run(batch([b"k", b"U"])).outcomes) == ["emitted", "trap"]
"""


def test_several_processes_share_a_folder(folder: Path) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", SHARE, str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in started:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said[-2000:]
    assert len(_entries(folder)) == 3
    assert not list(folder.glob("*.tmp"))
