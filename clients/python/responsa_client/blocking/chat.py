# Generated from ../aio/chat.py by `make generate`. Do not edit.
"""Calls about turns, conversations with their messages, and agents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from responsa.chat.v1 import (
    agent_pb2,
    chat_service_pb2,
    conversation_pb2,
    feedback_pb2,
    message_pb2,
    tool_pb2,
    turn_pb2,
)
from responsa_client import requests
from responsa_client.blocking.calls import Part
from responsa_client.blocking.stream import TurnStream
from responsa_client.following import Following, Notice, Opening
from responsa_client.requests import Parameters
from responsa_client.results import checked_turn


class ChatCalls(Part):
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
        max_cost_usd_micros: int | None = None,
        filter_by: str = "",
        on_busy: chat_service_pb2.OnBusy.ValueType = chat_service_pb2.ON_BUSY_UNSPECIFIED,
        cancel_on_disconnect: bool = False,
        timeout: float | None = None,
        patience: float | None = None,
        on_notice: Callable[[Notice], None] | None = None,
    ) -> TurnStream:
        """Ask a question and follow its turn to the terminal event, across lost connections and server restarts.

        If a stream is interrupted, falls silent or asks the client to reconnect, the client continues by itself. Until the client knows the turn's name, it asks again with the
        same request_id. Afterwards, it resumes the turn after the last seq that arrived. The client yields each event once, in order of seq. It checks that there is no gap
        between frames, and compares the answer with its checksums and with the deltas. It ignores unknown kinds of events.

        The stream also yields `attempt_restarted`. This event withdraws earlier deltas and citations; `TurnStream.text` does not contain withdrawn text. If the
        server has pruned the turn's log in the meantime, only the terminal event arrives, and the seqs before it are missing. The answer in the terminal
        event replaces any earlier text.

        Args:
            text: the question, 1 byte to 16 KiB of UTF-8.
            conversation: the name of the conversation to continue, `conversations/{uuid}`; None creates a new conversation.
            collections: ids or names of the collections to search; empty for all collections that the caller may read.
            request_id: any UUID. With the id of an earlier question, the stream attaches to the turn of that question. None generates a new id.
            include_deltas: whether the stream includes the answer's text piece by piece while the agent writes it.
            agent: id or name of the agent that answers, or of one of its versions ("chat/versions/3"); "" for the default agent.
            parameters: the agent's parameters, e.g. {"teacher_id": …}; `agent(…).parameters_schema` is their schema.
            max_cost_usd_micros: the maximum cost of the turn's model calls, in millionths of a US dollar, 1 or more. This can only lower the agent's own limit.
            filter_by: a filter on documents, e.g. "labels.team = legal"; only matching documents are used. See Scope.filter in the contract.
            on_busy: what to do if the conversation has a running turn; by default, the server refuses the question (CONVERSATION_BUSY).
            cancel_on_disconnect: whether the server cancels the turn if no client has followed it for 10 seconds.
            timeout: the maximum time in seconds until the terminal event; None for no limit. The turn continues after a timeout.
            patience: the time in seconds for which the client keeps trying when no frame arrives; None for the client's value, math.inf for no limit.
            on_notice: a function that the iteration calls with each notice that is not an event: `Waiting` (the place in the queue) or `Reconnecting`.

        Raises (at the call):
            ValueError, TypeError: the parameters cannot be written as JSON.

        Raises (during the iteration; the error's fields `turn`, `after_seq` and `request_id` let the caller continue later):
            ResponsaError: the server did not accept the question, or the client could not follow the turn to its end (DeadlineExceeded, StreamCut or BrokenAnswer).
                A turn that fails or is cancelled does not raise an error: its stream ends with the event `failed` or `cancelled`. See `turn_error`.
        """
        options = requests.options(collections, on_busy, parameters, max_cost_usd_micros, filter_by)
        kind = chat_service_pb2.AskRequest
        request = requests.question(kind, text, conversation, request_id, agent, options)
        request.include_deltas, request.cancel_on_disconnect = include_deltas, cancel_on_disconnect
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
    ) -> TurnStream:
        """Follow a turn, beginning after the event with the seq `after_seq`. Any client can do this at any time, also after the turn has
        ended. The other arguments are the same as for `ask`.

        Args:
            turn: the turn's name, `turns/{uuid}`, or the UUID alone.
            after_seq: the seq of the last event that the caller has; 0 replays all events. If this event ended the turn, the stream yields nothing, and its `terminal` is set.

        Raises (during the iteration):
            NotFound: the turn does not exist, or belongs to another user.
            InvalidRequest: the turn has not reached this seq yet (AFTER_SEQ_BEYOND_END).
        """
        return self._follow(requests.resume(turn, after_seq, include_deltas), timeout, patience, on_notice)

    def _follow(
        self,
        opening: Opening,
        timeout: float | None,
        patience: float | None,
        on_notice: Callable[[Notice], None] | None,
    ) -> TurnStream:
        chosen = self._patience if patience is None else patience
        following = Following(opening, self._calls.connection, chosen, on_notice)
        return TurnStream(self._calls, following, timeout)

    def cancel(self, turn: str) -> turn_pb2.Turn:
        """Cancel the running turn with this name (`turns/{uuid}`) or UUID. A second call has no effect.

        Returns:
            The turn with its terminal event: `cancelled`, or another event if the turn had already ended.

        Raises:
            NotFound: the turn does not exist, or belongs to another user.
        """
        request = chat_service_pb2.CancelTurnRequest(name=requests.turn_name(turn))
        return self._calls.unary(self._stubs.chat.CancelTurn, request)

    def answer(
        self,
        text: str,
        conversation: str | None = None,
        collections: Sequence[str] = (),
        request_id: str | None = None,
        *,
        agent: str = "",
        parameters: Parameters | None = None,
        max_cost_usd_micros: int | None = None,
        filter_by: str = "",
        on_busy: chat_service_pb2.OnBusy.ValueType = chat_service_pb2.ON_BUSY_UNSPECIFIED,
        timeout: float | None = None,
    ) -> turn_pb2.Turn:
        """Ask a question and wait for the end of its turn. The arguments are the same as for `ask`, but `timeout` defaults to the client's timeout.

        Returns:
            The finished turn. If it has an answer, the answer matches its checksums. A failed turn is
            returned and does not raise an error: see `turn_error`.

        Raises:
            DeadlineExceeded: the time is up, but the turn continues. Call again with the same request_id.
            BrokenAnswer: the answer does not match its checksums.
        """
        options = requests.options(collections, on_busy, parameters, max_cost_usd_micros, filter_by)
        kind = chat_service_pb2.AnswerRequest
        request = requests.question(kind, text, conversation, request_id, agent, options)
        return checked_turn(self._calls.unary(self._stubs.chat.Answer, request, timeout=timeout))

    def start_turn(
        self,
        text: str,
        conversation: str | None = None,
        collections: Sequence[str] = (),
        request_id: str | None = None,
        *,
        agent: str = "",
        parameters: Parameters | None = None,
        max_cost_usd_micros: int | None = None,
        filter_by: str = "",
        on_busy: chat_service_pb2.OnBusy.ValueType = chat_service_pb2.ON_BUSY_UNSPECIFIED,
    ) -> turn_pb2.Turn:
        """Ask a question without waiting, and return the accepted turn. The arguments are the same as for `ask`."""
        options = requests.options(collections, on_busy, parameters, max_cost_usd_micros, filter_by)
        kind = chat_service_pb2.StartTurnRequest
        request = requests.question(kind, text, conversation, request_id, agent, options)
        return self._calls.unary(self._stubs.chat.StartTurn, request)

    def get_turn(self, name: str) -> turn_pb2.Turn:
        """The turn with this name, `turns/{uuid}`. Raises NotFound."""
        return self._calls.unary(self._stubs.chat.GetTurn, chat_service_pb2.GetTurnRequest(name=name))

    def turns(self, filter_by: str = "", order_by: str = "") -> Iterator[turn_pb2.Turn]:
        """The caller's turns, by default newest first."""
        request = chat_service_pb2.ListTurnsRequest(
            page_size=requests.MESSAGES_PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListTurns, request, lambda page: page.turns)

    def verify_citations(self, name: str) -> list[chat_service_pb2.CitationCheck]:
        """A verdict for each citation of the answer with this name, `turns/{uuid}` or `messages/{uuid}`, in the order of the citations. Raises NotFound."""
        request = chat_service_pb2.VerifyCitationsRequest(name=name)
        return list((self._calls.unary(self._stubs.chat.VerifyCitations, request)).checks)

    def submit_feedback(
        self, name: str, rating: feedback_pb2.Rating.ValueType, comment: str = ""
    ) -> feedback_pb2.Feedback:
        """Store what the caller thinks of the answer with this name, `turns/{uuid}` or `messages/{uuid}`, in place of earlier feedback.

        Args:
            name: the turn or the answer.
            rating: RATING_UP or RATING_DOWN.
            comment: at most 2 KiB; may be empty.

        Raises:
            NotFound: there is no such answer of the caller.
            InvalidRequest: the message is a question.
        """
        request = chat_service_pb2.SubmitFeedbackRequest(message=name, rating=rating, comment=comment)
        return self._calls.unary(self._stubs.chat.SubmitFeedback, request)

    def feedback(self, message: str) -> feedback_pb2.Feedback:
        """The caller's feedback on an answer, `messages/{uuid}`. Raises NotFound."""
        request = chat_service_pb2.GetFeedbackRequest(name=f"{message}/feedback")
        return self._calls.unary(self._stubs.chat.GetFeedback, request)

    def agents(self, filter_by: str = "", order_by: str = "") -> Iterator[agent_pb2.Agent]:
        """The agents, by default in order of their names."""
        request = chat_service_pb2.ListAgentsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListAgents, request, lambda page: page.agents)

    def agent(self, agent: str) -> agent_pb2.Agent:
        """The agent with this id or name. The schema of its parameters lists the records that a parameter can name. Raises NotFound, whose metadata `known` lists all agents."""
        request = chat_service_pb2.GetAgentRequest(name=requests.agent_name(agent))
        return self._calls.unary(self._stubs.chat.GetAgent, request)

    def tools(self, filter_by: str = "", order_by: str = "") -> Iterator[tool_pb2.Tool]:
        """The tools that the caller may use through some agent, by default in order of their names. An owner of the installation gets all tools, with their problems."""
        request = chat_service_pb2.ListToolsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListTools, request, lambda page: page.tools)

    def tool(self, tool: str) -> tool_pb2.Tool:
        """The tool with this id or name. Raises NotFound."""
        request = chat_service_pb2.GetToolRequest(name=requests.tool_name(tool))
        return self._calls.unary(self._stubs.chat.GetTool, request)

    def create_conversation(
        self, title: str = "", labels: Mapping[str, str] | None = None, request_id: str | None = None
    ) -> conversation_pb2.Conversation:
        """Create an empty conversation."""
        request = requests.create_conversation(title, labels or {}, request_id or requests.new_request_id())
        return self._calls.unary(self._stubs.chat.CreateConversation, request)

    def get_conversation(self, name: str) -> conversation_pb2.Conversation:
        """The conversation with this name, `conversations/{uuid}`. Raises NotFound."""
        request = chat_service_pb2.GetConversationRequest(name=name)
        return self._calls.unary(self._stubs.chat.GetConversation, request)

    def conversations(
        self, filter_by: str = "", order_by: str = ""
    ) -> Iterator[conversation_pb2.Conversation]:
        """The caller's conversations, by default the most recently changed first."""
        request = chat_service_pb2.ListConversationsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListConversations, request, lambda page: page.conversations)

    def update_conversation(
        self, name: str, *, title: str | None = None, labels: Mapping[str, str] | None = None, etag: str = ""
    ) -> conversation_pb2.Conversation:
        """Change the given fields, all of them or none. Raises NotFound; Conflict if the conversation has another etag."""
        request = requests.update_conversation(name, title, labels, etag)
        return self._calls.unary(self._stubs.chat.UpdateConversation, request, repeatable=not etag)

    def delete_conversation(self, name: str, etag: str = "") -> None:
        """Delete a conversation with its turns and messages. Raises NotFound; Conflict if a turn is running or the conversation has another etag."""
        request = chat_service_pb2.DeleteConversationRequest(name=name, etag=etag)
        self._calls.unary(self._stubs.chat.DeleteConversation, request, repeatable=False)

    def messages(
        self, conversation: str, filter_by: str = "", order_by: str = ""
    ) -> Iterator[message_pb2.Message]:
        """A conversation's messages, by default oldest first. Raises NotFound."""
        request = chat_service_pb2.ListMessagesRequest(
            parent=conversation, page_size=requests.MESSAGES_PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListMessages, request, lambda page: page.messages)

    def get_message(self, name: str) -> message_pb2.Message:
        """The message with this name, `messages/{uuid}`. Raises NotFound."""
        return self._calls.unary(self._stubs.chat.GetMessage, chat_service_pb2.GetMessageRequest(name=name))
