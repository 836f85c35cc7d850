"""A guest that makes whatever host calls its events say, with whatever addresses they say: the attacker of this corpus.

An event's value is a script: what to look at afterwards, what to put into memory at ARENA first, and the calls. The answer, the
event's new value, is what each call returned and the bytes that were to be looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from sandbox.host import HostImport
from tests.sandbox.guests import FOLDER, wat

ARENA = 0x10_0000
"""Where a script's data lie; 1.5 MiB."""
OUT = 0x28_0000
"""Free for answers; 1.25 MiB."""
MEMORY_BYTES = 80 << 16
"""The guest's memory as it starts: it ends here."""
ANSWER_BYTES_MAX = 0x14_0000


@dataclass(frozen=True)
class Call:
    """One host call, by the import's name; integers as they are to be passed."""

    name: str
    arguments: tuple[int, ...]


def call(name: str, *arguments: int) -> Call:
    return Call(name, arguments)


@dataclass(frozen=True)
class Told:
    """What one event's calls came to."""

    returned: tuple[int, ...]
    """Signed."""
    seen: bytes


def script(
    imports: Sequence[HostImport], calls: Sequence[Call], data: bytes = b"", look: tuple[int, int] = (0, 0)
) -> bytes:
    """An event's value, for a puppet with these imports."""
    names = [one.name for one in imports]
    made = b"".join(_encoded(names.index(one.name), one) for one in calls)
    return struct.pack("<III", *look, len(data)) + data + bytes([len(calls)]) + made


def _encoded(index: int, one: Call) -> bytes:
    numbers = (number & 0xFFFF_FFFF_FFFF_FFFF for number in one.arguments)
    return bytes([index]) + struct.pack(f"<{len(one.arguments)}Q", *numbers)


def told(calls: Sequence[Call], value: bytes) -> Told:
    """An answer, taken apart."""
    size = 8 * len(calls)
    return Told(struct.unpack(f"<{len(calls)}q", value[:size]), value[size:])


@cache
def puppet(imports: tuple[HostImport, ...]) -> bytes:
    """The module, which imports exactly these."""
    frame = (FOLDER / "frame.wat").read_text()
    frame = frame.replace('(memory (export "memory") 2)', f'(memory (export "memory") {MEMORY_BYTES >> 16})')
    frame = frame.replace(
        "(global $heap (mut i32) (i32.const 65536))", f"(global $heap (mut i32) (i32.const {MEMORY_BYTES}))"
    )
    declared = "\n".join(_import(number, one) for number, one in enumerate(imports))
    wrapped = "\n".join(_wrapper(number, one) for number, one in enumerate(imports))
    table = " ".join(f"$f{number}" for number in range(len(imports)))
    return wat(f"""(module
  (type $host (func (result i64)))
  {declared}
  {frame}
  (table {len(imports)} {len(imports)} funcref) (elem (i32.const 0) {table})
  (global $pc (mut i32) (i32.const 0))
  (func $next (param $width i32) (result i32)
    (local $p i32)
    (local.set $p (global.get $pc))
    (global.set $pc (i32.add (global.get $pc) (local.get $width)))
    (local.get $p))
  (func $arg (result i64) (i64.load (call $next (i32.const 8))))
  {wrapped}
  (func (export "penstock_v1_alloc") (param i32) (result i32) (call $bump (local.get 0)))
  (func (export "penstock_v1_transform") (param $frame i32) (param i32) (result i64)
    (local $n i32) (local $calls i32) (local $look i32) (local $seen i32)
    (local.set $n (call $begin (local.get $frame)))
    (if (i32.eqz (call $bump (i32.const {ANSWER_BYTES_MAX}))) (then unreachable))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $n)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (call $event)
      (global.set $pc (global.get $value))
      (local.set $look (i32.load (call $next (i32.const 4))))
      (local.set $seen (i32.load (call $next (i32.const 4))))
      (local.set $calls (i32.load (call $next (i32.const 4))))
      (memory.copy (i32.const {ARENA}) (call $next (local.get $calls)) (local.get $calls))
      (local.set $calls (i32.load8_u (call $next (i32.const 1))))
      (call $put (i32.const 0x92)) (call $put (i32.const 1)) (call $put (i32.const 0xc6))
      (call $put_u32 (i32.add (i32.shl (local.get $calls) (i32.const 3)) (local.get $seen)))
      (block $called (loop $next_call
        (br_if $called (i32.eqz (local.get $calls)))
        (local.set $calls (i32.sub (local.get $calls) (i32.const 1)))
        (i64.store (global.get $out) (call_indirect (type $host) (i32.load8_u (call $next (i32.const 1)))))
        (global.set $out (i32.add (global.get $out) (i32.const 8)))
        (br $next_call)))
      (memory.copy (global.get $out) (local.get $look) (local.get $seen))
      (global.set $out (i32.add (global.get $out) (local.get $seen)))
      (br $more)))
    (call $finish)))""")


def _import(number: int, one: HostImport) -> str:
    parameters = f" (param {' '.join(one.parameters)})" if one.parameters else ""
    result = f" (result {one.result})" if one.result else ""
    return f'(import "{one.module}" "{one.name}" (func $i{number}{parameters}{result}))'


def _wrapper(number: int, one: HostImport) -> str:
    arguments = " ".join("(call $arg)" if kind == "i64" else "(i32.wrap_i64 (call $arg))" for kind in one.parameters)
    asked = f"(call $i{number} {arguments})"
    if one.result is None:
        asked += " (i64.const 0)"
    elif one.result == "i32":
        asked = f"(i64.extend_i32_s {asked})"
    return f"(func $f{number} (result i64) {asked})"
