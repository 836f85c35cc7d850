"""Runs a script's commands against the sandbox: each module through `Sandbox.compile_module`, each call on an instance of its own.

A module's calls share one instance, as the specification has it, by way of the same seats that guests sit on; and each call that
must trap is made once more through `Sandbox.execute`, on a fresh one, which may end otherwise but never badly.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field

from wasmtime import FuncType, MemoryType, WasmtimeError, wat2wasm

from sandbox import Limits, Sandbox
from sandbox.calls import Exports, GuestTrap, LinkError, LinkPlan, Seat, StoreLimits
from sandbox.errors import CapabilityDenied, SandboxError
from sandbox.host import HostState, Services
from sandbox.traps import Readings, classify
from schemas.errors import ConfigError, ModuleFault
from schemas.outcome import ViolationKind
from tests.spec.script import Node, commands

LIMITS = Limits(memory_bytes=64 << 20, table_elements=100_000, stack_bytes=128 << 10, deadline_ms=20_000, tables=16)
FOREVER = 1 << 40
NUMBERS = {"i32": 32, "i64": 64, "f32": 32, "f64": 64}
OUT_OF_BOUNDS = "out of bounds memory"
EITHER = "out of bounds"
"""Some scripts do not say of what."""


CHANGING = ("module", "invoke", "assert_return", "assert_trap", "assert_exception", "register")


class Elsewhere(Exception):
    """A command that is about something a sandbox does not have: another module's exports, references, vectors."""


@dataclass
class Tally:
    """What came of a script's commands."""

    done: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Instance:
    """One module and its instance."""

    def __init__(self, sandbox: Sandbox, name: str, wasm: bytes) -> None:
        """Raises ModuleFault, CapabilityDenied, ConfigError; GuestTrap and LinkError from instantiation."""
        sandbox.compile_module(name, wasm, LIMITS)
        self.name, self._sandbox = name, sandbox
        compiled = sandbox._modules[name]
        exports = list(compiled.module.exports)
        self.functions = {one.name: one.type for one in exports if isinstance(one.type, FuncType)}
        self._order = list(self.functions)
        places = {one.name: at for at, one in enumerate(exports)}
        memory = next((at for at, one in enumerate(exports) if isinstance(one.type, MemoryType)), -1)
        self._host = HostState(Services(), 0)
        self.seat: Seat = sandbox._calls.link(
            LinkPlan(
                engine=compiled.engine,
                module=compiled.module,
                imports=compiled.imports,
                exports=Exports(memory, tuple(places[one] for one in self._order)),
                limits=StoreLimits.of(LIMITS, compiled.memories),
                runs_at_start=compiled.runs_at_start,
                metered=False,
            )
        ).seat()
        self.seat.open(self._host, FOREVER)

    def call(self, function: str, words: list[int]) -> list[int]:
        """Raw words back. Raises GuestTrap."""
        results = len(self.functions[function].results)
        return list(self.seat.call_words(self._order.index(function), words, results))

    def kind(self, trap: GuestTrap) -> ViolationKind:
        """The violation that the trap is."""
        return classify(trap.facts, self._host, LIMITS, Readings(0, 0, LIMITS.memory_bytes)).kind


