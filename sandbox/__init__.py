"""Runs untrusted WebAssembly transformers. Synchronous; knows no Kafka, no event loop, no metrics client."""

from __future__ import annotations

from sandbox.sandbox import Sandbox
from sandbox.session import Session
from sandbox.stats import SandboxStats
from sandbox.transformer import Transformer
from schemas.limits import Limits

__all__ = ["Limits", "Sandbox", "SandboxStats", "Session", "Transformer"]
