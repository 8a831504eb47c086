"""Converts agents into streams of events, and generators of events into agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from responsa_server.domain.agents import Agent, AgentEvent, AnswerTask, Emit
from responsa_server.domain.events import Answered, Cancelled, Failed, Refused, Terminal


async def stream(agent: Agent, task: AnswerTask) -> AsyncGenerator[AgentEvent, None]:
    """The events of an agent as they arrive; the terminal event is the last. Raises the agent's errors. If the stream is closed, the agent
    is cancelled.
    """
    events: asyncio.Queue[AgentEvent | None] = asyncio.Queue()

    async def work() -> None:
        try:
            events.put_nowait(await agent.answer(task, events.put_nowait))
        finally:
            events.put_nowait(None)

    working = asyncio.create_task(work())
    try:
        while (event := await events.get()) is not None:
            yield event
        await working
    finally:
        working.cancel()
        await asyncio.wait({working})


async def play(events: AsyncGenerator[AgentEvent, None], emit: Emit) -> Terminal:
    """Emit the events of a generator and return its terminal event."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, (Answered, Refused, Failed, Cancelled)):
                return event
            emit(event)
    raise AssertionError("a script must end with a terminal event")
