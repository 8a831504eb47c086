"""The names of models in OpenTelemetry's conventions for generative AI
(https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai)."""

from __future__ import annotations

from typing import Final

IN_PROCESS: Final = "embedded"
"""The provider of a model that runs in the server."""
_WELL_KNOWN: Final = {"gemini": "gcp.gemini"}
"""Providers whose name in the conventions is not ours."""


def model_attributes(name: str) -> dict[str, str]:
    """The provider and the model as attributes of a span. name: `provider:model`; or `model/weights` of a model that
    runs in the server."""
    provider, named, model = name.partition(":")
    if not named:
        provider, model = IN_PROCESS, name.partition("/")[0]
    return {
        "gen_ai.provider.name": _WELL_KNOWN.get(provider, provider),
        "gen_ai.request.model": model,
    }
