"""Compiled modules on disk.

Threat: compiled code is machine code, and loading a file somebody else wrote is running it. So a file counts only if it carries
an HMAC-SHA256 under a key that only this user can read, made over the module's hash, the engine settings, the wasmtime version
and the code. Anything else (damaged, cut short, copied from elsewhere, written by an older version) is a miss and is replaced.
The folder must belong to this user, be no symbolic link and be writable by nobody else.

Several processes may share the folder: files appear by rename, the key by link, and a reader sees a whole file or none.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

from schemas.errors import ConfigError, Fault

FORMAT = b"penstock-cwasm-1"
KEY_BYTES = 32
TAG_BYTES = hashlib.sha256().digest_size
SUFFIX = ".cwasm"
ENTRY_BYTES_MAX = 512 << 20
FOLDER_BYTES_MAX = 1 << 30
LEFTOVER_SECONDS = 3600
"""A temporary file older than this belongs to a process that died."""

_log = logging.getLogger("penstock.sandbox")


class CompiledCache:
    """A bounded folder of authenticated files. `get` and `put` never raise for what is on disk."""

    def __init__(self, folder: Path, *, entries_max: int, bytes_max: int = FOLDER_BYTES_MAX) -> None:
        """Raises ConfigError for a folder that others could write to."""
        self._folder = folder
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        try:
            _make_folder(folder)
            self._key = _read_key(folder / "key") or _make_key(folder)
        except OSError as error:
            raise _refused(folder, error.strerror or str(error)) from None

    def get(self, name: str) -> bytes | None:
        """What was put under this name by this user, or None."""
        path = self._path(name)
        content = _read_private(path, ENTRY_BYTES_MAX)
        if content is None or not content.startswith(FORMAT):
            return None
        tag, payload = content[len(FORMAT) : len(FORMAT) + TAG_BYTES], content[len(FORMAT) + TAG_BYTES :]
        if not hmac.compare_digest(tag, self._tag(name, payload)):
            return None
        with suppress(OSError):
            os.utime(path)  # eviction takes the least recently used
        return payload

    def put(self, name: str, payload: bytes) -> int:
        """Keep this; how many others had to go. A full or vanished disk only costs the next start its time."""
        try:
            _write_private(self._path(name), FORMAT + self._tag(name, payload) + payload)
            return self._evict()
        except OSError as error:
            _log.warning("compiled module not cached in %s: %s", self._folder, error.strerror)
            return 0

    def _path(self, name: str) -> Path:
        return self._folder / (hashlib.sha256(name.encode()).hexdigest() + SUFFIX)

    def _tag(self, name: str, payload: bytes) -> bytes:
        label = name.encode()
        return hmac.digest(self._key, len(label).to_bytes(8, "little") + label + payload, "sha256")

    def _evict(self) -> int:
        entries = sorted(self._entries(), reverse=True)
        kept_bytes = evicted = 0
        for rank, (_, size, path) in enumerate(entries):
            kept_bytes += size
            if rank >= self._entries_max or (kept_bytes > self._bytes_max and rank > 0):
                path.unlink(missing_ok=True)
                evicted += 1
        return evicted

    def _entries(self) -> list[tuple[int, int, Path]]:
        """Age, size and path of each entry; leftovers of dead processes are removed on the way."""
        entries = []
        for path in self._folder.iterdir():
            with suppress(OSError):
                facts = path.lstat()
                if path.suffix == SUFFIX:
                    entries.append((facts.st_mtime_ns, facts.st_size, path))
                elif path.suffix == ".tmp" and time.time() - facts.st_mtime > LEFTOVER_SECONDS:
                    path.unlink()
        return entries


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/penstock/modules`, or below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "penstock" / "modules"


def open_cache(folder: Path | None, entries_max: int) -> CompiledCache | None:
    """The cache in `folder`, which must be usable (else ConfigError), or in the default one, which is done without if it is not."""
    if folder is not None:
        return CompiledCache(folder, entries_max=entries_max)
    try:
        return CompiledCache(default_folder(), entries_max=entries_max)
    except (ConfigError, RuntimeError) as error:
        _log.warning("compiled modules are not cached: %s", error)
        return None


def _refused(folder: Path, why: str) -> ConfigError:
    return ConfigError(
        Fault(f"cannot cache compiled modules in {folder}: {why}", "name another folder or switch it off")
    )


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        raise _refused(folder, "it is a symbolic link or no folder")
    if facts.st_uid != os.getuid():
        raise _refused(folder, "it belongs to another user")
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _refused(folder, "others may write to it")


def _read_key(path: Path) -> bytes | None:
    """The key, unless it is missing, cut short or readable by others (then it is no secret and is replaced)."""
    key = _read_private(path, KEY_BYTES)
    return key if key is not None and len(key) == KEY_BYTES else None


def _make_key(folder: Path) -> bytes:
    """A new key in place of one that is missing or no good. Processes that start together end up with the same one."""
    path = folder / "key"
    if _read_key(path) is None:
        path.unlink(missing_ok=True)
    temporary = _temporary(path)
    _create(temporary, secrets.token_bytes(KEY_BYTES))
    try:
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    key = _read_key(path)
    if key is None:
        raise _refused(folder, "its key file cannot be kept private")
    return key


def _read_private(path: Path, length_max: int) -> bytes | None:
    """A regular file that is ours and that nobody else may touch; None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = os.fstat(descriptor)
        private = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o077
        if not private or facts.st_size > length_max:
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(length_max)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _write_private(path: Path, content: bytes) -> None:
    temporary = _temporary(path)
    try:
        _create(temporary, content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _create(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
