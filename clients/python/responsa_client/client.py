"""The client for programs without an event loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from google.longrunning import operations_pb2
from google.protobuf import timestamp_pb2

from responsa.admin.v1 import admin_service_pb2, system_status_pb2
from responsa.auth.v1 import api_key_pb2, auth_service_pb2, user_pb2
from responsa.chat.v1 import chat_service_pb2, conversation_pb2, message_pb2, turn_pb2
from responsa.knowledge.v1 import collection_pb2, document_pb2, knowledge_service_pb2
from responsa_client import requests
from responsa_client.blocking import BlockingCalls
from responsa_client.connection import DEFAULT_TIMEOUT, DEFAULT_URL, SILENCE_SECONDS, Connection
from responsa_client.following import PATIENCE_SECONDS, Following, Notice, Opening
from responsa_client.results import checked_turn
from responsa_client.retries import Backoff
from responsa_client.turn_stream import TurnStream


class Responsa:
    """A Responsa server, over gRPC. Safe to share between threads; close it, or use it as a context manager.

    Requests and responses are the contract's own messages (`responsa.chat.v1` and its sisters), whose comments hold all
    limits. All calls raise ResponsaError (see `responsa_client.errors` for its kinds); CannotConnect means that nothing
    answers at the address. A call that broke off is repeated, with backoff and jitter, where repeating it is safe and the
    server has answered before. Creating calls carry a request_id, made when none is given, so that none is done twice.

    Args:
        url: "http://host:port", "https://host[:port]", "host:port" or "unix:/path/of/socket".
        api_key: sent as `authorization: Bearer …`; None for calls without a credential.
        timeout: seconds that one call may take, repetitions included; None for no limit. `ask`, `resume`, `upload` and
            `wait` have limits of their own, none by default.
        backoff: makes the policy of one call's repetitions, and of one turn's streams.
        patience: seconds for which a turn is tried for while no frame of it comes at all; math.inf has no end.
        silence: seconds without a frame after which a turn's stream counts as cut; the server sends a heartbeat every 15.

    Raises:
        ValueError: the address, the key or a time cannot be right.
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
        self._calls = BlockingCalls(Connection(url, api_key, timeout, backoff, silence))
        self._patience = patience
        self._stubs = self._calls.stubs

    @property
    def url(self) -> str:
        """The server's address in its full form, e.g. "http://127.0.0.1:8080"."""
        return self._calls.connection.address.url

    def close(self) -> None:
        """End all calls and the connection. Closing again changes nothing."""
        self._calls.close()

    def __enter__(self) -> Responsa:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
    ) -> TurnStream:
        """Ask a question and follow its turn to its end, whatever happens to connections and servers meanwhile.

        A stream that breaks off, falls silent or is asked to reconnect is gone on with by itself: where the turn's name is not known yet by asking again with the same
        request_id, then by resuming after the last seq that came. Each event is handed out once, in order of seq. Frames are checked to follow each other
        without a hole, and an answer against its checksums and its deltas. Kinds of events that this client does not know are passed over.

        `attempt_restarted` is an event like others: it withdraws deltas and citations that were handed out; `TurnStream.text` is what stands. When the
        log of the turn was pruned meanwhile, its terminal event alone comes, with its own seq, though others before it did not: the answer in it
        takes the place of any text handed out before.

        Args:
            text: the question, 1 byte to 16 KiB of UTF-8.
            conversation: `conversations/{uuid}` to go on with; None makes a new one.
            collections: ids or names of collections to answer from; none means all that the caller may read.
            request_id: any UUID; the same one again attaches to the turn that it made before. None makes one.
            include_deltas: whether pieces of the answer are handed out as they are made.
            agent: id or name of the agent that answers; "" for the default.
            on_busy: what happens when the conversation has a turn at work; refused (CONVERSATION_BUSY) by default.
            cancel_on_disconnect: whether the turn is cancelled once nobody has followed it for 10 seconds.
            timeout: seconds until the terminal event; None for no limit. When they have passed the turn goes on.
            patience: seconds for which it tries to go on while no frame comes at all; None takes the client's, math.inf has no end.
            on_notice: told, in the iterating thread, of what is no event: `Waiting` (the place in the queue), `Reconnecting`.

        Raises (from the first `next` on; with `turn`, `after_seq` and `request_id`, by which to go on):
            ResponsaError: the question was not accepted; or DeadlineExceeded, StreamCut, BrokenAnswer while following.
                A turn that fails or is cancelled ends its stream with that event and raises nothing: see `turn_error`.
        """
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
    ) -> TurnStream:
        """Follow a turn from after a seq on, before, during or after it runs, wherever it was asked. Otherwise as `ask`.

        Args:
            turn: `turns/{uuid}`, or the UUID alone.
            after_seq: the seq of the last event that is known; 0 replays all. Of a turn that ended there nothing is handed out, and `terminal` is known.

        Raises (from the first `next` on):
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
    ) -> TurnStream:
        chosen = self._patience if patience is None else patience
        following = Following(opening, self._calls.connection, chosen, on_notice)
        return TurnStream(self._calls, following, timeout)

    def cancel(self, turn: str) -> turn_pb2.Turn:
        """End a turn, `turns/{uuid}` or the UUID alone, that has not ended. Repeating it changes nothing.

        Returns:
            The turn with the terminal event that won: `cancelled`, or the one that had come before.

        Raises:
            NotFound: no such turn of the caller's.
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
        made = request_id or requests.new_request_id()
        request = requests.answer(text, conversation or "", collections, made, agent, on_busy)
        return checked_turn(self._calls.unary(self._stubs.chat.Answer, request, timeout=timeout))

    def start_turn(
        self,
        text: str,
        conversation: str | None = None,
        collections: Sequence[str] = (),
        request_id: str | None = None,
        *,
        agent: str = "",
        on_busy: chat_service_pb2.OnBusy.ValueType = chat_service_pb2.ON_BUSY_UNSPECIFIED,
    ) -> turn_pb2.Turn:
        """Ask a question without waiting: the turn as it was accepted. Arguments as of `ask`."""
        made = request_id or requests.new_request_id()
        request = requests.start_turn(text, conversation or "", collections, made, agent, on_busy)
        return self._calls.unary(self._stubs.chat.StartTurn, request)

    def get_turn(self, name: str) -> turn_pb2.Turn:
        """One turn, `turns/{uuid}`. Raises NotFound."""
        return self._calls.unary(self._stubs.chat.GetTurn, chat_service_pb2.GetTurnRequest(name=name))

    def turns(self, filter_by: str = "", order_by: str = "") -> Iterator[turn_pb2.Turn]:
        """The caller's turns, newest first unless told otherwise."""
        request = chat_service_pb2.ListTurnsRequest(
            page_size=requests.MESSAGES_PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.chat.ListTurns, request, lambda page: page.turns)

    def verify_citations(self, name: str) -> list[chat_service_pb2.CitationCheck]:
        """A verdict for each citation of an answer, `turns/{uuid}` or `messages/{uuid}`, in its order. Raises NotFound."""
        request = chat_service_pb2.VerifyCitationsRequest(name=name)
        return list(self._calls.unary(self._stubs.chat.VerifyCitations, request).checks)

    # Conversations

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

    # Knowledge

    def create_collection(
        self,
        collection_id: str,
        display_name: str = "",
        chunking: collection_pb2.Chunking | None = None,
        request_id: str | None = None,
    ) -> collection_pb2.Collection:
        """An empty collection. Raises AlreadyExists."""
        made = request_id or requests.new_request_id()
        request = requests.create_collection(collection_id, display_name, chunking, made)
        return self._calls.unary(self._stubs.knowledge.CreateCollection, request)

    def get_collection(self, collection: str) -> collection_pb2.Collection:
        """One collection, by id or name. Raises NotFound."""
        request = knowledge_service_pb2.GetCollectionRequest(name=requests.collection_name(collection))
        return self._calls.unary(self._stubs.knowledge.GetCollection, request)

    def collections(self, filter_by: str = "", order_by: str = "") -> Iterator[collection_pb2.Collection]:
        """The collections that the caller may read, by name unless told otherwise."""
        request = knowledge_service_pb2.ListCollectionsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(
            self._stubs.knowledge.ListCollections, request, lambda page: page.collections
        )

    def update_collection(
        self, collection: str, display_name: str, etag: str = ""
    ) -> collection_pb2.Collection:
        """Change a collection's display name. Raises NotFound, PermissionDenied; Conflict (the etag)."""
        request = requests.update_collection(collection, display_name, etag)
        return self._calls.unary(self._stubs.knowledge.UpdateCollection, request, repeatable=not etag)

    def delete_collection(self, collection: str, etag: str = "", *, force: bool = False) -> None:
        """Delete a collection, with `force` its documents too. Raises NotFound, FailedPrecondition (not empty), Conflict."""
        request = knowledge_service_pb2.DeleteCollectionRequest(
            name=requests.collection_name(collection), etag=etag, force=force
        )
        self._calls.unary(self._stubs.knowledge.DeleteCollection, request, repeatable=False)

    def upload(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        collection: str = "",
        source_key: str = "",
        title: str = "",
        uri: str = "",
        media_type: str = "",
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> operations_pb2.Operation:
        """Send a document, in chunks of at most 256 KiB; `wait` tells when it is searched.

        Args:
            source: path of a file, or the bytes themselves; 64 MiB at most.
            collection: id or name of the collection; "" means `default`.
            source_key: what the document is known by, unique in its collection; "" takes the file's name. The same key
                with the same bytes is the same document, with other bytes a new version of it.
            title: "" takes the one found in the document.
            uri: where the document can be found outside.
            media_type: e.g. "text/markdown"; "" decides by the key's ending and the bytes.
            request_id: the same one again gives back what the first call made. None makes one.
            timeout: seconds for the whole sending; None for no limit.

        Raises:
            OSError: the file cannot be read.
            ValueError: bytes without a source_key.
            DocumentRejected: empty, too large, or not of an accepted type.
            InvalidRequest, NotFound: as the contract says for UploadDocument.
        """
        metadata = requests.metadata(collection, source_key, title, uri, media_type)
        upload = requests.Upload.of(source, metadata, request_id or requests.new_request_id())
        return self._calls.upload(upload, timeout)

    def create_document(
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
        """Take in a text of at most 1 MiB, Markdown unless told otherwise, in one call. Otherwise as `upload`."""
        metadata = requests.metadata(collection, source_key, title, uri, media_type)
        made = request_id or requests.new_request_id()
        request = knowledge_service_pb2.CreateDocumentRequest(metadata=metadata, text=text, request_id=made)
        return self._calls.unary(self._stubs.knowledge.CreateDocument, request)

    def wait(
        self,
        operation: operations_pb2.Operation | str,
        timeout: float | None = None,
        on_progress: Callable[[document_pb2.IngestMetadata], None] | None = None,
    ) -> document_pb2.IngestResult:
        """Wait until a document is searched, or was found unchanged.

        Args:
            operation: what `upload` or `create_document` returned, or its name.
            timeout: seconds; None for no limit.
            on_progress: called about once a second with the progress.

        Raises:
            DeadlineExceeded: the operation goes on.
            ResponsaError: the operation failed, e.g. DocumentRejected.
        """
        known = self.get_operation(operation) if isinstance(operation, str) else operation
        return self._calls.wait(known, timeout, on_progress)

    def get_operation(self, name: str) -> operations_pb2.Operation:
        """One operation, `operations/{uuid}`. Raises NotFound."""
        request = operations_pb2.GetOperationRequest(name=name)
        return self._calls.unary(self._stubs.operations.GetOperation, request)

    def cancel_operation(self, name: str) -> None:
        """Ask an operation to end; `wait` then raises Cancelled, unless it had ended before. Raises NotFound."""
        request = operations_pb2.CancelOperationRequest(name=name)
        self._calls.unary(self._stubs.operations.CancelOperation, request)

    def get_document(self, name: str) -> document_pb2.Document:
        """One document, `documents/{uuid}`. Raises NotFound."""
        request = knowledge_service_pb2.GetDocumentRequest(name=name)
        return self._calls.unary(self._stubs.knowledge.GetDocument, request)

    def documents(
        self, collection: str = "default", filter_by: str = "", order_by: str = ""
    ) -> Iterator[document_pb2.Document]:
        """A collection's documents, by source_key unless told otherwise. Raises NotFound."""
        request = knowledge_service_pb2.ListDocumentsRequest(
            parent=requests.collection_name(collection),
            page_size=requests.PAGE_SIZE,
            filter=filter_by,
            order_by=order_by,
        )
        return self._calls.paged(self._stubs.knowledge.ListDocuments, request, lambda page: page.documents)

    def delete_document(self, name: str, etag: str = "") -> None:
        """Delete a document: nothing is answered from it any more. Raises NotFound, PermissionDenied, Conflict (the etag)."""
        request = knowledge_service_pb2.DeleteDocumentRequest(name=name, etag=etag)
        self._calls.unary(self._stubs.knowledge.DeleteDocument, request, repeatable=False)

    def document_content(self, name: str) -> str:
        """The canonical text, whole, of `documents/{uuid}` or `documents/{uuid}/versions/{n}`. Raises NotFound.

        The ranges of citations are bytes of its UTF-8 form.
        """
        return self._calls.content(knowledge_service_pb2.GetDocumentContentRequest(name=name))

    def get_passage(self, name: str) -> document_pb2.Passage:
        """One passage, `passages/{uuid}`. Raises NotFound."""
        request = knowledge_service_pb2.GetPassageRequest(name=name)
        return self._calls.unary(self._stubs.knowledge.GetPassage, request)

    def search(
        self,
        terms: str | Sequence[str],
        collections: Sequence[str] = (),
        top_k: int = 10,
        threshold: float = 0.0,
        mode: knowledge_service_pb2.SearchMode.ValueType = knowledge_service_pb2.SEARCH_MODE_HYBRID,
    ) -> list[knowledge_service_pb2.SearchHit]:
        """The passages that match best, best first.

        Args:
            terms: one term, or up to 8; a passage scores by the one that it matches best.
            collections: ids or names; none means all that the caller may read.
            top_k: how many at most, 1 to 100.
            threshold: passages that score lower, from 0 to 1, are left out.
            mode: which indexes are asked.
        """
        request = requests.search(terms, collections, top_k, threshold, mode)
        return list(self._calls.unary(self._stubs.knowledge.Search, request).hits)

    # The caller and the server

    def me(self) -> user_pb2.User:
        """Who the caller is. Raises Unauthenticated."""
        return self._calls.unary(self._stubs.auth.GetMe, auth_service_pb2.GetMeRequest())

    def create_session_code(self) -> auth_service_pb2.CreateSessionCodeResponse:
        """A code, good once and for ten minutes, that a browser exchanges for a session of the caller."""
        request = auth_service_pb2.CreateSessionCodeRequest()
        return self._calls.unary(self._stubs.auth.CreateSessionCode, request, repeatable=False)

    def create_api_key(
        self,
        display_name: str,
        expire_time: timestamp_pb2.Timestamp | None = None,
        request_id: str | None = None,
    ) -> auth_service_pb2.CreateApiKeyResponse:
        """A new key of the caller; its secret is in this response and never again.

        It is not repeated by itself when the connection breaks: a repetition brings the key without its secret.

        Args:
            display_name: at most 200 bytes, for people.
            expire_time: when it ends; None: never.
            request_id: the same one again gives back the key that the first call made, with an empty secret (revoke it and
                make another). None makes one.

        Raises:
            AlreadyExists: the request_id was used before with another name or end.
        """
        api_key = api_key_pb2.ApiKey(display_name=display_name, expire_time=expire_time)
        made = request_id or requests.new_request_id()
        request = auth_service_pb2.CreateApiKeyRequest(api_key=api_key, request_id=made)
        return self._calls.unary(self._stubs.auth.CreateApiKey, request, repeatable=False)

    def api_keys(self, filter_by: str = "", order_by: str = "") -> Iterator[api_key_pb2.ApiKey]:
        """The caller's keys, newest first unless told otherwise."""
        request = auth_service_pb2.ListApiKeysRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.auth.ListApiKeys, request, lambda page: page.api_keys)

    def revoke_api_key(self, name: str) -> api_key_pb2.ApiKey:
        """End a key at once; ending it again changes nothing. Raises NotFound."""
        return self._calls.unary(
            self._stubs.auth.RevokeApiKey, auth_service_pb2.RevokeApiKeyRequest(name=name)
        )

    def get_system_status(self) -> system_status_pb2.SystemStatus:
        """How each part of the server is. Needs the role ADMIN, else PermissionDenied."""
        request = admin_service_pb2.GetSystemStatusRequest()
        return self._calls.unary(self._stubs.admin.GetSystemStatus, request)
