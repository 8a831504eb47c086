"""ChatService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from responsa.chat.v1 import (
    agent_pb2,
    conversation_pb2,
    feedback_pb2,
    message_pb2,
    share_pb2,
    tool_pb2,
    turn_pb2,
)
from responsa.chat.v1 import chat_service_pb2 as pb
from responsa_server.agents.config.tools import LiveTools
from responsa_server.calls import frames
from responsa_server.calls.call import caller, current
from responsa_server.calls.convert import agents, chat, enums
from responsa_server.calls.convert.messages import columns, message
from responsa_server.calls.convert.values import request_id, slug_of, to_datetime, unmask, uuid_of
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.paging import fits, page_of
from responsa_server.calls.services.parts import Services
from responsa_server.domain import lists, names
from responsa_server.domain.agents import Catalogue
from responsa_server.domain.background import Background
from responsa_server.domain.conversations import Rating
from responsa_server.domain.errors import InvalidRequest, NotFound
from responsa_server.domain.filters import holds
from responsa_server.domain.formatting import counted
from responsa_server.domain.limits import NO_LIMIT
from responsa_server.domain.people import Principal
from responsa_server.domain.tools import ToolEntry
from responsa_server.domain.turns import Accepted, log_ids
from responsa_server.stores.postgres.shares import PostgresShares

MAX_WORDS: Final = 16
"""How many words a search for conversations may have."""
_OPINION: Final = set(pb.SubmitFeedbackRequest.DESCRIPTOR.fields_by_name) & set(
    feedback_pb2.Feedback.DESCRIPTOR.fields_by_name
)


class ChatService:
    """The caller's questions, turns, conversations and messages, and the agents that the caller can ask."""

    def __init__(self, parts: Services, work: Background) -> None:
        """work: holds the tasks that continue when the caller has left."""
        self._turns = parts.turns
        self._conversations = parts.conversations
        self._catalogue = parts.catalogue
        self._limiter = parts.limiter
        self._work = work

    async def Ask(self, request: pb.AskRequest) -> AsyncIterator[bytes]:
        """Start a turn or attach to one, and follow it. Each item is the bytes of an `AskResponse`."""
        principal, call = caller(), current()
        include_deltas = request.include_deltas
        accepting = self._turns.accept(
            principal,
            chat.question(request),
            request_id(request.request_id),
            cancel_on_disconnect=request.cancel_on_disconnect,
        )
        if request.cancel_on_disconnect:
            # A caller that disconnects before it receives its turn's name also counts as having left that turn.
            accepting = asyncio.ensure_future(accepting)
            call.when_left(partial(accepting.add_done_callback, partial(self._leave, principal)))
            accepted = await self._work.run(accepting)
        else:
            accepted = await accepting
            call.when_left(partial(self._turns.leave, principal, accepted.turn_id))
        call.log_turn(log_ids(accepted.turn_id, accepted.agent_version))
        fresh = not accepted.attached
        # A stream may last for minutes, and a question has up to 16 KiB. Release both.
        del request, accepting
        following = self._turns.follow(principal, accepted.turn_id, deltas=include_deltas, fresh=fresh)
        async with aclosing(following) as rows:
            async for frame in frames.stream(accepted.turn_id, rows, include_deltas=include_deltas):
                call.complete = frames.ends(frame)
                yield frame

    async def ResumeTurn(self, request: pb.ResumeTurnRequest) -> AsyncIterator[bytes]:
        """Follow a turn from the event after `after_seq` on. Each item is the bytes of a `ResumeTurnResponse`."""
        who, call = caller(), current()
        turn_id = uuid_of("turn", "turns", request.turn)
        after_seq, include_deltas = request.after_seq, request.include_deltas
        call.when_left(partial(self._turns.leave, who, turn_id))
        following = self._turns.follow(who, turn_id, after_seq, deltas=include_deltas)
        async with aclosing(following) as rows:
            async for frame in frames.stream(
                turn_id, rows, include_deltas=include_deltas, after_seq=after_seq
            ):
                call.complete = frames.ends(frame)
                yield frame

    def _leave(self, caller: Principal, accepting: asyncio.Future[Accepted]) -> None:
        if not accepting.cancelled() and accepting.exception() is None:
            self._turns.leave(caller, accepting.result().turn_id)

    async def CancelTurn(self, request: pb.CancelTurnRequest) -> turn_pb2.Turn:
        return chat.turn(await self._turns.cancel(caller(), uuid_of("name", "turns", request.name)))

    async def StartTurn(self, request: pb.StartTurnRequest) -> turn_pb2.Turn:
        accepted = await self._accept(request)
        return chat.turn(await self._turns.store.get(caller(), accepted.turn_id))

    async def Answer(self, request: pb.AnswerRequest) -> turn_pb2.Turn:
        accepted = await self._accept(request)
        return chat.turn(await self._turns.wait(caller(), accepted.turn_id))

    async def _accept(self, request: pb.StartTurnRequest | pb.AnswerRequest) -> Accepted:
        call = current()
        accepted = await self._turns.accept(caller(), chat.question(request), request_id(request.request_id))
        call.log_turn(log_ids(accepted.turn_id, accepted.agent_version))
        return accepted

    async def GetTurn(self, request: pb.GetTurnRequest) -> turn_pb2.Turn:
        return chat.turn(await self._turns.store.get(caller(), uuid_of("name", "turns", request.name)))

    async def ListTurns(self, request: pb.ListTurnsRequest) -> pb.ListTurnsResponse:
        asked = Listing(lists.TURNS, caller(), request)
        page = await self._turns.store.list(caller(), asked.query)
        return asked.answer(pb.ListTurnsResponse, page, chat.turn)

    async def CreateConversation(
        self, request: pb.CreateConversationRequest
    ) -> conversation_pb2.Conversation:
        conversation = request.conversation
        limit = (
            NO_LIMIT if self._limiter is None else (await self._limiter.check_storage(caller())).conversations
        )
        created = await self._conversations.create(
            caller(), conversation.title, dict(conversation.labels), request_id(request.request_id), limit
        )
        return chat.conversation(created)

    async def GetConversation(self, request: pb.GetConversationRequest) -> conversation_pb2.Conversation:
        return chat.conversation(
            await self._conversations.store.get(caller(), uuid_of("name", "conversations", request.name))
        )

    async def ListConversations(self, request: pb.ListConversationsRequest) -> pb.ListConversationsResponse:
        asked = Listing(lists.CONVERSATIONS, caller(), request)
        page = await self._conversations.store.list(caller(), asked.query)
        return asked.answer(pb.ListConversationsResponse, page, chat.conversation)

    async def SearchConversations(
        self, request: pb.SearchConversationsRequest
    ) -> pb.SearchConversationsResponse:
        words = list(dict.fromkeys(request.query.split()))
        if not 0 < len(words) <= MAX_WORDS:
            raise InvalidRequest.of_field(
                "query", "query.words", f"must contain 1 to {MAX_WORDS} different words, not {len(words)}"
            )
        asked = Listing(lists.CONVERSATIONS, caller(), request, " ".join(words))
        page = await self._conversations.store.search(caller(), words, asked.query)
        return asked.answer(
            pb.SearchConversationsResponse, page, lambda item: chat.conversation_match(item, words)
        )

    async def UpdateConversation(
        self, request: pb.UpdateConversationRequest
    ) -> conversation_pb2.Conversation:
        conversation = request.conversation
        wanted = unmask(request.update_mask, ("title", "labels", "pinned", "archived"), request.conversation)
        changed = await self._conversations.update(
            caller(),
            uuid_of("conversation.name", "conversations", conversation.name),
            title=conversation.title if "title" in wanted else None,
            labels=dict(conversation.labels) if "labels" in wanted else None,
            etag=conversation.etag,
            pinned=conversation.pinned if "pinned" in wanted else None,
            archived=conversation.archived if "archived" in wanted else None,
        )
        return chat.conversation(changed)

    async def DeleteConversation(self, request: pb.DeleteConversationRequest) -> Empty:
        await self._conversations.store.delete(
            caller(), uuid_of("name", "conversations", request.name), request.etag
        )
        return Empty()

    async def ListMessages(self, request: pb.ListMessagesRequest) -> pb.ListMessagesResponse:
        asked = Listing(lists.MESSAGES, caller(), request, request.parent)
        page = await self._conversations.store.messages(
            caller(), uuid_of("parent", "conversations", request.parent), asked.query
        )
        return asked.answer(pb.ListMessagesResponse, page, chat.message)

    async def GetMessage(self, request: pb.GetMessageRequest) -> message_pb2.Message:
        return chat.message(
            await self._conversations.store.message(caller(), uuid_of("name", "messages", request.name))
        )

    async def SubmitFeedback(self, request: pb.SubmitFeedbackRequest) -> feedback_pb2.Feedback:
        rating = enums.RATING.value(request.rating)
        if (rating is None) is not bool(request.score):
            raise InvalidRequest.of_field(
                "rating",
                "rating.or_score",
                "must be RATING_UP or RATING_DOWN, or be left out with a score from 1 to 5",
            )
        opinion = columns("", request, _OPINION) | {
            "rating": rating or Rating.of_score(request.score),
            "score": request.score or None,
        }
        kind, _, identity = request.message.partition("/")
        named = {"turn_id" if kind == "turns" else "message_id": UUID(identity)}
        feedback = await self._conversations.store.give_feedback(caller(), opinion, **named)
        return message(feedback_pb2.Feedback, feedback)

    async def GetFeedback(self, request: pb.GetFeedbackRequest) -> feedback_pb2.Feedback:
        message_id = uuid_of("name", "messages", request.name.removesuffix("/feedback"))
        feedback = (await self._conversations.store.message(caller(), message_id)).feedback
        if feedback is None:
            raise NotFound.of("feedback", request.name)
        return message(feedback_pb2.Feedback, feedback)

    async def VerifyCitations(self, request: pb.VerifyCitationsRequest) -> pb.VerifyCitationsResponse:
        if request.name.startswith("turns/"):
            turn_id = names.parse_uuid("turns", request.name)
            return chat.checks(await self._conversations.verify(caller(), turn_id=turn_id))
        message_id = uuid_of("name", "messages", request.name)
        return chat.checks(await self._conversations.verify(caller(), message_id=message_id))

    async def ListAgents(self, request: pb.ListAgentsRequest) -> pb.ListAgentsResponse:
        listing = Listing(lists.AGENTS, caller(), request)
        cards = [
            card
            for card in self._catalogue.cards()
            if all(holds(wanted, partial(fits, card.display_name)) for wanted in listing.query.filters)
        ]
        page = page_of(cards, lambda card: card.id, listing.query)
        return listing.answer(pb.ListAgentsResponse, page, lambda item: agents.agent(item, item.schema))

    async def GetAgent(self, request: pb.GetAgentRequest) -> agent_pb2.Agent:
        card = self._catalogue.card(slug_of("name", "agents", request.name))
        return agents.agent(card, await self._catalogue.schema(caller(), card))


