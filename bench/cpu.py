"""The CPU time of processes, beside the outcome of a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import psutil

from bench.jobs import Outcome

_PARTS: Final = ("postgres", "envoy")
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Used:
    """CPU seconds: of PostgreSQL's processes, of Envoy, and of all others."""

    postgres: float
    envoy: float
    server: float

    @classmethod
    def of(cls, pids: Sequence[int]) -> Used:
        """What these processes and their descendants have used so far."""
        seconds = dict.fromkeys((*_PARTS, ""), 0.0)
        for pid in pids:
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                try:
                    times, name = process.cpu_times(), process.name()
                except psutil.NoSuchProcess:
                    continue
                part = next((part for part in _PARTS if name.startswith(part)), "")
                # The times of the children are those of ended ones that were waited for.
                seconds[part] += times.user + times.system + times.children_user + times.children_system
        return cls(seconds["postgres"], seconds["envoy"], seconds[""])


@dataclass(frozen=True, slots=True)
class Metered:
    """The outcome of a job, and the CPU microseconds of each call."""

    outcome: Outcome
    cpu: Used

    @classmethod
    def of(cls, pids: Sequence[int], work: Callable[[], Outcome]) -> Metered:
        """Does a job and meters these processes and their descendants meanwhile."""
        before = Used.of(pids)
        outcome = work()
        after = Used.of(pids)
        a_call = _MICROSECONDS / len(outcome.totals)
        return cls(
            outcome,
            Used(
                (after.postgres - before.postgres) * a_call,
                (after.envoy - before.envoy) * a_call,
                (after.server - before.server) * a_call,
            ),
        )
