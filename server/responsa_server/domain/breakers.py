"""Circuit breakers: whether to call something that has failed before. Each process has its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from responsa_server.domain.parts import Health, PartReport

OPEN_SECONDS: Final = 30.0
"""How long a circuit stays open. Afterwards one call may try."""
PROBE_SECONDS: Final = 30.0
"""The maximum time for which other calls wait for the outcome of a probe."""
_MOST: Final = 10_000
"""The number of circuits that a process remembers. Beyond it, the oldest is forgotten, which costs at most a failed call."""


class Probe(Enum):
    """What a call that is admitted means for its circuit. CALL: the circuit is closed. PROBE: its outcome closes or opens the circuit."""

    CALL = auto()
    PROBE = auto()


@dataclass(frozen=True, slots=True)
class CircuitOpen:
    """A call that must not be made. cause: the failure that opened the circuit. seconds: how long no call is made; a
    probe may end earlier."""

    cause: str
    seconds: float = field(default=0.0, compare=False)


@dataclass(slots=True)
class _OpenCircuit:
    """cause: why. until: when a probe may begin. probe_until: the latest end of the probe that runs; 0 if none runs."""

    cause: str
    until: float
    probe_until: float = 0.0


class Breakers:
    """The circuits of a process, by name; any part may add its own names, with a prefix. A circuit is closed until
    `failed` or `open` opens it. After OPEN_SECONDS it lets one call at a time try.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._opened: dict[str, _OpenCircuit] = {}
        self._failures: dict[str, list[str]] = {}

    def admit(self, name: str) -> Probe | CircuitOpen:
        """Whether to make a call. After a PROBE, `record_success`, `record_failure`, `open` or `end_probe` must follow."""
        opened, now = self._opened.get(name), self._clock()
        if opened is None:
            return Probe.CALL
        if now < max(opened.until, opened.probe_until):
            return CircuitOpen(opened.cause, max(opened.until, opened.probe_until) - now)
        opened.probe_until = now + PROBE_SECONDS
        return Probe.PROBE

    def cause(self, name: str) -> str:
        """The failure that opened the circuit; "" if a call would be admitted. Begins no probe."""
        opened = self._opened.get(name)
        if opened is None or self._clock() >= max(opened.until, opened.probe_until):
            return ""
        return opened.cause

    def record_failure(self, name: str, cause: str, limit: int, caller: str = "") -> None:
        """A call has failed. The circuit opens after `limit` failures in a row, and at once if it was open before.
        caller: who made the call; failures of one caller then count as one, also those of probes. "" to count each.
        """
        failures = self._failures.setdefault(name, [])
        if not (caller and caller in failures):
            failures.append(caller)
        if len(failures) >= limit or (not caller and name in self._opened):
            self.open(name, cause)
        _limit_size(self._failures)

    def open(self, name: str, cause: str) -> None:
        """Open a circuit at once, because the next call would fail in the same way."""
        self._failures.pop(name, None)
        self._opened[name] = _OpenCircuit(cause, self._clock() + OPEN_SECONDS)
        _limit_size(self._opened)

    def record_success(self, name: str) -> None:
        """A call has succeeded: close the circuit."""
        self._failures.pop(name, None)
        self._opened.pop(name, None)

    def end_probe(self, name: str) -> None:
        """A probe has ended. If it had no outcome, another call may try."""
        if (opened := self._opened.get(name)) is not None:
            opened.probe_until = 0.0

    def list_open(self, kind: str) -> Sequence[str]:
        """The names of the open circuits that begin with `kind`, in order."""
        return sorted(name for name in self._opened if name.startswith(kind))


def _limit_size(circuits: dict[str, Any]) -> None:
    if len(circuits) > _MOST:
        del circuits[next(iter(circuits))]


class CircuitsPart:
    """The health of what the circuits of some kinds protect: degraded while one of them is open. Implements `ReportedPart`."""

    def __init__(self, name: str, breakers: Breakers, kinds: Mapping[str, Callable[[str], str]]) -> None:
        """kinds: by the beginning of a circuit's name, how a sentence names the rest; "" leaves the circuit out."""
        self.name = name
        self._breakers = breakers
        self._kinds = kinds

    async def check(self) -> PartReport:
        """Name what has failed."""
        names = [
            named(circuit.removeprefix(kind))
            for kind, named in self._kinds.items()
            for circuit in self._breakers.list_open(kind)
        ]
        detail = " ".join(f"{name} has failed." for name in dict.fromkeys(names) if name)
        return PartReport(Health.DEGRADED, detail=detail) if detail else PartReport(Health.OK)
