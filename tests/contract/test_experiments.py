"""Experiments over a real database: who gets which version, what is measured, and what stops them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from uuid_utils.compat import uuid4, uuid7

from responsa_server.agents.config.build import ConfiguredAgent
from responsa_server.agents.config.live import LiveAgents, LiveOptions
from responsa_server.agents.config.settings import DEFAULT
from responsa_server.calls.convert.experiments import report
from responsa_server.calls.frames import AskFrames
from responsa_server.domain.errors import Precondition, Reason, Unavailable
from responsa_server.domain.events import Failed, NumberedEvent, RefusalReason, Refused, Usage
from responsa_server.domain.experiments import (
    Experiment,
    ExperimentMetric,
    ExperimentState,
    ExperimentUnit,
    NewExperiment,
)
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.people import AuditEvent
from responsa_server.insight.experiments import ExperimentKeeper, results
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.experiments import PostgresExperiments
from responsa_server.stores.postgres.insight import PostgresInsight
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.turns.worker import conclude
from tests.contract.agents_harness import AgentProcesses, Folder
from tests.contract.people import People
from tests.contract.turn_harness import Cast, Script, Services, followed
from tests.contract.turn_steps import cancelled, claim_of, new_turn, row
from tests.raising import raises

CODEC = AskFrames()
REFUSED = Refused(RefusalReason.NO_SUPPORT, "No.", Usage(cost_micros=2_000_000))
FAILED = Failed(Unavailable(Reason.PART_UNAVAILABLE, "x", {"part": "x"}), True, Usage())


async def begun(
    store: PostgresExperiments, agents: LiveAgents, people: People, candidate: int = 2
) -> Experiment:
    """An experiment with a version of the agent `own`."""
    new = NewExperiment(
        uuid7(),
        "own",
        await agents.check_candidate("own", candidate),
        candidate,
        50,
        ExperimentUnit.USER,
        ExperimentMetric.REFUSALS,
        ExperimentMetric.FAILURES,
        0.0,
        "acme",
        timedelta(days=1),
    )
    return await store.create(new, AuditEvent.of(people.ann, "experiment.create", "experiments/-"))


async def create_second(agents: LiveAgents, people: People) -> None:
    """Create another version of the agent `own`."""
    own = agents.find("own")
    assert isinstance(own, ConfiguredAgent)
    document = own.content.model_dump(mode="json", by_alias=True)
    document["prompts"]["greeting"]["body"] = "Bad."
    await agents.create("own", document, "", AuditEvent.of(people.ann, "agent_version.create", "agents/own"))


class FastClock:
    """The open experiments as a server sees them whose clock is days ahead."""

    def __init__(self, store: PostgresExperiments) -> None:
        self._store = store

    async def open(self) -> Sequence[Experiment]:
        return [replace(one, end_time=one.end_time - timedelta(days=9)) for one in await self._store.open()]


async def test_servers_agree_although_one_lags_and_its_clock_is_wrong(
    database: Database, tmp_path: Path, people: People
) -> None:
    folder = Folder(tmp_path)
    folder.write("own", "One.")
    group, store = AgentProcesses(database, folder), PostgresExperiments(database)
    options = [LiveOptions(DEFAULT, experiments=one) for one in (store, FastClock(store))]
    async with group.process(options=options[0]) as first, group.process(options=options[1]) as second:
        await create_second(first, people)
        await first.publish("own", 2, AuditEvent.of(people.ann, "agent_version.publish", "agents/own"))
        experiment = await begun(store, first, people, candidate=1)
        await ExperimentKeeper(store, second).count()  # nobody has told this server of the publication
        assert (await store.get(experiment.id)).state is ExperimentState.RUNNING
        for one in (first, second):
            await one.poll()
        for user in [uuid4() for _ in range(16)]:
            parts = [one.assign("own", user, uuid7()) for one in (first, second)]
            assert {agent.version for agent, _ in parts} in (
                {"agents/own/versions/1"},
                {"agents/own/versions/2"},
            )
            assert parts[0][1] == parts[1][1] is not None


async def test_a_bad_candidate_is_stopped_by_its_guard_and_another_version_ends_an_experiment(
    database: Database, tmp_path: Path, people: People
) -> None:
    folder = Folder(tmp_path)
    folder.write("own", "One.")
    group, store = AgentProcesses(database, folder), PostgresExperiments(database)
    turns, insight = PostgresTurnStore(database, CODEC), PostgresInsight(database)
    async with group.process(options=LiveOptions(DEFAULT, experiments=store)) as agents:
        await create_second(agents, people)
        experiment = await begun(store, agents, people)
        refused = await raises(Precondition, begun(store, agents, people))
        assert refused.metadata == {"experiment": experiment.name}
        keeper = ExperimentKeeper(store, agents)
        await agents.poll()
        for _ in range(48):
            agent, assignment = agents.assign("own", uuid4(), uuid7())
            assert assignment is not None
            assert agent.version == f"agents/own/versions/{2 if assignment.candidate else 1}"
            new = replace(new_turn(version=agent.version), assignment=assignment)
            await turns.accept(people.ann, new, cancelled)
            terminal = FAILED if assignment.candidate else REFUSED
            data = CODEC.event(NumberedEvent(2, 1, None, terminal))
            await turns.finish(claim_of(new), [row(2)], conclude(terminal, data, new.question, uuid7))
        await keeper.count()  # nothing is counted yet
        assert (await store.get(experiment.id)).state is ExperimentState.RUNNING
        while await insight.fold():
            pass
        await keeper.count()
        assert (await store.get(experiment.id)).state is ExperimentState.GUARDED
        measured = await store.measure(experiment.id)
        of_guard = [one for one in measured if one.metric is experiment.guard]
        assert await store.measure(experiment.id, experiment.guard) == of_guard != measured
        by_metric = {one.metric: one for one in results(measured)}
        failures, cost = by_metric[ExperimentMetric.FAILURES], by_metric[ExperimentMetric.COST]
        assert (failures.baseline.mean, failures.candidate.mean) == (0, 1)
        assert failures.baseline.turns + failures.candidate.units == 48
        shown = MessageToDict(report(experiment, [failures, *by_metric.values()]))["results"]
        assert (shown[0]["baseline"]["average"], shown[0]["candidate"]["average"]) == (0, 1)
        assert "average" not in shown[2]["candidate"]  # of the refusals, there was no turn
        assert (cost.baseline.mean, cost.candidate.mean) == (2.0, 0.0)
        assert by_metric[ExperimentMetric.REFUSALS].candidate.turns == 0
        await agents.poll()
        assert agents.assign("own", uuid4(), uuid7()) == (agents.find("own"), None)

        experiment = await begun(store, agents, people)
        folder.write("own", "Changed.")
        await agents.reload()
        await agents.poll()
        assert agents.assign("own", uuid4(), uuid7())[1] is None
        await keeper.count()
        assert (await store.get(experiment.id)).state is ExperimentState.SUPERSEDED
    newest = ListQuery(5, Order("create_time", descending=True))
    log = await PostgresAuditTrail(database).list("acme", newest)
    assert [(one.actor, one.action) for one in log.items if one.actor == "server"] == [
        ("server", "experiment.supersede"),
        ("server", "experiment.guard"),
    ]


async def test_an_accepted_question_keeps_its_part_and_feedback_counts(
    database: Database, tmp_path: Path, people: People
) -> None:
    folder = Folder(tmp_path)
    folder.write("own", "One.")
    store, harness = PostgresExperiments(database), Services(database)
    async with AgentProcesses(database, folder).process() as agents:
        folder.write("own", "Two.")
        await agents.reload()
        new = NewExperiment(
            uuid7(),
            "own",
            2,
            1,
            50,
            ExperimentUnit.USER,
            ExperimentMetric.NEGATIVE_FEEDBACK,
            ExperimentMetric.COST,
            0.0,
            "acme",
            timedelta(days=1),
        )
        event = AuditEvent.of(people.ann, "experiment.create", "experiments/-")
        experiment = await store.create(new, event)
    part = experiment.assign(people.ann.user_id, uuid7())
    async with harness.turns(Cast({"": Script()}, part)) as turns:
        accepted = await turns.accept(people.ann, new_turn().question, None)
        await followed(turns, people.ann, accepted.turn_id)
    await harness.conversations.give_feedback(
        people.ann, {"rating": "down", "score": None, "comment": "", "shown": False}, turn_id=accepted.turn_id
    )
    (measured,) = await store.measure(experiment.id)
    assert (measured.metric, measured.candidate) == (ExperimentMetric.NEGATIVE_FEEDBACK, part.candidate)
    assert (measured.units, measured.turns, measured.total) == (1, 1, 1.0)
