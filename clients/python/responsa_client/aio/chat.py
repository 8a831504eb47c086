"""Turns, conversations with their messages, and agents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from responsa.chat.v1 import agent_pb2, chat_service_pb2, conversation_pb2, message_pb2, turn_pb2
from responsa_client import requests
from responsa_client.aio.calls import AsyncPart
from responsa_client.aio.stream import AsyncTurnStream
from responsa_client.following import Following, Notice, Opening
from responsa_client.requests import Parameters
from responsa_client.results import checked_turn


class AsyncChatCalls(AsyncPart):
    """The calls of ChatService."""

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
        """Ask a question and follow its turn to its end, whatever happens to connections and servers meanwhile.

        A stream that breaks off, falls silent or is asked to reconnect is gone on with by itself: where the turn's name is not known yet by asking again with the same
        request_id, then by resuming after the last seq that came. Each event is handed out once, in order of seq. Frames are checked to follow each other
        without a hole, and an answer against its checksums and its deltas. Kinds of events that this client does not know are passed over.

        `attempt_restarted` is an event like others: it withdraws deltas and citations that were handed out; `AsyncTurnStream.text` is what stands. When the
        log of the turn was pruned meanwhile, its terminal event alone comes, with its own seq, though others before it did not: the answer in it
        takes the place of any text handed out before.

        Args:
            text: the question, 1 byte to 16 KiB of UTF-8.
            conversation: `conversations/{uuid}` to go on with; None makes a new one.
            collections: ids or names of collections to answer from; none means all that the caller may read.
            request_id: any UUID; the same one again attaches to the turn that it made before. None makes one.
            include_deltas: whether pieces of the answer are handed out as they are made.
            agent: id or name of the agent that answers; "" for the default.
            parameters: what the agent asks for beside the text, e.g. {"teacher_id": …}; `agent(…).parameters_schema` says what it knows.
            max_cost_micros: the most that the turn's models may cost, in millionths of a US dollar; 0 leaves it to the agent, whose own limit cannot be raised.
            on_busy: what happens when the conversation has a turn at work; refused (CONVERSATION_BUSY) by default.
            cancel_on_disconnect: whether the turn is cancelled once nobody has followed it for 10 seconds.
            timeout: seconds until the terminal event; None for no limit. When they have passed the turn goes on.
            patience: seconds for which it tries to go on while no frame comes at all; None takes the client's, math.inf has no end.
            on_notice: called while iterating with everything that is not an event: `Waiting` (the place in the queue), `Reconnecting`.

        Raises (at once):
            ValueError, TypeError: the parameters are no JSON.

        Raises (from the first event on; with `turn`, `after_seq` and `request_id`, by which to go on):
            ResponsaError: the question was not accepted; or DeadlineExceeded, StreamCut, BrokenAnswer while following.
                A turn that fails or is cancelled ends its stream with that event and raises nothing: see `turn_error`.
        """
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
        """Follow a turn from after a seq on, before, during or after it runs, wherever it was asked. Otherwise as `ask`.

        Args:
            turn: `turns/{uuid}`, or the UUID alone.
            after_seq: the seq of the last event that is known; 0 replays all. Of a turn that ended there nothing is handed out, and `terminal` is known.

        Raises (from the first event on):
            NotFound: no such turn of the caller's.
            InvalidRequest: AFTER_SEQ_BEYOND_END: the turn has not come so far.
        """
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
        """End a turn, `turns/{uuid}` or the UUID alone, that has not ended. Repeating it changes nothing.

        Returns:
            The turn with the terminal event that won: `cancelled`, or the one that had come before.

        Raises:
            NotFound: no such turn of the caller's.
        """
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
        timeout: float | None = None,
    ) -> turn_pb2.Turn:
        """Ask a question and wait for the end of its turn. Arguments as of `ask`; `timeout` defaults to the client's.

        Returns:
            The finished turn; its answer, if it has one, was checked against its checksums. A turn that failed is
            returned, not raised: see `turn_error`.

        Raises:
            DeadlineExceeded: the turn goes on; call again with the same request_id.
            BrokenAnswer: the answer does not fit its checksums.
        """
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
        """Ask a question without waiting: the turn as it was accepted. Arguments as of `ask`."""
        options = requests.options(collections, on_busy, parameters, max_cost_micros)
        kind = chat_service_pb2.StartTurnRequest
        request = requests.question(kind, text, conversation, request_id, agent, options)
        return await self._calls.unary(self._stubs.chat.StartTurn, request)

    async def get_turn(self, name: str) -> turn_pb2.Turn:
        """One turn, `turns/{uuid}`. Raises NotFound."""
        return await self._calls.unary(self._stubs.chat.GetTurn, chat_service_pb2.GetTurnRequest(name=name))

    def turns(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[turn_pb2.Turn]:
        """The caller's turns, by default newest first."""
        request = chat_service_pb2.ListTurnsRequest(
            page_size=requests.MESSAGES_PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListTurns, request, lambda page: page.turns)

    async def verify_citations(self, name: str) -> list[chat_service_pb2.CitationCheck]:
        """A verdict for each citation of an answer, `turns/{uuid}` or `messages/{uuid}`, in its order. Raises NotFound."""
        request = chat_service_pb2.VerifyCitationsRequest(name=name)
        return list((await self._calls.unary(self._stubs.chat.VerifyCitations, request)).checks)

    def agents(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[agent_pb2.Agent]:
        """The agents that may be asked, by default by name."""
        request = chat_service_pb2.ListAgentsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListAgents, request, lambda page: page.agents)

    async def agent(self, agent: str) -> agent_pb2.Agent:
        """One agent, by id or name; the schema of its parameters lists the records that may be chosen. Raises NotFound (metadata `known`)."""
        request = chat_service_pb2.GetAgentRequest(name=requests.agent_name(agent))
        return await self._calls.unary(self._stubs.chat.GetAgent, request)

    async def create_conversation(
        self, title: str = "", labels: Mapping[str, str] | None = None, request_id: str | None = None
    ) -> conversation_pb2.Conversation:
        """An empty conversation."""
        request = requests.create_conversation(title, labels or {}, request_id or requests.new_request_id())
        return await self._calls.unary(self._stubs.chat.CreateConversation, request)

    async def get_conversation(self, name: str) -> conversation_pb2.Conversation:
        """One conversation, `conversations/{uuid}`. Raises NotFound."""
        request = chat_service_pb2.GetConversationRequest(name=name)
        return await self._calls.unary(self._stubs.chat.GetConversation, request)

    def conversations(
        self, filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[conversation_pb2.Conversation]:
        """The caller's conversations, by default the last changed first."""
        request = chat_service_pb2.ListConversationsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListConversations, request, lambda page: page.conversations)

    async def update_conversation(
        self, name: str, *, title: str | None = None, labels: Mapping[str, str] | None = None, etag: str = ""
    ) -> conversation_pb2.Conversation:
        """Change what is given, all or nothing. Raises NotFound; Conflict when the etag is no longer the resource's."""
        request = requests.update_conversation(name, title, labels, etag)
        return await self._calls.unary(self._stubs.chat.UpdateConversation, request, repeatable=not etag)

    async def delete_conversation(self, name: str, etag: str = "") -> None:
        """Delete a conversation with all that belongs to it. Raises NotFound, Conflict (busy, or the etag)."""
        request = chat_service_pb2.DeleteConversationRequest(name=name, etag=etag)
        await self._calls.unary(self._stubs.chat.DeleteConversation, request, repeatable=False)

    def messages(
        self, conversation: str, filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[message_pb2.Message]:
        """A conversation's messages in the order they were written. Raises NotFound."""
        request = chat_service_pb2.ListMessagesRequest(
            parent=conversation, page_size=requests.MESSAGES_PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListMessages, request, lambda page: page.messages)

    async def get_message(self, name: str) -> message_pb2.Message:
        """One message, `messages/{uuid}`. Raises NotFound."""
        return await self._calls.unary(
            self._stubs.chat.GetMessage, chat_service_pb2.GetMessageRequest(name=name)
        )
