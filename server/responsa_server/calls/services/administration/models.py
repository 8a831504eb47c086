"""The part of AdminService that is about the default model."""

from __future__ import annotations

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import model_settings_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import models
from responsa_server.domain.agents import Catalogue
from responsa_server.domain.model_settings import ModelAdministration


class ModelService:
    """The default model."""

    def __init__(self, models: ModelAdministration, catalogue: Catalogue) -> None:
        self._models = models
        self._catalogue = catalogue

    async def GetModels(self, request: pb.GetModelsRequest) -> model_settings_pb2.ModelSettings:
        return models.settings(await self._models.read())

    async def SetDefaultModel(self, request: pb.SetDefaultModelRequest) -> model_settings_pb2.ModelSettings:
        wanted = models.to_default_model(request.default_model)
        await self._models.store(caller(), wanted, skip_test=request.skip_test)
        # The agents' versions name their models, so a reload takes the model over, here and on the other servers.
        await self._catalogue.reload()
        return models.settings(await self._models.read())

    async def TestModel(self, request: pb.TestModelRequest) -> pb.TestModelResponse:
        return models.test(await self._models.test(caller(), models.to_default_model(request.default_model)))