class Runner:
    """One script in one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._current: Instance | None = None
        self._named: dict[str, Instance | None] = {}
        self._count = 0
        self._doubtful = False
        """Something was left out that may have changed what instances hold; a new module begins anew."""
        self.tally = Tally()

    def run(self, text: str) -> Tally:
        """All commands; what is not as it must be stands in `wrong`, by line."""
        for command in commands(text):
            head = command.head
            act = getattr(self, f"_{head}", None)
            try:
                if act is None:
                    raise Elsewhere(head)
                self.tally.done[head] += bool(act(command))
            except Elsewhere as why:
                self.tally.left_out[f"{head}: {why}"] += 1
                self._doubtful |= head in CHANGING
            except AssertionError as wrong:
                if self._doubtful:
                    self.tally.left_out[f"{head}: depends on what was left out"] += 1
                    continue
                self.tally.wrong.append(f"line {command.line}: {head}: {wrong}: {command.source[:200]}")
        return self.tally

    def close(self) -> None:
        """Discard all instances."""
        for one in {id(one): one for one in (*self._named.values(), self._current) if one is not None}.values():
            one.seat.close()

    def _module(self, command: Node) -> bool:
        if self._current is not None and self._current not in self._named.values():
            self._current.seat.close()
        self._current = None
        self._doubtful &= bool(self._named)
        name = next((one for one in command.items[1:2] if isinstance(one, str) and one.startswith("$")), None)
        if name is not None:
            self._named[name] = None
        if any(one in ("definition", "instance") for one in command.items[1:2]):
            raise Elsewhere("modules apart from instances")
        try:
            self._current = self._instance(_binary(command))
        except CapabilityDenied:
            raise Elsewhere("imports what is not granted: refused") from None
        except (ModuleFault, ConfigError):
            raise Elsewhere("of a proposal that is off, or beyond the limits: refused") from None
        except LinkError:
            raise Elsewhere("beyond the limits") from None
        except WasmtimeError:
            raise Elsewhere("text of another syntax") from None
        if name is not None:
            self._named[name] = self._current
        return True

    def _instance(self, wasm: bytes) -> Instance:
        self._count += 1
        return Instance(self._sandbox, f"script-{self._count}", wasm)

    def _invoke(self, command: Node) -> bool:
        instance, function, words = self._called(command)
        instance.call(function, words)
        return True

    def _assert_return(self, command: Node) -> bool:
        instance, function, words = self._called(command.lists()[0])
        expected = [_word(one) for one in command.lists()[1:]]
        try:
            found = instance.call(function, words)
        except LinkError:
            raise Elsewhere("of more than 32 parameters or results") from None
        except GuestTrap as trap:
            raise AssertionError(f"trapped: {trap}") from None
        kinds = [str(one) for one in instance.functions[function].results]
        masked = [word & ((1 << NUMBERS[kind]) - 1) for word, kind in zip(found, kinds, strict=True)]
        assert masked == expected, f"returned {masked}, not {expected}"
        return True

    def _assert_trap(self, command: Node) -> bool:
        (message,) = command.texts()
        text, action = message.decode(), command.lists()[0]
        wanted = {ViolationKind.BOUNDS if text.startswith(OUT_OF_BOUNDS) else ViolationKind.TRAP}
        if text == EITHER:
            wanted = {ViolationKind.BOUNDS, ViolationKind.TRAP}
        if action.head == "module":
            return self._traps_at_start(action, wanted)
        return self._stops(action, wanted)

    def _assert_exhaustion(self, command: Node) -> bool:
        return self._stops(command.lists()[0], {ViolationKind.STACK})

    def _stops(self, action: Node, wanted: set[ViolationKind]) -> bool:
        instance, function, words = self._called(action)
        try:
            found = instance.call(function, words)
        except GuestTrap as trap:
            kind = instance.kind(trap)
            assert kind in wanted, f"is {kind}, not {sorted(wanted)}: {trap}"
        else:
            raise AssertionError(f"returned {found}")
        kinds = [str(one) for one in instance.functions[function].params]
        try:
            self._sandbox.execute(instance.name, function, [_number(*one) for one in zip(words, kinds, strict=True)])
        except SandboxError as error:
            assert error.kind in {*wanted, ViolationKind.TRAP, ViolationKind.BOUNDS}, error
        return True

    def _traps_at_start(self, module: Node, wanted: set[ViolationKind]) -> bool:
        try:
            wasm = _binary(module)
            self._sandbox.compile_module("trapping", wasm, LIMITS)
        except CapabilityDenied:
            raise Elsewhere("imports what is not granted: refused") from None
        except (ModuleFault, ConfigError, WasmtimeError):
            raise Elsewhere("of a proposal that is off: refused") from None
        try:
            instance = self._instance(wasm)
        except GuestTrap as trap:
            kind = classify(trap.facts, HostState(Services(), 0), LIMITS, Readings(0, 0, LIMITS.memory_bytes)).kind
            assert kind in wanted, f"is {kind}, not {sorted(wanted)}: {trap}"
        except LinkError:
            raise Elsewhere("beyond the limits") from None
        else:
            instance.seat.close()
            raise AssertionError("starts")
        return True

    def _assert_invalid(self, command: Node) -> bool:
        return self._refused(command)

    _assert_malformed = _assert_malformed_custom = _assert_invalid_custom = _assert_invalid

    def _assert_unlinkable(self, command: Node) -> bool:
        return self._refused(command)

    def _refused(self, command: Node) -> bool:
        """By the loader; text that cannot even be made a module never comes to it."""
        try:
            wasm = _binary(command.lists()[0])
        except WasmtimeError:
            raise Elsewhere("no text of a module: the assembler refuses it") from None
        except UnicodeDecodeError:
            raise Elsewhere("no text at all") from None
        try:
            self._sandbox.compile_module("refused", wasm, LIMITS)
        except (ModuleFault, CapabilityDenied):
            return True
        raise AssertionError("was taken")

    def _called(self, action: Node) -> tuple[Instance, str, list[int]]:
        if action.head != "invoke":
            raise Elsewhere(f"{action.head} is no call")
        name = next((one for one in action.items[1:2] if isinstance(one, str) and one.startswith("$")), None)
        instance = self._current if name is None else self._named.get(name)
        if instance is None:
            raise Elsewhere("of a module that was refused")
        function = action.texts()[0].decode()
        if function not in instance.functions:
            raise Elsewhere("of another module's function")
        kind = instance.functions[function]
        if not {str(one) for one in (*kind.params, *kind.results)} <= {*NUMBERS}:
            raise Elsewhere("with references or vectors")
        return instance, function, [_word(one) for one in action.lists()]


def _binary(module: Node) -> bytes:
    """Raises WasmtimeError for text that is none, UnicodeDecodeError."""
    words = [one for one in module.items[1:3] if isinstance(one, str)]
    if "binary" in words:
        return b"".join(module.texts())
    if "quote" in words:
        return bytes(wat2wasm(b" ".join(module.texts()).decode()))
    return bytes(wat2wasm(module.source))


def _word(constant: Node) -> int:
    """The raw bits of `(i32.const 7)`."""
    kind, _, what = constant.head.partition(".")
    if kind not in NUMBERS or what != "const":
        raise Elsewhere("with references or vectors")
    text = str(constant.items[1]).replace("_", "")
    if kind.startswith("i"):
        return int(text, 0) & ((1 << NUMBERS[kind]) - 1)
    if "nan" in text:
        raise Elsewhere("not a number: of several kinds")
    number = float.fromhex(text) if "0x" in text else float(text)
    try:
        return int.from_bytes(struct.pack("<f" if kind == "f32" else "<d", number), "little")
    except OverflowError:
        raise Elsewhere("a number that rounds to infinity") from None


def _number(word: int, kind: str) -> int | float:
    """The same as `Sandbox.execute` takes it."""
    if kind.startswith("i"):
        return word
    size = NUMBERS[kind] // 8
    number: float = struct.unpack("<f" if kind == "f32" else "<d", word.to_bytes(size, "little"))[0]
    return number
