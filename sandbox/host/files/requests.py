"""`file_read` and `file_write`: a whole file at once, by its path."""

from __future__ import annotations

from sandbox.host.files.access import READ, WRITE, Files
from sandbox.host.files.paths import GuestPath, parse
from sandbox.host.files.problems import FileTrouble
from sandbox.host.gate import Gate
from sandbox.host.requests import HostFailure, HostRequest, request_import
from sandbox.memory import CALL_BYTES_MAX
from schemas.abi import ERROR_INVALID
from schemas.capabilities import FILESYSTEM, Capability, FileScope

ANSWER_OVERHEAD_BYTES = 8
"""Of msgpack around a file's content."""


def files_of(gate: Gate) -> Files:
    """A transformer's files; a narrowed gate of the same transformer has its own."""
    granted = frozenset(one for one in FILESYSTEM if gate.scopes(Capability(one), FileScope))
    return gate.hold((Files, granted), lambda: Files(gate))


def file_read(request: HostRequest) -> bytes:
    """`path` -> its content, 1 MiB at most."""
    path = _path(request.value)
    try:
        content = files_of(request.gate).read(request, path, CALL_BYTES_MAX - ANSWER_OVERHEAD_BYTES)
    except FileTrouble as trouble:
        raise HostFailure(trouble.abi, str(trouble)) from None
    return content


def file_write(request: HostRequest) -> None:
    """`[path, content]`; a new file needs `filesystem-create`, too."""
    match request.value:
        case [path, bytes() as content]:
            pass
        case _:
            raise HostFailure(ERROR_INVALID, "file_write takes [path: str, content: bin]")
    try:
        files_of(request.gate).write(request, _path(path), content)
    except FileTrouble as trouble:
        raise HostFailure(trouble.abi, str(trouble)) from None


def _path(value: object) -> GuestPath:
    if not isinstance(value, str):
        raise HostFailure(ERROR_INVALID, "a path is a str")
    return parse(value)


IMPORTS = (request_import("file_read", READ, file_read), request_import("file_write", WRITE, file_write))
