"""What all sections of a registry file have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """A mapping whose keys are known: others are refused."""

    # defer_build: only the whole file is ever validated, so its parts need no validators of their own (25 ms at every start)
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=False, defer_build=True
    )
