"""The section `telemetry` of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode


def _listed(value: object) -> object:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


class LangfuseSettings(BaseModel, extra="forbid"):
    """Where traces are also sent as Langfuse's observations."""

    url: str = Field(
        default="",
        pattern=r"^(https?://[^\s]+)?$",
        description="The address of a Langfuse server, such as `https://cloud.langfuse.com`, to which traces are also sent. Empty: none.",
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
        description="The address of the collector that receives telemetry by OTLP, such as `http://localhost:4317`. Empty: OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT; without them, no traces are made.",
    )
    sample_ratio: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The share of calls whose traces are sent. A call with a `traceparent` header is sent if its caller's trace is. Empty: OTEL_TRACES_SAMPLER decides; without it, all are sent.",
    )
    slow_turn_seconds: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="A turn that takes at least this long, or fails, is sent even if its trace was not sampled.",
    )
    texts: bool = Field(
        default=False,
        description="Whether the spans of model calls contain prompts and answers.",
    )
    propagate_to: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default=("models", "mcp"),
        description="The servers that get the header `traceparent`, separated by commas: `models` for all servers of models, `mcp` for all MCP servers, or the name of a host.",
    )
    langfuse: LangfuseSettings = LangfuseSettings()
    metrics: bool = Field(
        default=False,
        description="Whether each server serves its metrics to Prometheus. They are also made, for a collector, if `telemetry.endpoint`, OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_METRICS_ENDPOINT is set.",
    )
    metrics_listen: str = Field(
        default="127.0.0.1:0",
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$",
        description="The address where a server serves its metrics. The port 0 stands for any free port, which the server writes into its file for Prometheus. Several servers on one machine need the port 0.",
    )
    metrics_targets: Path | None = Field(
        default=None,
        description="The folder of the files that tell Prometheus the addresses of all servers. Empty: `metrics` in the data folder.",
    )
    metrics_on_gateway: bool = Field(
        default=False,
        description="Whether `/metrics` on the public port shows the metrics of all servers of this data folder, to everybody who can reach the port.",
    )
    server: str = Field(
        default="",
        pattern=r"^([a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)?$",
        description="The name of a server in metrics and traces. Empty: the names that `responsa up` gives, or else the host's name and the process's id.",
    )
