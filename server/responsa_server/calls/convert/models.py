"""The default model, and tests of models."""

from __future__ import annotations

from datetime import timedelta

from responsa.admin.v1 import admin_service_pb2
from responsa.admin.v1 import model_settings_pb2 as pb
from responsa_server.calls.convert import messages
from responsa_server.domain.model_settings import DefaultModel, InstalledModels, ModelTest


def to_default_model(model: pb.DefaultModel) -> DefaultModel:
    """Read the model of a request."""
    return DefaultModel(
        model.provider,
        model.model,
        model.key_name,
        model.base_url,
        model.embedding,
        model.window,
        model.judge,
        model.input_usd_micros if model.HasField("input_usd_micros") else None,
        model.output_usd_micros if model.HasField("output_usd_micros") else None,
        model.api_key,
    )


def settings(models: InstalledModels) -> pb.ModelSettings:
    model = messages.message(pb.DefaultModel, models.default_model, api_key="")
    return messages.message(pb.ModelSettings, models, default_model=model)


def test(model_test: ModelTest) -> admin_service_pb2.TestModelResponse:
    return messages.message(
        admin_service_pb2.TestModelResponse,
        model_test,
        duration=timedelta(milliseconds=round(model_test.seconds * 1000)),
        windows={name: window for name, window in model_test.models.items() if window},
    )
