"""Whatever went wrong becomes an error of the domain, or stays what ends a call without one."""

from __future__ import annotations

import asyncio
import traceback

import grpc.aio

from responsa_server.calls import status
from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.log import Logger
from responsa_server.calls.interceptors.shape import Interceptor
from responsa_server.domain.errors import Cancelled, Reason, ResponsaError, Unavailable

_MAX_FRAMES = 40


class Errors(Interceptor[None]):
    """Maps errors. What nobody foresaw is logged with its call id and tells the caller nothing."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    async def on_start(self, call: Call) -> None:
        """Do nothing."""

    async def on_end(self, call: Call, token: None, error: BaseException | None) -> BaseException | None:
        """Map the error."""
        match error:
            case None | grpc.aio.AbortError():
                # The status was given by who aborted.
                return error
            case ResponsaError() if error.reason is not Reason.INTERNAL:
                if isinstance(error, Unavailable) and error.__cause__ is not None:
                    # The caller is told that a part is away; who runs the server wants to know why.
                    report(self._logger, call, error, "a part failed")
                return error
            case asyncio.CancelledError():
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # The caller left or the server stops: gRPC must see it, or the call leaks.
                    return error
                # Something inside was cancelled, not this call: unmapped, the caller would wait for ever.
                return Cancelled(Reason.CANCELLED, "The work on this call was cancelled; try again.")
            case Exception():
                report(self._logger, call, error)
                return status.unexpected(call.id)
            case _:
                return error


def report(logger: Logger, call: Call, error: BaseException, event: str = "unexpected error") -> None:
    """Log an error: its types, places and SQLSTATEs, down to its causes. Its texts may quote what was asked and stay out."""
    causes: list[str] = []
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        frames = traceback.extract_tb(one.__traceback__)[-_MAX_FRAMES:]
        places = " < ".join(
            f"{frame.name} {frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames)
        )
        kind = f"{type(one).__module__}.{type(one).__qualname__}"
        sqlstate = getattr(one, "sqlstate", None)
        causes.append(f"{kind}{f' ({sqlstate})' if sqlstate else ''} in {places or 'no frame'}")
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    logger.error(event, method=call.method, call_id=call.id, causes=causes)
