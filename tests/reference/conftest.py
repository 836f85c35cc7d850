"""The sandbox of tests/sandbox: on both ways to reach wasmtime."""

from tests.sandbox.conftest import calls, sandbox

__all__ = ["calls", "sandbox"]
