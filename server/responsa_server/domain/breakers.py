"""Circuit breakers: whether to call something that has failed before. Each process has its own, and hints from other
processes open and close them too; a lost hint costs a failed call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any, Final

from responsa_server.domain.formatting import in_seconds
from responsa_server.domain.parts import Health, PartReport

OPEN_SECONDS: Final = 30.0
"""How long a circuit stays open. Afterwards one call may try."""
PROBE_SECONDS: Final = 30.0
"""The maximum time for which other calls wait for the outcome of a probe."""
_MOST: Final = 10_000
"""The number of circuits that a process remembers. Beyond it, the oldest is forgotten, which costs at most a failed call."""


class CircuitState(StrEnum):
    """What happened to a circuit. PROBED: one process tries a call; for 0 seconds, its call has ended without an outcome."""

    OPEN = "open"
    PROBED = "probed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Circuit:
    """A circuit breaker has another state. seconds: how long the state lasts. patience_seconds: a call with at least this patience is
    admitted.
    """

    name: str
    state: CircuitState
    cause: str = ""
    seconds: float = 0.0
    patience_seconds: float = inf


class Probe(StrEnum):
    """What a call that is admitted means for its circuit. CALL: the circuit is closed, or the call waits longer than
    the failed ones. PROBE: its outcome closes or opens the circuit.
    """

    CALL = "call"
    PROBE = "probe"


@dataclass(slots=True)
class _Opened:
    """cause: why. since: when it opened first; a probe that fails leaves this time. until: when a probe may begin.
    patience_seconds: a call with at least this patience is admitted all the same. probe_until: the latest end of the
    probe that runs; 0 if none runs.
    """

    cause: str
    since: float
    until: float
    patience_seconds: float
    probe_until: float = 0.0


@dataclass(frozen=True, slots=True)
class BarredCall:
    """A call that must not be made. cause: the failure that opened the circuit. seconds: how long no call is made; a
    probe may end earlier."""

    cause: str
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """A circuit that is open now. cause: the last failure. seconds: for how long it has been open. next_seconds: when a
    call may try; 0 if the next call may."""

    name: str
    cause: str
    seconds: float
    next_seconds: float


class Breakers:
    """The circuits of a process, by name; any part may add its own names, with a prefix. A circuit is closed until
    `failed` or `open` opens it. After OPEN_SECONDS it lets one call at a time try.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[Circuit], None] | None = None,
    ) -> None:
        """tell: sends a hint to the other processes; None without other processes."""
        self.tell = tell
        self._clock = clock
        self._opened: dict[str, _Opened] = {}
        self._failures: dict[str, list[str]] = {}

    def admit(self, name: str, patience_seconds: float = 0.0) -> Probe | BarredCall:
        """Whether to make a call. After a PROBE, `succeeded`, `failed`, `open` or `left` must follow."""
        opened, now = self._opened.get(name), self._clock()
        if opened is None or patience_seconds >= opened.patience_seconds:
            return Probe.CALL
        if now < max(opened.until, opened.probe_until):
            return BarredCall(opened.cause, max(opened.until, opened.probe_until) - now)
        opened.probe_until = now + PROBE_SECONDS
        self._say(Circuit(name, CircuitState.PROBED, opened.cause, PROBE_SECONDS))
        return Probe.PROBE

    def cause(self, name: str, patience_seconds: float = 0.0) -> str:
        """The failure that opened the circuit; "" if a call would be admitted. Begins no probe."""
        opened = self._opened.get(name)
        if opened is None or patience_seconds >= opened.patience_seconds:
            return ""
        return opened.cause if self._clock() < max(opened.until, opened.probe_until) else ""

    def failed(
        self, name: str, cause: str, most: int, patience_seconds: float = inf, caller: str = ""
    ) -> None:
        """A call has failed. The circuit opens after `most` failures in a row, and at once if it was open before.
        caller: who made the call; failures of one caller then count as one, also those of probes. "" to count each.
        """
        failures = self._failures.setdefault(name, [])
        if not (caller and caller in failures):
            failures.append(caller)
        if len(failures) >= most or (not caller and name in self._opened):
            self.open(name, cause, patience_seconds)
        _bound(self._failures)

    def open(self, name: str, cause: str, patience_seconds: float = inf) -> None:
        """Open a circuit at once, because the next call would fail in the same way. patience_seconds: a call with at
        least this patience is admitted."""
        self._open(name, cause, OPEN_SECONDS, patience_seconds)
        self._say(Circuit(name, CircuitState.OPEN, cause, OPEN_SECONDS, patience_seconds))

    def succeeded(self, name: str) -> None:
        """A call has succeeded: close the circuit."""
        self._failures.pop(name, None)
        if (opened := self._opened.pop(name, None)) is not None:
            self._say(Circuit(name, CircuitState.CLOSED, opened.cause))

    def left(self, name: str) -> None:
        """A probe has ended. If it had no outcome, another call may try, in any process."""
        if (opened := self._opened.get(name)) is not None and opened.probe_until:
            opened.probe_until = 0.0
            self._say(Circuit(name, CircuitState.PROBED, opened.cause, 0.0))

    def heard(self, hint: Circuit) -> None:
        now = self._clock()
        match hint.state:
            case CircuitState.OPEN:
                self._open(hint.name, hint.cause, min(hint.seconds, OPEN_SECONDS), hint.patience_seconds)
            case CircuitState.PROBED:
                if (opened := self._opened.get(hint.name)) is not None:
                    opened.probe_until = now + min(hint.seconds, PROBE_SECONDS)
            case CircuitState.CLOSED:
                self._opened.pop(hint.name, None)
                self._failures.pop(hint.name, None)

    def opened(self, kind: str) -> Sequence[OpenCircuit]:
        """The circuits whose names begin with `kind` and that are open, ordered by name."""
        now = self._clock()
        return [
            OpenCircuit(name, one.cause, now - one.since, max(0.0, max(one.until, one.probe_until) - now))
            for name, one in sorted(self._opened.items())
            if name.startswith(kind)
        ]

    def _open(self, name: str, cause: str, seconds: float, patience_seconds: float) -> None:
        now, before = self._clock(), self._opened.get(name)
        since = now if before is None else before.since
        self._failures.pop(name, None)
        self._opened[name] = _Opened(cause, since, now + seconds, patience_seconds)
        _bound(self._opened)

    def _say(self, hint: Circuit) -> None:
        if self.tell is not None:
            self.tell(hint)


