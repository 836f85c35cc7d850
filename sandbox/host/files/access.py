"""A transformer's files: which paths its grants cover, and doing what was admitted, beneath the granted folders.

Threat: the guest chooses paths and when it asks; others may change the folders meanwhile. A path is judged by its text (`paths`), resolved
without links beneath an open folder (`beneath`), and what was opened is looked at before it is used (`checks`). The operator's own
paths to granted and denied places are trusted, links included, and looked up anew by each call.

Time: sizes are bounded and the deadline is looked at between megabytes, but a file system that hangs (NFS without its server) holds
the worker: grant folders on local disks.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from sandbox.host.files.beneath import FOLDER, SAFE, Opener
from sandbox.host.files.beneath import opener as best_opener
from sandbox.host.files.checks import Identity, check_file, check_place, identities
from sandbox.host.files.paths import GuestPath, Place, is_denied, names_of, place_beneath
from sandbox.host.files.problems import FileCode, FileDenied, FileTrouble, shown, system_trouble, too_large
from sandbox.host.files.replacing import replace
from sandbox.host.gate import Denied, Gate
from sandbox.host.wasi_errno import Errno
from schemas.capabilities import FILESYSTEM, Capability, FileScope, Grant

CHUNK_BYTES = 1 << 20
"""Read or written between two looks at the deadline."""
READ, WRITE = Capability.FILESYSTEM_READ, Capability.FILESYSTEM_WRITE
CREATE, DELETE = Capability.FILESYSTEM_CREATE, Capability.FILESYSTEM_DELETE
TEMPORARY = ".penstock-"


class Caller(Protocol):
    """The call at hand."""

    scope: str
    bytes: int

    def admit(self, capability: Capability | None, in_scope: Callable[[Grant], bool] | None = None) -> Grant:
        """Count a use. Raises Denied."""
        ...

    def remaining_ms(self) -> float:
        """Raises when nothing is left."""
        ...


class Files:
    """One transformer's. Keeps nothing open; safe from any thread."""

    def __init__(self, gate: Gate, opener: Opener | None = None) -> None:
        self.gate = gate
        self._open = opener or best_opener()
        self.scopes = tuple(
            dict.fromkeys(
                one.scope
                for name in sorted(FILESYSTEM)
                for one in gate.grants.of_capability(Capability(name))
                if isinstance(one.scope, FileScope)
            )
        )
        """Of all its file grants."""
        everything = (
            one.scope for one in gate.grants.grants
        )  # one that only denies has no capability, and counts all the same
        self.denied = tuple(path for scope in everything if isinstance(scope, FileScope) for path in scope.denied)
        """Each beats every grant."""

    def absolute(self, path: GuestPath, capability: Capability) -> GuestPath:
        """A relative path begins at the first folder granted for this."""
        if path.is_absolute:
            return path
        scopes = self.gate.scopes(capability, FileScope) or self.scopes  # what is not granted is denied with its name
        roots = [root for scope in scopes for root in (roots_of(scope, capability) or scope.read)]
        return path.below(names_of(roots[0])) if roots else path

    def covers(self, path: GuestPath, capability: Capability) -> bool:
        """Whether a grant has this path for this; uses and ends aside."""
        scopes = self.gate.scopes(capability, FileScope)
        return any(place_beneath(roots_of(scope, capability), path.names) for scope in scopes)

    def admit(self, call: Caller, path: GuestPath, capability: Capability) -> tuple[Place, FileScope]:
        """Where an absolute path leads and under which scope; a use is counted. Raises FileDenied."""
        found: list[Place] = []

        def covers(grant: Grant) -> bool:
            if not isinstance(grant.scope, FileScope):
                return False
            place = place_beneath(roots_of(grant.scope, capability), path.names)
            found[:] = [place] if place else found
            return place is not None

        if self.denied and is_denied(self.denied, path.names):
            raise FileDenied(FileCode.PERMISSION_DENIED, f"{shown(path.text)} is denied", "take it out of `deny`")
        try:
            scope = call.admit(capability, covers).scope
        except Denied as denied:
            raise self._told(denied, path, capability, covered=bool(found)) from None
        assert isinstance(scope, FileScope)
        (place,) = found
        call.scope = str(place.root)
        if self.denied:
            self._check_real_name(place, path)
        return place, scope

    def read(self, call: Caller, path: GuestPath, bytes_max: int) -> bytes:
        """The whole of a file. Raises FileDenied, FileTrouble."""
        path = self.absolute(path, READ)
        place, scope = self.admit(call, path, READ)
        most = min(scope.file_bytes_max, bytes_max)
        with self.opened(path, place, os.O_RDONLY, most) as file:
            content = bytearray()
            while chunk := os.read(file, min(CHUNK_BYTES, most + 1 - len(content))):
                content += chunk
                if len(content) > most:  # it grew while it was read
                    raise too_large(path.text, len(content), most)
                call.remaining_ms()
        return bytes(content)

    def write(self, call: Caller, path: GuestPath, content: bytes) -> None:
        """The whole of a file, at once: others see what was there before, or all of this. Raises FileDenied, FileTrouble.

        Does not wait until it is on the disk.
        """
        path = self.absolute(path, WRITE)
        place, scope = self.admit(call, path, WRITE)
        if len(content) > scope.file_bytes_max:
            raise too_large(path.text, len(content), scope.file_bytes_max)
        with self._parent(path, place) as (folder, name):
            before = self._look(folder, name, path)
            if before is None:
                self.admit(call, path, CREATE)
            self._put(call, path, folder, name, content, before)

    def open(self, path: GuestPath, place: Place, flags: int, bytes_max: int) -> int:
        """A descriptor for a plain file; `flags` say how it is accessed, and `O_CREAT | O_EXCL` for a new one. Raises FileDenied, FileTrouble."""
        with self._parent(path, place) as (folder, name):
            if not flags & os.O_CREAT and self._look(folder, name, path) is None:
                raise FileTrouble(FileCode.IO_ERROR, f"{shown(path.text)}: No such file or directory", Errno.NOENT)
            file = self._open(folder, (name,), flags | SAFE, 0o666)
            try:
                info = os.fstat(file)
                check_file(info, path.text, self._denied_now())
                if info.st_size > bytes_max:
                    raise too_large(path.text, info.st_size, bytes_max)
            except BaseException:
                os.close(file)
                raise
            return file

    @contextmanager
    def opened(self, path: GuestPath, place: Place, flags: int, bytes_max: int) -> Iterator[int]:
        """The same, closed in the end."""
        file = self.open(path, place, flags, bytes_max)
        try:
            yield file
        except OSError as error:
            raise system_trouble(error, path.text) from None
        finally:
            os.close(file)

    @contextmanager
    def folder(self, path: GuestPath, place: Place) -> Iterator[int]:
        """A descriptor for a folder that can be listed. Raises FileDenied, FileTrouble."""
        with (
            self._system(path),
            self._root(path, place.root) as root,
            _closing(self._descend(path, root, place.names)) as at,
            _closing(self._open(at, (), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as listed,
        ):
            yield listed

    def create_folder(self, call: Caller, path: GuestPath) -> None:
        """Raises FileDenied, FileTrouble."""
        place, _ = self.admit(call, path, CREATE)
        with self._parent(path, place) as (folder, name):
            os.mkdir(name.encode(), dir_fd=folder)

    def delete(self, call: Caller, path: GuestPath, *, folder: bool = False) -> None:
        """A plain file, or an empty folder. Raises FileDenied, FileTrouble."""
        place, _ = self.admit(call, path, DELETE)
        if not place.names:
            raise FileDenied(FileCode.PERMISSION_DENIED, f"{shown(path.text)} is granted itself: it is not deleted")
        with self._parent(path, place) as (at, name):
            if folder:
                os.rmdir(name.encode(), dir_fd=at)
            elif self._look(at, name, path) is None:
                raise FileTrouble(FileCode.IO_ERROR, f"{shown(path.text)}: No such file or directory", Errno.NOENT)
            else:
                os.unlink(name.encode(), dir_fd=at)

    def stat(self, call: Caller, path: GuestPath) -> os.stat_result:
        """Of a plain file or a folder. Raises FileDenied, FileTrouble."""
        place, _ = self.admit(call, path, self.either(path))
        with self._system(path):
            if not place.names and place.root.is_dir():
                with self.folder(path, place) as opened:
                    return os.fstat(opened)
            with self._parent(path, place) as (folder, name):
                info = os.stat(name.encode(), dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            check_place(info, path.text, self._denied_now())
        else:
            check_file(info, path.text, self._denied_now())
        return info

    def either(self, path: GuestPath) -> Capability:
        """What a look at this path counts as: reading, or writing where only that is granted."""
        return WRITE if self.covers(path, WRITE) and not self.covers(path, READ) else READ

    def _put(
        self, call: Caller, path: GuestPath, folder: int, name: str, content: bytes, before: os.stat_result | None
    ) -> None:
        temporary = TEMPORARY + secrets.token_hex(8)
        file = self._open(folder, (temporary,), os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, 0o666)
        try:
            with _closing(file):
                if before is not None:
                    os.fchmod(file, stat.S_IMODE(before.st_mode) & 0o777)
                left = memoryview(content)
                while left:
                    call.remaining_ms()
                    left = left[os.write(file, left[:CHUNK_BYTES]) :]
            if before is None:
                os.rename(temporary, name.encode(), src_dir_fd=folder, dst_dir_fd=folder)
            else:
                replace(folder, temporary, name, lambda info: check_file(info, path.text, self._denied_now()))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise

    def _look(self, folder: int, name: str, path: GuestPath) -> os.stat_result | None:
        """What is there, without opening it: a device would notice. Raises FileDenied, FileTrouble for anything but a plain file."""
        if path.is_folder:
            raise FileTrouble(FileCode.IO_ERROR, f"{shown(path.text)} is a folder's path", Errno.NOTDIR)
        try:
            info = os.stat(name.encode(), dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        check_file(info, path.text, self._denied_now())
        return info

    @contextmanager
    def _parent(self, path: GuestPath, place: Place) -> Iterator[tuple[int, str]]:
        """The open folder in which the path's last name is, and that name."""
        root, names = place.root, place.names
        if not names:
            real = Path(os.path.realpath(root))
            if real == real.parent:
                raise FileTrouble(FileCode.IO_ERROR, f"{shown(path.text)} is a folder", Errno.ISDIR)
            root, names = real.parent, (real.name,)
        with self._system(path), self._root(path, root) as top, _closing(self._descend(path, top, names[:-1])) as at:
            yield at, names[-1]

    @contextmanager
    def _root(self, path: GuestPath, root: Path) -> Iterator[int]:
        try:
            opened = os.open(root, FOLDER)
        except OSError as error:
            why = f"the granted folder {root} cannot be opened: {error.strerror}"
            raise FileTrouble(FileCode.IO_ERROR, why, Errno.NOENT) from None
        with _closing(opened):
            check_place(os.fstat(opened), path.text, self._denied_now())
            yield opened

    def _descend(self, path: GuestPath, root: int, names: tuple[str, ...]) -> int:
        """The folder of these names. Each is looked at where places are denied: they may have other names, too."""
        denied = self._denied_now()
        if not denied:
            return self._open(root, names, FOLDER)
        at = self._open(root, (), FOLDER)
        try:
            for name in names:
                below = self._open(at, (name,), FOLDER)
                os.close(at)
                at = below
                check_place(os.fstat(at), path.text, denied)
        except BaseException:
            os.close(at)
            raise
        return at

    @contextmanager
    def _system(self, path: GuestPath) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise system_trouble(error, path.text) from None

    def _denied_now(self) -> frozenset[Identity]:
        return identities(self.denied) if self.denied else frozenset()

    def _check_real_name(self, place: Place, path: GuestPath) -> None:
        """What is not there yet has no identity: its name is compared again, as it is behind the operator's links."""
        names = (*names_of(Path(os.path.realpath(place.root))), *place.names)
        if is_denied([Path(os.path.realpath(one)) for one in self.denied], names):
            raise FileDenied(FileCode.PERMISSION_DENIED, f"{shown(path.text)} is denied", "take it out of `deny`")

    def _told(self, denied: Denied, path: GuestPath, capability: Capability, *, covered: bool) -> FileDenied:
        """Why the gate said no, with a code."""
        if covered:
            return FileDenied(FileCode.CAPABILITY_DENIED, denied.reason, denied.remedy)
        elsewhere = any(self.covers(path, Capability(one)) for one in FILESYSTEM if one != capability)
        if elsewhere:
            why = f"{shown(path.text)} is not granted for `{capability}`"
            return FileDenied(FileCode.INSUFFICIENT_PRIVILEGES, why, denied.remedy)
        if capability not in self.gate.grants.names:
            return FileDenied(FileCode.CAPABILITY_DENIED, denied.reason, denied.remedy)
        return FileDenied(FileCode.PERMISSION_DENIED, f"{shown(path.text)} is in no granted folder", denied.remedy)


def roots_of(scope: FileScope, capability: Capability) -> tuple[Path, ...]:
    """What of a scope a capability is about."""
    return scope.read if capability is READ else scope.write


@contextmanager
def _closing(opened: int) -> Iterator[int]:
    try:
        yield opened
    finally:
        os.close(opened)
