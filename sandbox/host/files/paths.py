"""Paths as guests write them, and which granted place one lies in: decided from the text alone, before anything is touched.

Threat: a path is any text. It is taken apart once, here; what comes out are names that no system call can read as anything but
one entry of one folder. Names are compared byte for byte: nothing is normalised, folded or decoded a second time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.host.files.problems import FileCode, FileDenied, shown
from sandbox.host.wasi_errno import Errno

PATH_BYTES_MAX = 4095
NAME_BYTES_MAX = 255
"""As Linux has them (PATH_MAX without its NUL, NAME_MAX)."""


@dataclass(frozen=True, slots=True)
class GuestPath:
    """A path's names, from the top for an absolute one."""

    names: tuple[str, ...]
    is_absolute: bool
    is_folder: bool
    """It ends with a slash: only a folder may answer to it."""

    @property
    def text(self) -> str:
        """For messages."""
        return ("/" if self.is_absolute else "") + "/".join(self.names) + ("/" if self.is_folder and self.names else "")

    def below(self, folder: Sequence[str]) -> GuestPath:
        """The same, taken from this folder."""
        return GuestPath((*folder, *self.names), True, self.is_folder)


def parse(text: str) -> GuestPath:
    """Raises FileDenied for what is no path, or goes up."""
    if not text:
        raise _invalid("an empty path", Errno.NOENT)
    if "\0" in text:
        raise _invalid(f"a NUL in {shown(text)}", Errno.INVAL)
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise _invalid("half a character in a path", Errno.ILSEQ) from None
    if len(raw) > PATH_BYTES_MAX:
        raise _invalid(f"a path of {len(raw)} bytes; {PATH_BYTES_MAX} is the most", Errno.NAMETOOLONG)
    names = tuple(name for name in text.split("/") if name not in ("", "."))
    if ".." in names:
        raise _invalid(f"{shown(text)} goes up with `..`", Errno.NOTCAPABLE)
    if any(len(name.encode()) > NAME_BYTES_MAX for name in names):
        raise _invalid(f"a name of more than {NAME_BYTES_MAX} bytes", Errno.NAMETOOLONG)
    return GuestPath(names, text.startswith("/"), text == "." or text.endswith(("/", "/.")))


def _invalid(why: str, errno: Errno) -> FileDenied:
    return FileDenied(FileCode.INVALID_PATH, why, "write an absolute path below a granted folder", errno)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: names beneath something granted."""

    root: Path
    """The granted folder or file."""
    names: tuple[str, ...]
    """None for the granted thing itself."""


def names_of(path: Path) -> tuple[str, ...]:
    """The names by which guests know an operator's path: as it is written, without `.` and `..`."""
    return tuple(name for name in os.path.normpath(path).split("/") if name)


def place_beneath(roots: Iterable[Path], names: tuple[str, ...]) -> Place | None:
    """In the first of these that has it."""
    for root in roots:
        above = names_of(root)
        if names[: len(above)] == above:
            return Place(root, names[len(above) :])
    return None


def is_denied(denied: Iterable[Path], names: tuple[str, ...]) -> bool:
    """One of these, or below one."""
    return place_beneath(denied, names) is not None
