"""How the tools reach the calls of the contract: within the server, or with the Python client from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from responsa.chat.v1.chat_service_pb2 import AskRequest, AskResponse
from responsa.chat.v1.turn_pb2 import TurnEvent
from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call, Complete
from responsa_server.calls.chain import Calls
from responsa_server.calls.status import Code
from responsa_server.domain.errors import Reason, ResponsaError, Unavailable

CHAT: Final = "/responsa.chat.v1.ChatService/"
KNOWLEDGE: Final = "/responsa.knowledge.v1.KnowledgeService/"
TERMINAL: Final = ("answer", "refused", "failed", "cancelled", "snapshot")

Response = TypeVar("Response", bound=Message)


class CallFailed(Exception):
    """A call of the contract failed. status: the error, as all transports send it."""

    def __init__(self, found: Status) -> None:
        super().__init__(found.message)
        self.status = found


class Backend(Protocol):
    """Makes calls of the contract for one caller. All methods raise CallFailed."""

    async def answer(self, method: str, request: Message, kind: type[Response]) -> Response:
        """Make a call with one response."""
        ...

    async def each(
        self, method: str, request: Message, kind: type[Response], take: Callable[[Response], bool]
    ) -> None:
        """Make a call that streams its response, until `take` returns False."""
        ...

    async def ask(self, request: AskRequest, take: Callable[[str, TurnEvent], Awaitable[None]]) -> None:
        """Ask, and pass the turn's name and each event on, up to the terminal one."""
        ...


class InProcess:
    """Makes the calls of one HTTP request through the chain of calls, with the caller's credential."""

    def __init__(self, calls: Calls, metadata: Mapping[str, Sequence[str]], peer: str) -> None:
        self._calls = calls
        self._metadata = metadata
        self._peer = peer

    @property
    def call_id(self) -> str:
        """The id of all calls of the request."""
        return self._metadata[CALL_ID][0]

    def call(self, method: str) -> Call:
        """A call of this request's caller."""
        return Call(method, self._metadata, self._peer)

    async def answer(self, method: str, request: Message, kind: type[Response]) -> Response:
        found: list[Response] = []

        async def take(response: Response) -> bool:
            found.append(response)
            return True

        await self._serve(method, request, kind, take)
        return found[0]

    async def each(
        self, method: str, request: Message, kind: type[Response], take: Callable[[Response], bool]
    ) -> None:
        async def passed_on(response: Response) -> bool:
            return take(response)

        await self._serve(method, request, kind, passed_on)

    async def ask(self, request: AskRequest, take: Callable[[str, TurnEvent], Awaitable[None]]) -> None:
        ended = away = False

        async def events(frame: AskResponse) -> bool:
            nonlocal ended, away
            for event in frame.events:
                kind = event.WhichOneof("event")
                ended, away = ended or kind in TERMINAL, away or kind == "reconnect"
                await take(frame.turn, event)
            return True

        await self._serve(CHAT + "Ask", request, AskResponse, events)
        if not ended:
            raise CallFailed(status.of(_DRAINING if away else _BROKEN))

    async def _serve(
        self,
        method: str,
        request: Message,
        kind: type[Response],
        take: Callable[[Response], Awaitable[bool]],
    ) -> None:
        enough = asyncio.Event()

        async def send(message: Message | bytes) -> None:
            response = kind.FromString(message) if isinstance(message, bytes) else message
            assert isinstance(response, kind), f"{method} does not answer with {kind.__name__}"
            if not enough.is_set() and not await take(response):
                enough.set()

        try:
            # The SDK cancels a handler again at each of its awaits; in a task of its own, the call cleans up in peace.
            await self._calls.serve_until(enough.wait(), self.call(method), Complete(request), send)
        except ResponsaError as error:
            raise CallFailed(status.of(error)) from error


_AGAIN: Final = "call the tool again with the same request_id"
_DRAINING: Final = Unavailable(
    Reason.DRAINING, f"The server is shutting down. The answer goes on: {_AGAIN}.", retry_after=1.0
)
_BROKEN: Final = Unavailable(
    Reason.PART_UNAVAILABLE, f"The stream broke off; {_AGAIN}.", {"part": "server"}, retry_after=1.0
)


def told(found: Status, fields: Mapping[str, str]) -> dict[str, object]:
    """An error as data: `reason`, `message`, `metadata`, and where there are some `fields` with their remedies and `retry_after` in seconds. fields: the names of arguments by those of the contract's fields."""
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail in found.details:
        for kind in (info, bad, retry):
            detail.Unpack(kind)
    message = found.message
    wrong: list[dict[str, str]] = []
    for violation in bad.field_violations:
        name = violation.field
        path = next(
            (path for path in fields if name == path or name.startswith((f"{path}[", f"{path}."))), ""
        )
        shown = fields[path] + name.removeprefix(path) if path else name
        message = message.replace(f"{name}: ", f"{shown}: ", 1)
        wrong.append({"field": shown, "description": violation.description})
    seconds = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return {
        "reason": info.reason or Code(found.code).name,
        "message": message,
        "metadata": dict(info.metadata),
        **({"fields": wrong} if wrong else {}),
        **({"retry_after": seconds} if seconds else {}),
    }
