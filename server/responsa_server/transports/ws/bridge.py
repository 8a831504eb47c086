"""`/ws/chat`, a route of the gateway: all sockets of a process, and the life of each socket from its handshake to its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from responsa.chat.v1.chat_service_pb2 import AskRequest, CancelTurnRequest
from responsa.chat.v1.turn_pb2 import Turn
from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, FORWARDED_FOR, Call, peer_of
from responsa_server.calls.chain import Calls
from responsa_server.calls.interceptors.access import SessionCookie
from responsa_server.calls.interceptors.lasting import CredentialWatch, Watched
from responsa_server.calls.status import Code
from responsa_server.domain.addresses import network_of
from responsa_server.domain.errors import Exhausted, InvalidRequest, Reason, ResponsaError, Unauthenticated
from responsa_server.domain.people import Principal
from responsa_server.transports.ws import frames
from responsa_server.transports.ws.auth import Handshake, Metadata, bearer, handshake_of, missing
from responsa_server.transports.ws.html import Rendering
from responsa_server.transports.ws.incoming import (
    CancelMessage,
    Incoming,
    Ping,
    QuestionMessage,
    Resume,
    SignIn,
    parse,
)
from responsa_server.transports.ws.outbox import FrameQueue, Lane
from responsa_server.transports.ws.settings import SocketSettings
from responsa_server.transports.ws.turn import Caller, Follower, GoElsewhere

PATHS: Final = ("/ws/chat", "/agents/process")
"""The second path is that of a system that Responsa replaces."""
_CANCEL: Final = "/responsa.chat.v1.ChatService/CancelTurn"
_POLICY_VIOLATION: Final = 1008
# The caller's tenant is suspended, or the service has no grant any more.
_OVER: Final = frozenset({Reason.TENANT_SUSPENDED, Reason.GRANT_REQUIRED})
_SERVICE_RESTART: Final = 1012
_TRY_AGAIN_LATER: Final = 1013
MOST_WAITING: Final = 64
"""The most connections of one process that wait for their sign-in."""
MOST_OF_ADDRESS: Final = 16
"""The most of these from one network address."""
MOST_TURNS: Final = 16
"""The most turns that one connection follows at a time: more than the questions of a minute, so that somebody who sends too many
meets that limit."""
MESSAGE_BYTES: Final = 262_144
"""The largest message, in bytes."""
_FIRST_MESSAGE_BYTES: Final = 8_192
"""The largest message before the sign-in, in bytes; a token is far shorter."""
_FIRST_MESSAGES: Final = 128
"""The maximum number of messages before the sign-in."""
_MOST_NAME: Final = 64
"""The server sends back at most this many characters of a turn name that a client sent; valid names are shorter."""
_MOST_ENDS: Final = 1_024
"""A socket remembers the turns of this number of last frames, so that cancelling such a turn sends no frame twice."""
_LAST_WORDS_SECONDS: Final = 5.0
"""How long a client may take to read the waiting frames when its socket closes."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds. heartbeat_seconds: how long a socket is silent before a heartbeat. credential_seconds: how long
    the server waits for a token. notice_seconds: how long before a token expires the server says so.
    call_seconds: the time limit for a call that is not a stream."""

    heartbeat_seconds: float = 15.0
    credential_seconds: float = 10.0
    notice_seconds: float = 60.0
    call_seconds: float = 10.0


class SocketSlot(Protocol):
    """A counted socket."""

    def release(self) -> None:
        """Stop counting it."""
        ...


class SocketLimits(Protocol):
    """Counts the signed-in sockets of a user, over all processes."""

    async def socket(self, caller: Principal, member: str) -> SocketSlot:
        """Count a socket. member: a name that no other socket has. Raises Exhausted (LIMIT_REACHED)."""
        ...


class Bridge:
    """All sockets of this process."""

    def __init__(
        self,
        calls: Calls,
        settings: SocketSettings | None = None,
        timing: Timing | None = None,
        *,
        limits: SocketLimits | None = None,
        watch: CredentialWatch | None = None,
        cookie: SessionCookie | None = None,
    ) -> None:
        """cookie: the session cookie. limits: counts signed-in sockets; None for no limit. watch: says when the
        credential of an open socket ends; None: a socket without turns notices it at its next request."""
        self.cookie = cookie or SessionCookie()
        self.limits = limits
        self.watch = watch
        self._waiting: Counter[str] = Counter()
        self.calls = calls
        self.settings = settings or SocketSettings()
        self.timing = timing or Timing()
        self.rendering = Rendering()
        self.leaving = False
        """Whether all clients were asked to reconnect elsewhere."""
        self._sockets = set[SocketSession]()

    async def serve(self, socket: WebSocket) -> None:
        """Serve one socket to its end."""
        await SocketSession(socket, self).run()

    @property
    def sockets(self) -> int:
        """The number of open sockets, signed in or not."""
        return self._waiting.total() + len(self._sockets)

    def leave(self) -> None:
        """Ask the clients of all sockets, including sockets that are still opening, to reconnect elsewhere."""
        self.leaving = True
        for session in [*self._sockets]:
            session.leave()

    def wait(self, address: str) -> bool:
        """Count a socket that waits for its sign-in, if there is room. Returns whether there is. address: the network
        address; "" if it is unknown."""
        if self._waiting.total() >= MOST_WAITING:
            return False
        if address and self._waiting[address] >= MOST_OF_ADDRESS:
            return False
        self._waiting[address] += 1
        return True

    def stop_waiting(self, address: str) -> None:
        """Stop counting a socket that waited for its sign-in."""
        self._waiting[address] -= 1
        if self._waiting[address] <= 0:
            del self._waiting[address]

    def enter(self, session: SocketSession) -> None:
        """Add a socket that has signed in."""
        self._sockets.add(session)

    def exit(self, session: SocketSession) -> None:
        """Remove a socket. This has no effect if the socket is not registered."""
        self._sockets.discard(session)


class SocketSession:
    """One socket. A reader takes the client's messages, one follower per turn fills the outbox, and a writer sends the outbox's frames."""

    def __init__(self, socket: WebSocket, bridge: Bridge) -> None:
        self._socket = socket
        self._bridge = bridge
        self._outbox = FrameQueue()
        self._handshake = handshake_of(socket, bridge.cookie)
        self._owner: tuple[str, UUID] | None = None
        """The tenant and the user of the first credential."""
        self._caller: Caller | None = None
        self._held: SocketSlot | None = None
        self._watched: Watched | None = None
        self._lost: ResponsaError | None = None
        self._watching_again: asyncio.Task[None] | None = None
        self._expiring: asyncio.Task[None] | None = None
        self._address: str | None = None
        self._newest: Follower | None = None
        self._followers: dict[asyncio.Task[None], Follower] = {}
        self._ends: dict[str, None] = {}
        self._ended = asyncio.Event()
        self._end = (1000, "")
        self._log = structlog.get_logger("websocket").bind(call_id=self._handshake.call_id)

    async def run(self) -> None:
        """Serve the socket until one side ends it. Turns continue when the client disconnects."""
        await self._socket.accept(subprotocol=self._handshake.subprotocol)
        if self._bridge.leaving:
            await self._socket.close(_SERVICE_RESTART)
            return
        if self._handshake.metadata is None and not self._begin_to_wait():
            # Browsers show the code of a close, but not the status of a refused handshake.
            await self._socket.close(_TRY_AGAIN_LATER, Reason.OVERLOADED.value)
            return
        reader = asyncio.create_task(self._read(self._handshake))
        writer = asyncio.create_task(self._write())
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({reader, writer, ended}, return_when=asyncio.FIRST_COMPLETED)
            await self._stop(reader, *self._followers)
            self._outbox.close()
            if self._lost is not None:
                # A closed outbox makes nobody wait.
                await self._report(self._lost)
            await asyncio.wait({writer}, timeout=_LAST_WORDS_SECONDS)
        finally:
            self._unwatch()
            others = [task for task in (self._watching_again, self._expiring) if task is not None]
            await self._stop(reader, writer, ended, *others, *self._followers)
            self._end_wait()
            if self._held is not None:
                self._held.release()
            self._bridge.exit(self)

    def _begin_to_wait(self) -> bool:
        """Count this socket until its sign-in. Returns whether there is room."""
        forwarded = self._socket.headers.getlist(FORWARDED_FOR)
        address = network_of(Call("", {FORWARDED_FOR: forwarded}).address) if forwarded else ""
        if not self._bridge.wait(address):
            return False
        self._address = address
        return True

    def _end_wait(self) -> None:
        if self._address is not None:
            self._bridge.stop_waiting(self._address)
            self._address = None

    def leave(self) -> None:
        """Ask the client to reconnect elsewhere."""
        self._finish(_SERVICE_RESTART, "the server is shutting down; reconnect and resume")

    def _finish(self, code: int, reason: str) -> None:
        """Close the socket once the outbox is sent. If this is called again, the first reason counts."""
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
        """Send the frames of the outbox, and a heartbeat whenever it stays empty for too long. When the outbox has
        ended, close the socket."""
        while True:
            try:
                async with asyncio.timeout(self._bridge.timing.heartbeat_seconds):
                    text = await self._outbox.next()
            except TimeoutError:
                text = frames.HEARTBEAT.encode()
            if text is None:
                await self._socket.close(*self._end)
                return
            await self._socket.send_text(text)

    async def _read(self, handshake: Handshake) -> None:
        try:
            await self._sign_in(handshake.metadata or await self._first_token())
        except ResponsaError as error:
            await self._refuse(error)
            return
        # What follows a refused credential is nobody's.
        while not self._ended.is_set():
            await self._take(await self._message())

    async def _message(self) -> str | None:
        """The next message; None for a binary one. Raises WebSocketDisconnect."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text: str | None = message.get("text")
        return text

    async def _first_token(self) -> Metadata:
        """The credential of the first message. Raises Unauthenticated if a question or too many other messages come
        before a token, or if no token comes in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._bridge.timing.credential_seconds):
                for _ in range(_FIRST_MESSAGES):
                    try:
                        message = parse(await self._message(), _FIRST_MESSAGE_BYTES)
                    except InvalidRequest as error:
                        await self._report(error)
                        continue
                    match message:
                        case SignIn():
                            return {**bearer(message.token), **self._handshake.users}
                        case Ping():
                            await self._outbox.control(frames.PONG)
                        case _:
                            break
        raise missing()

    async def _sign_in(self, metadata: Metadata) -> None:
        """Make the credential's user the owner of the socket, or go on with the owner's new credential. Raises ResponsaError."""
        caller = Caller(
            self._bridge.calls,
            {
                **metadata,
                CALL_ID: [self._handshake.call_id],
                FORWARDED_FOR: self._socket.headers.getlist(FORWARDED_FOR),
            },
            f"ws {peer_of(self._socket.scope.get('client'))}",
            self._bridge.timing.call_seconds,
        )
        principal = await caller.principal()
        owner = principal.tenant_id, principal.user_id
        if self._owner is None:
            if self._bridge.limits is not None:
                self._held = await self._bridge.limits.socket(principal, uuid4().hex)
            self._bridge.enter(self)
        elif owner != self._owner:
            raise Unauthenticated(
                Reason.CREDENTIAL_OF_OTHER_USER,
                "This token belongs to a user other than the one of this socket. Open another socket.",
            )
        self._owner, self._caller = owner, caller
        for follower in self._followers.values():
            follower.caller = caller
        self._watch(principal)
        self._log = self._log.bind(tenant=principal.tenant_id, user=str(principal.user_id))
        self._end_wait()
        if self._bridge.leaving:
            self.leave()

    async def _expire(self, expires: float) -> None:
        await asyncio.sleep(expires - self._bridge.timing.notice_seconds - time.time())
        await self._outbox.control(frames.credential_ends(expires))
        await asyncio.sleep(expires - time.time())
        self._lose(
            Unauthenticated(
                Reason.TOKEN_INVALID, "The token of this socket has expired. Refresh it, then resume."
            )
        )

    def _watch(self, caller: Principal) -> None:
        self._unwatch()
        if self._expiring is not None:
            self._expiring.cancel()
        self._expiring = (
            asyncio.create_task(self._expire(caller.expires), name="token expires")
            if caller.expires < inf
            else None
        )
        if self._bridge.watch is not None:
            self._watched = self._bridge.watch.add(caller, self._lose)

    def _unwatch(self) -> None:
        if self._bridge.watch is not None and self._watched is not None:
            self._bridge.watch.remove(self._watched)
        self._watched = None

    def _lose(self, error: ResponsaError) -> None:
        """Close the socket, because its credential has ended. A user with another role keeps it."""
        if error.reason is Reason.ROLE_CHANGED:
            self._watching_again = asyncio.create_task(self._watch_again())
        elif not self._ended.is_set():
            self._lost = error
            self._finish(_POLICY_VIOLATION, error.reason.value)

    async def _watch_again(self) -> None:
        caller = self._signed_in
        try:
            who = await caller.principal()
        except ResponsaError as error:
            await self._refuse(error)
            return
        if caller is self._caller and not self._ended.is_set():
            self._watch(who)

    async def _refuse(self, error: ResponsaError) -> None:
        """Send one frame, then close."""
        await self._report(error)
        denied = status.code(error) in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
        self._finish(_POLICY_VIOLATION if denied else _TRY_AGAIN_LATER, error.reason.value)

    async def _report(self, error: ResponsaError, message: Incoming | None = None) -> None:
        """Send the error of a message. message: None if the message could not be parsed."""
        request_id = message.request_id if isinstance(message, QuestionMessage) else ""
        turn = message.turn[:_MOST_NAME] if isinstance(message, Resume | CancelMessage) else ""
        await self._outbox.control(frames.error(status.of(error), turn=turn, request_id=request_id))

    async def _take(self, text: str | None) -> None:
        """Handle a message. If it fails, send the error and keep the socket open."""
        message: Incoming | None = None
        try:
            message = parse(text, MESSAGE_BYTES)
            await self._do(message)
        except ResponsaError as error:
            await self._report(error, message)
            self._close_if_over(error)

    async def _do(self, message: Incoming) -> None:
        match message:
            case Ping():
                await self._outbox.control(frames.PONG)
            case SignIn():
                try:
                    await self._sign_in({**bearer(message.token), **self._handshake.users})
                except ResponsaError as error:
                    await self._refuse(error)
            case QuestionMessage():
                # If the stream breaks off before its turn is known, the follower sends the question again. The same
                # request_id attaches it to the same turn.
                request = message.request(message.request_id or str(uuid4()), self._bridge.settings.agent)
                follower = self._follower(message)
                before, self._newest = self._newest, follower
                self._start(follower, partial(self._ask, before, follower, request), message)
            case Resume():
                follower = self._follower(message)
                follower.turn, follower.after_seq = message.turn, message.after_seq
                self._start(follower, partial(self._resume, follower), message)
            case CancelMessage():
                await self._cancel(message.turn)

    async def _ask(self, before: Follower | None, follower: Follower, request: AskRequest) -> None:
        """Ask once the earlier question was accepted or refused: questions keep their order, and of too many, a limit refuses the last."""
        if before is not None:
            await before.answered.wait()
        await follower.ask(request)

    async def _resume(self, follower: Follower) -> None:
        await follower.look_up()
        await follower.resume()

    def _follower(self, message: QuestionMessage | Resume) -> Follower:
        """Create the follower for a message. Raises Exhausted (OVERLOADED) if the socket already follows the maximum number of turns."""
        if sum(not follower.ended for follower in self._followers.values()) >= MOST_TURNS:
            raise Exhausted(
                Reason.OVERLOADED,
                f"This socket follows {MOST_TURNS} turns, the maximum; wait for one of them to end.",
                {"limit": str(MOST_TURNS)},
                retry_after=1,
            )
        return Follower(self._signed_in, self._outbox, self._bridge.rendering, message.deltas, message.tools)

    def _start(
        self, follower: Follower, following: Callable[[], Awaitable[None]], message: QuestionMessage | Resume
    ) -> None:
        task = asyncio.create_task(self._follow(follower, following, message))
        self._followers[task] = follower
        task.add_done_callback(self._followers.pop)

    async def _follow(
        self, follower: Follower, following: Callable[[], Awaitable[None]], message: QuestionMessage | Resume
    ) -> None:
        try:
            await following()
            if follower.ended:
                self._note_end(follower.turn)
        except GoElsewhere:
            self.leave()
        except ResponsaError as error:
            if self._lost is not None:  # the socket's last frame says so
                return
            await self._not_followed(follower, message, error)
            self._close_if_over(error)
        except (
            Exception
        ):  # the client gets the error of the failed turn, and the socket's other turns continue
            self._log.exception("turn not followed")
            await self._not_followed(follower, message, status.internal_error(self._handshake.call_id))
        finally:
            follower.answered.set()

    async def _not_followed(
        self, follower: Follower, message: QuestionMessage | Resume, error: ResponsaError
    ) -> None:
        """Send the reason why a turn is no longer followed. The frame has no seq, because the turn has not ended."""
        if not follower.turn:
            await self._report(error, message)
            return
        request_id = message.request_id if isinstance(message, QuestionMessage) else ""
        # The error goes after the waiting frames of the turn.
        await follower.put(
            frames.error(status.of(error), turn=follower.turn[:_MOST_NAME], request_id=request_id)
        )

    def _close_if_over(self, error: ResponsaError) -> None:
        """Close the socket if the client is no longer signed in, may make no calls at all, or if the server is stopping."""
        if status.code(error) == Code.UNAUTHENTICATED or error.reason in _OVER:
            self._finish(_POLICY_VIOLATION, error.reason.value)
        elif error.reason is Reason.DRAINING:
            self.leave()

    async def _cancel(self, turn: str) -> None:
        """Cancel a turn. If this socket follows the turn, the follower sends the turn's last frame. If this socket has
        the last frame already, nothing is sent. Otherwise the frame is sent at once. Raises ResponsaError."""
        followed = self._follows(turn)
        ended = await self._signed_in.answer(_CANCEL, CancelTurnRequest(name=turn), Turn)
        if (
            followed
            or turn in self._ends
            or any(follower.turn == turn for follower in self._followers.values())
        ):
            return
        event = ended.terminal_event
        frame = await frames.of_event(turn, event, event.seq, ended.conversation, self._bridge.rendering)
        if frame is not None:
            self._note_end(turn)
            await self._outbox.put(Lane(), frame)

    def _note_end(self, turn: str) -> None:
        """Remember that this socket has the last frame of a turn."""
        self._ends[turn] = None
        if len(self._ends) > _MOST_ENDS:
            del self._ends[next(iter(self._ends))]

    def _follows(self, turn: str) -> bool:
        return any(follower.turn == turn and not follower.ended for follower in self._followers.values())

    @property
    def _signed_in(self) -> Caller:
        assert self._caller is not None, "messages are accepted only after the sign-in"
        return self._caller
