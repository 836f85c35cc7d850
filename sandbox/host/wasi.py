"""WASI preview 1 for languages whose runtime needs it: the whole interface, and behind it a stand-in instead of a system.

Every function of `wasi_snapshot_preview1` is here, so that a module links without any capability; what it gets of the world is what
it was granted under penstock's own names: `log`, `clock`, `random`. No function raises: a range outside of memory is `EFAULT`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from sandbox.errors import OutOfBounds, RangeTooLong
from sandbox.host import wasi_process as process
from sandbox.host import wasi_streams as streams
from sandbox.host import wasi_time as time
from sandbox.host.imports import HostImport, HostState
from sandbox.host.wasi_errno import Errno
from sandbox.memory import GuestMemory
from schemas.capabilities import FILESYSTEM, Capability

MODULE = "wasi_snapshot_preview1"

_Function = Callable[..., Errno | None]


def _guarded(function: _Function) -> Callable[..., int | None]:
    """The shim's functions get a memory, and may raise OutOfBounds, RangeTooLong."""

    def call(state: HostState, memory: GuestMemory | None, *arguments: int) -> int | None:
        if memory is None:
            return Errno.FAULT
        try:
            return function(state, memory, *arguments)
        except OutOfBounds as error:
            state.refused(error)
            return Errno.FAULT
        except RangeTooLong:
            return Errno.INVAL

    return call


_WIDE = {"i": "i32", "l": "i64"}


def _one(
    name: str, parameters: str, function: _Function, result: str | None = "i32", counts_as: Capability | None = None
) -> HostImport:
    kinds = tuple(_WIDE[one] for one in parameters)
    return HostImport(
        name, kinds, result, _guarded(function), module=MODULE, counts_as=counts_as, denied=Errno.NOTCAPABLE
    )


def _plain(name: str, parameters: str, function: _Function, result: str | None = "i32") -> HostImport:
    """For functions that look at no memory: a module may call them that has none."""
    return HostImport(name, tuple(_WIDE[one] for one in parameters), result, function, module=MODULE)


_ALWAYS = (
    _plain("args_get", "ii", process.args_get),
    _one("args_sizes_get", "ii", process.args_sizes_get),
    _one("environ_get", "ii", process.environ_get),
    _one("environ_sizes_get", "ii", process.environ_sizes_get),
    _plain("fd_advise", "illi", streams.no_position),
    _plain("fd_allocate", "ill", streams.no_size),
    _plain("fd_close", "i", streams.fd_close),
    _plain("fd_datasync", "i", streams.accept),
    _one("fd_fdstat_get", "ii", streams.fd_fdstat_get),
    _plain("fd_fdstat_set_flags", "ii", streams.accept),
    _plain("fd_fdstat_set_rights", "ill", streams.no_rights),
    _one("fd_filestat_get", "ii", streams.fd_filestat_get),
    _plain("fd_filestat_set_size", "il", streams.no_size),
    _plain("fd_filestat_set_times", "illi", streams.no_size),
    _plain("fd_pread", "iiili", streams.no_position),
    _plain("fd_prestat_get", "ii", streams.not_opened_beforehand),
    _plain("fd_prestat_dir_name", "iii", streams.not_opened_beforehand),
    _plain("fd_pwrite", "iiili", streams.no_position),
    _one("fd_read", "iiii", streams.fd_read),
    _plain("fd_readdir", "iiili", streams.no_directory),
    _plain("fd_renumber", "ii", streams.no_rights),
    _plain("fd_seek", "ilii", streams.no_position),
    _plain("fd_sync", "i", streams.accept),
    _plain("fd_tell", "ii", streams.no_position),
    _plain("path_create_directory", "iii", streams.no_directory),
    _plain("path_filestat_get", "iiiii", streams.no_directory),
    _plain("path_filestat_set_times", "iiiilli", streams.no_directory),
    _plain("path_link", "iiiiiii", streams.no_directory),
    _plain("path_open", "iiiiillii", streams.no_directory),
    _plain("path_readlink", "iiiiii", streams.no_directory),
    _plain("path_remove_directory", "iii", streams.no_directory),
    _plain("path_rename", "iiiiii", streams.no_directory),
    _plain("path_symlink", "iiiii", streams.no_directory_third),
    _plain("path_unlink_file", "iii", streams.no_directory),
    _plain("proc_exit", "i", process.proc_exit, result=None),
    _plain("proc_raise", "i", process.proc_raise),
    _plain("sched_yield", "", process.sched_yield),
    _plain("sock_accept", "iii", streams.no_socket),
    _plain("sock_recv", "iiiiii", streams.no_socket),
    _plain("sock_send", "iiiii", streams.no_socket),
    _plain("sock_shutdown", "ii", streams.no_socket),
)
_LOGGED = (_one("fd_write", "iiii", streams.fd_write, counts_as=Capability.LOG),)
_UNLOGGED = (_one("fd_write", "iiii", streams.fd_write_unlogged),)
_CLOCK = (
    _one("clock_res_get", "ii", time.clock_res_get, counts_as=Capability.CLOCK),
    _one("clock_time_get", "ili", time.clock_time_get, counts_as=Capability.CLOCK),
    _one("poll_oneoff", "iiii", time.poll_oneoff, counts_as=Capability.CLOCK),
)
_STAND_IN_CLOCK = (
    _one("clock_res_get", "ii", time.clock_res_get_stand_in),
    _one("clock_time_get", "ili", time.clock_time_get_stand_in),
    _one("poll_oneoff", "iiii", time.poll_oneoff_stand_in),
)
_RANDOM = (_one("random_get", "ii", process.random_get, counts_as=Capability.RANDOM),)
_ENVIRONMENT = (
    _one("environ_get", "ii", process.environ_get_granted),
    _one("environ_sizes_get", "ii", process.environ_sizes_get_granted),
)
_STAND_IN_RANDOM = (_one("random_get", "ii", process.random_get_stand_in),)


def wasi_imports(capabilities: Collection[str] = ()) -> dict[tuple[str, str], HostImport]:
    """All of WASI preview 1 as a guest with these capabilities gets it, by module and name."""
    chosen = (
        *_ALWAYS,
        *(_LOGGED if Capability.LOG in capabilities else _UNLOGGED),
        *(_CLOCK if Capability.CLOCK in capabilities else _STAND_IN_CLOCK),
        *(_RANDOM if Capability.RANDOM in capabilities else _STAND_IN_RANDOM),
        *(_ENVIRONMENT if Capability.ENVIRONMENT in capabilities else ()),
    )
    if not FILESYSTEM.isdisjoint(capabilities):
        from sandbox.host.files.wasi import with_files  # as it is needed: it needs this module's parts

        chosen = tuple(map(with_files, chosen))
    return {(one.module, one.name): one for one in chosen}
