"""The history checker: whatever people and fate do to turns, in any order, the promises hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.cluster import Cluster
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.histories import History, Stage
from tests.faults.worlds import ClusterStage, HouseStage

STEPS = 15


def play(stage: Stage, form: Form, report: Report) -> None:
    """So many histories. A counter-example is printed as the steps that lead to it."""

    class Played(History):
        told = report.counts

    Played.stage = stage
    derandomize = not form.limits
    options = settings(
        max_examples=form.count,
        stateful_step_count=STEPS,
        derandomize=derandomize,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        # Histories take seconds, and what is found in one may hang on its timing: it is told as it is.
        phases=(Phase.generate,),
    )
    machine = Played if derandomize else seed(form.seed)(Played)
    run_state_machine_as_test(machine, settings=options)  # pyright: ignore[reportUnknownMemberType]


@pytest.fixture
def house_stage(cluster: Cluster) -> Iterator[HouseStage]:
    stage = HouseStage(cluster)
    yield stage
    stage.close()


@pytest.fixture
def cluster_stage(cluster: Cluster) -> Iterator[ClusterStage]:
    stage = ClusterStage(cluster)
    yield stage
    stage.close()


@forms(short=12, long=2000)
def test_no_history_with_placed_faults_breaks_a_promise(
    house_stage: HouseStage, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("histories", form)
    try:
        play(house_stage, form, report)
    finally:
        report.tell(request)
    assert report.counts["histories"] >= form.count


@forms(short=2, long=50)
def test_no_history_with_real_kills_breaks_a_promise(
    cluster_stage: ClusterStage, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("histories_of_processes", form)
    try:
        play(cluster_stage, form, report)
    finally:
        report.tell(request)
    assert report.counts["histories"] >= form.count


def test_without_uniqueness_a_history_breaks_a_promise(cluster: Cluster) -> None:
    stage = HouseStage(cluster, [Guard.ONE_TURN])
    form = Form(300, limits=True, seed=1)
    broken = ""
    try:
        play(stage, form, Report("histories", form))
    except AssertionError as error:
        broken = str(error)
    except ExceptionGroup as group:
        broken = str(group.exceptions)
    finally:
        stage.close()
    assert "Violation" in broken, broken
