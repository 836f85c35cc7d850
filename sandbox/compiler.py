"""wasm bytes -> compiled module, through memory and disk caches."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Protocol

from wasmtime import Module, WasmtimeError
from wasmtime.component import Component

from sandbox.engine import EngineKey, Engines
from sandbox.modules import ModuleBytes, compiler_version
from sandbox.stats import Counters
from sandbox.text import cut
from schemas.errors import ModuleFault

MESSAGE_CHARACTERS_MAX = 1024


class CodeStore(Protocol):
    """Where compiled code is kept beyond this process."""

    def get(self, name: str) -> bytes | None:
        """What was put under this name, or None."""
        ...

    def put(self, name: str, payload: bytes) -> int:
        """Keep this; how many others had to go."""
        ...


class Compiler:
    """Compiles each module once per engine; keeps the `entries_max` used last."""

    def __init__(self, engines: Engines, disk: CodeStore | None, counters: Counters, *, entries_max: int) -> None:
        self._engines = engines
        self._disk = disk
        self._counters = counters
        self._entries_max = entries_max
        self._modules: OrderedDict[tuple[str, EngineKey], Module | Component] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def cached_modules(self) -> int:
        """Compiled modules in memory."""
        with self._lock:
            return len(self._modules)

    def compile(self, source: ModuleBytes, key: EngineKey) -> Module | Component:
        """The compiled module or component, as the source is. Raises ModuleFault when it is not valid or this tier cannot compile it."""
        with self._lock:
            module = self._modules.get((source.sha256, key))
            if module is not None:
                self._modules.move_to_end((source.sha256, key))
        if module is not None:
            self._counters.add(cache_hits=1)
            return module
        module = self._from_disk(source, key) or self._anew(source, key)
        self._remember((source.sha256, key), module)
        return module

    def _from_disk(self, source: ModuleBytes, key: EngineKey) -> Module | Component | None:
        code = self._disk.get(_name(source, key)) if self._disk else None
        if code is None:
            return None
        try:
            module = _kind(source).deserialize(self._engines.get(key), code)
        except WasmtimeError:  # authentic, but for a CPU or a setting that the name does not tell
            return None
        self._counters.add(cache_hits=1)
        return module

    def _anew(self, source: ModuleBytes, key: EngineKey) -> Module | Component:
        self._counters.add(cache_misses=1)
        try:
            module = _kind(source)(self._engines.get(key), source.wasm)
        except WasmtimeError as error:
            raise _fault(source, key, cut(str(error).strip(), MESSAGE_CHARACTERS_MAX)) from None
        if self._disk is not None:
            self._counters.add(cache_evictions=self._disk.put(_name(source, key), bytes(module.serialize())))
        return module

    def _remember(self, place: tuple[str, EngineKey], module: Module | Component) -> None:
        if self._entries_max < 1:
            return
        with self._lock:
            self._modules[place] = module
            while len(self._modules) > self._entries_max:
                self._modules.popitem(last=False)


def _kind(source: ModuleBytes) -> type[Module] | type[Component]:
    return Component if source.is_component else Module


def _name(source: ModuleBytes, key: EngineKey) -> str:
    return f"{source.sha256} wasmtime={compiler_version()} {key.fingerprint}"


def _fault(source: ModuleBytes, key: EngineKey, message: str) -> ModuleFault:
    if "pooling allocator" in message:
        cause = message.splitlines()[-1].strip().lstrip("0123456789: ")
        return ModuleFault(source.name, f"needs more than its limits: {cause}", "raise its limits or fix the module")
    remedy = f"check `engine:` (tier {key.settings.tier}) and what the module was built with"
    return ModuleFault(source.name, f"cannot be compiled: {message}", remedy)
