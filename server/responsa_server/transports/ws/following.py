"""Follows one turn for a socket, over breaks of its stream."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import grpc
from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status

from responsa.chat.v1.chat_service_pb2 import (
    AskRequest,
    AskResponse,
    GetTurnRequest,
    ResumeTurnRequest,
    ResumeTurnResponse,
)
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceStub
from responsa.chat.v1.turn_pb2 import Turn, TurnEvent
from responsa_server.domain.errors import Reason
from responsa_server.transports.http.problems import RpcFailed, status_of
from responsa_server.transports.ws import frames
from responsa_server.transports.ws.auth import Metadata
from responsa_server.transports.ws.html import Rendering
from responsa_server.transports.ws.outbox import Lane, Outbox

TRIES: Final = 3
"""How often a stream that breaks is taken up again without anything coming of it."""
FIRST_PAUSE_SECONDS: Final = 0.1

Stream: TypeAlias = "grpc.aio.UnaryStreamCall[AskRequest, AskResponse] | grpc.aio.UnaryStreamCall[ResumeTurnRequest, ResumeTurnResponse]"


class GoElsewhere(Exception):
    """This server goes away, or cannot follow the turn to its end; another one can."""


@dataclass(slots=True)
class Place:
    """How far a turn was told. turn: `turns/{uuid}`, "" before it is known. conversation: "" while unknown."""

    turn: str = ""
    after_seq: int = 0
    conversation: str = ""


class Follower:
    """One turn, from a question or from a seq on, into a lane of the outbox. call_seconds: within which a call that is no stream must be answered."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        metadata: Metadata,
        outbox: Outbox,
        rendering: Rendering,
        *,
        call_seconds: float,
        deltas: bool,
        place: Place | None = None,
    ) -> None:
        self._chat = ChatServiceStub(channel)
        self._metadata = metadata
        self._outbox = outbox
        self._rendering = rendering
        self._call_seconds = call_seconds
        self._lane = Lane()
        self._deltas = deltas
        self._place = place or Place()

    @property
    def turn(self) -> str:
        """`turns/{uuid}`; "" before it is known."""
        return self._place.turn

    async def ask(self, request: AskRequest) -> None:
        """Ask, and follow to the end. The request has a request_id: one that broke off before its turn was known is sent again and attaches.

        Raises:
            RpcFailed: what the RPC answered in place of a turn; without a status when nobody answered.
            GoElsewhere: the turn was accepted and goes on; it cannot be followed here any more.
        """
        await self._follow(lambda: self._chat.Ask(request, metadata=self._metadata))

    async def resume(self) -> None:
        """Follow from the given place on. Raises as `ask` does."""
        await self._follow(self._resumed)

    async def look_up(self) -> Turn | None:
        """The turn that is resumed; None when it is not to be had, of which `resume` tells why."""
        try:
            found = await self._turn()
        except grpc.aio.AioRpcError:
            return None
        self._place.conversation = found.conversation
        return found

    async def tell(self, frame: frames.Frame) -> None:
        """Put a frame behind those of the turn."""
        await self._outbox.put(self._lane, frame)

    def _resumed(self) -> Stream:
        request = ResumeTurnRequest(
            turn=self._place.turn, after_seq=self._place.after_seq, include_deltas=self._deltas
        )
        return self._chat.ResumeTurn(request, metadata=self._metadata)

    async def _follow(self, begin: Callable[[], Stream]) -> None:
        came, tries = False, 0
        while True:
            before = self._place.after_seq
            failed: Status | None = None
            try:
                if await self._read(begin()):
                    return
                if not came and self._place.turn and await self._has_ended():
                    return
            except grpc.aio.AioRpcError as error:
                failed = status_of(error.trailing_metadata())
            came = came or self._place.after_seq > before
            if not came and failed is not None:
                raise RpcFailed(failed)
            if failed is not None and not _passes(failed):
                raise RpcFailed(failed)
            tries = 0 if self._place.after_seq > before else tries + 1
            if tries > TRIES:
                if self._place.turn:
                    raise GoElsewhere
                raise RpcFailed(None)
            if self._place.turn:
                begin = self._resumed
            await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**tries * random.uniform(0.5, 1))  # noqa: S311  no secret

    async def _read(self, call: Stream) -> bool:
        """Put all frames of one stream. Returns whether the turn's end was among them."""
        try:
            async for one in call:
                if one.after_seq != self._place.after_seq:
                    return False  # a hole: as good as cut
                self._place.turn = one.turn
                for event in one.events:
                    if await self._put(event):
                        return True
                    self._place.after_seq = max(self._place.after_seq, event.seq)
                self._place.after_seq = one.through_seq
        finally:
            call.cancel()
        return False

    async def _put(self, event: TurnEvent) -> bool:
        """Put what one event becomes. Returns whether it ends the turn. Raises GoElsewhere."""
        match event.WhichOneof("event"):
            case "started":
                self._place.conversation = event.started.conversation
                return False
            case "reconnect":
                raise GoElsewhere
            case "heartbeat":
                if event.heartbeat.queue_place:
                    place = event.heartbeat.queue_place
                    await self.tell(frames.waiting(self._place.turn, self._place.after_seq, place))
                return False
            case "snapshot":
                event, seq = event.snapshot.terminal_event, event.snapshot.through_seq
            case _:
                seq = event.seq
        ends = frames.is_terminal(event)
        if ends and not self._place.conversation:
            self._place.conversation = (await self._turn()).conversation
        frame = await frames.of_event(self._place.turn, event, seq, self._place.conversation, self._rendering)
        if frame is not None:
            await self.tell(frame)
        return ends

    async def _turn(self) -> Turn:
        request = GetTurnRequest(name=self._place.turn)
        return await self._chat.GetTurn(request, metadata=self._metadata, timeout=self._call_seconds)

    async def _has_ended(self) -> bool:
        """Whether nothing came because there is nothing: who resumes from the last seq has had the end."""
        found = await self._turn()
        return found.HasField("terminal_event") and found.last_seq <= self._place.after_seq


def _passes(failed: Status) -> bool:
    """Whether an error in the midst of a turn is of the moment: the turn itself is not touched by it."""
    return failed.code in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)


def drains(failed: Status | None) -> bool:
    """Whether a server refused because it goes away."""
    return failed is not None and frames.reason_of(failed) == Reason.DRAINING
