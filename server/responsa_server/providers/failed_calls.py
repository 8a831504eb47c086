"""The log of calls of models that have failed: one line a try, of what tells the causes apart, and nothing of what was asked or said."""

from __future__ import annotations

import structlog

from responsa_server.domain.ports.models import ModelError, ModelPrompt


def log_failed(model: str, prompt: ModelPrompt, error: ModelError) -> None:
    """Tell of a try that has failed. model: `provider:model`."""
    structlog.get_logger("models").warning(
        "model_call_failed",
        model=model,
        cause=error.fault.value,
        http_status=error.status or None,
        provider_error=error.kind or None,
        attempt=error.tried,
        turn=prompt.label or None,
    )
