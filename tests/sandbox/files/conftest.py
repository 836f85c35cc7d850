"""Every attack on files runs on both ways to open beneath a folder: the kernel's `openat2`, and the walk."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.host.files.beneath import Opener, by_kernel, by_walking, opener
from tests.sandbox.files.rig import Disk


@pytest.fixture(params=["kernel", "walk"])
def way(request: pytest.FixtureRequest) -> Opener:
    if request.param == "walk":
        return by_walking
    if opener() is not by_kernel:
        pytest.skip("this kernel has no openat2, or forbids it")
    return by_kernel


@pytest.fixture
def disk(tmp_path: Path, way: Opener) -> Disk:
    return Disk(tmp_path, way)
