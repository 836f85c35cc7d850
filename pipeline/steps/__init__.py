"""What the host itself does in a chain, in the manner of a transformer: one verdict per source event, through the whole chain."""

from pipeline.steps.formats import RouteFormats
from pipeline.steps.step import Step

__all__ = ["RouteFormats", "Step"]
