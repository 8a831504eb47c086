"""The default model, and tests of models."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from responsa.admin.v1 import admin_service_pb2
from responsa.admin.v1 import model_settings_pb2 as pb
from responsa_server.calls.convert import enums, messages
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
    return messages.message(
        pb.ModelSettings,
        models,
        default_model=messages.message(pb.DefaultModel, models.default_model, api_key=""),
        providers=[
            messages.message(
                pb.ModelProvider,
                provider,
                embeddings=[
                    messages.message(pb.OfferedEmbedding, embedding) for embedding in provider.embeddings
                ],
            )
            for provider in models.providers
        ],
    )


def test(model_test: ModelTest) -> admin_service_pb2.TestModelResponse:
    duration = Duration()
    duration.FromMilliseconds(round(model_test.seconds * 1000))
    outcome = enums.MODEL_TEST_OUTCOME.number(model_test.outcome)
    return admin_service_pb2.TestModelResponse(
        outcome=outcome,
        message=model_test.message,
        duration=duration,
        models=model_test.models,
        steps=[messages.message(pb.ModelTestStep, step) for step in model_test.steps],
        learned=model_test.learned,
        windows={name: window for name, window in model_test.models.items() if window},
    )
