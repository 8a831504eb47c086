"""What experiments show, and the guards that stop them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from responsa_server.domain import names
from responsa_server.domain.agents import Catalogue
from responsa_server.domain.experiments import Experiment, ExperimentMetric, MeasuredArm, StoppedBy
from responsa_server.domain.people import AuditEvent
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.insight.intervals import Sums, margin
from responsa_server.insight.periodic import PeriodicTask
from responsa_server.stores.postgres.experiments import PostgresExperiments

SERVER = "server"
"""The actor of what the server does by itself."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What was measured of a version. mean: 0 without turns."""

    units: int
    turns: int
    mean: float


@dataclass(frozen=True, slots=True)
class Result:
    """The versions by one metric. margin: the interval is `difference` ± `margin`; infinite if there is none yet."""

    metric: ExperimentMetric
    baseline: Arm
    candidate: Arm
    margin: float

    @property
    def difference(self) -> float:
        """The candidate's mean without the baseline's."""
        return self.candidate.mean - self.baseline.mean

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.difference - self.margin

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.difference + self.margin


def results(
    arms: Sequence[MeasuredArm], metrics: Iterable[ExperimentMetric] = ExperimentMetric
) -> Sequence[Result]:
    """The results by these metrics, in their order."""
    known = {(arm.metric, arm.candidate): arm for arm in arms}
    results: list[Result] = []
    for metric in metrics:
        baseline, candidate = (_sums(known.get((metric, which))) for which in (False, True))
        half = float(margin(baseline, candidate, rate=metric.is_rate))
        results.append(Result(metric, _arm(baseline), _arm(candidate), half))
    return results


def _sums(arm: MeasuredArm | None) -> Sums:
    values = (
        (0,) * 6 if arm is None else (arm.units, arm.turns, arm.total, arm.squares, arm.products, arm.sizes)
    )
    return Sums(*(np.asarray(value, dtype=np.float64) for value in values))


def _arm(sums: Sums) -> Arm:
    return Arm(int(sums.units), int(sums.turns), float(sums.mean))


class ExperimentKeeper(PeriodicTask):
    """Stops experiments whose guard finds the candidate worse, and those whose agent got another version. One process
    works at a time, every five seconds."""

    name = "experiments"

    def __init__(
        self, store: PostgresExperiments, catalogue: Catalogue, errors: UnexpectedErrors | None = None
    ) -> None:
        super().__init__(errors)
        self._store = store
        self._catalogue = catalogue

    async def count(self) -> None:
        async with self._store.alone() as alone:
            running = await self._store.open() if alone else ()
            for experiment in running:
                measured = await self._store.measure(experiment.id, experiment.guard)
                (guard,) = results(measured, [experiment.guard])
                if guard.low > experiment.guard_margin:
                    await self._stop(experiment, StoppedBy.GUARD)
        for experiment in running:
            if await self._is_superseded(experiment):
                await self._stop(experiment, StoppedBy.VERSION)

    async def _is_superseded(self, experiment: Experiment) -> bool:
        if self._answers(experiment):
            return False
        # This process may not know yet of the publication or the files with which the experiment began.
        await self._catalogue.reload()
        return not self._answers(experiment)

    def _answers(self, experiment: Experiment) -> bool:
        """Whether the baseline answers, as far as this process knows: only others may have the agent's files."""
        cards = {card.id: card.version for card in self._catalogue.cards()}
        baseline = names.agent_version(experiment.agent, experiment.baseline)
        return cards.get(experiment.agent, baseline) == baseline

    async def _stop(self, experiment: Experiment, by: StoppedBy) -> None:
        event = AuditEvent(experiment.audited_in, SERVER, f"experiment.{_ACTS[by]}", experiment.name)
        if await self._store.stop(experiment.id, by, event):
            self._log.warning("experiment_stopped", experiment=experiment.name, by=by.value)


_ACTS = {StoppedBy.GUARD: "guard", StoppedBy.VERSION: "supersede"}
