"""Files of the host beneath granted folders: `file_read`, `file_write`, and WASI's files. See `access` for the threat."""

from __future__ import annotations

from sandbox.host.files.access import Files
from sandbox.host.files.requests import IMPORTS, files_of

__all__ = ["IMPORTS", "Files", "files_of"]
