"""The default model, and tests of models."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from responsa.admin.v1 import admin_service_pb2
from responsa.admin.v1 import model_settings_pb2 as pb
from responsa_server.calls.convert import messages, values
from responsa_server.domain.model_settings import DefaultModel, InstalledModels, ModelTest


def wanted(model: pb.DefaultModel) -> DefaultModel:
    """Read the model of a request."""
    return DefaultModel(model.provider, model.model, model.key_name, model.base_url)


def settings(found: InstalledModels) -> pb.ModelSettings:
    return messages.message(
        pb.ModelSettings,
        found,
        default_model=messages.message(pb.DefaultModel, found.default_model),
        providers=[messages.message(pb.ModelProvider, one) for one in found.providers],
    )


def test(found: ModelTest) -> admin_service_pb2.TestModelResponse:
    duration = Duration()
    duration.FromMilliseconds(round(found.seconds * 1000))
    outcome = values.MODEL_TEST_OUTCOME.number(found.outcome)
    return admin_service_pb2.TestModelResponse(outcome=outcome, message=found.message, duration=duration)
