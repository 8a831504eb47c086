"""Calls about turns, conversations with their messages, and agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from responsa.chat.v1 import (
    chat_service_pb2,
    turn_pb2,
)
from responsa_client import requests
from responsa_client.aio.methods import AsyncChatMethods
from responsa_client.aio.stream import AsyncTurnStream
from responsa_client.following import Following, Opening
from responsa_client.notices import Notice
from responsa_client.requests import Parameters
from responsa_client.results import checked_turn


class AsyncChatCalls(AsyncChatMethods):
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
    ) -> AsyncTurnStream:
        """Ask a question and follow its turn to the terminal event, across lost connections and server restarts.

        If a stream is interrupted, falls silent or asks the client to reconnect, the client continues by itself. Until
        the client knows the turn's name, it asks again with the same request_id. Afterwards, it resumes the turn after
        the last seq that arrived. The client yields each event once, in order of seq. It checks that there is no gap
        between frames, and compares the answer with its checksums and with the deltas. It ignores unknown kinds of
        events.

        The stream also yields `attempt_restarted`. This event withdraws earlier deltas and citations;
        `AsyncTurnStream.text` does not contain withdrawn text. If the server has pruned the turn's log in the meantime,
        only the terminal event arrives, and the seqs before it are missing. The answer in the terminal event replaces
        any earlier text.

        Args:
            text: the question, 1 byte to 16 KiB of UTF-8.
            conversation: the name of the conversation to continue, `conversations/{uuid}`; None creates a new conversation.
            collections: ids or names of the collections to search; empty for all collections that the caller may read.
            request_id: any UUID. With the id of an earlier question, the stream attaches to the turn of that question.
                None generates a new id.
            include_deltas: whether the stream includes the answer's text piece by piece while the agent writes it.
            agent: id or name of the agent that answers, or of one of its versions ("chat/versions/3"); "" for the default agent.
            parameters: the agent's parameters, e.g. {"teacher_id": …}; `agent(…).parameters_schema` is their schema.
            max_cost_usd_micros: the maximum cost of the turn's model calls, in millionths of a US dollar, 1 or more.
                This can only lower the agent's own limit.
            filter_by: a filter on documents, e.g. "labels.team = legal"; only matching documents are used. See
                Scope.filter in the contract.
            on_busy: what to do if the conversation has a running turn; by default, the server refuses the question (CONVERSATION_BUSY).
            cancel_on_disconnect: whether the server cancels the turn if no client has followed it for 10 seconds.
            timeout: the maximum time in seconds until the terminal event; None for no limit. The turn continues after a timeout.
            patience: the time in seconds for which the client keeps trying when no frame arrives; None for the client's
                value, math.inf for no limit.
            on_notice: a function that the iteration calls with each notice that is not an event: `Waiting` (the place
                in the queue) or `Reconnecting`; None for the client's.

        Raises (at the call):
            ValueError, TypeError: the parameters cannot be written as JSON.

        Raises (during the iteration; the error's fields `turn`, `after_seq` and `request_id` let the caller continue later):
            ResponsaError: the server did not accept the question, or the client could not follow the turn to its end
                (DeadlineExceeded, StreamCut or BrokenAnswer).
                A turn that fails or is cancelled does not raise an error: its stream ends with the event `failed` or
                    `cancelled`. See `turn_error`.
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
    ) -> AsyncTurnStream:
        """Follow a turn, beginning after the event with the seq `after_seq`. Any client can do this at any time, also
        after the turn has ended. The other arguments are the same as for `ask`.

        Args:
            turn: the turn's name, `turns/{uuid}`, or the UUID alone.
            after_seq: the seq of the last event that the caller has; 0 replays all events. If this event ended the
                turn, the stream yields nothing, and its `terminal` is set.

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
    ) -> AsyncTurnStream:
        chosen = self._patience if patience is None else patience
        connection = self._calls.connection
        following = Following(opening, connection, chosen, on_notice or connection.on_notice)
        return AsyncTurnStream(self._calls, following, timeout)

    async def answer(
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
        """Ask a question and wait for the end of its turn. The arguments are the same as for `ask`, but `timeout`
        defaults to the client's timeout.

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
        max_cost_usd_micros: int | None = None,
        filter_by: str = "",
        on_busy: chat_service_pb2.OnBusy.ValueType = chat_service_pb2.ON_BUSY_UNSPECIFIED,
    ) -> turn_pb2.Turn:
        """Ask a question without waiting, and return the accepted turn. The arguments are the same as for `ask`."""
        options = requests.options(collections, on_busy, parameters, max_cost_usd_micros, filter_by)
        kind = chat_service_pb2.StartTurnRequest
        request = requests.question(kind, text, conversation, request_id, agent, options)
        return await self._calls.unary(self._stubs.chat.StartTurn, request)
