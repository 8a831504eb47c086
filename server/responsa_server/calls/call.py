"""One call as interceptors and services see it, whichever transport carries it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NoReturn, TypeAlias, TypeVar
from urllib.parse import unquote

from google.protobuf.message import Message
from structlog.contextvars import bind_contextvars

from responsa_server.domain.people import Origin, Principal

CALL_ID = "x-request-id"
"""The name of a call's id: a request header, and a trailer or header of the response."""
FORWARDED_FOR = "x-forwarded-for"
"""The header in which Envoy reports its caller's address: one address, which replaces whatever was in the header."""
ON_BEHALF_OF = "responsa-on-behalf-of"
"""The header with which a service names the user on whose behalf it makes the call, as `users/{uuid}`."""
TRACEPARENT = "traceparent"
"""The header in which a caller names its own span (W3C Trace Context)."""
ORIGIN = "origin"
"""Where the page is that sends the call; browsers alone send it, and no page can change it."""
FETCH_SITE = "sec-fetch-site"
"""Whether the page that sends the call is of this origin; browsers alone send it, to servers with TLS or on loopback,
and no page can change it (Fetch Metadata)."""
USER = "responsa-user"
"""The header with which a client names the user for whom it believes to make the call, as `users/{uuid}`."""

Read: TypeAlias = Callable[[], Awaitable["bytes | None"]]
"""Returns the next message of a request as bytes; None after the last message."""
Send: TypeAlias = Callable[["Message | bytes"], Awaitable[None]]
"""Sends one message of the response, given as a message or as bytes. Returns once there is room for the next message,
so a slow reader slows the call."""

# The assumed maximum time that a request takes from the client to this server.
_DEADLINE_LAG_SECONDS = 0.5
_MAX_ADDRESS = 64
_MAX_USER_AGENT = 200

_current: ContextVar[Call] = ContextVar("responsa_call")


@dataclass(slots=True, eq=False)
class Call:
    """One call. When the client disconnects, the transport cancels the task that serves the call.

    method: the path of the method, `/package.Service/Method`. metadata: the values that the caller sent, by lower-case
    name. peer: the transport and the caller's address, such as `grpc ipv4:127.0.0.1:51312`. deadline: the time on the
    clock `time.monotonic()` at which the caller stops waiting; None if the caller waits for ever. served: whether this
    server has the method. lasts: whether the call streams, or waits for other work to end. safe: whether the method of
    its HTTP request says that it changes nothing (GET, HEAD); gRPC has no such method. resource: the address of the
    protected resource to which the request was sent, at which the tokens of programs count (RFC 8707); "" elsewhere.
    id: the call id; empty until the interceptor `CallId` sets it.
    principal: the caller; None on calls that need no credential. tenant: the tenant that a call without a principal
    concerns, "" until it is known. turn: what the call's line names of its turn, see `log_turn`. act, resources: for a
    change whose refusal the audit log records, the action in that log and the names of the resources in the request,
    which the interceptor `Audited` sets. complete: whether the transport has got, or is about to get, the last message
    of the response, so that a caller who leaves now has not cancelled anything. leaving: functions to run if the client
    disconnects before the call has ended.
    """

    method: str
    metadata: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    peer: str = ""
    deadline: float | None = None
    served: bool = True
    lasts: bool = False
    safe: bool = False
    resource: str = ""
    id: str = ""
    principal: Principal | None = None
    tenant: str = ""
    turn: Mapping[str, str] = field(default_factory=dict[str, str])
    act: str = ""
    resources: Sequence[str] = ()
    complete: bool = False
    leaving: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    @property
    def transport(self) -> str:
        """The transport that carries the call, such as `grpc` or `rest`; "" if it is not known."""
        return self.peer.partition(" ")[0]

    @property
    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, negative after it; None when the caller set no deadline."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    @property
    def origin(self) -> Origin:
        """Where the call comes from."""
        agent = next(iter(self.metadata.get("user-agent", ())), "")
        printable = "".join(char for char in agent if char.isprintable())
        shown = printable.encode()[:_MAX_USER_AGENT].decode(errors="ignore")
        return Origin(self.address, shown, self.id, self.log_tenant)

    @property
    def logged_tenant(self) -> str:
        """The tenant for the log; "" if it is not known."""
        return self.tenant if self.principal is None else self.principal.tenant_id

    def log_tenant(self, tenant_id: str) -> None:
        """Note the tenant that the call turns out to concern, for the log."""
        self.tenant = tenant_id

    def log_turn(self, ids: Mapping[str, str]) -> None:
        """Note the turn that the call has begun or attached to, for the log. ids: see `domain.turns.log_ids`."""
        # The work of a call may run in a task of its own, whose context the line at the call's end does not see.
        self.turn = ids
        bind_contextvars(**ids)

    @property
    def address(self) -> str:
        """The network address of the caller, without the port; "" if it is not known, as for a call over a unix socket
        that did not pass Envoy."""
        forwarded = self.metadata.get(FORWARDED_FOR, ())
        if forwarded:
            return forwarded[-1].rpartition(",")[2].strip()[:_MAX_ADDRESS]
        # gRPC's peer is "ipv4:127.0.0.1:51312" or "ipv6:%5B::1%5D:51312"; an HTTP peer is "127.0.0.1:51312".
        family, _, rest = self.peer.partition(" ")[2].partition(":")
        host = rest if family in ("ipv4", "ipv6") else self.peer.partition(" ")[2]
        if family in ("unix", "unix-abstract"):
            return ""
        return unquote(host.rpartition(":")[0]).strip("[]")[:_MAX_ADDRESS]

    def when_left(self, act: Callable[[], None]) -> None:
        """Run `act` if the client disconnects before the call has ended. `act` does not run when the deadline passes or
        when this server ends the call."""
        self.leaving.append(act)

    def abandon(self) -> None:
        """Run the functions that `when_left` registered. Call this when the call was cancelled, unless this server cancelled the call.

        On gRPC's wire, a passed deadline and a disconnected client look the same (RST_STREAM, CANCEL), and the client's
        timer started one network delay before ours. Therefore, a call that is cancelled shortly before its deadline
        counts as ended by the deadline.
        """
        remaining = self.time_remaining
        if remaining is None or remaining > _DEADLINE_LAG_SECONDS:
            for act in self.leaving:
                act()

    def enter(self) -> Token[Call]:
        """Make this the current call of the running task and of all tasks that it starts. `leave` restores the earlier call."""
        return _current.set(self)

    @staticmethod
    def leave(token: Token[Call]) -> None:
        """Restore the call that was current before `enter`."""
        _current.reset(token)


