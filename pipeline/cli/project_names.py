"""What a shell offers where a language or a project is asked for. Never raises: a completion that fails is silence."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def complete_language(incomplete: str) -> list[str]:
    """The languages of this installation."""
    from pipeline.workshop.languages import available

    return [name for name in available() if name.startswith(incomplete)]


def complete_template(incomplete: str) -> list[str]:
    """The templates that some language has; which one was named before is not known here."""
    from pipeline.workshop.languages import available
    from pipeline.workshop.scaffold import templates
    from schemas.errors import ConfigError

    found: set[str] = set()
    for language in available():
        with suppress(ConfigError):  # no SDK for it in this installation
            found.update(templates(language))
    return sorted(name for name in found if name.startswith(incomplete))


def complete_project(incomplete: str) -> list[str]:
    """Projects that can be named from here."""
    from pipeline.workshop.project import nearby

    return [name for name in nearby(Path.cwd()) if name.startswith(incomplete)]