class ToolService:
    """The tools that agents can call."""

    def __init__(self, tools: LiveTools, agents: Catalogue) -> None:
        self._tools = tools
        self._agents = agents

    async def ListTools(self, request: pb.ListToolsRequest) -> pb.ListToolsResponse:
        """List the tools that the caller may use; for an owner, all."""
        principal = caller()
        listing = Listing(lists.TOOLS, principal, request)
        entries = [
            entry
            for entry in self._tools.entries()
            if self._visible(entry, principal)
            and all(holds(wanted, partial(fits, entry.card.title)) for wanted in listing.query.filters)
        ]
        page = page_of(entries, lambda entry: entry.card.id, listing.query)
        return listing.answer(pb.ListToolsResponse, page, lambda item: self._convert(item, principal))

    async def GetTool(self, request: pb.GetToolRequest) -> tool_pb2.Tool:
        who = caller()
        wanted = request.name.removeprefix("tools/")
        for entry in self._tools.entries():
            if entry.card.id == wanted and self._visible(entry, who):
                return self._convert(entry, who)
        raise NotFound.of("tool", request.name)

    def _visible(self, entry: ToolEntry, caller: Principal) -> bool:
        return caller.owner or (entry.usable and bool(self._users(entry, caller)))

    def _convert(self, entry: ToolEntry, caller: Principal) -> tool_pb2.Tool:
        return agents.tool(entry, self._users(entry, caller), problems=caller.owner)

    def _users(self, entry: ToolEntry, caller: Principal) -> Sequence[str]:
        """The agents through which this user may use the tool."""
        return [
            card.id
            for card in self._agents.cards()
            if entry.allow.chosen(card.tools, entry.names, entry.effect, card.id)
            and entry.allow.allows(caller, card.id)
        ]