def current() -> Call:
    """The call that the running task serves. Raises LookupError outside a call."""
    return _current.get()


def caller() -> Principal:
    """The principal of the current call. Raises LookupError if the call was admitted without a credential."""
    principal = _current.get().principal
    if principal is None:
        raise LookupError("this call was let in without a credential")
    return principal


def metadata_of(pairs: Iterable[tuple[str, object]]) -> Mapping[str, Sequence[str]]:
    """Textual metadata, keyed by lower-case name; a name may occur more than once. Binary values are left out."""
    result: dict[str, list[str]] = {}
    for key, value in pairs:
        if isinstance(value, str):
            result.setdefault(key.lower(), []).append(value)
    return result


def deadline_in(seconds: float | None) -> float | None:
    """The deadline of a call whose caller waits this many seconds from now; None if the caller waits for ever."""
    return None if seconds is None else time.monotonic() + seconds


def peer_of(client: object) -> str:
    """The address of an HTTP client from ASGI's scope: host and port, "" for a unix socket."""
    match client:
        case (str(host), int(port)) | [str(host), int(port)]:
            return f"{host}:{port}"
        case _:
            return ""


async def wait_disconnect(receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
    """Return once an HTTP client is gone. receive: ASGI's function; the body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def abandon() -> NoReturn:
    """Cancel the current task, and with it the call, because the client is gone. A transport's `Read` and `Send` may call this."""
    task = asyncio.current_task()
    assert task is not None, "calls run in tasks"
    task.cancel()
    await asyncio.sleep(0)
    raise AssertionError("a cancelled task does not go on")


class Complete:
    """A `Read` of one message that has already arrived, so it never waits."""

    __slots__ = ("_waiting",)

    def __init__(self, message: Message) -> None:
        self._waiting = [message.SerializeToString()]

    async def __call__(self) -> bytes | None:
        """The message, and then None."""
        return self._waiting.pop() if self._waiting else None


StartValue = TypeVar("StartValue")


@dataclass(frozen=True, slots=True)
class Received:
    """A message of a request as received, and the function that parses it."""

    data: bytes
    parse: Callable[[bytes], Message]


class Interceptor(Generic[StartValue]):
    """Code that runs around a call. everywhere: whether it also runs around requests that are not methods of the contract (`Calls.around`).

    The first interceptor of the chain begins first and ends last. An error that `on_start` raises ends the call;
    `on_end` then runs for the interceptors that have begun.
    """

    everywhere: ClassVar[bool] = False

    async def on_start(self, call: Call) -> StartValue:
        """Begin, before the handler runs. The return value is passed to `on_end`."""
        raise NotImplementedError

    def on_request(self, call: Call, message: object) -> object:
        """Process one message of the request, and return the message for the next interceptor.

        The first interceptor gets a `Received`; each later interceptor gets the value that the previous interceptor returned.
        """
        del call
        return message

    async def on_end(
        self, call: Call, token: StartValue, error: BaseException | None
    ) -> BaseException | None:
        """Finish; this runs however the call ended. error: the error that ended the call; None on success. Returns the
        error to pass to the interceptors that began earlier."""
        del call, token
        return error
