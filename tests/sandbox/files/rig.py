"""A small tree with a granted part and secrets around it, and calls as a guest makes them."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import msgspec

from sandbox.host import Gate, HostState, Services
from sandbox.host.files import IMPORTS, Files
from sandbox.host.files.beneath import Opener
from sandbox.memory import GuestMemory
from schemas.abi import ERROR_DENIED
from schemas.capabilities import FILESYSTEM, Capability, FileScope, Grant, Grants

SECRET = b"nobody's business"
CALLS = {one.name: one for one in IMPORTS}
START, ROOM = 1024, 1 << 20


class Scratch(GuestMemory):
    """Memory without a guest."""

    def __init__(self, size: int = 3 << 20) -> None:
        self._bytes = ctypes.create_string_buffer(size)

    def size(self) -> int:
        return len(self._bytes)

    def base(self) -> int:
        return ctypes.addressof(self._bytes)


class Disk:
    """`granted/` may be read and written, `secret` lies beside it."""

    def __init__(self, folder: Path, way: Opener) -> None:
        self.folder, self.way = folder, way
        self.root = folder / "granted"
        self.root.mkdir()
        self.secret = folder / "secret"
        self.secret.write_bytes(SECRET)
        self.now_ms = 1_000
        self.clock_ns = 0
        self.ends_ns: int | None = None
        self.memory = Scratch()
        self.grant(self.scope())

    def scope(self, **changes: Any) -> FileScope:
        return FileScope(**{"read": (self.root,), "write": (self.root,)} | changes)

    def grant(self, *scopes: FileScope, names: frozenset[Capability] = frozenset(FILESYSTEM), **more: Any) -> None:
        """These instead of what was granted."""
        self.grants(tuple(Grant(names, scope, **more) for scope in scopes))

    def grants(self, grants: tuple[Grant, ...], *, strict: bool = False) -> None:
        self.gate = Gate(
            "shop", Grants(grants, strict=strict), now_ms=lambda: self.now_ms, clock_ns=lambda: self.clock_ns
        )
        scoped = frozenset(one for one in FILESYSTEM if self.gate.scopes(Capability(one), FileScope))
        self.gate.hold((Files, scoped), lambda: Files(self.gate, self.way))
        self.state = HostState(Services(), 0, self.gate)

    def ask(self, name: str, value: object) -> Any:
        """The answer, or a negative code."""
        raw = msgspec.msgpack.encode(value)
        self.memory.write(START, raw)
        self.state.ends_ns = self.ends_ns
        code = CALLS[name].invoke(self.state, self.memory, (START, len(raw), ROOM, ROOM))
        assert self.state.error is None, self.state.error
        assert code is not None
        return code if code < 0 else msgspec.msgpack.decode(self.memory.read(ROOM, code))

    def read(self, path: object) -> Any:
        return self.ask("file_read", str(path) if isinstance(path, Path) else path)

    def write(self, path: object, content: bytes = b"new") -> Any:
        return self.ask("file_write", [str(path) if isinstance(path, Path) else path, content])

    def put(self, name: str, content: bytes = b"content") -> Path:
        """A file beneath the granted folder."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def refuses(self, path: object) -> bool:
        """Neither readable nor writable: denied both times, and counted so."""
        before = self.denials()
        codes = (self.read(path), self.write(path))
        return codes == (ERROR_DENIED, ERROR_DENIED) and self.denials() == before + 2

    def denials(self) -> int:
        return sum(use.denied for use in self.state.uses.values())
