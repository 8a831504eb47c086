"""The default agent's graph in a bare grpc.aio server that keeps everything in memory. The server has no log, no credentials, no
checks and no durability.

python -m bench.peers.in_memory --listen unix:PATH [--evidence library|memory] [--one-event-a-message]
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import grpc
import grpc.aio
import uuid_utils.compat

from bench.peers.parts import opened
from bench.peers.process import arguments, until_told
from responsa.chat.v1 import chat_service_pb2 as pb
from responsa_server.app.process import freeze, run
from responsa_server.calls.convert import chat
from responsa_server.calls.convert.chat import event as converted
from responsa_server.domain import names
from responsa_server.domain.agents import (
    Agent,
    AgentEvent,
    AnswerTask,
    Barrier,
    DocumentsRead,
    Milestone,
    Withdrawal,
)
from responsa_server.domain.events import Answered, Delta, Event, Failed, NumberedEvent, Refused, Started
from responsa_server.domain.people import Principal, Role

_KEPT_TURNS: Final = 1000


class InMemoryChat:
    """Implements only `Ask`. It keeps the events of the last turns in memory."""

    def __init__(self, agent: Agent, *, alone: bool = False) -> None:
        """alone: whether every event has its own message. Otherwise, events that are ready at the same time share one
        message, as in the durable server."""
        self._agent = agent
        self._alone = alone
        self._who = Principal("default", uuid.UUID(int=1), Role.USER, "")
        self.kept: deque[tuple[uuid.UUID, Sequence[NumberedEvent]]] = deque(maxlen=_KEPT_TURNS)

    def added_to(self, server: grpc.aio.Server) -> None:
        """Registers only ChatService's Ask on a server."""
        ask = grpc.unary_stream_rpc_method_handler(
            self.ask,
            request_deserializer=pb.AskRequest.FromString,
            response_serializer=pb.AskResponse.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler("responsa.chat.v1.ChatService", {"Ask": ask})
        server.add_generic_rpc_handlers((service,))

    async def ask(
        self, request: pb.AskRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.AskResponse]:
        """Answers a question."""
        del context
        turn_id = uuid_utils.compat.uuid7()
        events_so_far: list[NumberedEvent] = []
        covered = 0
        self.kept.append((turn_id, events_so_far))
        async for events in self._gathered(turn_id, request):
            first = len(events_so_far) + 1
            numbered = [
                NumberedEvent(seq, 1, None if isinstance(one, Delta) else datetime.now(UTC), one)
                for seq, one in enumerate(events, first)
            ]
            events_so_far.extend(numbered)
            deltas = request.include_deltas
            shown = [converted(one) for one in numbered if deltas or not isinstance(one.event, Delta)]
            if shown:
                through = len(events_so_far)
                yield pb.AskResponse(
                    turn=names.turn(turn_id), after_seq=covered, through_seq=through, events=shown
                )
                covered = through

    async def _gathered(
        self, turn_id: uuid.UUID, request: pb.AskRequest
    ) -> AsyncGenerator[Sequence[Event], None]:
        """The events of the turn. Events that are ready at the same time form one group."""
        yield [Started(uuid_utils.compat.uuid7(), self._agent.version, created_conversation=True)]
        task = AnswerTask(turn_id, self._who, chat.question(request), ())
        events: asyncio.Queue[Event] = asyncio.Queue()

        def emit(event: AgentEvent) -> None:
            # Nothing survives a restart, so no milestone is stored. A withdrawal needs a log, and one model withdraws nothing.
            if not isinstance(event, (Milestone, Barrier, DocumentsRead, Withdrawal)):
                events.put_nowait(event)

        async def work() -> None:
            events.put_nowait(await self._agent.answer(task, emit))

        working = asyncio.create_task(work())
        try:
            while True:
                gathered = [await events.get()]
                while not self._alone and not events.empty():
                    gathered.append(events.get_nowait())
                yield gathered
                if isinstance(gathered[-1], (Answered, Refused, Failed)):
                    return
        finally:
            working.cancel()


async def main() -> None:
    """Serves until a signal."""
    given = arguments(__doc__ or "")
    async with opened(given.evidence) as parts:
        server = grpc.aio.server()
        InMemoryChat(parts.agent, alone=given.alone).added_to(server)
        server.add_insecure_port(given.address)
        await server.start()
        freeze()  # the settings of the event loop and the garbage collector are the same as in our server, because they are not compared
        await until_told()
        await server.stop(0.5)


if __name__ == "__main__":
    run(main())
