"""One line a call: method, code, reason, duration, call id, tenant, user. Never a text, a key or a cookie."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import grpc
import grpc.aio

from responsa_server.calls import status
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.shape import Interceptor
from responsa_server.domain.errors import ResponsaError


class Logger(Protocol):
    """As much of structlog's loggers as is used here."""

    def debug(self, event: str, **fields: object) -> object:
        """Log what is only of interest when looking for a fault."""
        ...

    def info(self, event: str, **fields: object) -> object:
        """Log what is as it should be."""
        ...

    def error(self, event: str, **fields: object) -> object:
        """Log what somebody should look at."""
        ...


class Log(Interceptor[float]):
    """Writes the line of a call at its end; health checks and reflection are of interest for debugging alone."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    async def on_start(self, call: Call) -> float:
        """Note the time."""
        del call
        return time.perf_counter()

    async def on_end(self, call: Call, token: float, error: BaseException | None) -> BaseException | None:
        """Write the line."""
        write = self._logger.debug if RULES.get(call.method) is Rule.PUBLIC else self._logger.info
        who = call.principal
        write(
            "call",
            method=call.method,
            code=_code(call, error).name,
            reason=error.reason.value if isinstance(error, ResponsaError) else "",
            duration_ms=round((time.perf_counter() - token) * 1000, 2),
            call_id=call.id,
            tenant="" if who is None else who.tenant_id,
            user="" if who is None else str(who.user_id),
        )
        return error


def _code(call: Call, error: BaseException | None) -> grpc.StatusCode:
    match error:
        case None:
            return grpc.StatusCode.OK
        case ResponsaError():
            return status.code(error)
        case asyncio.CancelledError():
            return grpc.StatusCode.CANCELLED
        case grpc.aio.AbortError():
            number = call.context.code()
            return next(
                (one for one in grpc.StatusCode if number in (one, one.value[0])), grpc.StatusCode.UNKNOWN
            )
        case _:
            return grpc.StatusCode.UNKNOWN
