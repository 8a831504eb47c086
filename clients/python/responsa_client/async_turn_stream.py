"""Following a turn on asyncio: the twin of turn_stream.py, step for step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import grpc
from grpc import aio

from responsa.chat.v1 import chat_service_pb2, citation_pb2, turn_pb2
from responsa_client.connection import Deadline
from responsa_client.errors import BrokenAnswer, ResponsaError
from responsa_client.following import Following, Opening
from responsa_client.frames import ChainBroken, Frame
from responsa_client.nonblocking import AsyncCalls
from responsa_client.stubs import Stubs

_Call = (
    aio.UnaryStreamCall[chat_service_pb2.AskRequest, chat_service_pb2.AskResponse]
    | aio.UnaryStreamCall[chat_service_pb2.ResumeTurnRequest, chat_service_pb2.ResumeTurnResponse]
)


class AsyncTurnStream(AsyncIterator[turn_pb2.TurnEvent]):
    """As `TurnStream`, for `async for` and `async with`; `stop` may be awaited in another task meanwhile."""

    def __init__(self, calls: AsyncCalls, following: Following, timeout: float | None) -> None:
        self.request_id = following.request_id
        self._calls = calls
        self._following = following
        self._events = self._follow(timeout)

    @property
    def turn(self) -> str:
        """As `TurnStream.turn`."""
        return self._following.reader.turn

    @property
    def last_seq(self) -> int:
        """As `TurnStream.last_seq`."""
        return self._following.handed

    @property
    def terminal(self) -> turn_pb2.TurnEvent | None:
        """As `TurnStream.terminal`."""
        return self._following.reader.terminal

    @property
    def text(self) -> str:
        """As `TurnStream.text`."""
        return self._following.reader.text

    @property
    def citations(self) -> list[citation_pb2.Citation]:
        """As `TurnStream.citations`."""
        return self._following.reader.citations

    @property
    def queue_place(self) -> int:
        """As `TurnStream.queue_place`."""
        return self._following.place

    async def stop(self) -> turn_pb2.Turn:
        """As `TurnStream.stop`."""
        chat = self._calls.stubs.chat
        name = self.turn or (await self._calls.unary(chat.StartTurn, self._following.stopping())).name
        return await self._calls.unary(chat.CancelTurn, chat_service_pb2.CancelTurnRequest(name=name))

    async def close(self) -> None:
        """As `TurnStream.close`."""
        await self._events.aclose()

    async def __anext__(self) -> turn_pb2.TurnEvent:
        return await anext(self._events)

    async def __aenter__(self) -> AsyncTurnStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _follow(self, timeout: float | None) -> AsyncGenerator[turn_pb2.TurnEvent, None]:  # noqa: ASYNC109 - a deadline of gRPC
        deadline, following, calls = Deadline(timeout), self._following, self._calls
        while not following.ended:
            line = calls.lines.take()
            try:
                calls.connection.check_open()
                call = _open(line.stubs, following.begin(), deadline.remaining(), calls.connection.metadata)
                failure: ResponsaError | None = None
                try:
                    while not following.done_with_stream:
                        async with asyncio.timeout(calls.connection.silence):
                            frame = await call.read()
                        if not isinstance(frame, Frame):
                            break
                        for event in following.hand_out(frame):
                            yield event
                except TimeoutError:
                    failure = following.fell_silent()
                except grpc.RpcError as error:
                    failure = calls.connection.error(error, deadline)
                except ChainBroken as broken:
                    failure = following.cut(broken)
                except BrokenAnswer as error:
                    raise following.named(error) from None
                except asyncio.CancelledError:
                    calls.raise_if_closed()
                    raise
                finally:
                    call.cancel()
                if following.ended:
                    return
                calls.connection.check_open()
                if failure is None and following.doubtful:
                    failure = await self._settle(deadline)
                    if following.ended:
                        return
                pause = following.after(failure, deadline)
                if pause.fresh:
                    calls.lines.retire(line)
            finally:
                unused = calls.lines.give_back(line)
                if unused is not None:
                    await unused.close()
            await asyncio.sleep(pause.seconds)

    async def _settle(self, deadline: Deadline) -> ResponsaError | None:
        """Ask the turn itself whether it has ended."""
        request = chat_service_pb2.GetTurnRequest(name=self._following.reader.turn)
        try:
            self._following.settle(
                await self._calls.unary(self._calls.stubs.chat.GetTurn, request, timeout=deadline.remaining())
            )
        except ResponsaError as error:
            return error
        return None


def _open(
    stubs: Stubs, request: Opening, timeout: float | None, metadata: tuple[tuple[str, str], ...]
) -> _Call:
    if isinstance(request, chat_service_pb2.AskRequest):
        return stubs.chat.Ask(request, timeout=timeout, metadata=metadata)
    return stubs.chat.ResumeTurn(request, timeout=timeout, metadata=metadata)
