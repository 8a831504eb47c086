"""Follows a turn: makes the calls, waits and yields the events. following.py makes the decisions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import grpc

from responsa.chat.v1 import chat_service_pb2, citation_pb2, turn_pb2
from responsa_client.aio import transport
from responsa_client.aio.calls import AsyncCalls
from responsa_client.aio.transport import AsyncStream
from responsa_client.connection import Connection, Deadline, Silence
from responsa_client.errors import BrokenAnswer, ResponsaError
from responsa_client.following import Following, Opening
from responsa_client.frames import ChainBroken
from responsa_client.stubs import Stubs


class AsyncTurnStream(AsyncIterator[turn_pb2.TurnEvent]):
    """Yields each event of one turn once, in order of seq, up to the terminal event, over any number of connections.

    The first step of the iteration sends the question. To leave a stream early, call `close`, or use the stream as a
    context manager. The turn itself then continues and can be resumed; `stop` cancels it. Iterate in one thread or
    task. Meanwhile, other threads or tasks may use `stop` and the properties.

    request_id: the question's request_id; a question with the same request_id attaches to the same turn. "" for a resumed turn.
    """

    def __init__(self, calls: AsyncCalls, following: Following, timeout: float | None) -> None:
        self.request_id = following.request_id
        self._calls = calls
        self._following = following
        self._events = self._follow(timeout)

    @property
    def turn(self) -> str:
        """`turns/{uuid}`; "" before the first frame."""
        return self._following.reader.turn

    @property
    def last_seq(self) -> int:
        """The seq of the last event yielded; another client can resume the turn after this seq."""
        return self._following.handed

    @property
    def terminal(self) -> turn_pb2.TurnEvent | None:
        """The event that ended the turn; None until it arrives. If the stream resumed after this event, the stream
        yields nothing, but `terminal` is set."""
        return self._following.reader.terminal

    @property
    def text(self) -> str:
        """The answer's text so far: the requested deltas without withdrawn text, and at the end the complete answer. If
        the stream resumed after a seq, the deltas before this seq are missing."""
        return self._following.reader.text

    @property
    def citations(self) -> list[citation_pb2.Citation]:
        """The citations so far, without withdrawn ones."""
        return self._following.reader.citations

    @property
    def queue_place(self) -> int:
        """The number of turns that run before this turn in its conversation, as last reported; 0 if this turn does not wait."""
        return self._following.place

    async def stop(self) -> turn_pb2.Turn:
        """Cancel the turn, as `AsyncResponsa.cancel` does. This also works before the client knows the turn's name: the
        call then finds or creates the turn with the question's request_id, and cancels the turn. Therefore, a question
        that is still in transit cannot start a turn afterwards. The iteration continues to the terminal event.

        Raises:
            ResponsaError: the errors of `cancel`, or the reason why the server did not accept the turn.
        """
        chat = self._calls.stubs.chat
        name = self.turn or (await self._calls.unary(chat.StartTurn, self._following.stopping())).name
        return await self._calls.unary(chat.CancelTurn, chat_service_pb2.CancelTurnRequest(name=name))

    async def close(self) -> None:
        """Stop following the turn. This cancels the call but not the turn. With cancel_on_disconnect, the server
        cancels the turn 10 seconds later if no client follows it."""
        await self._events.aclose()

    async def __anext__(self) -> turn_pb2.TurnEvent:
        return await anext(self._events)

    async def __aenter__(self) -> AsyncTurnStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _follow(self, timeout: float | None) -> AsyncGenerator[turn_pb2.TurnEvent]:
        deadline, following, calls = Deadline(timeout), self._following, self._calls
        while not following.ended:
            line = calls.lines.take()
            try:
                calls.connection.check_open()
                stream = _open(line.stubs, following.begin(), deadline.remaining(), calls.connection)
                failure: ResponsaError | None = None
                try:
                    while not following.done_with_stream:
                        frame = await stream.read()
                        if frame is None:
                            break
                        for event in following.hand_out(frame):
                            yield event
                except Silence:
                    failure = following.fell_silent()
                except grpc.RpcError as error:
                    failure = calls.connection.error(error, deadline)
                except ChainBroken as broken:
                    failure = following.cut(broken)
                except BrokenAnswer as error:
                    raise following.named(error) from None
                except ResponsaError as error:
                    failure = error  # of the function that returns the access token
                finally:
                    stream.cancel()
                if following.ended:
                    return
                calls.connection.check_open()
                if failure is None and following.doubtful:
                    failure = await self._ask_whether_ended(deadline)
                    if following.ended:
                        return
                pause = following.after(failure, deadline)
                if pause.fresh:
                    calls.lines.retire(line)
            finally:
                unused = calls.lines.give_back(line)
                if unused is not None:
                    await unused.close()
            await transport.sleep(pause.seconds)

    async def _ask_whether_ended(self, deadline: Deadline) -> ResponsaError | None:
        """Get the turn itself, to see whether it has ended."""
        request = chat_service_pb2.GetTurnRequest(name=self._following.reader.turn)
        try:
            self._following.check_ended(
                await self._calls.unary(self._calls.stubs.chat.GetTurn, request, timeout=deadline.remaining())
            )
        except ResponsaError as error:
            return error
        return None


def _open(
    stubs: Stubs, request: Opening, timeout: float | None, connection: Connection
) -> AsyncStream[chat_service_pb2.AskResponse] | AsyncStream[chat_service_pb2.ResumeTurnResponse]:
    if isinstance(request, chat_service_pb2.AskRequest):
        return AsyncStream(stubs.chat.Ask, request, timeout, connection, connection.silence)
    return AsyncStream(stubs.chat.ResumeTurn, request, timeout, connection, connection.silence)
