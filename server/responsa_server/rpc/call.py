"""The call being served, for interceptors and handlers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

import grpc.aio

from responsa_server.domain.people import Principal

Context = grpc.aio.ServicerContext[Any, Any]
CALL_ID = "x-request-id"
"""The header that carries a call's id, in both directions."""

_current: ContextVar[Call] = ContextVar("responsa_call")


@dataclass(slots=True, eq=False)
class Call:
    """One call.

    method: `/package.Service/Method`. metadata: values by lower-case name, as the caller sent them. served: whether there is such a method.
    id: the call id, once its interceptor ran.
    principal: who calls, None on calls that need no credential. length_known: set by the handler of a client stream that tells by itself whether all
    of it came. answering: whether the answer's metadata were sent.
    """

    method: str
    context: Context
    metadata: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    served: bool = True
    id: str = ""
    principal: Principal | None = None
    length_known: bool = False
    answering: bool = False

    @property
    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None when it set none."""
        return cast("float | None", self.context.time_remaining())

    async def answer(self) -> None:
        """Send the answer's metadata, once: before its first message and never before an error.

        An error alone must come as trailers only: the transcoder has sent `200 OK` by the time that it sees trailers behind metadata.
        """
        if not self.answering:
            self.answering = True
            await self.context.send_initial_metadata(((CALL_ID, self.id),))

    def enter(self) -> None:
        """Make this the current call of the running task and of all that it starts."""
        _current.set(self)


def current() -> Call:
    """The call that the running task serves. Raises LookupError outside of one."""
    return _current.get()


def caller() -> Principal:
    """Who makes the current call. Only calls of services that need a credential may ask."""
    principal = _current.get().principal
    if principal is None:
        raise LookupError("this call was let in without a credential")
    return principal


def metadata_of(context: Context) -> Mapping[str, Sequence[str]]:
    """The textual metadata of a call; a name may come more than once. Binary entries are left out."""
    result: dict[str, list[str]] = {}
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            result.setdefault(key, []).append(value)
    return result
