"""A guest project: a folder with a `guest.toml`, the sources, `cases/`, and a `registry.yaml` that runs what was built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel

from pipeline.assets import sdk_folder
from pipeline.registry.document import Document
from pipeline.registry.shape import did_you_mean
from pipeline.workshop.guest_file import FILE_NAME, checked, read_guest_file
from schemas.errors import ConfigError, Fault

VENDORED = "penstock"
"""The folder of a project that holds the SDK's files."""
PROJECTS_MAX = 1_000

Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Project:
    """A guest project, checked."""

    folder: Path
    """Absolute."""
    name: str
    version: str
    language: str
    module: Path
    """The built file, absolute; it need not exist yet."""
    encoding: Literal["raw", "event"]
    capabilities: tuple[str, ...]
    memory_bytes_max: int
    """What the module declares as its memory's maximum; a multiple of 64 KiB."""
    wasm_opt: tuple[str, ...]
    """Options for wasm-opt; none leaves the module alone."""
    document: Document = field(repr=False)

    @property
    def registry(self) -> Path:
        """The project's own registry."""
        return self.folder / "registry.yaml"

    @property
    def cases(self) -> Path:
        """The folder of golden cases."""
        return self.folder / "cases"

    @property
    def sdk(self) -> Path:
        """The SDK that this project builds with: its own copy, else the one that came with penstock (the examples of the checkout)."""
        own = self.folder / VENDORED
        return own if own.is_dir() else sdk_folder(self.language)

    def options(self, shape: type[Options]) -> Options:
        """The table `[build]` as the language has it. Raises ConfigError with every fault."""
        return checked(self.document, shape, ("build",))

    def fault(self, key: str, problem: str, remedy: str = "") -> Fault:
        """A fault at this key of guest.toml."""
        return self.document.fault(tuple(key.split(".")), problem, remedy)


def read_project(folder: Path) -> Project:
    """The project in this folder. Raises ConfigError with every fault of its guest.toml."""
    folder = folder.resolve()
    file, document = read_guest_file(folder / FILE_NAME)
    _check_language(file.language, document)
    return Project(
        folder=folder,
        name=file.name,
        version=file.version,
        language=file.language,
        module=folder / file.module,
        encoding=file.encoding,
        capabilities=tuple(dict.fromkeys(file.capabilities)),
        memory_bytes_max=file.memory + -file.memory % (64 << 10),
        wasm_opt=tuple(file.wasm_opt.split()),
        document=document,
    )


def _check_language(language: str, document: Document) -> None:
    from pipeline.workshop.languages import available  # it imports this module

    if language not in available():
        raise ConfigError(
            document.fault(("language",), "{shown} is not a language", did_you_mean(language, available()))
        )


def find_projects(names: Sequence[str] = (), at: Path | None = None) -> list[Project]:
    """The projects that these names mean, seen from the folder `at` (the current one unless given).

    A name is that of a project, of its folder, or a path to the folder. Without names: the project that `at` lies in, else every
    project that lies directly in `at`. Raises ConfigError when there is none, and with every fault of every guest.toml.
    """
    at = (at or Path.cwd()).resolve()
    folders = [_named(name, at) for name in dict.fromkeys(names)] if names else _around(at)
    if not folders:
        raise ConfigError(
            Fault("there is no guest project here", "go to a folder with a guest.toml, or `penstock new LANGUAGE NAME`")
        )
    return _read_all(list(dict.fromkeys(folders)))


def _read_all(folders: Sequence[Path]) -> list[Project]:
    projects: list[Project] = []
    faults: list[Fault] = []
    for folder in folders:
        try:
            projects.append(read_project(folder))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*faults)
    return projects


def _around(at: Path) -> list[Path]:
    inside = _enclosing(at)
    return [inside] if inside else _below(at)


def _enclosing(at: Path) -> Path | None:
    return next((folder for folder in (at, *at.parents) if (folder / FILE_NAME).is_file()), None)


def _below(at: Path) -> list[Path]:
    """Folders directly in `at` that are projects, by name."""
    found = sorted(path.parent for path in at.glob(f"*/{FILE_NAME}") if path.is_file())
    return found[:PROJECTS_MAX]


def nearby(at: Path) -> list[str]:
    """The folders' names of the projects that can be named from the folder `at`."""
    return list(dict.fromkeys(folder.name for folder in _places(at.resolve())))


def _places(at: Path) -> list[Path]:
    inside = _enclosing(at)
    return _below(at) + ([inside, *_below(inside.parent)] if inside else [])


def _named(name: str, at: Path) -> Path:
    if _is_project(at / name):
        return (at / name).resolve()
    places = _places(at)
    for folder in places:
        if name in (folder.name, name_of(folder)):
            return folder
    raise ConfigError(
        Fault(
            f"there is no guest project '{name}'",
            did_you_mean(name, dict.fromkeys(folder.name for folder in places))
            or "make one: penstock new LANGUAGE NAME",
        )
    )


def _is_project(folder: Path) -> bool:
    try:
        return (folder / FILE_NAME).is_file()
    except (OSError, ValueError):  # a name no file can have
        return False


def name_of(folder: Path) -> str | None:
    """What the project in this folder calls itself; None when its guest.toml cannot be read."""
    try:
        return read_project(folder).name
    except ConfigError:
        return None
