"""Attacks with paths: on a real folder with a secret beside it. No path, link or race leads out of what is granted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.capabilities import FileScope
from tests.hostile.conftest import MakeWorld
from tests.hostile.rig import DENIED, INVALID, TOO_LARGE, UNAVAILABLE, Answer, Stopped, Tenant, grant

SECRET = b"nobody's business"


@dataclass
class Tree:
    """`granted/` with a file and a denied part, and `secret` beside it."""

    folder: Path

    def __post_init__(self) -> None:
        self.root = self.folder / "granted"
        (self.root / "denied").mkdir(parents=True)
        (self.root / "sub").mkdir()
        (self.root / "file").write_bytes(b"public")
        (self.root / "denied" / "file").write_bytes(SECRET)
        self.secret = self.folder / "secret"
        self.secret.write_bytes(SECRET)
        sibling = self.folder / "granted-not"
        sibling.mkdir()
        (sibling / "file").write_bytes(SECRET)

    @property
    def scope(self) -> FileScope:
        return FileScope(read=(self.root,), write=(self.root,), denied=(self.root / "denied",), file_bytes_max=1_000)

    def state(self) -> dict[str, bytes]:
        """All that is outside of what is granted, or denied in it."""
        kept = [path for path in self.folder.rglob("*") if not path.is_relative_to(self.root)]
        kept += (self.root / "denied").rglob("*")
        return {str(one): one.read_bytes() if one.is_file() and not one.is_symlink() else b"" for one in kept}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


FILES = ("filesystem-read", "filesystem-write", "filesystem-create", "filesystem-delete")


@pytest.fixture
def tenant(make_fast_world: MakeWorld, tree: Tree) -> Tenant:
    return make_fast_world().tenant("file_read", "file_write", grants=[grant(*FILES, scope=tree.scope)])


def refused(answer: Answer) -> None:
    assert answer.status in {DENIED, INVALID, UNAVAILABLE, TOO_LARGE}, answer
    assert SECRET not in repr(answer.value).encode()


PATHS = {
    "up and beside": "{root}/../secret",
    "up from below": "{root}/sub/../../secret",
    "up and down again": "{root}/../granted/../secret",
    "up by far": "{root}/" + "../" * 40 + "etc/passwd",
    "relative and up": "../secret",
    "relative to the process": "secret",
    "absolute": "/etc/passwd",
    "absolute, the secret itself": "{folder}/secret",
    "a sibling whose name begins alike": "{folder}/granted-not/file",
    "the granted name with something behind it": "{root}-not/file",
    "slashes doubled": "{root}//..//secret",
    "dots and slashes": "{root}/././../secret",
    "backslashes": "{root}\\..\\secret",
    "percent-encoded dots": "{root}/%2e%2e/secret",
    "percent-encoded slash": "{root}/..%2fsecret",
    "full-width dots": "{root}/．．/secret",
    "a two-dot leader": "{root}/‥/secret",
    "overlong by a NUL": "{root}/file\0/../../secret",
    "a NUL at the end": "{folder}/secret\0",
    "a tilde": "~/secret",
    "a variable": "$HOME/secret",
    "a file URL": "file://{folder}/secret",
    "the process's root": "/proc/self/root{folder}/secret",
    "the process's working folder": "/proc/self/cwd/secret",
    "the process's environment": "/proc/self/environ",
    "the process's memory": "/proc/self/mem",
    "an open descriptor": "/proc/self/fd/0",
    "an open descriptor by its other name": "/dev/fd/0",
    "a device": "/dev/zero",
    "kernel settings": "/sys/kernel/uevent_helper",
    "denied": "{root}/denied/file",
    "denied, with a dot": "{root}/./denied/file",
    "denied, with slashes doubled": "{root}//denied//file",
    "denied, up and down again": "{root}/sub/../denied/file",
    "empty": "",
    "only a dot": ".",
    "only dots": "..",
    "only a slash": "/",
    "a folder": "{root}/sub",
    "a file as a folder": "{root}/file/",
    "a file below a file": "{root}/file/x",
    "5,000 characters": "{root}/" + "x" * 5_000,
    "a name of 300 characters": "{root}/" + "x" * 300,
    "a thousand folders deep": "{root}/" + "a/" * 1_000 + "x",
    "a line feed in the name": "{root}/a\n../../secret",
}


@pytest.mark.parametrize("attack", PATHS)
@pytest.mark.parametrize("name", ["file_read", "file_write"])
def test_a_path_leads_nowhere_but_beneath_what_is_granted(tenant: Tenant, tree: Tree, attack: str, name: str) -> None:
    before = tree.state()
    path = PATHS[attack].replace("{root}", str(tree.root)).replace("{folder}", str(tree.folder))
    answer = tenant.ask(name, path if name == "file_read" else [path, b"owned"])
    if name == "file_read" or answer.status < 0:
        refused(answer)
    assert tree.state() == before
    assert tenant.ask("file_read", str(tree.root / "file")).value == b"public"


def plant(tree: Tree, attack: str) -> str:
    """What somebody else left in the granted folder, and the path by which it is reached."""
    at, root = tree.root / "planted", tree.root
    match attack:
        case "a link to the secret":
            at.symlink_to(tree.secret)
        case "a relative link to the secret":
            at.symlink_to("../secret")
        case "a link to a link":
            (root / "first").symlink_to(tree.secret)
            at.symlink_to(root / "first")
        case "a link to the folder above":
            at.symlink_to(tree.folder)
            return f"{at}/secret"
        case "a link within":
            at.symlink_to(root / "file")
        case "a link to the denied part":
            at.symlink_to(root / "denied")
            return f"{at}/file"
        case "a link to itself":
            at.symlink_to(at)
        case "a link to the process's root":
            at.symlink_to("/proc/self/root")
            return f"{at}{tree.secret}"
        case "a hard link to the secret":
            os.link(tree.secret, at)
        case "a hard link to what is denied":
            os.link(root / "denied" / "file", at)
        case "a pipe that nobody writes to":
            os.mkfifo(at)
        case "a file that is too large":
            at.write_bytes(b"x" * 1_001)
        case "a sparse file of a terabyte":
            with at.open("wb") as file:
                file.truncate(1 << 40)
    return str(at)


PLANTED = (
    "a link to the secret", "a relative link to the secret", "a link to a link", "a link to the folder above", "a link within",
    "a link to the denied part", "a link to itself", "a link to the process's root", "a hard link to the secret",
    "a hard link to what is denied", "a pipe that nobody writes to", "a file that is too large", "a sparse file of a terabyte",
)  # fmt: skip


@pytest.mark.parametrize("attack", PLANTED)
def test_reading_what_somebody_planted_is_refused(tenant: Tenant, tree: Tree, attack: str) -> None:
    refused(tenant.ask("file_read", plant(tree, attack)))


@pytest.mark.parametrize("attack", PLANTED[:10])
def test_writing_through_what_somebody_planted_leaves_the_secret_alone(tenant: Tenant, tree: Tree, attack: str) -> None:
    tenant.ask("file_write", [plant(tree, attack), b"owned"])
    assert tree.secret.read_bytes() == SECRET
    assert (tree.root / "denied" / "file").read_bytes() == SECRET
    assert (tree.root / "file").read_bytes() == b"public"


def test_a_file_that_is_a_byte_too_large_is_not_written(tenant: Tenant, tree: Tree) -> None:
    refused(tenant.ask("file_write", [str(tree.root / "new"), b"x" * 1_001]))
    assert not (tree.root / "new").exists()
    assert tenant.ask("file_write", [str(tree.root / "new"), b"x" * 1_000]).status > 0


@pytest.mark.parametrize(
    ("granted", "may_read", "may_change", "may_create"),
    [
        (("filesystem-read", "filesystem-write", "filesystem-create"), True, True, True),
        (("filesystem-read", "filesystem-write"), True, True, False),
        (("filesystem-write", "filesystem-create"), None, True, True),
        (("filesystem-read",), True, None, None),
    ],
)
def test_no_capability_of_files_stands_for_another(
    make_fast_world: MakeWorld, tree: Tree, granted: tuple[str, ...], may_read: bool, may_change: bool, may_create: bool
) -> None:
    names = [name for name, may in (("file_read", may_read), ("file_write", may_change)) if may is not None]
    tenant = make_fast_world().tenant(*names, grants=[grant(*granted, scope=tree.scope)])
    if may_read is not None:
        assert tenant.ask("file_read", str(tree.root / "file")).value == b"public"
    if may_change is not None:
        assert (tenant.ask("file_write", [str(tree.root / "file"), b"changed"]).status > 0) == may_change
        assert (tenant.ask("file_write", [str(tree.root / "new"), b"new"]).status > 0) == may_create
        assert (tree.root / "new").exists() == may_create


def test_a_folder_that_is_granted_for_reading_is_not_written(make_fast_world: MakeWorld, tree: Tree) -> None:
    scope = FileScope(read=(tree.root,), write=(tree.root / "sub",))
    tenant = make_fast_world().tenant("file_write", grants=[grant(*FILES, scope=scope)])
    refused(tenant.ask("file_write", [str(tree.root / "file"), b"owned"]))
    assert (tree.root / "file").read_bytes() == b"public"


def test_what_one_grant_denies_no_other_grants(make_fast_world: MakeWorld, tree: Tree) -> None:
    generous = FileScope(read=(tree.root / "denied",))
    tenant = make_fast_world().tenant(
        "file_read", grants=[grant(*FILES, scope=generous), grant(*FILES, scope=tree.scope)]
    )
    refused(tenant.ask("file_read", str(tree.root / "denied" / "file")))


def test_a_denied_path_is_a_violation_with_strict_and_counted(make_fast_world: MakeWorld, tree: Tree) -> None:
    tenant = make_fast_world().tenant("file_read", strict=True, grants=[grant(*FILES, scope=tree.scope)])
    with pytest.raises(Stopped) as caught:
        tenant.ask("file_read", str(tree.secret))
    assert caught.value.kind == "capability"
    assert tenant.used("filesystem-read") == (0, 1)


def test_denied_and_missing_look_the_same_outside(tenant: Tenant, tree: Tree) -> None:
    """No path outside tells whether there is something."""
    assert {tenant.ask("file_read", str(path)).status for path in (tree.secret, tree.folder / "nothing")} == {DENIED}
