"""How a WASI function for files is called: admitted, counted and answered with an errno, whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sandbox.errors import OutOfBounds
from sandbox.host.files.access import READ
from sandbox.host.files.problems import FileDenied, FileTrouble
from sandbox.host.files.requests import files_of
from sandbox.host.files.table import FileTable
from sandbox.host.gate import Denied
from sandbox.host.imports import HostState
from sandbox.host.requests import HostFailure, HostRequest
from sandbox.host.wasi_errno import Errno
from sandbox.memory import GuestMemory

_log = logging.getLogger("penstock.sandbox")


class WasiCall(HostRequest):
    """One call. It is counted when it asked for a capability; closing or seeking needs none."""

    def __init__(self, state: HostState, table: FileTable, memory: GuestMemory) -> None:
        super().__init__(state, READ, None)
        self.table, self.memory = table, memory

    @property
    def is_admitted(self) -> bool:
        """A use was counted."""
        return self._admitted is not None


def table_of(state: HostState) -> FileTable:
    """The guest's, made when it first asks."""
    found = state.shim.files
    if found is None:
        found = state.shim.files = FileTable(files_of(state.gate))
    assert isinstance(found, FileTable)
    return found


Serve = Callable[..., None]
"""`serve(call, *integers)`. Raises Denied, FileTrouble, HostFailure, OutOfBounds."""


def served(serve: Serve) -> Callable[..., int]:
    """The function behind an import."""

    def call(state: HostState, memory: GuestMemory, *arguments: int) -> int:
        began = state.gate.clock_ns()
        one = WasiCall(state, table_of(state), memory)
        errno, allowed = Errno.SUCCESS, True
        try:
            one.remaining_ms()
            serve(one, *arguments)
        except Denied as denied:
            errno, allowed = denied.errno if isinstance(denied, FileDenied) else Errno.NOTCAPABLE, False
            _log.debug("%s: %s denied: %s", state.gate.name, serve.__name__, denied.reason)
            state.deny(denied)
        except OutOfBounds as error:
            errno = Errno.FAULT
            state.refused(error)
        except FileTrouble as trouble:
            errno = trouble.errno
            _log.debug("%s: %s: %s", state.gate.name, serve.__name__, trouble)
        except HostFailure as failure:  # the deadline is the only one there is
            errno = Errno.TIMEDOUT
            _log.debug("%s: %s: %s", state.gate.name, serve.__name__, failure.message)
        if one.is_admitted or not allowed:
            state.count(one.capability, one.scope, one.bytes, state.gate.clock_ns() - began, allowed=allowed)
        return errno

    return call
