"""The calls that the server's own tools make, within its process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from google.protobuf.message import Message

from responsa.chat.v1.chat_service_pb2 import (
    AskRequest,
    AskResponse,
    ResumeTurnRequest,
    ResumeTurnResponse,
)
from responsa.chat.v1.turn_pb2 import TurnEvent
from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call, Complete
from responsa_server.calls.chain import Calls
from responsa_server.calls.methods import CHAT
from responsa_server.transports.mcp.backend import TERMINAL, Response

OnProgress = Callable[[str, int], Awaitable[None]]
"""Learns how far a turn is followed, so that the rest can be sent again: the turn's name, and the number of an event
that is about to be passed on, 0 for one that the log does not have. The terminal event is not told."""


class InProcess:
    """Makes the calls of one HTTP request through the chain of calls, with the caller's credential."""

    def __init__(
        self, calls: Calls, metadata: Mapping[str, Sequence[str]], peer: str, resource: str = ""
    ) -> None:
        """resource: see `Call`."""
        self._resource = resource
        self.on_progress: OnProgress | None = None
        """Who learns how far the turn is; None for nobody."""
        self._calls = calls
        self._metadata = metadata
        self._peer = peer

    @property
    def call_id(self) -> str:
        """The id of all calls of the request."""
        return self._metadata[CALL_ID][0]

    def call(self, method: str) -> Call:
        """A call of this request's caller."""
        return Call(method, self._metadata, self._peer, resource=self._resource)

    async def answer(self, method: str, request: Message, kind: type[Response]) -> Response:
        responses: list[Response] = []

        async def take(response: Response) -> bool:
            responses.append(response)
            return True

        await self.each(method, request, kind, take)
        return responses[0]

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
        await self._follow("Ask", request, AskResponse, take)

    async def resume(
        self, request: ResumeTurnRequest, take: Callable[[str, TurnEvent], Awaitable[None]]
    ) -> None:
        """Follow a turn again, as `ask` does, from the event after the request's `after_seq`. Raises ResponsaError."""
        await self._follow("ResumeTurn", request, ResumeTurnResponse, take)

    async def _follow(
        self,
        method: str,
        request: Message,
        kind: type[AskResponse] | type[ResumeTurnResponse],
        take: Callable[[str, TurnEvent], Awaitable[None]],
    ) -> None:
        ended = away = False

        async def events(frame: AskResponse | ResumeTurnResponse) -> bool:
            nonlocal ended, away
            for event in frame.events:
                which = event.WhichOneof("event")
                ended, away = ended or which in TERMINAL, away or which == "reconnect"
                if self.on_progress is not None and which not in TERMINAL:
                    await self.on_progress(frame.turn, event.seq)
                await take(frame.turn, event)
            return True

        await self.each(CHAT + method, request, kind, events)
        if not ended:
            raise status.interruption("call the tool again with the same request_id", draining=away)
