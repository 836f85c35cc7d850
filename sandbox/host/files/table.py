"""The descriptors of one guest: granted folders from 3 on, then what it opened. Closed with the guest.

A folder's descriptor is a name and holds nothing open: each look below it begins at the granted folder again, so that a grant that
ends, ends for descriptors too.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from sandbox.host.files.access import Files
from sandbox.host.files.paths import GuestPath, names_of
from sandbox.host.files.problems import FileCode, FileTrouble
from sandbox.host.wasi_errno import Errno

FIRST = 3
"""After the standard streams."""


@dataclass(slots=True)
class Descriptor:
    """A folder, or an open file."""

    path: GuestPath
    file: int | None = None
    """The host's number; None for a folder."""
    readable: bool = False
    writable: bool = False
    appends: bool = False
    bytes_max: int = 0
    """What the file may grow to."""
    preopened: bool = False
    listing: list[bytes] | None = None
    """A folder's entries, as they were when it was listed from the beginning."""


class FileTable:
    """Used by one guest, in one thread at a time."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self._open = dict(enumerate((Descriptor(path, preopened=True) for path in _granted_folders(files)), FIRST))

    def find(self, number: int) -> Descriptor:
        """Raises FileTrouble (BADF)."""
        found = self._open.get(number)
        if found is None:
            raise FileTrouble(FileCode.IO_ERROR, f"descriptor {number} is not open", Errno.BADF)
        return found

    def folder(self, number: int) -> Descriptor:
        """Raises FileTrouble (BADF, NOTDIR)."""
        found = self.find(number)
        if found.file is not None:
            raise FileTrouble(FileCode.IO_ERROR, f"descriptor {number} is a file", Errno.NOTDIR)
        return found

    def file(self, number: int) -> tuple[Descriptor, int]:
        """Raises FileTrouble (BADF, ISDIR)."""
        found = self.find(number)
        if found.file is None:
            raise FileTrouble(FileCode.IO_ERROR, f"descriptor {number} is a folder", Errno.ISDIR)
        return found, found.file

    def preopened(self) -> list[Descriptor]:
        """The granted folders."""
        return [one for one in self._open.values() if one.preopened]

    def make_room(self, most: int) -> None:
        """Raises FileTrouble (MFILE) when the guest has opened as many as its grant has."""
        if sum(not one.preopened for one in self._open.values()) >= most:
            why = f"{most} descriptors are open, which is the most"
            raise FileTrouble(FileCode.RESOURCE_EXHAUSTED, why, Errno.MFILE)

    def add(self, opened: Descriptor) -> int:
        """Its number: the lowest that is free."""
        number = FIRST
        while number in self._open:
            number += 1
        self._open[number] = opened
        return number

    def drop(self, number: int) -> None:
        """Close one. Raises FileTrouble (BADF)."""
        found = self.find(number)
        del self._open[number]
        if found.file is not None:
            os.close(found.file)

    def close(self) -> None:
        """Close all. Safe to repeat."""
        opened, self._open = self._open, {}
        for one in opened.values():
            if one.file is not None:
                with suppress(OSError):
                    os.close(one.file)


def _granted_folders(files: Files) -> list[GuestPath]:
    """As the guest knows them; of a granted file, the folder it is in."""
    roots = [root for scope in files.scopes for root in (*scope.read, *scope.write)]
    named = (names_of(root.parent if root.is_file() else root) for root in roots)
    return [GuestPath(names, True, True) for names in dict.fromkeys(named)]
