"""The `penstock` command."""

from pipeline.cli.root import main

__all__ = ["main"]
