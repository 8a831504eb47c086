"""The call being served, for interceptors and handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

import grpc.aio

from responsa_server.domain.people import Principal

Context = grpc.aio.ServicerContext[Any, Any]
CALL_ID = "x-request-id"
"""What carries a call's id: a header of the request, a trailer of the answer. The gateway tells it in the answer's headers too."""

# How long a request may have been on its way.
_DEADLINE_LAG_SECONDS = 0.5

_current: ContextVar[Call] = ContextVar("responsa_call")


@dataclass(slots=True, eq=False)
class Call:
    """One call.

    method: `/package.Service/Method`. metadata: values by lower-case name, as the caller sent them. served: whether there is such a method.
    id: the call id, once its interceptor ran.
    principal: who calls, None on calls that need no credential. length_known: set by the handler of a client stream that tells by itself whether all
    of it came. leaving: what happens when the client goes away before the call has ended.
    """

    method: str
    context: Context
    metadata: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    served: bool = True
    id: str = ""
    principal: Principal | None = None
    length_known: bool = False
    leaving: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    @property
    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None when it set none."""
        return cast("float | None", self.context.time_remaining())

    def when_left(self, act: Callable[[], None]) -> None:
        """Have this done when the client goes away before the call has ended: not when its deadline passed, nor when this server ends the call."""
        self.leaving.append(act)

    def left(self) -> None:
        """The call was cancelled, and not by this server.

        On the wire a client whose deadline passed and one that goes away are the same (RST_STREAM, CANCEL), and the client's clock began to run a network's delay
        before ours: what ends so close to the deadline counts as ended by it.
        """
        remaining = self.time_remaining
        if remaining is None or remaining > _DEADLINE_LAG_SECONDS:
            for act in self.leaving:
                act()

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
