"""Calls without an event loop: conversations and their messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from responsa.chat.v1 import chat_service_pb2, conversation_pb2, message_pb2
from responsa_client import requests
from responsa_client.blocking import BlockingPart


class ConversationCalls(BlockingPart):
    """Conversations and messages."""

    def create_conversation(
        self, title: str = "", labels: Mapping[str, str] | None = None, request_id: str | None = None
    ) -> conversation_pb2.Conversation:
        """An empty conversation."""
        request = requests.create_conversation(title, labels or {}, request_id or requests.new_request_id())
        return self._calls.unary(self._stubs.chat.CreateConversation, request)

    def get_conversation(self, name: str) -> conversation_pb2.Conversation:
        """One conversation, `conversations/{uuid}`. Raises NotFound."""
        request = chat_service_pb2.GetConversationRequest(name=name)
        return self._calls.unary(self._stubs.chat.GetConversation, request)

    def conversations(
        self, filter_by: str = "", order_by: str = ""
    ) -> Iterator[conversation_pb2.Conversation]:
        """The caller's conversations, the last changed first unless told otherwise."""
        request = chat_service_pb2.ListConversationsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListConversations, request, lambda page: page.conversations)

    def update_conversation(
        self, name: str, *, title: str | None = None, labels: Mapping[str, str] | None = None, etag: str = ""
    ) -> conversation_pb2.Conversation:
        """Change what is given, all or nothing. Raises NotFound; Conflict when the etag is no longer the resource's."""
        request = requests.update_conversation(name, title, labels, etag)
        return self._calls.unary(self._stubs.chat.UpdateConversation, request, repeatable=not etag)

    def delete_conversation(self, name: str, etag: str = "") -> None:
        """Delete a conversation with all that belongs to it. Raises NotFound, Conflict (busy, or the etag)."""
        request = chat_service_pb2.DeleteConversationRequest(name=name, etag=etag)
        self._calls.unary(self._stubs.chat.DeleteConversation, request, repeatable=False)

    def messages(
        self, conversation: str, filter_by: str = "", order_by: str = ""
    ) -> Iterator[message_pb2.Message]:
        """A conversation's messages in the order they were written. Raises NotFound."""
        request = chat_service_pb2.ListMessagesRequest(
            parent=conversation, page_size=requests.MESSAGES_PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListMessages, request, lambda page: page.messages)

    def get_message(self, name: str) -> message_pb2.Message:
        """One message, `messages/{uuid}`. Raises NotFound."""
        return self._calls.unary(self._stubs.chat.GetMessage, chat_service_pb2.GetMessageRequest(name=name))
