"""Programs around the SDKs for C and Zig, compiled for this machine with everything checked, and a way to ask them questions."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import IO

from pipeline.workshop import toolchains

HERE = Path(__file__).parent
SDK = HERE.parents[1] / "transformers" / "sdk"
PLAIN = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-g"]


def compiled(source: str, out: Path) -> Path:
    """`tests/transformers/c/SOURCE`, with the address sanitizer where the system's compiler has it; zig traps on undefined behaviour only."""
    cc = shutil.which("gcc") or shutil.which("clang")
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = (
        [cc, *sanitizers] if cc else [str(toolchains.zig()), "cc", "-fsanitize=undefined", "-fsanitize-trap=undefined"]
    )
    command += [*PLAIN, f"-I{SDK / 'c'}", "-o", str(out), str(HERE / "c" / source)]
    subprocess.run(command, check=True, env=toolchains.zig_environment(), timeout=300)
    return out


def compiled_zig(source: str, out: Path) -> Path:
    """`tests/transformers/zig/SOURCE` in zig's debug mode, which traps on overflow and on whatever lies outside of a slice."""
    command = [str(toolchains.zig()), "build-exe", "-ODebug", "--dep", "penstock", f"-Mroot={HERE / 'zig' / source}"]
    command += [f"-Mpenstock={SDK / 'zig' / 'penstock.zig'}", f"-femit-bin={out}"]
    subprocess.run(command, check=True, env=toolchains.zig_environment(), cwd=out.parent, timeout=300)
    return out


class Driver:
    """A program that answers each question (a byte, a length, bytes) with a length and bytes."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, what: bytes, text: bytes) -> bytes:
        """The answer. Fails when the program ended: its sanitizer said why on stderr."""
        stdin, stdout = self._pipes()
        stdin.write(what + struct.pack("=I", len(text)) + text)
        stdin.flush()
        head = stdout.read(4)
        assert len(head) == 4, f"the program ended at {what!r} {text!r}"
        return stdout.read(*struct.unpack("=I", head))

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def close(self) -> int:
        """Ends it; its exit code, which a leak makes non-zero."""
        stdin, stdout = self._pipes()
        stdin.close()
        code = self._process.wait(timeout=60)
        stdout.close()
        return code
