"""The history checker. Whatever users and faults do to turns, and in whatever order, the promises hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.cluster import Cluster
from tests.faults.deployments import ClusterStage, SimulatedStage
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.histories import History, Stage

STEPS = 15


def play(stage: Stage, report: Report) -> None:
    """Run as many histories as the report's form requires. A failed history is printed as the list of its steps."""

    class Played(History):
        counts = report.counts

    Played.stage = stage
    form = report.form
    derandomize = not form.limits
    options = settings(
        max_examples=form.count,
        stateful_step_count=STEPS,
        derandomize=derandomize,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        # A history takes seconds, and a failure may depend on timing. Therefore failures are reported without shrinking.
        phases=(Phase.generate,),
    )
    machine = Played if derandomize else seed(form.seed)(Played)
    run_state_machine_as_test(machine, settings=options)


def campaign(stage: Stage, report: Report, request: pytest.FixtureRequest) -> None:
    """Run the histories, and report their counts even if a history breaks an invariant."""
    try:
        play(stage, report)
    finally:
        report.tell(request)
    assert report.counts["histories"] >= report.form.count


@pytest.fixture
def simulated_stage(cluster: Cluster) -> Iterator[SimulatedStage]:
    with closing(SimulatedStage(cluster)) as stage:
        yield stage


@pytest.fixture
def cluster_stage(cluster: Cluster) -> Iterator[ClusterStage]:
    with closing(ClusterStage(cluster)) as stage:
        yield stage


@forms(short=5, long=2000)
def test_no_history_with_placed_faults_breaks_a_promise(
    simulated_stage: SimulatedStage, form: Form, request: pytest.FixtureRequest
) -> None:
    campaign(simulated_stage, Report("histories", form), request)


@forms(long=50)
def test_no_history_with_real_kills_breaks_a_promise(
    cluster_stage: ClusterStage, form: Form, request: pytest.FixtureRequest
) -> None:
    campaign(cluster_stage, Report("histories_of_processes", form), request)


@pytest.mark.soak
def test_without_uniqueness_a_history_breaks_a_promise(cluster: Cluster) -> None:
    broken = ""
    with closing(SimulatedStage(cluster, [Guard.ONE_TURN])) as stage:
        try:
            play(stage, Report("histories", Form(300, limits=True, seed=1)))
        except AssertionError as error:
            broken = str(error)
        except ExceptionGroup as group:
            broken = str(group.exceptions)
    assert "Violation" in broken, broken
