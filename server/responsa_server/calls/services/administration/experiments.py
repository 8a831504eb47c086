"""The part of AdminService that is about experiments."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import experiment_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import experiments
from responsa_server.calls.listing import Listing
from responsa_server.domain import lists, names
from responsa_server.domain.agents import Catalogue
from responsa_server.domain.experiments import StoppedBy
from responsa_server.domain.people import AuditEvent
from responsa_server.insight.experiments import results
from responsa_server.stores.postgres.experiments import PostgresExperiments


class ExperimentService:
    """Experiments with versions of agents."""

    def __init__(self, store: PostgresExperiments, catalogue: Catalogue, new_id: Callable[[], UUID]) -> None:
        self._store = store
        self._catalogue = catalogue
        self._new_id = new_id

    async def CreateExperiment(self, request: pb.CreateExperimentRequest) -> experiment_pb2.Experiment:
        who, wanted = caller(), request.experiment
        agent, candidate = names.parse_version(wanted.candidate)
        baseline = await self._catalogue.check_candidate(agent, candidate)
        new = experiments.new(wanted, self._new_id(), agent, baseline, candidate, who.tenant_id)
        event = AuditEvent.of_call(who, names.experiment(new.id))
        return experiments.experiment(await self._store.create(new, event))

    async def GetExperiment(self, request: pb.GetExperimentRequest) -> experiment_pb2.Experiment:
        return experiments.experiment(await self._store.get(_id(request.name)))

    async def ListExperiments(self, request: pb.ListExperimentsRequest) -> pb.ListExperimentsResponse:
        asked = Listing(lists.EXPERIMENTS, caller(), request)
        page = await self._store.list(asked.query)
        return asked.answer(pb.ListExperimentsResponse, page, experiments.experiment)

    async def StopExperiment(self, request: pb.StopExperimentRequest) -> experiment_pb2.Experiment:
        event = AuditEvent.of_call(caller(), request.name)
        await self._store.stop(_id(request.name), StoppedBy.OWNER, event)
        return experiments.experiment(await self._store.get(_id(request.name)))

    async def GetExperimentReport(
        self, request: pb.GetExperimentReportRequest
    ) -> experiment_pb2.ExperimentReport:
        experiment = await self._store.get(_id(request.name))
        return experiments.report(experiment, results(await self._store.measure(experiment.id)))


def _id(name: str) -> UUID:
    return names.parse_uuid("experiments", name)
