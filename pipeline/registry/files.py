"""The files a registry names: modules, contracts and certificates. Looks at them, loads none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.contracts import read_contract
from pipeline.registry.document import Document, Steps
from schemas.contracts.reading import SchemaError
from schemas.errors import Fault
from schemas.specs import Registry, Security, TransformerSpec

MODULE_BYTES_MAX = 32 << 20
"""What the sandbox takes."""
PEM_BYTES_MAX = 4 << 20
_BARE = frozenset({"token_file", "client_secret_file"})
"""These hold a token or a secret, no PEM."""

_MAGIC = b"\0asm"
_CORE_VERSION = b"\1\0\0\0"
_COMPONENT_VERSION = b"\x0d\0\1\0"
_COMPONENT_LAYER = b"\1\0"


def file_faults(document: Document, registry: Registry) -> Iterator[Fault]:
    """Every module and certificate that is not there, not readable, or not what it should be."""
    for transformer in registry.transformers.values():
        yield from _module_faults(document, transformer)
    for route in registry.routes.values():
        for contract in route.contracts:
            try:
                read_contract(contract.schema, contract.base)
            except SchemaError as error:
                remedy = "name a schema file (.json, .avsc, .proto) or a Python type (package.module:Name)"
                problem = str(error) if contract.schema in str(error) else f"{contract.schema}: {error}"
                yield document.fault(("routes", route.name, "contract"), problem, remedy)
    yield from _pem_faults(document, registry.kafka.security)


def _module_faults(document: Document, transformer: TransformerSpec) -> Iterator[Fault]:
    steps: Steps = ("transformers", transformer.name, transformer.origin_key)
    problem, remedy = _unreadable(transformer.module, MODULE_BYTES_MAX)
    if problem:
        yield document.fault(steps, problem, remedy)
        return
    try:
        with transformer.module.open("rb") as stream:
            head = stream.read(8)
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest() if transformer.sha256 else None
    except OSError as error:
        yield document.fault(
            steps, f"{{shown}} cannot be read: {error.strerror or 'I/O error'}", "check the file's permissions"
        )
        return
    problem, remedy = _not_a_module(head)
    if problem:
        yield document.fault(steps, problem, remedy)
    if digest != transformer.sha256:
        yield document.fault(
            ("transformers", transformer.name, "sha256"),
            f"the module's sha256 is {digest}, not {{shown}}",
            "if you built it anew and trust it, write the new sha256; otherwise find out who changed the file",
        )


def _not_a_module(head: bytes) -> tuple[str, str]:
    if not head:
        return "{shown} is an empty file", "build the module"
    if head.lstrip().startswith((b"(module", b"(compon", b";;")):
        return "{shown} is WebAssembly text, not a module", "compile it, e.g. with wat2wasm"
    if head[:4] != _MAGIC:
        return "{shown} is not a WebAssembly module: it does not begin with \\0asm", "build the module for wasm32"
    if head[6:8] == _COMPONENT_LAYER and head[4:8] != _COMPONENT_VERSION:
        return "{shown} is a component of a version other than 13", "build it with a current toolchain"
    if head[4:8] not in (_CORE_VERSION, _COMPONENT_VERSION):
        return "{shown} has a WebAssembly version other than 1", "build it with a current toolchain"
    return "", ""


def _unreadable(path: Path, size_bytes_max: int) -> tuple[str, str]:
    """Problem and remedy, both empty when the file can be opened. Says the system's reason, never the resolved path."""
    try:
        if path.is_dir():
            return "{shown} is a directory", "name the file itself"
        if not path.exists():
            return "there is no file {shown}", "check the name; relative paths start at the registry's folder"
        if not path.is_file():
            return "{shown} is not a regular file", "name a regular file"
        if path.stat().st_size > size_bytes_max:
            return f"{{shown}} is larger than {size_bytes_max >> 20} MiB", "make it smaller: strip debug information"
        with path.open("rb"):
            return "", ""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        return f"{{shown}} cannot be read: {reason or 'I/O error'}", "check the file's name and permissions"


def _pem_faults(document: Document, security: Security) -> Iterator[Fault]:
    named = (
        ("ca", security.ca_file),
        ("cert", security.cert_file),
        ("key", security.key_file),
        ("token_ca", security.token_ca_file),
        ("token_file", security.token_file),
        ("client_secret_file", security.client_secret_file),
    )
    for key, path in named:
        if path is None:
            continue
        problem, remedy = _unreadable(path, PEM_BYTES_MAX)
        if not problem and key not in _BARE and b"-----BEGIN" not in _content(path):
            problem, remedy = (
                "{shown} is not a PEM file: it has no -----BEGIN line",
                "convert it, e.g. with openssl -outform PEM",
            )
        if problem:
            yield document.fault(("kafka", "security", key), problem, remedy)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
