"""`env_get(name)`: variables that an environment grant names; the same through WASI.

Threat: an environment holds the host's secrets. A name that is not granted is denied before anybody looks whether there is such a
variable, and a value goes to the guest that was granted it and nowhere else: into no message, count or log.
"""

from __future__ import annotations

from sandbox.host.gate import Denied
from sandbox.host.imports import HostImport, HostState, Services
from sandbox.host.requests import HostFailure, HostRequest, request_import
from schemas.abi import ERROR_INVALID, ERROR_UNAVAILABLE
from schemas.capabilities import Capability, EnvironmentScope, Grant


def env_get(request: HostRequest) -> str | None:
    """`name` -> its value, or nil when it is not set."""
    name = request.value
    if not isinstance(name, str):
        raise HostFailure(ERROR_INVALID, "env_get takes a name: str")
    request.admit(Capability.ENVIRONMENT, lambda grant: _lists(grant, name))
    request.scope = name
    value = variable(request.services, name)
    if value is not None and not _is_text(value):
        raise HostFailure(ERROR_UNAVAILABLE, f"the variable {name} is no UTF-8 text")
    return value


def variable(services: Services, name: str) -> str | None:
    """As the host lists it, else the process's own; None when it is not set."""
    listed = services.environment.get(name)
    return services.process_environment.get(name) if listed is None else listed


def granted_variables(state: HostState) -> dict[str, str]:
    """Those of all environment grants that have not ended; each grant that is asked counts a use, or a denied one."""
    found: dict[str, str] = {}
    for grant in state.gate.grants.of_capability(Capability.ENVIRONMENT):
        if isinstance(grant.scope, EnvironmentScope):
            found |= _of_grant(state, grant, grant.scope.names)
    return found


def _of_grant(state: HostState, grant: Grant, names: tuple[str, ...]) -> dict[str, str]:
    began = state.gate.clock_ns()
    allowed = True
    try:
        state.gate.admit(Capability.ENVIRONMENT, lambda one: one is grant)
    except Denied:  # a runtime asks for all variables as it starts: what is not granted any more is not there
        allowed = False
    told = {name: variable(state.services, name) for name in names if allowed}
    found = {name: value for name, value in told.items() if value is not None and _is_text(value)}
    moved = sum(len(name) + len(value.encode()) for name, value in found.items())
    state.count(Capability.ENVIRONMENT, "", moved, state.gate.clock_ns() - began, allowed=allowed)
    return found


def _lists(grant: Grant, name: str) -> bool:
    return isinstance(grant.scope, EnvironmentScope) and name in grant.scope.names


def _is_text(value: str) -> bool:
    """UTF-8, and without a NUL, which would end it early."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


IMPORTS: tuple[HostImport, ...] = (request_import("env_get", Capability.ENVIRONMENT, env_get),)
