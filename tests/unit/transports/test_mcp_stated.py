"""The request_ids that hosts state, of which a server remembers those that a cancellation may need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from mcp.client.client import Client

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.turn_pb2 import Turn, TurnEvent
from responsa_server.domain.errors import CallCancelled, Reason
from responsa_server.transports.mcp.serving import HostKey, Serving

STATED = "0190f3a2-7c1d-7b3e-9f6e-0d4f6a1b2c3d"


class Turns:
    """Ends each question at once, and has one turn that runs."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    async def ask(self, request: chat.AskRequest, take: Callable[[str, TurnEvent], Awaitable[None]]) -> None:
        raise CallCancelled(Reason.CANCELLED, "It ended.")

    async def answer(self, method: str, request: Any, kind: type[Any]) -> Any:
        if method.endswith("ListTurns"):
            return chat.ListTurnsResponse(turns=[Turn(name="turns/1", request_id=STATED)])
        self.cancelled.append(request.name)
        return kind()


async def test_no_user_makes_a_server_forget_what_another_has_stated() -> None:
    turns, user, numbers = cast("Any", Turns()), "ada", list[Any]()

    def session(context: Any) -> HostKey:
        numbers.append(context.request_id)
        return HostKey(user, "of the host")

    serving = Serving(lambda _: turns, session)
    async with Client(serving.server) as client:
        await client.call_tool("ask", {"question": "When?", "request_id": STATED})
        of_ada = numbers[-1]
        user = "bob"
        for number in range(1100):
            other = f"{number:08x}{STATED[8:]}"
            await client.call_tool("ask", {"question": "When?", "request_id": other})
    await serving.cancel(turns, HostKey("bob", "of the host"), of_ada)
    assert turns.cancelled == []
    await serving.cancel(turns, HostKey("ada", "of the host"), of_ada)
    assert turns.cancelled == ["turns/1"]