def _bound(circuits: dict[str, Any]) -> None:
    if len(circuits) > _MOST:
        del circuits[next(iter(circuits))]


class CircuitsPart:
    """The health of what the circuits of some kinds protect: degraded while one of them is open. Implements `ReportedPart`."""

    def __init__(self, name: str, breakers: Breakers, kinds: Mapping[str, Callable[[str], str]]) -> None:
        """kinds: by the beginning of a circuit's name, how a sentence names the rest; "" leaves the circuit out. If
        several circuits have one name in sentences, the first counts."""
        self.name = name
        self._breakers = breakers
        self._kinds = kinds

    async def check(self) -> PartReport:
        failures = dict[str, str]()
        for kind, named in self._kinds.items():
            for one in self._breakers.opened(kind):
                if name := named(one.name.removeprefix(kind)):
                    failures.setdefault(name, f"{name} {_failing(one)}")
        detail = " ".join(failures.values())
        return PartReport(Health.DEGRADED, detail=detail) if failures else PartReport(Health.OK)


def _failing(circuit: OpenCircuit) -> str:
    again = (
        f"it is tried again in {in_seconds(round(circuit.next_seconds))}."
        if circuit.next_seconds
        else "the next call tries it again."
    )
    return f"has failed for {in_seconds(round(circuit.seconds))} ({circuit.cause}); {again}"
