"""The circuit breakers of tools: whether a call may be made after earlier calls have failed.

In each tenant, the tools of one declaration share a circuit, because they reach the same system. Wrong arguments and other mistakes of a call do not open it. A call that takes
too long opens it, and may do so because of its arguments; so tenants have separate circuits, and none can stop the calls of another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import ceil, inf
from typing import Final

from responsa_server.domain.breakers import Breakers, Probe, Refused
from responsa_server.domain.events import ToolFault, ToolOutcome
from responsa_server.domain.people import Principal
from responsa_server.domain.tools import ToolResult

KIND: Final = "tool:"
"""The beginning of the circuits' names. The tenant, "/" and the name of the declaration follow."""
_SLOW_SECONDS: Final = 1.0
_MOST_STRIKES: Final = 2
# The system has answered, or the failure says nothing about it.
_ANSWERED: Final = {ToolFault.STATUS, ToolFault.MALFORMED, ToolFault.TOO_LARGE, ToolFault.SCHEMA}
_WORDS: Final = {
    ToolFault.TIMEOUT: "did not answer in time",
    ToolFault.UNREACHABLE: "could not be reached",
    ToolFault.STATUS: "reported a failure",
}


class ToolCircuits:
    """The circuits of the tools that a tenant calls."""

    def __init__(
        self, breakers: Breakers, tenant: str = "", endpoint: Callable[[str], str] = lambda _: ""
    ) -> None:
        """endpoint: see `Toolbox.endpoint`. A tool without one has no circuit."""
        self._breakers = breakers
        self._kind = f"{KIND}{tenant}/"
        self._endpoint = endpoint

    def admit(self, tool: str, seconds: float) -> ToolCircuit | ToolResult:
        """Whether a call that may take this many seconds is made: its circuit, or the result of a call that is not made."""
        endpoint = self._endpoint(tool)
        if not endpoint:
            return ToolCircuit(self._breakers, "", seconds, probes=False)
        name = self._kind + endpoint
        found = self._breakers.admit(name, seconds)
        if isinstance(found, Refused):
            again = ceil(found.seconds)
            why = _WORDS.get(ToolFault(found.cause), "failed")
            content = f"The tool {why} a moment ago, so it was not called. It is tried again in {again} second{'' if again == 1 else 's'}."
            return ToolResult(ToolOutcome.ERROR, content, error=ToolFault.UNREACHABLE)
        return ToolCircuit(self._breakers, name, seconds, probes=found is Probe.PROBE)


def tool_of(circuit: str, who: Principal, declared: Collection[str]) -> str:
    """How the status names a circuit for an administrator; "" for the circuit of another tenant, and of a tool that is no longer declared.

    An owner of the installation sees the circuits of all tenants. circuit: its name after KIND. declared: the names of all declarations.
    """
    tenant, _, tool = circuit.partition("/")
    own = tenant == who.tenant_id
    if tool not in declared or not (own or who.owner):
        return ""
    return f"The tool {tool}" if own else f"The tool {tool} in the tenant {tenant}"


class ToolCircuit:
    """The circuit of one call. Call `ended` if the call has a result, and `left` in any case."""

    def __init__(self, breakers: Breakers, name: str, seconds: float, *, probes: bool) -> None:
        """name: "" for a tool without a circuit. probes: whether other calls wait for the outcome of this one."""
        self._breakers = breakers
        self._name = name
        self._seconds = seconds
        self._probes = probes

    def ended(self, result: ToolResult, took_seconds: float) -> None:
        """Record the outcome of the call. A failure that cost time opens the circuit at once; quick ones open it after two in a row."""
        if not self._name:
            return
        fault = result.error
        if fault is None or (fault in _ANSWERED and not result.broken):
            self._breakers.succeeded(self._name)
        elif fault is ToolFault.TIMEOUT:
            # A call that was given more time may still succeed.
            self._breakers.failed(self._name, fault, 1, 2 * self._seconds)
        elif fault is ToolFault.UNREACHABLE:
            self._breakers.failed(
                self._name, fault, 1 if took_seconds >= _SLOW_SECONDS else _MOST_STRIKES, inf
            )
        elif result.broken:
            self._breakers.failed(self._name, fault, _MOST_STRIKES, inf)
        else:
            return
        self._probes = False

    def left(self) -> None:
        """The call is over. If its outcome says nothing about the other system, another call may try."""
        if self._probes:
            self._breakers.left(self._name)
            self._probes = False
