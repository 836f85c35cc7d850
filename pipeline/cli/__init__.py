"""The `penstock` command."""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""


def main() -> None:
    """Entry point of the command. Importing all of it takes a moment, in which Ctrl-C may come just as well."""
    try:
        from pipeline.cli.root import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


__all__ = ["main"]
