"""The client for programs on asyncio."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from google.longrunning import operations_pb2
from google.protobuf import timestamp_pb2

from responsa.admin.v1 import admin_service_pb2, system_status_pb2
from responsa.auth.v1 import api_key_pb2, auth_service_pb2, user_pb2
from responsa.chat.v1 import chat_service_pb2, conversation_pb2, message_pb2, turn_pb2
from responsa.knowledge.v1 import collection_pb2, document_pb2, knowledge_service_pb2
from responsa_client import requests
from responsa_client.async_turn_stream import AsyncTurnStream
from responsa_client.connection import DEFAULT_TIMEOUT, DEFAULT_URL, SILENCE_SECONDS, Connection
from responsa_client.following import PATIENCE_SECONDS, Following, Notice, Opening
from responsa_client.nonblocking import AsyncCalls
from responsa_client.results import checked_turn
from responsa_client.retries import Backoff


class AsyncResponsa:
    """A Responsa server, over gRPC, for one event loop. Close it, or use it as an asynchronous context manager.

    The same names, arguments, results and errors as `Responsa`, whose docstrings hold for both. Calls are coroutines, lists
    are asynchronous iterators. Make it while the loop is running.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        *,
        backoff: Callable[[], Backoff] = Backoff,
        patience: float = PATIENCE_SECONDS,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self._calls = AsyncCalls(Connection(url, api_key, timeout, backoff, silence))
        self._patience = patience
        self._stubs = self._calls.stubs

    @property
    def url(self) -> str:
        """The server's address in its full form, e.g. "http://127.0.0.1:8080"."""
        return self._calls.connection.address.url

    async def close(self) -> None:
        """As `Responsa.close`."""
        await self._calls.close()

    async def __aenter__(self) -> AsyncResponsa:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Turns

    def ask(
        self,
        text: str,
        conversation: str | None = None,
        collections: Sequence[str] = (),
        request_id: str | None = None,
        include_deltas: bool = False,
        *,
        agent: str = "",
        on_busy: chat_service_pb2.OnBusy.ValueType = chat_service_pb2.ON_BUSY_UNSPECIFIED,
        cancel_on_disconnect: bool = False,
        timeout: float | None = None,
        patience: float | None = None,
        on_notice: Callable[[Notice], None] | None = None,
    ) -> AsyncTurnStream:
        """As `Responsa.ask`."""
        made = request_id or requests.new_request_id()
        request = requests.ask(
            text, conversation or "", collections, made, include_deltas, agent, on_busy, cancel_on_disconnect
        )
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
        on_busy: chat_service_pb2.OnBusy.ValueType = chat_service_pb2.ON_BUSY_UNSPECIFIED,
        timeout: float | None = None,  # noqa: ASYNC109 - a deadline of gRPC
    ) -> turn_pb2.Turn:
        """As `Responsa.answer`."""
        made = request_id or requests.new_request_id()
        request = requests.answer(text, conversation or "", collections, made, agent, on_busy)
        return checked_turn(await self._calls.unary(self._stubs.chat.Answer, request, timeout=timeout))

    async def start_turn(
        self,
        text: str,
        conversation: str | None = None,
        collections: Sequence[str] = (),
        request_id: str | None = None,
        *,
        agent: str = "",
        on_busy: chat_service_pb2.OnBusy.ValueType = chat_service_pb2.ON_BUSY_UNSPECIFIED,
    ) -> turn_pb2.Turn:
        """As `Responsa.start_turn`."""
        made = request_id or requests.new_request_id()
        request = requests.start_turn(text, conversation or "", collections, made, agent, on_busy)
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

    # Conversations

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

    # Knowledge

    async def create_collection(
        self,
        collection_id: str,
        display_name: str = "",
        chunking: collection_pb2.Chunking | None = None,
        request_id: str | None = None,
    ) -> collection_pb2.Collection:
        """As `Responsa.create_collection`."""
        made = request_id or requests.new_request_id()
        request = requests.create_collection(collection_id, display_name, chunking, made)
        return await self._calls.unary(self._stubs.knowledge.CreateCollection, request)

    async def get_collection(self, collection: str) -> collection_pb2.Collection:
        """As `Responsa.get_collection`."""
        request = knowledge_service_pb2.GetCollectionRequest(name=requests.collection_name(collection))
        return await self._calls.unary(self._stubs.knowledge.GetCollection, request)

    def collections(
        self, filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[collection_pb2.Collection]:
        """As `Responsa.collections`."""
        request = knowledge_service_pb2.ListCollectionsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(
            self._stubs.knowledge.ListCollections, request, lambda page: page.collections
        )

    async def update_collection(
        self, collection: str, display_name: str, etag: str = ""
    ) -> collection_pb2.Collection:
        """As `Responsa.update_collection`."""
        request = requests.update_collection(collection, display_name, etag)
        return await self._calls.unary(self._stubs.knowledge.UpdateCollection, request, repeatable=not etag)

    async def delete_collection(self, collection: str, etag: str = "", *, force: bool = False) -> None:
        """As `Responsa.delete_collection`."""
        request = knowledge_service_pb2.DeleteCollectionRequest(
            name=requests.collection_name(collection), etag=etag, force=force
        )
        await self._calls.unary(self._stubs.knowledge.DeleteCollection, request, repeatable=False)

    async def upload(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        collection: str = "",
        source_key: str = "",
        title: str = "",
        uri: str = "",
        media_type: str = "",
        request_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a deadline of gRPC
    ) -> operations_pb2.Operation:
        """As `Responsa.upload`."""
        metadata = requests.metadata(collection, source_key, title, uri, media_type)
        upload = requests.Upload.of(source, metadata, request_id or requests.new_request_id())
        return await self._calls.upload(upload, timeout)

    async def create_document(
        self,
        text: str,
        *,
        source_key: str,
        collection: str = "",
        title: str = "",
        uri: str = "",
        media_type: str = "",
        request_id: str | None = None,
    ) -> operations_pb2.Operation:
        """As `Responsa.create_document`."""
        metadata = requests.metadata(collection, source_key, title, uri, media_type)
        made = request_id or requests.new_request_id()
        request = knowledge_service_pb2.CreateDocumentRequest(metadata=metadata, text=text, request_id=made)
        return await self._calls.unary(self._stubs.knowledge.CreateDocument, request)

    async def wait(
        self,
        operation: operations_pb2.Operation | str,
        timeout: float | None = None,  # noqa: ASYNC109 - a deadline of gRPC
        on_progress: Callable[[document_pb2.IngestMetadata], None] | None = None,
    ) -> document_pb2.IngestResult:
        """As `Responsa.wait`."""
        known = await self.get_operation(operation) if isinstance(operation, str) else operation
        return await self._calls.wait(known, timeout, on_progress)

    async def get_operation(self, name: str) -> operations_pb2.Operation:
        """As `Responsa.get_operation`."""
        request = operations_pb2.GetOperationRequest(name=name)
        return await self._calls.unary(self._stubs.operations.GetOperation, request)

    async def cancel_operation(self, name: str) -> None:
        """As `Responsa.cancel_operation`."""
        request = operations_pb2.CancelOperationRequest(name=name)
        await self._calls.unary(self._stubs.operations.CancelOperation, request)

    async def get_document(self, name: str) -> document_pb2.Document:
        """As `Responsa.get_document`."""
        request = knowledge_service_pb2.GetDocumentRequest(name=name)
        return await self._calls.unary(self._stubs.knowledge.GetDocument, request)

    def documents(
        self, collection: str = "default", filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[document_pb2.Document]:
        """As `Responsa.documents`."""
        request = knowledge_service_pb2.ListDocumentsRequest(
            parent=requests.collection_name(collection),
            page_size=requests.PAGE_SIZE,
            filter=filter_by,
            order_by=order_by,
        )
        return self._calls.paged(self._stubs.knowledge.ListDocuments, request, lambda page: page.documents)

    async def delete_document(self, name: str, etag: str = "") -> None:
        """As `Responsa.delete_document`."""
        request = knowledge_service_pb2.DeleteDocumentRequest(name=name, etag=etag)
        await self._calls.unary(self._stubs.knowledge.DeleteDocument, request, repeatable=False)

    async def document_content(self, name: str) -> str:
        """As `Responsa.document_content`."""
        return await self._calls.content(knowledge_service_pb2.GetDocumentContentRequest(name=name))

    async def get_passage(self, name: str) -> document_pb2.Passage:
        """As `Responsa.get_passage`."""
        request = knowledge_service_pb2.GetPassageRequest(name=name)
        return await self._calls.unary(self._stubs.knowledge.GetPassage, request)

    async def search(
        self,
        terms: str | Sequence[str],
        collections: Sequence[str] = (),
        top_k: int = 10,
        threshold: float = 0.0,
        mode: knowledge_service_pb2.SearchMode.ValueType = knowledge_service_pb2.SEARCH_MODE_HYBRID,
    ) -> list[knowledge_service_pb2.SearchHit]:
        """As `Responsa.search`."""
        request = requests.search(terms, collections, top_k, threshold, mode)
        return list((await self._calls.unary(self._stubs.knowledge.Search, request)).hits)

    # The caller and the server

    async def me(self) -> user_pb2.User:
        """As `Responsa.me`."""
        return await self._calls.unary(self._stubs.auth.GetMe, auth_service_pb2.GetMeRequest())

    async def create_session_code(self) -> auth_service_pb2.CreateSessionCodeResponse:
        """As `Responsa.create_session_code`."""
        request = auth_service_pb2.CreateSessionCodeRequest()
        return await self._calls.unary(self._stubs.auth.CreateSessionCode, request, repeatable=False)

    async def create_api_key(
        self,
        display_name: str,
        expire_time: timestamp_pb2.Timestamp | None = None,
        request_id: str | None = None,
    ) -> auth_service_pb2.CreateApiKeyResponse:
        """As `Responsa.create_api_key`."""
        api_key = api_key_pb2.ApiKey(display_name=display_name, expire_time=expire_time)
        made = request_id or requests.new_request_id()
        request = auth_service_pb2.CreateApiKeyRequest(api_key=api_key, request_id=made)
        return await self._calls.unary(self._stubs.auth.CreateApiKey, request, repeatable=False)

    def api_keys(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[api_key_pb2.ApiKey]:
        """As `Responsa.api_keys`."""
        request = auth_service_pb2.ListApiKeysRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.auth.ListApiKeys, request, lambda page: page.api_keys)

    async def revoke_api_key(self, name: str) -> api_key_pb2.ApiKey:
        """As `Responsa.revoke_api_key`."""
        return await self._calls.unary(
            self._stubs.auth.RevokeApiKey, auth_service_pb2.RevokeApiKeyRequest(name=name)
        )

    async def get_system_status(self) -> system_status_pb2.SystemStatus:
        """As `Responsa.get_system_status`."""
        request = admin_service_pb2.GetSystemStatusRequest()
        return await self._calls.unary(self._stubs.admin.GetSystemStatus, request)
