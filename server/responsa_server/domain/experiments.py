"""Experiments that split an agent's questions between two of its versions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from responsa_contract import ExperimentState, ExperimentUnit
from responsa_server.domain import names


class ExperimentMetric(StrEnum):
    """What is measured of each turn. Less is better."""

    NEGATIVE_FEEDBACK = "negative_feedback"
    REFUSALS = "refusals"
    FAILURES = "failures"
    UNSUPPORTED = "unsupported"
    LATENCY = "latency"
    COST = "cost"

    @property
    def is_rate(self) -> bool:
        """Whether the value of each turn is 0 or 1."""
        return self not in (ExperimentMetric.LATENCY, ExperimentMetric.COST)


class StoppedBy(StrEnum):
    """What stopped an experiment before its end. VERSION: the agent got another version."""

    OWNER = "owner"
    GUARD = "guard"
    VERSION = "version"


_STATES: Final = {
    StoppedBy.OWNER: ExperimentState.STOPPED,
    StoppedBy.GUARD: ExperimentState.GUARDED,
    StoppedBy.VERSION: ExperimentState.SUPERSEDED,
}


@dataclass(frozen=True, slots=True)
class Assignment:
    """The part of a turn in an experiment. candidate: whether the candidate answers. unit: 16 bytes that are the same
    for all turns of the user or conversation in this experiment, and in no other."""

    experiment_id: UUID
    candidate: bool
    unit: bytes


@dataclass(frozen=True, slots=True)
class NewExperiment:
    """An experiment to begin. baseline, candidate: numbers of versions of the agent. guard_margin: in the unit of the
    guard. audited_in: the tenant whose audit log tells of the end."""

    id: UUID
    agent: str
    baseline: int
    candidate: int
    candidate_percent: int
    unit: ExperimentUnit
    metric: ExperimentMetric
    guard: ExperimentMetric
    guard_margin: float
    audited_in: str
    duration: timedelta


@dataclass(frozen=True, slots=True)
class Experiment(NewExperiment):
    """An experiment as it is stored. over: whether its end had come when it was read, by the clock of the database."""

    create_time: datetime
    end_time: datetime
    stop_time: datetime | None
    stopped_by: StoppedBy | None
    over: bool

    @property
    def name(self) -> str:
        """`experiments/{uuid}`"""
        return names.experiment(self.id)

    @property
    def state(self) -> ExperimentState:
        """The state when it was read."""
        if self.stopped_by is not None:
            return _STATES[self.stopped_by]
        return ExperimentState.ENDED if self.over else ExperimentState.RUNNING

    def assign(self, user_id: UUID, conversation_id: UUID) -> Assignment:
        """The part of a question. It depends on nothing but the experiment and the user or conversation."""
        unit = user_id if self.unit is ExperimentUnit.USER else conversation_id
        digest = hashlib.sha256(self.id.bytes + unit.bytes).digest()
        share = int.from_bytes(digest[:8], "big") * 100 >> 64
        return Assignment(self.id, share < self.candidate_percent, digest[16:])


@dataclass(frozen=True, slots=True)
class MeasuredArm:
    """The sums of one version's turns for one metric; see `insight.intervals.Sums`."""

    metric: ExperimentMetric
    candidate: bool
    units: int
    turns: int
    total: float
    squares: float
    products: float
    sizes: float


class OpenExperiments(Protocol):
    """The experiments that run."""

    async def open(self) -> Sequence[Experiment]:
        """Return the experiments that were not stopped and whose end has not come, at most one of each agent. Raises Unavailable."""
        ...
