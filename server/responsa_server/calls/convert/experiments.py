"""Experiments and their reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from uuid import UUID

from responsa.admin.v1 import experiment_pb2 as pb
from responsa_server.calls.convert import messages
from responsa_server.domain import names
from responsa_server.domain.experiments import (
    Experiment,
    ExperimentMetric,
    ExperimentUnit,
    NewExperiment,
)
from responsa_server.insight.experiments import Arm, Result


def new(
    experiment: pb.Experiment, identity: UUID, agent: str, baseline: int, candidate: int, tenant_id: str
) -> NewExperiment:
    """The experiment that a caller of this tenant describes."""
    return NewExperiment(
        identity,
        agent,
        baseline,
        candidate,
        experiment.candidate_percent,
        ExperimentUnit[pb.ExperimentUnit.Name(experiment.unit).removeprefix("EXPERIMENT_UNIT_")],
        _metric(experiment.metric),
        _metric(experiment.guard),
        experiment.guard_margin,
        tenant_id,
        experiment.duration.ToTimedelta(),
    )


def experiment(value: Experiment) -> pb.Experiment:
    """Convert an experiment."""
    return messages.message(
        pb.Experiment,
        value,
        baseline=names.agent_version(value.agent, value.baseline),
        candidate=names.agent_version(value.agent, value.candidate),
    )


def report(value: Experiment, results: Sequence[Result]) -> pb.ExperimentReport:
    """Convert a report."""
    deciding = next(result for result in results if result.metric is value.metric)
    verdict = "CANDIDATE" if deciding.high < 0 else "BASELINE" if deciding.low > 0 else "OPEN"
    return pb.ExperimentReport(
        experiment=experiment(value),
        results=[_result(result) for result in results],
        verdict=pb.ExperimentVerdict.Value(f"EXPERIMENT_VERDICT_{verdict}"),
    )


def _result(result: Result) -> pb.ExperimentResult:
    known = math.isfinite(result.margin)
    return messages.message(
        pb.ExperimentResult,
        result,
        baseline=_arm(result.baseline),
        candidate=_arm(result.candidate),
        low=result.low if known else None,
        high=result.high if known else None,
    )


def _arm(arm: Arm) -> pb.ExperimentArm:
    return messages.message(pb.ExperimentArm, arm, average=arm.mean if arm.turns else None)


def _metric(value: pb.ExperimentMetric.ValueType) -> ExperimentMetric:
    return ExperimentMetric[pb.ExperimentMetric.Name(value).removeprefix("EXPERIMENT_METRIC_")]
