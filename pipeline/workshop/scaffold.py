"""Makes a new guest project: a language's template, and the SDK's files that go with it, so that it builds by itself from then on.

A template is the folder `template` of a language's SDK (`template-NAME` for `--template NAME`). `{{name}}` and `{{module}}` stand
in the names and contents of its files for the guest's name and for the same with underscores. The SDK's `vendor.txt` lists what
is copied along, one path a line, into the project's folder `penstock`; `path -> other/path` puts it elsewhere in the project.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.assets import sdk_folder
from pipeline.registry.document import quoted
from pipeline.registry.shape import did_you_mean
from pipeline.workshop.guest_file import NAME_PATTERN
from pipeline.workshop.languages import language
from pipeline.workshop.project import VENDORED, Project, read_project
from schemas.errors import ConfigError, Fault

TEMPLATE = "template"
VENDOR_LIST = "vendor.txt"
_LEFT_OUT = frozenset({"target", "node_modules", "__pycache__", ".zig-cache", "zig-out", ".DS_Store"})
"""What tools leave behind in a checkout."""

_RESERVED = """
abstract alloc alignas alignof as async auto await bool break builtin case catch chan char class const continue core crate
debugger def default defer del delete do double elif else enum error except export extends extern false final finally float fn
for from func function global go goto guest if impl implements import in inline instanceof int interface internal is lambda let
long loop main map match mod module move mut new nil none not null or package pass penstock private proc_macro protected pub
public raise range ref register restrict return select self short signed sizeof static std string struct super switch template
test this throw trait true try type typedef typeof union unsafe unsigned use usize var vendor void volatile where while with yield
"""
RESERVED = frozenset(_RESERVED.split())
"""Words of the languages, and names their tools keep for themselves: a package of such a name builds in one language and not in another."""


@dataclass(frozen=True, slots=True)
class Names:
    """The two forms of a guest's name."""

    name: str

    @property
    def module(self) -> str:
        """As an identifier."""
        return self.name.replace("-", "_")

    def put_into(self, text: str) -> str:
        """The text with its placeholders filled."""
        return text.replace("{{name}}", self.name).replace("{{module}}", self.module)


def templates(name: str) -> list[str]:
    """What `--template` may name for this language."""
    folders = sorted(path.name for path in sdk_folder(name).glob(f"{TEMPLATE}-*") if path.is_dir())
    return [folder.removeprefix(f"{TEMPLATE}-") for folder in folders]


def create(language_name: str, name: str, into: Path, template: str | None = None) -> Project:
    """A new project in the folder `into / name`. All of it, or nothing when it fails.

    Raises ConfigError for a language or template that does not exist, a name that will not do, and a folder that is in use.
    """
    language(language_name)
    check_name(name)
    source = _template(language_name, template)
    folder = into.resolve() / name
    _check_free(folder)
    try:
        into.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=into, prefix=f".{name}-"))
    except OSError as error:
        raise ConfigError(Fault(f"cannot be written: {error.strerror}", "name another --into", str(into))) from None
    try:
        _copy(source, part, Names(name))
        for origin, target in vendored(sdk_folder(language_name)):
            _copy(origin, part / target, None)
        part.chmod(0o755)
        read_project(part)
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return read_project(folder)


def check_name(name: str) -> None:
    """Raises ConfigError unless this can name a guest in every language."""
    if not re.fullmatch(NAME_PATTERN, name, re.ASCII) or name.endswith(("-", "_")) or "--" in name or "__" in name:
        problem = f"{quoted(name)} is not a name for a guest"
        remedy = "1 to 63 of: a-z, 0-9, single hyphens and underscores; it begins with a letter: mask-names"
        raise ConfigError(Fault(problem, remedy))
    if name.replace("-", "_") in RESERVED:
        raise ConfigError(
            Fault(f"'{name}' is a name that compilers keep for themselves", f"choose another: {name}-events")
        )


def _template(language_name: str, template: str | None) -> Path:
    folder = sdk_folder(language_name) / (TEMPLATE if template is None else f"{TEMPLATE}-{template}")
    known = templates(language_name)
    if template is not None and template not in known:
        remedy = did_you_mean(template, known) or "leave --template out: it has one template"
        raise ConfigError(Fault(f"{language_name} has no template {quoted(template)}", remedy))
    if not folder.is_dir():
        raise ConfigError(Fault("this installation lacks the template", "install penstock again", str(folder)))
    return folder


def _check_free(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConfigError(Fault("is in use: not a folder", "choose another name or --into", str(folder)))
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(Fault("is a folder that is not empty", "choose another name or --into", str(folder)))


def vendored(sdk: Path) -> list[tuple[Path, str]]:
    """What the SDK's `vendor.txt` lists: files or folders, and where in the project they go."""
    listed = sdk / VENDOR_LIST
    if not listed.is_file():
        return []
    lines = (line.partition("#")[0].strip() for line in listed.read_text(encoding="utf-8").splitlines())
    pairs = (line.partition("->") for line in lines if line)
    return [(sdk / path.strip(), target.strip() or f"{VENDORED}/{path.strip()}") for path, _, target in pairs]


def _copy(source: Path, target: Path, names: Names | None) -> None:
    """A file or a folder of files; with `names`, placeholders are filled in names and contents."""
    for file, relative in _files(source):
        shown = relative if names is None else names.put_into(relative)
        place = target / shown if shown else target
        place.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes()
        place.write_bytes(content if names is None else _filled(content, names))
        place.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)


def _files(source: Path) -> Iterator[tuple[Path, str]]:
    if source.is_file():
        yield source, ""
        return
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and not _LEFT_OUT.intersection(relative.parts):
            yield path, relative.as_posix()


def _filled(content: bytes, names: Names) -> bytes:
    try:
        return names.put_into(content.decode()).encode()
    except UnicodeDecodeError:  # no text: it has no placeholders
        return content
