"""The spans of HTTP requests to other servers."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry.trace import NonRecordingSpan, use_span

from responsa_server.telemetry.stages import AnyStage, context_of, current, exchange


def request(method: str, host: str, port: int | None) -> AnyStage:
    """The stage of a request. Neither its path nor its query is recorded, because they may hold keys and what a user asked."""
    where = {"server.address": host, **({} if port is None else {"server.port": port})}
    return exchange(method, **{"http.request.method": method, **where})


@contextmanager
def ambient() -> Generator[None]:
    """In the block, the current stage is also OpenTelemetry's current span, for libraries that send it on themselves."""
    stage = current()
    named = context_of(stage.traceparent) if stage.trace_id else None
    if named is None:
        yield
        return
    with use_span(NonRecordingSpan(named)):
        yield
