"""Compiles the .proto texts of a registry with Google's own compiler (`grpcio-tools`), in a process of its own.

Threat: the texts come from a registry that others write to. The compiler is C++; a text that crashes it or keeps it busy ends that
process, within a time and a memory of its own, and no names that it imports lead out of a folder made for it.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import Final

from schemas.formats.schemas import RegisteredSchema, UnreadableSchema

TIMEOUT_S: Final = 30.0
MEMORY_BYTES: Final = 1 << 30
SOURCE_BYTES_MAX: Final = 4 << 20
_OWN: Final = "penstock_registered_schema.proto"
_PROGRAM: Final = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES}, {MEMORY_BYTES}))
from grpc_tools import protoc
sys.exit(protoc.main(sys.argv))
"""
_PROTOS: Final = Path(__file__).with_name("protos")


def descriptor_set(schema: RegisteredSchema) -> bytes:
    """A schema with all that it imports, as a serialized FileDescriptorSet; its own file is the last. Raises UnreadableSchema."""
    if (ready := _serialized_file(schema)) is not None:
        return ready
    if len(schema.text) + sum(len(one.text) for one in schema.references) > SOURCE_BYTES_MAX:
        raise UnreadableSchema(f"it is larger than {SOURCE_BYTES_MAX >> 20} MiB")
    with tempfile.TemporaryDirectory(prefix="penstock-proto-") as folder:
        base = Path(folder, "in")
        base.mkdir()
        for reference in schema.references:
            _place(base, reference.name, reference.text)
        _place(base, _OWN, schema.text)
        target = Path(folder, "out")
        _compile(base, target)
        return target.read_bytes()


def _serialized_file(schema: RegisteredSchema) -> bytes | None:
    """Some clients register a file's serialized descriptor, in base64, in place of its text."""
    if "{" in schema.text or ";" in schema.text:
        return None
    from google.protobuf import descriptor_pb2
    from google.protobuf.message import DecodeError

    try:
        texts = [*(one.text for one in schema.references), schema.text]
        files = [descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(one, validate=True)) for one in texts]
        made: bytes = descriptor_pb2.FileDescriptorSet(file=files).SerializeToString()
        return made
    except (binascii.Error, ValueError, DecodeError):
        raise UnreadableSchema("it is neither a .proto file nor a serialized descriptor") from None


def _place(base: Path, name: str, text: str) -> None:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts or "\0" in name or not inside.name:
        raise UnreadableSchema(f"it refers to {name[:100]!r}, which is no name of a file beneath it")
    path = base / inside
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except (OSError, UnicodeError) as error:
        raise UnreadableSchema(f"it refers to {name[:100]!r}: {error}") from None


def _compile(base: Path, target: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, "--include_imports", f"--descriptor_set_out={target}"]
    command += [f"-I{one}" for one in (base, _PROTOS, *_shipped())]
    try:
        done = subprocess.run(  # noqa: S603 - a command of our own, as a list
            [*command, str(base / _OWN)], capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnreadableSchema(f"compiling it took longer than {TIMEOUT_S:.0f} s") from None
    if done.returncode != 0 or not target.exists():
        lines = done.stderr.decode(errors="replace").splitlines()
        said = next((line for line in lines if ".proto:" in line or (": " in line and "WARNING" not in line)), "")
        why = said.removeprefix(f"{_OWN}:")[:300] or f"the compiler ended with {done.returncode}"
        raise UnreadableSchema(f"it is no .proto file: {why}")


def _shipped() -> list[Path]:
    """Folders of the files that compilers bring along: google/protobuf, google/type."""
    folders = []
    for package, inner in (("grpc_tools", "_proto"), ("google.type", "../..")):
        found = importlib.util.find_spec(package)
        if found is not None and found.submodule_search_locations:
            folders.append(Path(next(iter(found.submodule_search_locations)), inner).resolve())
    return folders
