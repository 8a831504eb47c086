"""The circuit breakers of tools: whether a call may be made after earlier calls have failed.

In each tenant, the tools of one declaration share a circuit, because they reach the same system. Each user of the
tenant also has a circuit for these tools. Wrong arguments and other mistakes of a call open neither of the two
circuits. A call that takes too long, or that breaks the other side, may do so because of its arguments, so it opens
only the circuit of its user. The circuit of the tenant opens after such calls of three users, and tenants have separate
circuits. A connection
that cannot be made has nothing to do with arguments: it opens the circuit of the tenant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import ceil
from typing import Final

from responsa_server.domain.breakers import Breakers, CircuitOpen, Probe
from responsa_server.domain.events import ToolFault, ToolOutcome
from responsa_server.domain.formatting import in_seconds
from responsa_server.domain.people import Principal
from responsa_server.domain.tools import ToolResult

KIND: Final = "tool:"
"""The beginning of the names of tenants' circuits. The tenant, "/" and the name of the declaration follow."""
KIND_OF_USERS: Final = "tool-of-user:"
"""The beginning of the names of users' circuits. They continue like the names of tenants' circuits, and end with "/" and the user's id."""
_SLOW_SECONDS: Final = 1.0
_MOST_STRIKES: Final = 2
_MOST_USERS: Final = 3
# The system has answered, or the failure says nothing about it.
_ANSWERED: Final = {ToolFault.STATUS, ToolFault.MALFORMED, ToolFault.TOO_LARGE, ToolFault.SCHEMA}
_WORDS: Final = {
    ToolFault.TIMEOUT: "did not answer in time",
    ToolFault.UNREACHABLE: "could not be reached",
    ToolFault.STATUS: "reported a failure",
}


class ToolCircuits:
    """The circuits of the tools that a user calls."""

    def __init__(
        self,
        breakers: Breakers,
        tenant: str = "",
        user: str = "",
        endpoint: Callable[[str], str] = lambda _: "",
    ) -> None:
        """user: the user's id. endpoint: see `Toolbox.endpoint`. A tool without an endpoint has no circuit."""
        self._breakers = breakers
        self._tenant = tenant
        self._user = user
        self._endpoint = endpoint

    def admit(self, tool: str) -> ToolCircuit | ToolResult:
        """Whether a call is made: its circuits, or the result of a call that is not made."""
        endpoint = self._endpoint(tool)
        if not endpoint:
            return ToolCircuit(self._breakers, None)
        name = f"{self._tenant}/{endpoint}"
        circuit = ToolCircuit(self._breakers, _Circuits(KIND + name, f"{KIND_OF_USERS}{name}/{self._user}"))
        refused = circuit.admit()
        if refused is None:
            return circuit
        again = ceil(refused.seconds)
        why = _WORDS.get(ToolFault(refused.cause), "failed")
        content = (
            f"The tool {why} a moment ago, so it was not called. It is tried again in {in_seconds(again)}."
        )
        return ToolResult(ToolOutcome.ERROR, content, error=ToolFault.UNREACHABLE)


def tool_of(circuit: str, caller: Principal | None, declared: Collection[str]) -> str:
    """How the status names a circuit for an administrator; "" for the circuit of another tenant, and of a tool that is no longer declared.

    An owner of the installation sees the circuits of all tenants, and so does None, a check of the health, which tells
    no names. circuit: its name after KIND. declared: the names of all declarations.
    """
    tenant, _, tool = circuit.partition("/")
    own = caller is not None and tenant == caller.tenant_id
    if tool not in declared or not (caller is None or own or caller.owner):
        return ""
    return f"The tool {tool}" if own else f"The tool {tool} in the tenant {tenant}"


def tool_of_user(circuit: str, caller: Principal | None, declared: Collection[str]) -> str:
    """Like `tool_of`, for the circuit of a user, who is not named. For a check of the health it is "", so that no user
    makes the server look ill."""
    name = caller and tool_of(circuit.rpartition("/")[0], caller, declared)
    return f"{name} (in the calls of one user)" if name else ""


@dataclass(frozen=True, slots=True)
class _Circuits:
    """The names of a call's circuits: that of the tenant and that of the user."""

    tenant: str
    user: str

    @property
    def both(self) -> tuple[str, str]:
        return self.user, self.tenant


class ToolCircuit:
    """The circuits of one call. Call `record` if the call has a result, and `end` in any case."""

    def __init__(self, breakers: Breakers, names: _Circuits | None) -> None:
        """names: None for a tool without a circuit."""
        self._breakers = breakers
        self._names = names
        # The circuits whose other calls wait for the outcome of this one.
        self._probed: list[str] = []

    def admit(self) -> CircuitOpen | None:
        """Ask both circuits. Returns why the call must not be made; None if it may be made."""
        for name in self._names.both if self._names else ():
            admission = self._breakers.admit(name)
            if isinstance(admission, CircuitOpen):
                self.end()
                return admission
            if admission is Probe.PROBE:
                self._probed.append(name)
        return None

    def record(self, result: ToolResult, took_seconds: float) -> None:
        """Record the outcome of the call. A failure that cost time opens a circuit at once; quick ones open it after two in a row."""
        if self._names is None:
            return
        fault = result.error
        if fault is None or (fault in _ANSWERED and not result.broken):
            for name in self._names.both:
                self._breakers.record_success(name)
        elif fault is ToolFault.TIMEOUT:
            self._record_failure(fault, 1)
        elif fault is ToolFault.UNREACHABLE:
            strikes = 1 if took_seconds >= _SLOW_SECONDS else _MOST_STRIKES
            self._breakers.record_failure(self._names.tenant, fault, strikes)
        elif result.broken:
            self._record_failure(fault, _MOST_STRIKES)
        else:
            return
        self.end()

    def end(self) -> None:
        """The call is over. If its outcome says nothing about the other system, another call may try."""
        for name in self._probed:
            self._breakers.end_probe(name)
        self._probed.clear()

    def _record_failure(self, fault: ToolFault, strikes: int) -> None:
        assert self._names is not None, "the outcome of a call is recorded only if its tool has circuits"
        self._breakers.record_failure(self._names.user, fault, strikes)
        self._breakers.record_failure(self._names.tenant, fault, _MOST_USERS, self._names.user)