_SHORTEST: Final = timedelta(minutes=1)
_MOST_DAYS: Final = 365
_USUAL: Final = timedelta(days=30)


class ShareService:
    """Answers that users share within their tenant."""

    def __init__(self, store: PostgresShares) -> None:
        self._store = store

    async def ShareTurn(self, request: pb.ShareTurnRequest) -> share_pb2.Share:
        now = datetime.now(UTC)
        ends = now + _USUAL
        if request.HasField("expire_time"):
            ends = to_datetime("expire_time", request.expire_time)
            # The page counts the days by its own clock.
            if not _SHORTEST <= ends - now <= timedelta(days=_MOST_DAYS, hours=1):
                raise InvalidRequest.of_field(
                    "expire_time",
                    "expire_time.range",
                    f"must be at least a minute from now, and within {counted(_MOST_DAYS, 'day')}",
                )
        share = await self._store.share(caller(), uuid_of("turn", "turns", request.turn), ends)
        return chat.share(share, caller(), answered=False)

    async def GetShare(self, request: pb.GetShareRequest) -> share_pb2.Share:
        share = await self._store.get(caller(), uuid_of("name", "shares", request.name))
        return chat.share(share, caller())

    async def ListShares(self, request: pb.ListSharesRequest) -> pb.ListSharesResponse:
        asked = Listing(lists.SHARES, caller(), request)
        page = await self._store.list(caller(), asked.query)
        return asked.answer(
            pb.ListSharesResponse, page, lambda item: chat.share(item, caller(), answered=False)
        )

    async def RevokeShare(self, request: pb.RevokeShareRequest) -> Empty:
        await self._store.revoke(caller(), uuid_of("name", "shares", request.name))
        return Empty()
