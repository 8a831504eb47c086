"""The twin of conversation_calls.py for asyncio, call for call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from responsa.chat.v1 import chat_service_pb2, conversation_pb2, message_pb2
from responsa_client import requests
from responsa_client.nonblocking import AsyncPart


class AsyncConversationCalls(AsyncPart):
    """As `ConversationCalls`."""

    async def create_conversation(
        self, title: str = "", labels: Mapping[str, str] | None = None, request_id: str | None = None
    ) -> conversation_pb2.Conversation:
        """As `Responsa.create_conversation`."""
        request = requests.create_conversation(title, labels or {}, request_id or requests.new_request_id())
        return await self._calls.unary(self._stubs.chat.CreateConversation, request)

    async def get_conversation(self, name: str) -> conversation_pb2.Conversation:
        """As `Responsa.get_conversation`."""
        request = chat_service_pb2.GetConversationRequest(name=name)
        return await self._calls.unary(self._stubs.chat.GetConversation, request)

    def conversations(
        self, filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[conversation_pb2.Conversation]:
        """As `Responsa.conversations`."""
        request = chat_service_pb2.ListConversationsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListConversations, request, lambda page: page.conversations)

    async def update_conversation(
        self, name: str, *, title: str | None = None, labels: Mapping[str, str] | None = None, etag: str = ""
    ) -> conversation_pb2.Conversation:
        """As `Responsa.update_conversation`."""
        request = requests.update_conversation(name, title, labels, etag)
        return await self._calls.unary(self._stubs.chat.UpdateConversation, request, repeatable=not etag)

    async def delete_conversation(self, name: str, etag: str = "") -> None:
        """As `Responsa.delete_conversation`."""
        request = chat_service_pb2.DeleteConversationRequest(name=name, etag=etag)
        await self._calls.unary(self._stubs.chat.DeleteConversation, request, repeatable=False)

    def messages(
        self, conversation: str, filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[message_pb2.Message]:
        """As `Responsa.messages`."""
        request = chat_service_pb2.ListMessagesRequest(
            parent=conversation, page_size=requests.MESSAGES_PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListMessages, request, lambda page: page.messages)

    async def get_message(self, name: str) -> message_pb2.Message:
        """As `Responsa.get_message`."""
        return await self._calls.unary(
            self._stubs.chat.GetMessage, chat_service_pb2.GetMessageRequest(name=name)
        )
