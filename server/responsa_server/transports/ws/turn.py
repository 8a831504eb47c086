"""The calls that a socket makes, and the turns that it follows."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from google.protobuf.message import Message

from responsa.auth.v1.auth_service_pb2 import GetMeRequest
from responsa.auth.v1.user_pb2 import User
from responsa.chat.v1.chat_service_pb2 import AskRequest, AskResponse, GetTurnRequest, ResumeTurnRequest
from responsa.chat.v1.turn_pb2 import Turn, TurnEvent
from responsa_server.calls import status
from responsa_server.calls.call import Call, Complete, Send, deadline_in
from responsa_server.calls.chain import Calls
from responsa_server.calls.methods import CHAT, GET_ME
from responsa_server.calls.violations import rename_fields
from responsa_server.domain.errors import Exhausted, Reason, ResponsaError, Unavailable
from responsa_server.domain.people import Principal
from responsa_server.transports.ws import frames
from responsa_server.transports.ws.auth import Metadata
from responsa_server.transports.ws.html import Rendering
from responsa_server.transports.ws.outbox import FrameQueue, Lane

TRIES: Final = 3
"""How many times in a row a stream is resumed without progress after it has broken off."""
FIRST_PAUSE_SECONDS: Final = 0.1
_ASK, _RESUME, _GET = CHAT + "Ask", CHAT + "ResumeTurn", CHAT + "GetTurn"
_FIELDS: Final = {
    "text": "content",
    "conversation": "conversation_id",
    "name": "turn",
    "options.parameters.teacher_id": "teacher_id",
}
"""The fields of the socket's messages whose names differ from those of the contract."""

Response = TypeVar("Response", bound=Message)


class GoElsewhere(Exception):
    """This server is stopping, or cannot follow the turn to its end; another server can follow the turn."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes the calls of one socket. The errors of these calls name the fields of the socket's messages. seconds: the
    time limit for a call that is not a stream."""

    calls: Calls
    metadata: Metadata = field(repr=False)
    peer: str
    seconds: float

    async def answer(self, method: str, request: Message, kind: type[Response]) -> Response:
        """Make a call with one response. Raises ResponsaError; its reason is PART_UNAVAILABLE if the time limit has passed."""
        return await self._answer(self._call(method), request, kind)

    async def principal(self) -> Principal:
        """The caller. Raises the same errors as `answer`."""
        call = self._call(GET_ME)
        await self._answer(call, GetMeRequest(), User)
        assert call.principal is not None, "the method needs a credential"
        return call.principal

    def _call(self, method: str) -> Call:
        return Call(method, self.metadata, self.peer, deadline_in(self.seconds))

    async def _answer(self, call: Call, request: Message, kind: type[Response]) -> Response:
        try:
            return await self.calls.answer(call, request, kind)
        except ResponsaError as error:
            late = error.reason is Reason.DEADLINE_EXCEEDED
            raise replace(status.SERVER_GONE) if late else _rename_fields(error) from error

    async def stream(self, method: str, request: Message, send: Send) -> None:
        """Make a call with many responses. Raises ResponsaError."""
        try:
            await self.calls.serve(Call(method, self.metadata, self.peer), Complete(request), send)
        except ResponsaError as error:
            raise _rename_fields(error) from error


@dataclass(slots=True, eq=False)
class Follower:
    """Follows one turn, from a question or from a seq, and puts the turn's frames into a lane of the outbox.

    tools: whether the client gets the calls of tools. turn: the name `turns/{uuid}`; "" before the turn is accepted.
    after_seq: the last seq that was sent. conversation: the turn's conversation; "" while it is unknown. ended: whether
    the outbox has the turn's last frame; the stream may close a moment later. answered: set once the question was
    accepted or refused.
    """

    caller: Caller
    outbox: FrameQueue
    rendering: Rendering
    deltas: bool
    tools: bool = False
    turn: str = ""
    after_seq: int = 0
    conversation: str = ""
    ended: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    _lane: Lane = field(default_factory=Lane)
    _elsewhere: bool = False

    async def ask(self, request: AskRequest) -> None:
        """Ask, and follow to the end. The request has a request_id: if the stream breaks off before the turn is known,
        the same request attaches to the turn.

        Raises:
            ResponsaError: the question was refused, or the turn can no longer be followed.
            GoElsewhere: the turn was accepted and continues; this server can no longer follow it.
        """
        await self._follow(_ASK, request)

    async def resume(self) -> None:
        """Follow `turn` from `after_seq` on. Raises the same errors as `ask`."""
        await self._follow(_RESUME, self._rest())

    async def look_up(self) -> None:
        """Learn the conversation of the turn to resume. If the turn cannot be read, `resume` raises the reason."""
        with contextlib.suppress(ResponsaError):
            self.conversation = (await self._get()).conversation

    async def put(self, frame: frames.Frame) -> None:
        """Add a frame after the turn's earlier frames."""
        await self.outbox.put(self._lane, frame)

    async def _follow(self, method: str, request: AskRequest | ResumeTurnRequest) -> None:
        came, tries = False, 0
        while True:
            before = self.after_seq
            try:
                await self.caller.stream(method, request, self._take)
            except ResponsaError as error:
                if self.ended:
                    return
                if not isinstance(error, Unavailable | Exhausted):
                    raise
                # The turn itself continues, whatever happens to its followers.
                came = came or self.after_seq > before
                tries = 0 if self.after_seq > before else tries + 1
                over = tries > TRIES or error.reason is Reason.DRAINING
                if came and over:
                    raise GoElsewhere from error
                if over or not (came or isinstance(error, Unavailable)):
                    raise
            else:
                if self._elsewhere:
                    raise GoElsewhere
                return
            if self.turn:
                method, request = _RESUME, self._rest()
            await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**tries * random.uniform(0.5, 1))  # noqa: S311  no secret

    def _rest(self) -> ResumeTurnRequest:
        return ResumeTurnRequest(turn=self.turn, after_seq=self.after_seq, include_deltas=self.deltas)

    async def _take(self, message: Message | bytes) -> None:
        """Add the frames for one message of the stream."""
        data = message if isinstance(message, bytes) else message.SerializeToString()
        frame = AskResponse.FromString(data)
        self.turn = frame.turn
        self.answered.set()
        for event in frame.events:
            await self._put_event(event)
            self.after_seq = max(self.after_seq, event.seq)
        self.after_seq = frame.through_seq

    async def _put_event(self, event: TurnEvent) -> None:
        seq = event.seq
        match event.WhichOneof("event"):
            case "started":
                self.conversation = event.started.conversation
                return
            case "reconnect":
                self._elsewhere = True
                return
            case "heartbeat":
                if position := event.heartbeat.queue_place:
                    await self.put(frames.waiting(self.turn, self.after_seq, position))
                return
            case "snapshot":
                event, seq = event.snapshot.terminal_event, event.snapshot.through_seq
            case "tool_call" | "tool_result" if not self.tools:
                return
            case _:
                pass
        ends = event.WhichOneof("event") in frames.TERMINAL
        if ends and not self.conversation:
            self.conversation = (await self._get()).conversation
        frame = await frames.of_event(self.turn, event, seq, self.conversation, self.rendering)
        if frame is not None:
            await self.put(frame)
        self.ended = ends

    async def _get(self) -> Turn:
        return await self.caller.answer(_GET, GetTurnRequest(name=self.turn), Turn)


def _rename_fields(error: ResponsaError) -> ResponsaError:
    """The same error with its fields named as in the socket's messages."""
    return rename_fields(error, lambda field: _FIELDS.get(field) or field.removeprefix("options."))
