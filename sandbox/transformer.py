"""A loaded transformer: checked, compiled, linked, started once. Makes sessions."""

from __future__ import annotations

from sandbox.host import Gate
from sandbox.procedure import Procedure
from sandbox.process.confinement import Posture
from sandbox.process.guest import ProcessPlan
from sandbox.rehearsal import Rehearsal
from sandbox.session import Session, SessionPlan
from schemas.event import Batch, TopicPartition
from schemas.formats.format import Format
from schemas.limits import Limits
from schemas.outcome import Report
from schemas.specs import InstancePolicy, TransformerSpec


class Transformer:
    """One module under one set of limits. May be used from any thread; its sessions from one thread at a time each."""

    def __init__(self, spec: TransformerSpec, sha256: str, plan: SessionPlan) -> None:
        self.spec = spec
        self.sha256 = sha256
        self._plan = plan

    @property
    def name(self) -> str:
        """As the registry calls it."""
        return self.spec.name

    @property
    def instance(self) -> InstancePolicy:
        """How long one guest lives: as declared, or as suits the module."""
        return self._plan.instance

    @property
    def encoding(self) -> str:
        """How values are handed over: as the registry says, else as the module does."""
        return self._plan.encoding

    @property
    def gate(self) -> Gate:
        """What it may do, and what all its sessions did."""
        return self._plan.guests.gate

    @property
    def posture(self) -> Posture | None:
        """What holds its processes; None when it has none of its own."""
        guests = self._plan.guests
        return guests.processes.posture if isinstance(guests, ProcessPlan) else None

    @property
    def limits(self) -> Limits:
        """What one event may cost."""
        return self.spec.limits

    def session(self, allowed_topics: frozenset[str] | None = None, format_: Format | None = None) -> Session:
        """A lane's own session. `allowed_topics` are those a guest may name; None allows any. `format_` is that of the values,
        where the guest sees change events; None is Debezium's JSON."""
        return Session(self._plan.for_route(allowed_topics, format_))

    def run(self, batch: Batch) -> Report:
        """One batch through a session of its own (see `Session.run`)."""
        session = self.session()
        try:
            return session.run(batch)
        finally:
            session.close()

    def rehearsal(self, source: TopicPartition) -> Rehearsal:
        """A guest to be crossed by hand, as if with events of this partition."""
        return Rehearsal(self._plan, source)

    def procedure(self, gate: Gate | None = None) -> Procedure:
        """Its function as one that takes arguments and returns a value (docs/sql.md). Raises ModuleFault for a component."""
        return Procedure(self._plan, self.spec.function, gate)
