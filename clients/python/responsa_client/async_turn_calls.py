"""The twin of turn_calls.py for asyncio, call for call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from responsa.chat.v1 import agent_pb2, chat_service_pb2, turn_pb2
from responsa_client import requests
from responsa_client.async_turn_stream import AsyncTurnStream
from responsa_client.following import Following, Notice, Opening
from responsa_client.nonblocking import AsyncPart
from responsa_client.requests import Parameters
from responsa_client.results import checked_turn


class AsyncTurnCalls(AsyncPart):
    """As `TurnCalls`."""

    def ask(
        self,
        text: str,
        conversation: str | None = None,
        collections: Sequence[str] = (),
        request_id: str | None = None,
        include_deltas: bool = False,
        *,
        agent: str = "",
        parameters: Parameters | None = None,
        max_cost_micros: int = 0,
        on_busy: chat_service_pb2.OnBusy.ValueType = chat_service_pb2.ON_BUSY_UNSPECIFIED,
        cancel_on_disconnect: bool = False,
        timeout: float | None = None,
        patience: float | None = None,
        on_notice: Callable[[Notice], None] | None = None,
    ) -> AsyncTurnStream:
        """As `Responsa.ask`."""
        options = requests.options(collections, on_busy, parameters, max_cost_micros)
        options.include_deltas = include_deltas
        options.cancel_on_disconnect = cancel_on_disconnect
        kind = chat_service_pb2.AskRequest
        request = requests.question(kind, text, conversation, request_id, agent, options)
        return self._follow(request, timeout, patience, on_notice)

    def resume(
        self,
        turn: str,
        after_seq: int = 0,
        include_deltas: bool = False,
        *,
        timeout: float | None = None,
        patience: float | None = None,
        on_notice: Callable[[Notice], None] | None = None,
    ) -> AsyncTurnStream:
        """As `Responsa.resume`."""
        return self._follow(requests.resume(turn, after_seq, include_deltas), timeout, patience, on_notice)

    def _follow(
        self,
        opening: Opening,
        timeout: float | None,
        patience: float | None,
        on_notice: Callable[[Notice], None] | None,
    ) -> AsyncTurnStream:
        chosen = self._patience if patience is None else patience
        following = Following(opening, self._calls.connection, chosen, on_notice)
        return AsyncTurnStream(self._calls, following, timeout)

    async def cancel(self, turn: str) -> turn_pb2.Turn:
        """As `Responsa.cancel`."""
        request = chat_service_pb2.CancelTurnRequest(name=requests.turn_name(turn))
        return await self._calls.unary(self._stubs.chat.CancelTurn, request)

    async def answer(
        self,
        text: str,
        conversation: str | None = None,
        collections: Sequence[str] = (),
        request_id: str | None = None,
        *,
        agent: str = "",
        parameters: Parameters | None = None,
        max_cost_micros: int = 0,
        on_busy: chat_service_pb2.OnBusy.ValueType = chat_service_pb2.ON_BUSY_UNSPECIFIED,
        timeout: float | None = None,  # noqa: ASYNC109 - a deadline of gRPC
    ) -> turn_pb2.Turn:
        """As `Responsa.answer`."""
        options = requests.options(collections, on_busy, parameters, max_cost_micros)
        kind = chat_service_pb2.AnswerRequest
        request = requests.question(kind, text, conversation, request_id, agent, options)
        return checked_turn(await self._calls.unary(self._stubs.chat.Answer, request, timeout=timeout))

    async def start_turn(
        self,
        text: str,
        conversation: str | None = None,
        collections: Sequence[str] = (),
        request_id: str | None = None,
        *,
        agent: str = "",
        parameters: Parameters | None = None,
        max_cost_micros: int = 0,
        on_busy: chat_service_pb2.OnBusy.ValueType = chat_service_pb2.ON_BUSY_UNSPECIFIED,
    ) -> turn_pb2.Turn:
        """As `Responsa.start_turn`."""
        options = requests.options(collections, on_busy, parameters, max_cost_micros)
        kind = chat_service_pb2.StartTurnRequest
        request = requests.question(kind, text, conversation, request_id, agent, options)
        return await self._calls.unary(self._stubs.chat.StartTurn, request)

    async def get_turn(self, name: str) -> turn_pb2.Turn:
        """As `Responsa.get_turn`."""
        return await self._calls.unary(self._stubs.chat.GetTurn, chat_service_pb2.GetTurnRequest(name=name))

    def turns(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[turn_pb2.Turn]:
        """As `Responsa.turns`."""
        request = chat_service_pb2.ListTurnsRequest(
            page_size=requests.MESSAGES_PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListTurns, request, lambda page: page.turns)

    async def verify_citations(self, name: str) -> list[chat_service_pb2.CitationCheck]:
        """As `Responsa.verify_citations`."""
        request = chat_service_pb2.VerifyCitationsRequest(name=name)
        return list((await self._calls.unary(self._stubs.chat.VerifyCitations, request)).checks)

    def agents(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[agent_pb2.Agent]:
        """As `Responsa.agents`."""
        request = chat_service_pb2.ListAgentsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListAgents, request, lambda page: page.agents)

    async def agent(self, agent: str) -> agent_pb2.Agent:
        """As `Responsa.agent`."""
        request = chat_service_pb2.GetAgentRequest(name=requests.agent_name(agent))
        return await self._calls.unary(self._stubs.chat.GetAgent, request)
