"""Records each call as a stage, which is the server's span of the call."""

from __future__ import annotations

from typing import Final

from responsa_server.calls.call import TRACEPARENT, Call, Interceptor
from responsa_server.calls.interceptors.reporting import PLUMBING, code_of
from responsa_server.calls.status import Code
from responsa_server.domain.errors import ResponsaError
from responsa_server.telemetry.stages import IDLE, TRACE_ID, AnyStage, Traces

# The codes that are the server's fault, by OpenTelemetry's conventions for servers of gRPC.
_FAULTS: Final = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)


class Traced(Interceptor[AnyStage]):
    """Opens the server's span of each call, except health checks and reflection. OpenTelemetry's own interceptor for grpc.aio covers one transport only, and its tokens break with generators.

    The caller's `traceparent` says to which trace the span belongs, and nothing else. An error of a call whose trace is sampled gets the trace's id in its metadata.
    """

    everywhere = True

    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    async def on_start(self, call: Call) -> AnyStage:
        """Begin the span. The call needs its id."""
        if not self._traces.on or call.method.startswith(PLUMBING):
            return IDLE
        given, fields = call.metadata.get(TRACEPARENT, ()), {"call_id": call.id}
        if not call.method.startswith("/"):
            verb, _, route = call.method.partition(" ")
            names = {"http.request.method": verb, "http.route": route}
            return self._traces.call(call.method, given, fields, **names).__enter__()
        name = call.method[1:]
        names = {"rpc.system.name": "grpc", "rpc.method": name}
        return self._traces.call(name, given, fields, **names).__enter__()

    async def on_end(self, call: Call, token: AnyStage, error: BaseException | None) -> BaseException | None:
        """End the span."""
        code = code_of(error)
        token.add(**{"rpc.response.status_code": code.name, "call_id": call.id})
        if isinstance(error, ResponsaError) and token.trace_id:
            error.metadata = {**error.metadata, TRACE_ID: token.trace_id}
        token.__exit__(None, error if code in _FAULTS else None, None)
        return error
