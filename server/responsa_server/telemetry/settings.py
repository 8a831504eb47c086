"""The section `telemetry` of the settings, and what OpenTelemetry's environment variables say where it says nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from pydantic import BaseModel, Field, SecretStr


class LangfuseSettings(BaseModel, extra="forbid"):
    """Where traces are also sent as Langfuse's observations."""

    url: str = Field(
        default="",
        pattern=r"^(https?://[^\s]+)?$",
        description=(
            "A Langfuse server, such as `https://cloud.langfuse.com`, to which traces are also sent. "
            "Empty: none."
        ),
    )
    public_key: str = Field(default="", description="The public key of the Langfuse project.")
    secret_key: SecretStr = Field(
        default=SecretStr(""), description="The secret key of the Langfuse project."
    )


class TelemetrySettings(BaseModel, extra="forbid"):
    """Traces of calls and turns, which OpenTelemetry sends to a collector, and metrics."""

    endpoint: str = Field(
        default="",
        pattern=r"^(https?://[^\s]+)?$",
        description=(
            "The collector that receives telemetry by OTLP, such as `http://localhost:4317`. Empty: "
            "OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT; without them, no traces "
            "are made."
        ),
    )
    sample_ratio: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description=(
            "The share of calls whose traces are sent. A call with a `traceparent` is sent if its "
            "caller's trace is. Empty: OTEL_TRACES_SAMPLER decides; without it, all are sent."
        ),
    )
    texts: bool = Field(
        default=False,
        description="Whether the spans of model calls contain prompts and answers.",
    )
    langfuse: LangfuseSettings = LangfuseSettings()
    metrics: bool = Field(
        default=False,
        description=(
            "Whether each server serves its metrics to Prometheus, and the public port those of all servers "
            "of the data folder to owners. A collector gets them without this."
        ),
    )
    metrics_listen: str = Field(
        default="127.0.0.1:0",
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$",
        description=(
            "Where a server serves its metrics. The port 0 is any free one, which several servers on "
            "one machine need."
        ),
    )
    metrics_targets: Path | None = Field(
        default=None,
        description=(
            "The folder of the files that tell Prometheus all servers' addresses. Empty: `metrics` in "
            "the data folder."
        ),
    )
    server: str = Field(
        default="",
        pattern=r"^([a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)?$",
        description=(
            "A server's name in metrics and traces. Empty: the one that `responsa up` gives, or the "
            "host's name and the process's id."
        ),
    )


Signal = Literal["traces", "metrics"]
"""A kind of telemetry that is sent by OTLP."""


class Otlp:
    """What the settings say; where they say nothing, what the variables of
    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ say."""

    def __init__(self, settings: TelemetrySettings, variables: Mapping[str, str]) -> None:
        """variables: the environment."""
        self._settings = settings
        self._variables = variables

    def protocol(self, signal: Signal) -> str:
        """The protocol in which telemetry is sent: `grpc` or `http/protobuf`."""
        own = self._variables.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
        return own or self._variables.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"

    def endpoint(self, signal: Signal) -> str:
        """The URL to which telemetry is sent; "" if it is sent to no collector."""
        variables, name = self._variables, signal.upper()
        if self._off or variables.get(f"OTEL_{name}_EXPORTER", "otlp") != "otlp":
            return ""
        if not self._settings.endpoint and (own := variables.get(f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT")):
            return own
        endpoint = self._settings.endpoint or variables.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
        path = "" if self.protocol(signal) == "grpc" else f"/v1/{signal}"
        return f"{endpoint.rstrip('/')}{path}" if endpoint else ""

    @property
    def traces_headers(self) -> Mapping[str, str]:
        """The headers of each request to the collector that gets traces."""
        variables = self._variables
        text = variables.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or variables.get(
            "OTEL_EXPORTER_OTLP_HEADERS"
        )
        pairs = (pair.partition("=") for pair in (text or "").split(","))
        return {
            unquote(key).strip().lower(): unquote(value).strip() for key, _, value in pairs if key.strip()
        }

    @property
    def traced_share(self) -> float:
        """The share of calls, from 0 to 1, whose traces are sampled; see `follows_callers_sampling`."""
        sampler = self._variables.get("OTEL_TRACES_SAMPLER", "")
        if self._settings.sample_ratio is not None:
            return self._settings.sample_ratio
        if sampler.endswith("always_off"):
            return 0.0
        with contextlib.suppress(ValueError):
            if sampler.endswith("traceidratio"):
                return float(self._variables.get("OTEL_TRACES_SAMPLER_ARG", ""))
        return 1.0

    @property
    def follows_callers_sampling(self) -> bool:
        """Whether a call is sampled if its caller's trace is."""
        sampler = self._variables.get("OTEL_TRACES_SAMPLER") or "parentbased_always_on"
        return self._settings.sample_ratio is not None or sampler.startswith("parentbased")

    @property
    def makes_traces(self) -> bool:
        """Whether spans are sent anywhere."""
        return bool(self.endpoint("traces") or (self._settings.langfuse.url and not self._off))

    @property
    def _off(self) -> bool:
        return self._variables.get("OTEL_SDK_DISABLED", "").lower() == "true"
