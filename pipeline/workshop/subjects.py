"""What `test`, `dev` and `bench` work on: a transformer as its registry has it, and its golden cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline.registry import Located, load_located
from pipeline.registry.shape import did_you_mean
from pipeline.workshop.cases.model import CaseFile
from pipeline.workshop.cases.reading import TOPIC, find_case_files, read_case_files
from pipeline.workshop.errors import BuildError
from pipeline.workshop.languages import language
from pipeline.workshop.project import Project, find_projects
from pipeline.workshop.watching import snapshot
from sandbox import Sandbox, Transformer
from schemas.errors import ConfigError, Fault, ModuleFault
from schemas.specs import RouteSpec, TransformerSpec

_PLACES = ("cases/{}", "{}/cases", "*/{}/cases", "*/*/{}/cases")
"""Where the cases of a registry's transformer are looked for, from the registry's folder; the first of these that any folder fits."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One transformer and its cases."""

    spec: TransformerSpec
    route: RouteSpec | None
    """The first that uses it."""
    files: Sequence[CaseFile]
    registry: Path
    folder: Path
    """The project's, or the registry's."""
    located: Located = field(repr=False)
    project: Project | None = None

    @property
    def name(self) -> str:
        """The transformer's."""
        return self.spec.name

    @property
    def topics(self) -> frozenset[str] | None:
        """The topics that it may name; None is any."""
        return None if self.route is None else self.route.destinations

    @property
    def topic(self) -> str:
        """Of events that name none."""
        return self.route.sources[0] if self.route is not None and self.route.sources else TOPIC

    def load(self, sandbox: Sandbox, spec: TransformerSpec | None = None) -> Transformer:
        """The transformer. Raises ConfigError, at its place in the registry."""
        try:
            return sandbox.load(spec or self.spec)
        except ModuleFault as fault:
            place = ("transformers", self.name, self.spec.origin_key)
            raise ConfigError(self.located.fault(*place, problem=fault.problem, remedy=fault.remedy)) from fault
        except ConfigError as error:
            raise ConfigError(*(self.located.placed(fault) for fault in error.faults)) from error


def project_subjects(names: Sequence[str], cases: Path | None = None, *, needs_cases: bool = True) -> list[Subject]:
    """The projects of these names. Raises ConfigError with every fault of every one."""
    return _gathered([partial(of_project, project, cases, needs_cases=needs_cases) for project in find_projects(names)])


def of_project(
    project: Project, cases: Path | None = None, *, needs_cases: bool = True, module: Path | None = None
) -> Subject:
    """A project as its own registry has it; with another `module` in place of its own, and then without its pin.

    Raises ConfigError, also when it is not built, or has no cases but needs some.
    """
    if not (module or project.module).is_file():
        problem = f"{project.name} is not built yet"
        raise ConfigError(Fault(problem, f"penstock build {project.name}", str(project.folder)))
    entry = f"transformers.{project.name}"
    overrides = None if module is None else {f"{entry}.sha256": None, f"{entry}.module": str(module)}
    located = load_located(project.registry, overrides=overrides)
    found = _cases([cases or project.cases], project.name, needed=needs_cases)
    return _subject(located, project.name, project.registry, found, project)


def is_stale(subject: Subject) -> bool:
    """Whether a source of the project was changed after its module was built. False where that cannot be told."""
    project = subject.project
    if project is None:
        return False
    try:
        built_ns = project.module.stat().st_mtime_ns
        sources = snapshot(language(project.language).sources(project))
    except (OSError, BuildError, ConfigError):
        return False
    return any(changed_ns > built_ns for changed_ns, _, _ in sources.values())


def registry_subjects(
    registry: Path, names: Sequence[str], cases: Path | None = None, *, needs_cases: bool = True
) -> list[Subject]:
    """The transformers of these names in a registry; without names, all of them that have cases. Raises ConfigError."""
    located = load_located(registry)
    makers: list[Callable[[], Subject]] = []
    for name in names or located.registry.transformers:
        folders = [cases] if cases else _case_folders(registry.parent, name)
        if names or folders:
            folders = folders or [registry.parent / "cases" / name]
            makers.append(partial(_of_registry, located, name, registry, folders, needs_cases))
    return _gathered(makers)


def _gathered(makers: Sequence[Callable[[], Subject]]) -> list[Subject]:
    subjects: list[Subject] = []
    faults: list[Fault] = []
    for make in makers:
        try:
            subjects.append(make())
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*faults)
    if not subjects:
        remedy = "write cases/NAME/*.yaml beside the registry, or name a folder with --cases"
        raise ConfigError(Fault("no transformer of the registry has cases", remedy))
    return subjects


def _of_registry(located: Located, name: str, registry: Path, folders: Sequence[Path], needs_cases: bool) -> Subject:
    _check_known(located, name)
    return _subject(located, name, registry, _cases(folders, name, needed=needs_cases))


def _check_known(located: Located, name: str) -> None:
    known = located.registry.transformers
    if name not in known:
        problem = f"there is no transformer {name!r}"
        raise ConfigError(located.fault("transformers", problem=problem, remedy=did_you_mean(name, known)))


def _subject(
    located: Located, name: str, registry: Path, files: Sequence[CaseFile], project: Project | None = None
) -> Subject:
    _check_known(located, name)
    route = next((route for route in located.registry.routes.values() if name in route.through), None)
    folder = registry.parent if project is None else project.folder
    return Subject(located.registry.transformers[name], route, files, registry, folder, located, project)


def _case_folders(base: Path, name: str) -> list[Path]:
    for place in _PLACES:
        found = [folder for folder in sorted(base.glob(place.format(name))) if find_case_files(folder)]
        if found:
            return found
    return []


def _cases(folders: Sequence[Path], name: str, *, needed: bool) -> list[CaseFile]:
    paths = [short(path) for place in folders for path in ([place] if place.is_file() else find_case_files(place))]
    if not paths and needed:
        remedy = "write one: {name, event, expect}; the format is in docs/guests/testing.md"
        raise ConfigError(Fault(f"there is no case for {name}", remedy, str(short(folders[0]))))
    return read_case_files(paths)


def short(path: Path) -> Path:
    """The path relative to where the user is, when it lies there: for messages."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except (ValueError, OSError):
        return path
