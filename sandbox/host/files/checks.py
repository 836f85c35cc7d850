"""What is looked at once something is open: that it is a plain file of one name, of no denied place, of no kernel file system.

Threat: an entry of a granted folder need not be a file of its own. A hard link is another name for a file that may belong anywhere; a fifo or a
device answers without end; /proc tells the host's secrets. The answer is taken from the descriptor, which nobody can exchange.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from sandbox.host.files.problems import FileCode, FileDenied, FileTrouble, shown
from sandbox.host.wasi_errno import Errno

Identity = tuple[int, int]
"""Device and inode."""
KERNEL_PLACES = ("/proc", "/sys", "/dev")
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def identity(info: os.stat_result) -> Identity:
    """What this is, whatever it is called."""
    return info.st_dev, info.st_ino


def identities(paths: Iterable[Path]) -> frozenset[Identity]:
    """Of those that are there now; of a link, the link's and what it leads to."""
    found = set()
    for path in paths:
        for follow in (True, False):
            try:
                found.add(identity(path.stat(follow_symlinks=follow)))
            except OSError:
                continue
    return frozenset(found)


def check_file(info: os.stat_result, path: str, denied: frozenset[Identity] = frozenset()) -> None:
    """Raises FileDenied, FileTrouble for what is no plain file that may be touched."""
    if stat.S_ISDIR(info.st_mode):
        raise FileTrouble(FileCode.IO_ERROR, f"{shown(path)} is a folder", Errno.ISDIR)
    if not stat.S_ISREG(info.st_mode):
        kind = _KINDS.get(stat.S_IFMT(info.st_mode), "no plain file")
        raise _refused(f"{shown(path)} is {kind}", "only plain files are served")
    if info.st_nlink > 1:
        raise _refused(f"{shown(path)} is a hard link: its file has {info.st_nlink} names", "give it a file of its own")
    if info.st_nlink == 0:
        raise FileTrouble(FileCode.IO_ERROR, f"{shown(path)} was deleted", Errno.NOENT)
    check_place(info, path, denied)


def check_place(info: os.stat_result, path: str, denied: frozenset[Identity] = frozenset()) -> None:
    """Raises FileDenied for a denied file or folder, and for the kernel's own file systems."""
    if identity(info) in denied:
        raise _refused(f"{shown(path)} is denied", "take it out of `deny`")
    if info.st_dev in kernel_devices():
        raise _refused(f"{shown(path)} lies in /proc, /sys or /dev", "files of the kernel are never served")


def _refused(why: str, remedy: str) -> FileDenied:
    return FileDenied(FileCode.PERMISSION_DENIED, why, remedy)


@cache
def kernel_devices() -> frozenset[int]:
    """The file systems of /proc, /sys and /dev, where they are ones of their own."""
    found = set()
    for place in KERNEL_PLACES:
        try:
            found.add(Path(place).stat().st_dev)
        except OSError:
            continue
    return frozenset(found - {Path("/").stat().st_dev})
