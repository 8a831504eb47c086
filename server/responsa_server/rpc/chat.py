"""ChatService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from google.protobuf.empty_pb2 import Empty

from responsa.chat.v1 import chat_service_pb2 as pb
from responsa.chat.v1 import conversation_pb2, message_pb2, turn_pb2
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceServicer
from responsa_server.domain import names
from responsa_server.domain.ports.turns import Accepted
from responsa_server.rpc import frames, listing
from responsa_server.rpc.call import Context, caller
from responsa_server.rpc.convert import chat
from responsa_server.rpc.convert.basics import named_uuid, request_id, updated
from responsa_server.rpc.listing import Listing
from responsa_server.rpc.work import Work
from responsa_server.turns.conversations import Conversations
from responsa_server.turns.service import Turns


class ChatService(ChatServiceServicer):
    """Questions, turns, conversations and messages of the caller."""

    def __init__(self, turns: Turns, conversations: Conversations, work: Work) -> None:
        self._turns = turns
        self._conversations = conversations
        self._work = work

    async def Ask(self, request: pb.AskRequest, context: Context) -> AsyncIterator[pb.AskResponse]:
        """Start a turn or attach to one, and follow it."""
        who = caller()
        turn_id = (await self._accept(request)).turn_id
        async with aclosing(self._turns.follow(who, turn_id)) as rows:
            async for frame in frames.stream(turn_id, rows, include_deltas=request.options.include_deltas):
                yield frames.as_response(frame)

    async def StartTurn(self, request: pb.StartTurnRequest, context: Context) -> turn_pb2.Turn:
        """Start a turn or attach to one."""
        accepted = await self._accept(request)
        return chat.turn(await self._turns.get(caller(), accepted.turn_id))

    async def Answer(self, request: pb.AnswerRequest, context: Context) -> turn_pb2.Turn:
        """Start a turn or attach to one, and wait for its end."""
        accepted = await self._accept(request)
        return chat.turn(await self._turns.wait(caller(), accepted.turn_id))

    async def _accept(self, request: chat.Asking) -> Accepted:
        question = chat.question(request)
        # Ask and Answer may be cut off at any time; whether the turn was accepted must not hang on when.
        return await self._work.uncut(self._turns.accept(caller(), question, request_id(request.request_id)))

    async def GetTurn(self, request: pb.GetTurnRequest, context: Context) -> turn_pb2.Turn:
        """Return one turn."""
        return chat.turn(await self._turns.get(caller(), named_uuid("name", "turns", request.name)))

    async def ListTurns(self, request: pb.ListTurnsRequest, context: Context) -> pb.ListTurnsResponse:
        """List the caller's turns."""
        asked = Listing(listing.TURNS, caller(), request)
        page = await self._turns.list(caller(), asked.query)
        return pb.ListTurnsResponse(
            turns=[chat.turn(one) for one in page.items], next_page_token=asked.token(page)
        )

    async def CreateConversation(
        self, request: pb.CreateConversationRequest, context: Context
    ) -> conversation_pb2.Conversation:
        """Make an empty conversation."""
        given = request.conversation
        made = await self._conversations.create(
            caller(), given.title, dict(given.labels), request_id(request.request_id)
        )
        return chat.conversation(made)

    async def GetConversation(
        self, request: pb.GetConversationRequest, context: Context
    ) -> conversation_pb2.Conversation:
        """Return one conversation."""
        return chat.conversation(
            await self._conversations.get(caller(), named_uuid("name", "conversations", request.name))
        )

    async def ListConversations(
        self, request: pb.ListConversationsRequest, context: Context
    ) -> pb.ListConversationsResponse:
        """List the caller's conversations."""
        asked = Listing(listing.CONVERSATIONS, caller(), request)
        page = await self._conversations.list(caller(), asked.query)
        return pb.ListConversationsResponse(
            conversations=[chat.conversation(one) for one in page.items], next_page_token=asked.token(page)
        )

    async def UpdateConversation(
        self, request: pb.UpdateConversationRequest, context: Context
    ) -> conversation_pb2.Conversation:
        """Change title or labels."""
        given = request.conversation
        wanted = updated(request.update_mask, ("title", "labels"))
        changed = await self._conversations.update(
            caller(),
            named_uuid("conversation.name", "conversations", given.name),
            title=given.title if "title" in wanted else None,
            labels=dict(given.labels) if "labels" in wanted else None,
            etag=given.etag,
        )
        return chat.conversation(changed)

    async def DeleteConversation(self, request: pb.DeleteConversationRequest, context: Context) -> Empty:
        """Delete a conversation with all that is in it."""
        await self._conversations.delete(
            caller(), named_uuid("name", "conversations", request.name), request.etag
        )
        return Empty()

    async def ListMessages(
        self, request: pb.ListMessagesRequest, context: Context
    ) -> pb.ListMessagesResponse:
        """List a conversation's messages."""
        asked = Listing(listing.MESSAGES, caller(), request, request.parent)
        page = await self._conversations.messages(
            caller(), named_uuid("parent", "conversations", request.parent), asked.query
        )
        return pb.ListMessagesResponse(
            messages=[chat.message(one) for one in page.items], next_page_token=asked.token(page)
        )

    async def GetMessage(self, request: pb.GetMessageRequest, context: Context) -> message_pb2.Message:
        """Return one message."""
        return chat.message(
            await self._conversations.message(caller(), named_uuid("name", "messages", request.name))
        )

    async def VerifyCitations(
        self, request: pb.VerifyCitationsRequest, context: Context
    ) -> pb.VerifyCitationsResponse:
        """Check the citations of an answer."""
        if request.name.startswith("turns/"):
            turn_id = names.parse_uuid("turns", request.name)
            return chat.checks(await self._conversations.verify(caller(), turn_id=turn_id))
        message_id = named_uuid("name", "messages", request.name)
        return chat.checks(await self._conversations.verify(caller(), message_id=message_id))
