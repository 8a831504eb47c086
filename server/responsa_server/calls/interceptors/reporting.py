"""Logs calls: the id, one line per call, and errors."""

from __future__ import annotations

import asyncio
import re
import time
import traceback
from collections.abc import Mapping
from contextvars import Token
from typing import Any, Final, Protocol
from uuid import uuid4

from structlog.contextvars import bind_contextvars, reset_contextvars

from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call, Interceptor
from responsa_server.calls.status import Code
from responsa_server.domain.errors import CallCancelled, Exhausted, Reason, ResponsaError, Unavailable
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.telemetry import instruments
from responsa_server.telemetry.unexpected import note

# The id is written to the log, so an id that could break the log's format is replaced.
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_FRAMES = 40
_UNBOUND: Final = dict.fromkeys(("tenant", "turn", "agent", "version"), ...)
"""What a call does not name yet: structlog leaves out these values."""
PLUMBING = "/grpc."
"""The beginning of the methods of health checks and reflection."""


class Logger(Protocol):
    """The methods of structlog's loggers that are used here."""

    def debug(self, event: str, **fields: object) -> object:
        """Log details for finding a fault."""
        ...

    def info(self, event: str, **fields: object) -> object:
        """Log normal operation."""
        ...

    def error(self, event: str, **fields: object) -> object:
        """Log a problem that needs attention."""
        ...


class CallId(Interceptor[Mapping[str, Token[Any]]]):
    """Gives each call an id for the caller and the log: the caller's `x-request-id`, or a new one. Transports return it
    with the response. All lines that the call's task writes, and the tasks that it starts, have the id as `call_id`."""

    everywhere = True

    async def on_start(self, call: Call) -> Mapping[str, Token[Any]]:
        """Choose the id."""
        ids = call.metadata.get(CALL_ID, ())
        call.id = call_id(ids[0] if len(ids) == 1 else "")
        # A call may be made within another one.
        return bind_contextvars(call_id=call.id, **_UNBOUND)

    async def on_end(
        self, call: Call, token: Mapping[str, Token[Any]], error: BaseException | None
    ) -> BaseException | None:
        """Forget what the call's lines name."""
        del call
        reset_contextvars(**token)
        return error


def call_id(requested: str) -> str:
    """The caller's id, or a new id if the caller's id is missing or could break the log's format."""
    return requested if _ACCEPTABLE.fullmatch(requested) else str(uuid4())


class Log(Interceptor[float]):
    """Writes one line at the end of each call: method, code, reason, duration, call id, tenant, user, the service that
    acted on behalf of the user, and the turn that the call has asked for. The line never contains a text, a key or a
    cookie.

    Health checks and reflection are logged at debug level.
    """

    everywhere = True

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    async def on_start(self, call: Call) -> float:
        """Record the time."""
        del call
        return time.perf_counter()

    async def on_end(self, call: Call, token: float, error: BaseException | None) -> BaseException | None:
        """Write the line."""
        write = self._logger.debug if call.method.startswith(PLUMBING) else self._logger.info
        caller, seconds = call.principal, time.perf_counter() - token
        # Clients cancel a stream as soon as they have its last message, often before the server has noticed that it was sent.
        over = call.complete and isinstance(error, asyncio.CancelledError)
        code = Code.OK if over else code_of(error)
        _measure(call, code, error, seconds)
        write(
            "call",
            method=call.method,
            code=code.name,
            reason=error.reason.value if isinstance(error, ResponsaError) else "",
            duration_ms=round(seconds * 1000, 2),
            call_id=call.id,
            tenant=call.logged_tenant,
            user="" if caller is None else str(caller.user_id),
            **({} if caller is None or caller.acting is None else {"acting": str(caller.acting)}),
            **call.turn,
        )
        return error


def _measure(call: Call, code: Code, error: BaseException | None, seconds: float) -> None:
    if not instruments.CALLS.on:
        return
    # A caller may invent methods, but only served ones get this far into the name.
    method = call.method.rpartition(".")[2] if call.served else instruments.OTHER
    instruments.CALLS.add(1, method, code.name)
    instruments.CALL_SECONDS.add(seconds, method)
    if isinstance(error, Exhausted):
        instruments.REFUSALS.add(1, error.reason.value)


def code_of(error: BaseException | None) -> Code:
    """The code with which a call that ended with this error ends."""
    match error:
        case None:
            return Code.OK
        case ResponsaError():
            return status.code(error)
        case asyncio.CancelledError():
            return Code.CANCELLED
        case _:
            return Code.UNKNOWN


class Errors(Interceptor[None]):
    """Turns every exception into a domain error, except the cancellation of the call itself. Logs unforeseen errors
    with the call id; callers get no details of them."""

    everywhere = True

    def __init__(self, logger: Logger, errors: UnexpectedErrors | None = None) -> None:
        """errors: counts the unforeseen errors."""
        self._logger = logger
        self._errors = errors or UnexpectedErrors()

    async def on_start(self, call: Call) -> None:
        """Do nothing."""

    async def on_end(self, call: Call, token: None, error: BaseException | None) -> BaseException | None:
        """Map the error."""
        match error:
            case None:
                return None
            case ResponsaError() if error.reason is not Reason.INTERNAL:
                if isinstance(error, Unavailable) and error.__cause__ is not None:
                    # Callers learn only that a part is down. The operator also needs the reason, so it is logged.
                    report(self._logger, call, error, "a part failed")
                return error
            case asyncio.CancelledError():
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # The client disconnected or the server is stopping. The transport must see the cancellation, or the call leaks.
                    return error
                # Something inside the call was cancelled, not the call. Without this mapping the caller would wait for ever.
                return CallCancelled(Reason.CANCELLED, "The work on this call was cancelled; try again.")
            case Exception():
                unforeseen(self._logger, call, error, self._errors)
                return status.internal_error(call.id)
            case _:
                return error


def unforeseen(logger: Logger, call: Call, error: BaseException, errors: UnexpectedErrors) -> None:
    """Log and count an unforeseen error of a call."""
    note(errors, error, call.id)
    report(logger, call, error)


def report(logger: Logger, call: Call, error: BaseException, event: str = "unexpected error") -> None:
    """Log an error and its causes: types, code locations and SQLSTATEs. Error texts are left out, because they may quote a question."""
    causes: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frames = traceback.extract_tb(cause.__traceback__)[-_MAX_FRAMES:]
        places = " < ".join(
            f"{frame.name} {frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames)
        )
        kind = f"{type(cause).__module__}.{type(cause).__qualname__}"
        sqlstate = getattr(cause, "sqlstate", None)
        causes.append(f"{kind}{f' ({sqlstate})' if sqlstate else ''} in {places or 'no frame'}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    logger.error(
        event, method=call.method, call_id=call.id, tenant=call.logged_tenant, peer=call.peer, causes=causes
    )
