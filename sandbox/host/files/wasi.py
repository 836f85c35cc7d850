"""WASI's descriptors with files behind them, for guests with a file grant. Below 3 everything is as without: streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox.host.files import wasi_descriptors as descriptors
from sandbox.host.files import wasi_paths as paths
from sandbox.host.files.wasi_call import Serve, served
from sandbox.host.imports import HostImport, HostState
from sandbox.host.wasi_errno import Errno
from sandbox.host.wasi_state import STDERR
from sandbox.memory import GuestMemory

SERVED: Mapping[str, Serve] = {
    "fd_advise": descriptors.accepted,
    "fd_allocate": descriptors.unsupported,
    "fd_close": descriptors.fd_close,
    "fd_datasync": descriptors.unsupported,
    "fd_fdstat_get": descriptors.fd_fdstat_get,
    "fd_fdstat_set_flags": descriptors.fd_fdstat_set_flags,
    "fd_fdstat_set_rights": descriptors.unsupported,
    "fd_filestat_get": descriptors.fd_filestat_get,
    "fd_filestat_set_size": descriptors.fd_filestat_set_size,
    "fd_filestat_set_times": descriptors.unsupported,
    "fd_pread": descriptors.fd_pread,
    "fd_prestat_dir_name": descriptors.fd_prestat_dir_name,
    "fd_prestat_get": descriptors.fd_prestat_get,
    "fd_pwrite": descriptors.fd_pwrite,
    "fd_read": descriptors.fd_read,
    "fd_readdir": descriptors.fd_readdir,
    "fd_renumber": descriptors.unsupported,
    "fd_seek": descriptors.fd_seek,
    "fd_sync": descriptors.unsupported,
    "fd_tell": descriptors.fd_tell,
    "fd_write": descriptors.fd_write,
    "path_create_directory": paths.path_create_directory,
    "path_filestat_get": paths.path_filestat_get,
    "path_filestat_set_times": descriptors.unsupported,
    "path_link": paths.no_links,
    "path_open": paths.path_open,
    "path_readlink": descriptors.unsupported,
    "path_remove_directory": paths.path_remove_directory,
    "path_rename": descriptors.unsupported,
    "path_unlink_file": paths.path_unlink_file,
}
"""By name. `path_symlink` and sockets are as without files."""


def with_files(one: HostImport) -> HostImport:
    """The same function for a guest that was granted files."""
    serve = SERVED.get(one.name)
    if serve is None:
        return one
    return HostImport(one.name, one.parameters, one.result, _either(one, served(serve)), module=one.module)


def _either(stream: HostImport, file: Callable[..., int]) -> Callable[..., int | None]:
    """By the descriptor, which all of them take first."""

    def call(state: HostState, memory: GuestMemory | None, fd: int, *rest: int) -> int | None:
        if fd <= STDERR:
            return stream.serve(state, memory, (fd, *rest))
        return Errno.FAULT if memory is None else file(state, memory, fd, *rest)

    return call
