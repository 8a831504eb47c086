"""How the tools reach the calls of the contract: within the server, or with the Python client from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from responsa.chat.v1.chat_service_pb2 import AskRequest, AskResponse
from responsa.chat.v1.turn_pb2 import TurnEvent
from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call, Complete
from responsa_server.calls.chain import Calls
from responsa_server.calls.methods import CHAT
from responsa_server.calls.violations import renamed, within
from responsa_server.domain.errors import ResponsaError

KNOWLEDGE: Final = "/responsa.knowledge.v1.KnowledgeService/"
TERMINAL: Final = ("answer", "refused", "failed", "cancelled", "snapshot")

Response = TypeVar("Response", bound=Message)


class Backend(Protocol):
    """Makes calls of the contract for one caller. All methods raise ResponsaError."""

    async def answer(self, method: str, request: Message, kind: type[Response]) -> Response:
        """Make a call with one response."""
        ...

    async def each(
        self, method: str, request: Message, kind: type[Response], take: Callable[[Response], Awaitable[bool]]
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

        await self.each(method, request, kind, take)
        return found[0]

    async def each(
        self, method: str, request: Message, kind: type[Response], take: Callable[[Response], Awaitable[bool]]
    ) -> None:
        enough = asyncio.Event()

        async def send(message: Message | bytes) -> None:
            response = kind.FromString(message) if isinstance(message, bytes) else message
            assert isinstance(response, kind), f"{method} does not answer with {kind.__name__}"
            if not enough.is_set() and not await take(response):
                enough.set()

        # The SDK cancels a handler again at each of its awaits; in a task of its own, the call cleans up in peace.
        await self._calls.serve_until(enough.wait(), self.call(method), Complete(request), send)

    async def ask(self, request: AskRequest, take: Callable[[str, TurnEvent], Awaitable[None]]) -> None:
        ended = away = False

        async def events(frame: AskResponse) -> bool:
            nonlocal ended, away
            for event in frame.events:
                kind = event.WhichOneof("event")
                ended, away = ended or kind in TERMINAL, away or kind == "reconnect"
                await take(frame.turn, event)
            return True

        await self.each(CHAT + "Ask", request, AskResponse, events)
        if not ended:
            raise status.broken_off("call the tool again with the same request_id", draining=away)


def told(error: ResponsaError, fields: Mapping[str, str]) -> dict[str, object]:
    """An error as data: `reason`, `message`, `metadata`, and where there are some `fields` with their remedies and `retry_after` in seconds. fields: the names of arguments by those of the contract's fields."""
    error = renamed(error, within(fields))
    wrong = [{"field": one.field, "description": one.description} for one in error.violations]
    return {
        "reason": error.reason.value,
        "message": error.message,
        "metadata": dict(error.metadata),
        **({"fields": wrong} if wrong else {}),
        **({"retry_after": error.retry_after} if error.retry_after else {}),
    }
