"""One socket, from its handshake to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import uuid4

import structlog
from google.protobuf import json_format
from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status
from starlette.websockets import WebSocket, WebSocketDisconnect

from responsa.auth.v1.auth_service_pb2 import GetMeRequest
from responsa.auth.v1.user_pb2 import User
from responsa.chat.v1.chat_service_pb2 import CancelTurnRequest
from responsa.chat.v1.turn_pb2 import Turn
from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, peer_of
from responsa_server.calls.chain import Calls
from responsa_server.domain.errors import Exhausted, InvalidRequest, Reason, ResponsaError
from responsa_server.transports.ws import frames
from responsa_server.transports.ws.auth import (
    Handshake,
    Metadata,
    Owner,
    bearer,
    handshake_of,
    missing,
)
from responsa_server.transports.ws.html import Rendering
from responsa_server.transports.ws.incoming import (
    MAX_BYTES,
    Cancel,
    Incoming,
    Ping,
    Question,
    Resume,
    SignIn,
    parse,
    teacher_in,
)
from responsa_server.transports.ws.naming import in_socket_words
from responsa_server.transports.ws.outbox import Lane, Outbox
from responsa_server.transports.ws.registry import Registry
from responsa_server.transports.ws.turn import Caller, CallFailed, Follower, GoElsewhere, Place

_GET_ME: Final = "/responsa.auth.v1.AuthService/GetMe"
_CANCEL: Final = "/responsa.chat.v1.ChatService/CancelTurn"
POLICY_VIOLATION: Final = 1008
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013
_FIRST_MESSAGE_BYTES: Final = 8_192
"""Per message before the sign-in; a token is far shorter."""
_FIRST_MESSAGES: Final = 128
"""How many messages may come before the sign-in."""
_MOST_NAME: Final = 64
"""Characters of a turn name from a client that are sent back to it; valid names are shorter."""
_LAST_WORDS_SECONDS: Final = 5.0
"""How long a client may take to read what was waiting when its socket closes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one socket. heartbeat_seconds: of silence before a heartbeat is sent. credential_seconds: time in which a token must arrive. turns: how
    many it follows at a time. message_bytes: per message; a longer one is refused with a frame, and beyond 2 MiB the socket closes. call_seconds: time
    limit for a call that is not a stream."""

    heartbeat_seconds: float = 15.0
    credential_seconds: float = 10.0
    turns: int = 4
    message_bytes: int = MAX_BYTES
    call_seconds: float = 10.0


class Session:
    """One socket. Its reader takes messages, one follower per turn fills the outbox, its writer empties it."""

    def __init__(
        self,
        socket: WebSocket,
        calls: Calls,
        registry: Registry,
        rendering: Rendering,
        limits: Limits,
    ) -> None:
        self._socket = socket
        self._calls = calls
        self._registry = registry
        self._rendering = rendering
        self._limits = limits
        self._outbox = Outbox()
        self._call_id = ""
        self._caller: Caller | None = None
        self._owner: Owner | None = None
        self._asked = False
        self._followers: dict[asyncio.Task[None], Follower] = {}
        self._ended = asyncio.Event()
        self._end = (1000, "")
        self._log = structlog.get_logger("websocket")

    async def run(self) -> None:
        """Serve the socket until one side ends it. Turns continue when the client disconnects."""
        handshake = handshake_of(self._socket)
        self._call_id = handshake.call_id
        self._log = self._log.bind(call_id=handshake.call_id)
        await self._socket.accept(subprotocol=handshake.subprotocol)
        reader = asyncio.create_task(self._read(handshake))
        writer = asyncio.create_task(self._write())
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({reader, writer, ended}, return_when=asyncio.FIRST_COMPLETED)
            await self._stop(reader, *self._followers)
            self._outbox.close()
            await asyncio.wait({writer}, timeout=_LAST_WORDS_SECONDS)
        finally:
            await self._stop(reader, writer, ended, *self._followers)
            if self._owner is not None:
                self._registry.exit(self._owner, self)

    def leave(self) -> None:
        """Ask the client to reconnect elsewhere."""
        self._finish(SERVICE_RESTART, "the server goes away; come back and resume")

    def _finish(self, code: int, reason: str) -> None:
        """Close the socket once the outbox is sent. The first reason counts."""
        if not self._ended.is_set():
            self._end = (code, reason)
            self._ended.set()

    async def _stop(self, *tasks: asyncio.Task[Any]) -> None:
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            gone = isinstance(end, asyncio.CancelledError | WebSocketDisconnect)
            if isinstance(end, BaseException) and not gone:
                self._log.error("socket failed", exc_info=end)

    async def _write(self) -> None:
        """Send the outbox, and heartbeats when it stays empty for long; then close."""
        while True:
            try:
                async with asyncio.timeout(self._limits.heartbeat_seconds):
                    text = await self._outbox.next()
            except TimeoutError:
                text = frames.HEARTBEAT.encode()
            if text is None:
                await self._socket.close(*self._end)
                return
            await self._socket.send_text(text)

    async def _read(self, handshake: Handshake) -> None:
        if not await self._sign_in(handshake):
            return
        while True:
            await self._take(await self._message())

    async def _message(self) -> str | None:
        """The next message; None for a binary one. Raises WebSocketDisconnect."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text: str | None = message.get("text")
        return text

    async def _sign_in(self, handshake: Handshake) -> bool:
        """Authenticate the user of the socket and register it. Returns whether the socket may continue."""
        try:
            metadata = handshake.metadata
            if metadata is None:
                async with asyncio.timeout(self._limits.credential_seconds):
                    metadata = await self._first_token()
            await self._enter(metadata)
        except TimeoutError:
            await self._refused(status.of(missing()))
        except ResponsaError as error:
            await self._refused(status.of(error))
        except CallFailed as failed:
            await self._refused(failed.status)
        else:
            return True
        return False

    async def _enter(self, metadata: Metadata) -> None:
        """Make the credential's user the owner of the socket. Raises CallFailed, Exhausted."""
        peer = f"ws {peer_of(self._socket.scope.get('client'))}"
        seconds = self._limits.call_seconds
        caller = Caller(self._calls, {**metadata, CALL_ID: [self._call_id]}, peer, seconds)
        me = await caller.answer(_GET_ME, GetMeRequest(), User)
        owner = Owner(me.tenant, me.name)
        if self._owner is not None:
            self._registry.exit(self._owner, self)
            self._owner = None
        self._registry.enter(owner, self)
        self._owner, self._caller = owner, caller
        if self._registry.leaving:
            self.leave()

    async def _first_token(self) -> Metadata:
        """The credential of the first message. Raises Unauthenticated for a question, or after too many messages that are neither."""
        most_bytes = min(_FIRST_MESSAGE_BYTES, self._limits.message_bytes)
        for _ in range(_FIRST_MESSAGES):
            try:
                message = parse(await self._message(), most_bytes)
            except InvalidRequest as error:
                await self._tell(status.of(error))
                continue
            match message:
                case SignIn():
                    return bearer(message.token)
                case Ping():
                    await self._outbox.tell(frames.PONG)
                case _:
                    break
        raise missing()

    async def _refused(self, found: Status) -> None:
        """Send one frame, then close."""
        await self._tell(found)
        denied = found.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
        self._finish(POLICY_VIOLATION if denied else TRY_AGAIN_LATER, frames.reason_of(found))

    async def _tell(self, found: Status, message: Incoming | None = None) -> None:
        """Send the error of a message; None if the message could not be parsed."""
        request_id = message.request_id if isinstance(message, Question) else ""
        turn = message.turn[:_MOST_NAME] if isinstance(message, Resume | Cancel) else ""
        await self._outbox.tell(frames.error(found, turn=turn, request_id=request_id))

    async def _take(self, text: str | None) -> None:
        """Handle a message. If it fails, send the error and keep the socket open."""
        message: Incoming | None = None
        try:
            message = parse(text, self._limits.message_bytes)
            await self._do(message)
        except ResponsaError as error:
            await self._tell(status.of(error), message)
        except CallFailed as failed:
            await self._tell(in_socket_words(failed.status), message)
            self._gone(failed.error)

    async def _do(self, message: Incoming) -> None:
        match message:
            case Ping():
                await self._outbox.tell(frames.PONG)
            case SignIn():
                await self._sign_in_again(message)
            case Question():
                self._asked = True
                self._ask(message)
            case Resume():
                self._asked = True
                place = Place(message.turn, message.after_seq)
                follower = self._follower(deltas=message.deltas, place=place)
                self._start(follower, partial(self._resume, follower), message)
            case Cancel():
                self._asked = True
                await self._cancel(message.turn)

    async def _sign_in_again(self, message: SignIn) -> None:
        if self._asked:
            raise InvalidRequest.of_field(
                "type", "auth.first", "sign in before anything is asked, or over another socket"
            )
        try:
            await self._enter(bearer(message.token))
        except CallFailed as failed:
            await self._refused(failed.status)
        except Exhausted as error:
            await self._refused(status.of(error))

    def _ask(self, question: Question) -> None:
        # A question that is cut off before its turn is known is sent again with the same id, which attaches to the turn.
        request = question.request(question.request_id or str(uuid4()))
        follower = self._follower(deltas=question.deltas, place=Place())
        self._start(follower, partial(follower.ask, request), question)
        self._about(question.teacher)

    async def _resume(self, follower: Follower) -> None:
        found = await follower.look_up()
        if found is not None:
            self._about(teacher_in(json_format.MessageToDict(found.parameters)))
        await follower.resume()

    def _about(self, teacher: str) -> None:
        if self._owner is not None:
            self._registry.about(self._owner, self, teacher)

    def _follower(self, *, deltas: bool, place: Place) -> Follower:
        """Raises Exhausted (OVERLOADED) when the socket already follows as many turns as it may."""
        most = self._limits.turns
        if sum(not one.ended for one in self._followers.values()) >= most:
            raise Exhausted(
                Reason.OVERLOADED,
                f"This socket follows {most} turns, which is as many as it may at a time; wait for one to end.",
                {"limit": str(most)},
                retry_after=1,
            )
        return Follower(self._signed_in, self._outbox, self._rendering, deltas, place)

    def _start(
        self, follower: Follower, following: Callable[[], Awaitable[None]], message: Question | Resume
    ) -> None:
        task = asyncio.create_task(self._followed(follower, following, message))
        self._followers[task] = follower
        task.add_done_callback(self._followers.pop)

    async def _followed(
        self, follower: Follower, following: Callable[[], Awaitable[None]], message: Question | Resume
    ) -> None:
        try:
            await following()
        except GoElsewhere:
            self.leave()
        except CallFailed as failed:
            await self._not_followed(follower, message, in_socket_words(failed.status))
            self._gone(failed.error)
        except (
            Exception
        ):  # whatever fails in one turn, its client gets the error and the socket's other turns continue
            self._log.exception("turn not followed")
            await self._not_followed(follower, message, status.of(status.unexpected(self._call_id)))

    async def _not_followed(self, follower: Follower, message: Question | Resume, found: Status) -> None:
        """Send the reason why a turn is no longer followed. The frame has no seq, since it is not the turn's end."""
        if not follower.turn:
            await self._tell(found, message)
            return
        request_id = message.request_id if isinstance(message, Question) else ""
        # After the frames of the turn that wait.
        await follower.tell(frames.error(found, turn=follower.turn[:_MOST_NAME], request_id=request_id))

    def _gone(self, error: ResponsaError) -> None:
        """Close the socket of a client that is no longer signed in, or whose server is stopping."""
        if status.code(error) == Code.UNAUTHENTICATED:
            self._finish(POLICY_VIOLATION, error.reason.value)
        elif error.reason is Reason.DRAINING:
            self.leave()

    async def _cancel(self, turn: str) -> None:
        """Cancel a turn. Its follower here sends the last frame; without a follower it is sent at once. Raises CallFailed."""
        followed = self._follows(turn)
        ended = await self._signed_in.answer(_CANCEL, CancelTurnRequest(name=turn), Turn)
        if followed or self._follows(turn):
            return
        event = ended.terminal_event
        frame = await frames.of_event(turn, event, event.seq, ended.conversation, self._rendering)
        if frame is not None:
            await self._outbox.put(Lane(), frame)

    def _follows(self, turn: str) -> bool:
        return any(one.turn == turn and not one.ended for one in self._followers.values())

    @property
    def _signed_in(self) -> Caller:
        assert self._caller is not None, "messages are taken after the sign-in"
        return self._caller
