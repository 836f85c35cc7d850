"""Is this module a good guest? One suite for every guest of ABI v1, whatever it does with values."""

from pipeline.workshop.conformance.suite import CHECKS, Finding, Verdict, examine

__all__ = ["CHECKS", "Finding", "Verdict", "examine"]
