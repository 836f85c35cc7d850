"""Stored procedures: functions of the registry's transformers, called with arguments.

A call is made under the registry entry's hash, limits, configuration and grants; what a caller names can only narrow the grants. Uses
are counted by transformer, whatever function and profile it was called by.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from types import TracebackType

from pipeline.sql.errors import error_of
from pipeline.sql.grants import EVERYTHING, capabilities_of, narrowed
from pipeline.workers import Workers
from sandbox import Sandbox
from sandbox.host import Gate, Uses
from sandbox.procedure import Call, Procedure
from schemas import abi
from schemas.capabilities import Capability
from schemas.errors import ConfigError, Fault
from schemas.specs import Registry, TransformerSpec

PART = 64
"""Calls of a batch that one thread makes one after the other."""
NAMES_SHOWN = 20
PROCEDURES_MAX = 1_000
"""Functions that are kept ready. More are a caller that makes names up."""

_Key = tuple[str, str, frozenset[Capability]]


class ProcedureExecutor:
    """Calls procedures, from a thread (`call`) or from an event loop (`execute_stored_procedure`, `execute_batch`).

    `sandbox` is one to share, which stays open; without it there is one of its own, for `workers` threads.
    `audit` hears of every call, in the thread that made it. Safe from any thread.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        sandbox: Sandbox | None = None,
        workers: int | None = None,
        audit: Callable[[Call], None] | None = None,
    ) -> None:
        self._registry = registry
        self._workers = Workers(workers)
        self._own = sandbox is None
        self._sandbox = sandbox or Sandbox(workers=self._workers.count)
        self._audit = audit
        self._gates: dict[str, Gate] = {}
        self._procedures: dict[_Key, Procedure] = {}
        self._lock = threading.Lock()

    async def execute_stored_procedure(
        self, module: str, function: str, arguments: Sequence[object] = (), *, profile: str | None = None
    ) -> object:
        """The value of `function` of the registry's transformer `module`, called in a worker thread.

        `profile` is a capability profile, and leaves of the registry's grants what both have. Raises SandboxError (each with its `kind`
        and `violation`; `Rejected` when the procedure refuses), ModuleFault for a function that the module has not or may not run,
        ConfigError for a transformer or profile that does not exist, TypeError or ValueError for arguments that no guest can take.
        """
        return self.value_of((await self._off_the_loop(module, function, [arguments], profile))[0])

    async def execute_batch(
        self,
        module: str,
        function: str,
        batch: Sequence[Sequence[object]],
        *,
        profile: str | None = None,
        left: Collection[Capability] = EVERYTHING,
    ) -> list[Call]:
        """One call for each list of arguments, in worker threads, each with a guest of its own; what they came to, in order.

        A violation is in its place, not raised. Raises what else `execute_stored_procedure` does.
        """
        parts = [batch[at : at + PART] for at in range(0, len(batch), PART)]
        try:
            async with asyncio.TaskGroup() as group:
                made = [group.create_task(self._off_the_loop(module, function, part, profile, left)) for part in parts]
        except ExceptionGroup as failed:  # all failed for one reason: the first is as good as any
            raise failed.exceptions[0] from None
        return [call for part in made for call in part.result()]

    def call(
        self,
        module: str,
        function: str | None,
        arguments: Sequence[object] = (),
        *,
        profile: str | None = None,
        left: Collection[Capability] = EVERYTHING,
    ) -> Call:
        """One call in this thread: what it came to, a violation too. `function` is the registry's `function:` when None.

        `left` narrows the grants like a profile. Raises as `execute_stored_procedure`, but for SandboxError.
        """
        spec = self._spec(module)
        call = self._procedure(spec, _function(spec, function), capabilities_of(profile) & frozenset(left)).call(
            arguments
        )
        if self._audit is not None:
            self._audit(call)
        return call

    def value_of(self, call: Call) -> object:
        """The call's value. Raises SandboxError when it has none."""
        if call.violation is not None:
            raise error_of(call, self._spec(call.transformer).limits.deadline_ms)
        return call.value

    def prepare(
        self,
        module: str,
        function: str | None,
        *,
        profile: str | None = None,
        left: Collection[Capability] = EVERYTHING,
    ) -> tuple[TransformerSpec, str]:
        """Load it, and call nothing: the entry and the function that `call` would take. Raises as `call` would."""
        spec = self._spec(module)
        name = _function(spec, function)
        self._procedure(spec, name, capabilities_of(profile) & frozenset(left))
        return spec, name

    def uses(self) -> Mapping[str, Uses]:
        """What each transformer did through the host so far, and what it was denied."""
        with self._lock:
            return {name: gate.totals() for name, gate in self._gates.items()}

    def close(self) -> None:
        """Start no more calls, and close the sandbox if it is the executor's own. Calls that run end by their deadline."""
        self._workers.close()
        with self._lock:
            for one in self._procedures.values():
                one.close()
            self._procedures.clear()
        if self._own:
            self._sandbox.close()

    def __enter__(self) -> ProcedureExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _off_the_loop(
        self,
        module: str,
        function: str,
        batch: Sequence[Sequence[object]],
        profile: str | None,
        left: Collection[Capability] = EVERYTHING,
    ) -> list[Call]:
        def calls() -> list[Call]:
            return [self.call(module, function, arguments, profile=profile, left=left) for arguments in batch]

        return await self._workers.run(module, calls)

    def _spec(self, module: str) -> TransformerSpec:
        spec = self._registry.transformers.get(module)
        if spec is None:
            known = sorted(self._registry.transformers)
            guess = "".join(f"did you mean '{one}'? " for one in get_close_matches(module[:100], known, n=1))
            names = ", ".join(known[:NAMES_SHOWN]) or "none"
            problem = f"the registry has no transformer {module[:100]!r}"
            raise ConfigError(Fault(problem, f"{guess}(it has: {names})", path="transformers"))
        return spec

    def _procedure(self, spec: TransformerSpec, function: str, left: frozenset[Capability]) -> Procedure:
        key = (spec.name, function, left)
        found = self._procedures.get(key)
        if found is not None:
            return found
        with self._lock:
            if key not in self._procedures:
                self._procedures[key] = self._load(spec, function, left)
                while len(self._procedures) > PROCEDURES_MAX:
                    self._procedures.pop(next(iter(self._procedures))).close()
            return self._procedures[key]

    def _load(self, spec: TransformerSpec, function: str, left: frozenset[Capability]) -> Procedure:
        """Loaded with the narrowed grants, so that what needs more is refused; run through the gate that all its procedures share."""
        whole = replace(spec, function=function)
        if spec.name not in self._gates:
            self._gates[spec.name] = self._sandbox.load(whole).gate
        loaded = self._sandbox.load(replace(whole, capabilities=narrowed(spec.grants, left)))
        return loaded.procedure(self._gates[spec.name].narrowed(left))


def _function(spec: TransformerSpec, function: str | None) -> str:
    """Raises ConfigError when neither the caller nor the registry names one."""
    name = spec.function if function is None else function
    if name == abi.TRANSFORM:
        remedy = f"name a function, or set transformers.{spec.name}.function"
        problem = f"`{abi.TRANSFORM}` takes batches and is no procedure"
        raise ConfigError(Fault(problem, remedy, path=f"transformers.{spec.name}.function"))
    return name
