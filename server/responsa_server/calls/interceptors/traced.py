"""Records each call as a stage, which is the server's span of the call."""

from __future__ import annotations

from typing import Final

from responsa_server.calls.call import TRACEPARENT, Call, Interceptor
from responsa_server.calls.interceptors.reporting import PLUMBING, code_of
from responsa_server.calls.status import Code
from responsa_server.domain.errors import ResponsaError
from responsa_server.telemetry.stages import IDLE, TRACE_ID, AnyStage, Traces, take_span

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
    """Opens the server's span of each call, except health checks and reflection. That of a gRPC call is opened by
    OpenTelemetry's interceptor (`transports/grpc/spans.py`), and gets what it lacks here.

    The caller's `traceparent` says to which trace the span belongs, and nothing else. An error of a call whose trace is
    sampled gets the trace's id in its metadata.
    """

    everywhere = True

    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    async def on_start(self, call: Call) -> AnyStage:
        """Begin the span. The call needs its id."""
        if not self._traces.on or call.method.startswith(PLUMBING):
            return IDLE
        parents, fields = call.metadata.get(TRACEPARENT, ()), {"call_id": call.id}
        if not call.method.startswith("/"):
            verb, _, route = call.method.partition(" ")
            names = {"http.request.method": verb, "http.route": route}
            return self._traces.call(call.method, parents, fields, **names).__enter__()
        name = call.method[1:]
        names = {"rpc.system.name": "grpc", "rpc.method": name}
        span = take_span() if call.transport == "grpc" else None
        return self._traces.call(name, parents, fields, span, **names).__enter__()

    async def on_end(self, call: Call, token: AnyStage, error: BaseException | None) -> BaseException | None:
        """End the span."""
        code = code_of(error)
        # OpenTelemetry's interceptor has written the code OK.
        codes = {"rpc.response.status_code": code.name, "rpc.grpc.status_code": code.value}
        token.add(**codes, call_id=call.id)
        if isinstance(error, ResponsaError) and token.trace_id:
            error.metadata = {**error.metadata, TRACE_ID: token.trace_id}
        token.__exit__(None, error if code in _FAULTS else None, None)
        return error
