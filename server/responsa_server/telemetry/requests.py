"""The spans of HTTP requests to other servers, and the header `traceparent` for those that may get it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry.trace import NonRecordingSpan, use_span

from responsa_server.telemetry.stages import AnyStage, context_of, current, exchange


def request(method: str, host: str, port: int | None) -> AnyStage:
    """The stage of a request. Neither its path nor its query is recorded, because they may hold keys and what a user asked."""
    where = {"server.address": host, **({} if port is None else {"server.port": port})}
    return exchange(method, **{"http.request.method": method, **where})


def traceparent_for(sent: AnyStage, kind: str, host: str) -> str | None:
    """The value of the header `traceparent` for a server of this kind, or None if the server gets none. sent: the stage
    of the request, which has begun."""
    return (sent.traceparent or None) if sent.propagates(kind, host) else None


@contextmanager
def ambient(kind: str) -> Generator[None]:
    """In the block, the current stage is also OpenTelemetry's current span, for libraries that send it on themselves,
    if servers of this kind get the header."""
    stage = current()
    named = context_of(stage.traceparent) if stage.trace_id and stage.propagates(kind) else None
    if named is None:
        yield
        return
    with use_span(NonRecordingSpan(named)):
        yield
