"""JavaScript: the script and its modules, evaluated in a prebuilt QuickJS; the module is what memory was like then.

No compiler runs. The SDK's `runtime.wasm` is the engine; the script is evaluated in it, and the initialised heap becomes the new
module's data, so that instances begin with everything parsed. It is what Wizer does; the sandbox does it here, which is there on every
system, and takes no other tool. Imports that guest.toml does not declare are taken out before (`snapshots`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from pydantic import BaseModel, ConfigDict

from pipeline.workshop.errors import BuildError
from pipeline.workshop.project import Project
from pipeline.workshop.snapshots import select_imports, with_memory, without_export
from sandbox.sections import MalformedModuleError, limit_memory
from sandbox.snapshot import SnapshotError, snapshot
from schemas.capabilities import NEEDED_FOR

SOURCES_BYTES_MAX = 1 << 20


class Options(BaseModel):
    """`[build]` of a JavaScript guest."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    script: str = "src/main.js"
    """The module that exports the transformer; the `.js` files in and below its folder may be imported."""


class JavaScript:
    """See `Language`."""

    name = "javascript"
    sdk = "javascript/0.1.0"

    def missing(self) -> Sequence[str]:
        """Nothing: the engine is part of the SDK, and penstock itself evaluates the script in it."""
        return ()

    def build(self, project: Project, out: Path) -> None:
        """Evaluate the script and write the snapshot."""
        runtime = project.sdk / "runtime.wasm"
        imports = {name for name, capability in NEEDED_FOR.items() if capability in project.capabilities}
        try:
            selected = select_imports(runtime.read_bytes(), imports)
            wasm = with_memory(selected, snapshot(selected, "penstock_snapshot", _input(project)))
            out.write_bytes(limit_memory(without_export(wasm, "penstock_snapshot"), project.memory_bytes_max))
        except SnapshotError as error:
            raise BuildError(f"{project.name}: the script cannot be loaded", str(error)) from None
        except (OSError, MalformedModuleError) as error:
            raise BuildError(
                f"{runtime} is no runtime: {error}", "take the SDK's again: penstock new makes one"
            ) from None

    def sources(self, project: Project) -> Sequence[Path]:
        """The script's folder and the SDK."""
        return [(project.folder / project.options(Options).script).parent, project.sdk]


def _input(project: Project) -> bytes:
    """What the runtime evaluates: modules by the names they are imported by."""
    main = project.options(Options).script
    modules = {"penstock": _text(project.sdk / "penstock.js")} | _modules(project, main)
    if main not in modules:
        raise BuildError(f"{project.folder}: there is no file {main}", "name the right one in [build] script")
    if sum(map(len, modules.values())) > SOURCES_BYTES_MAX:
        raise BuildError(f"{project.folder}: the scripts have more than {SOURCES_BYTES_MAX >> 20} MiB")
    return msgspec.msgpack.encode({"main": main, "modules": modules, "capabilities": project.capabilities})


def _modules(project: Project, main: str) -> dict[str, str]:
    files = sorted((project.folder / main).parent.rglob("*.js"))
    return {path.relative_to(project.folder).as_posix(): _text(path) for path in files if path.is_file()}


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BuildError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BuildError(f"{path} is not UTF-8 text at byte {error.start}") from None


LANGUAGE = JavaScript()
