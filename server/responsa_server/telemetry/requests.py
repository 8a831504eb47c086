"""The spans of HTTP requests to other servers, and the header `traceparent` for those that may get it."""

from __future__ import annotations

from responsa_server.telemetry.stages import AnyStage, exchange


def request(method: str, host: str, port: int | None) -> AnyStage:
    """The stage of a request. Neither its path nor its query is recorded, because they may hold keys and what a user asked."""
    where = {"server.address": host, **({} if port is None else {"server.port": port})}
    return exchange(method, **{"http.request.method": method, **where})


def traceparent_for(sent: AnyStage, kind: str, host: str) -> str | None:
    """The value of the header `traceparent` for a server of this kind, or None if the server gets none. sent: the stage of the request, which has begun."""
    return (sent.traceparent or None) if sent.propagates(kind, host) else None
