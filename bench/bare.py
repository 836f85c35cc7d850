"""A module without the sandbox around it: what `bench.checklist` compares with."""

from __future__ import annotations

from wasmtime import Config, Engine, Module

from sandbox.calls import ALLOC, CONFIGURE, TRANSFORM, Exports, LinkPlan, Seat, StoreLimits, choose
from sandbox.host import HostState, Services, granted_imports
from schemas import abi
from schemas.event import Batch, TopicPartition
from schemas.specs import TransformerSpec

U32 = 0xFFFFFFFF
NEVER = 1 << 40
"""Epochs until the deadline."""


class Bare:
    """A module on one instance of a plain engine: no deadline unless asked for, no fresh memory, and no answer is judged."""

    def __init__(self, spec: TransformerSpec, source: TopicPartition, *, deadline: bool = False) -> None:
        config = Config()
        config.epoch_interruption = deadline
        config.memory_init_cow = True
        engine, wasm = Engine(config), spec.module.read_bytes()
        module = Module(engine, wasm)
        at = {export.name: place for place, export in enumerate(module.exports)}
        names = (abi.ALLOC, spec.function, abi.CONFIGURE, abi.CURSOR, abi.INITIALIZE)
        plan = LinkPlan(
            engine=engine,
            module=module,
            imports=[granted_imports(())[one.module, one.name or ""] for one in module.imports],
            exports=Exports(memory=at[abi.MEMORY], functions=tuple(at.get(name, -1) for name in names)),
            limits=StoreLimits.of(spec.limits, 1),
            runs_at_start=False,
            metered=False,
        )
        self.seat: Seat = choose().link(plan).seat()
        self.seat.open(HostState(Services(), 0), NEVER)
        self._encoder = abi.BatchEncoder(source)
        if abi.CONFIGURE in at:
            self.seat.call(CONFIGURE, *self.place(abi.encode_config(dict(spec.config))))

    def run(self, batch: Batch) -> None:
        """The same frames in and out."""
        packed = self.seat.call(TRANSFORM, *self.place(self._encoder.head + self._encoder.body(batch.events)))
        abi.decode_results(self.seat.memory.read(packed >> 32 & U32, packed & U32), len(batch.events))

    def close(self) -> None:
        """Let go of the instance."""
        self.seat.close()

    def place(self, data: bytes) -> tuple[int, int]:
        """Copy `data` into a block of the guest's: address and length."""
        address = self.seat.call(ALLOC, len(data)) & U32
        self.seat.memory.write(address, data)
        return address, len(data)
