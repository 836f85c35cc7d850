"""Transformers that are WebAssembly components instead of core modules, behind the same `Session.run`.

wasmtime's Python classes turn a `list<u8>` into Python one byte at a time, so everything crosses as `string`: `frames.py` says how.
A guest's memory cannot be seen from outside of a component: its size is reported as 0, which reads as "not known".
"""

from __future__ import annotations

from sandbox.components.guest import ComponentGuest, ComponentPlan
from sandbox.components.link import ComponentLink
from sandbox.components.shape import ComponentShape, inspect

__all__ = ["ComponentGuest", "ComponentLink", "ComponentPlan", "ComponentShape", "inspect"]
