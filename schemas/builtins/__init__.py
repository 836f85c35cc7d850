"""The transformers that come with penstock: what each is for, and the shape of its config.

A built-in is a module like any other (its source is in `transformers/builtins/`); what is said here is the one place where the keys
of its config, their ranges and their defaults stand. The registry is checked against it, the documentation is made of it, and the
module is handed the config complete, so that it needs no defaults of its own.
"""

from __future__ import annotations

from schemas.builtins.builtin import Builtin
from schemas.builtins.catalogue import NAMES, builtin

__all__ = ["NAMES", "Builtin", "builtin"]
