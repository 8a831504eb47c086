"""A real grpc.aio server that answers with scripts, and the pieces of these scripts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc import aio

from clients.conformance.server import TOKEN, Context, abort, packed, status
from responsa.admin.v1 import admin_service_pb2
from responsa.auth.v1 import auth_service_pb2
from responsa.chat.v1 import chat_service_pb2, citation_pb2, excerpt_pb2, turn_pb2
from responsa.knowledge.v1 import document_pb2, knowledge_service_pb2
from responsa.type.v1 import byte_range_pb2

CHAT = "responsa.chat.v1.ChatService"
KNOWLEDGE = "responsa.knowledge.v1.KnowledgeService"
AUTH = "responsa.auth.v1.AuthService"
ADMIN = "responsa.admin.v1.AdminService"
OPERATIONS = "google.longrunning.Operations"
KEY = TOKEN
"""An API key, which clients send as a bearer token."""
# Importing these modules registers their descriptors, and the scripts look methods up in them.
CONTRACT = (admin_service_pb2, auth_service_pb2, chat_service_pb2, knowledge_service_pb2, operations_pb2)

Unary = Callable[[Any, Context], Awaitable[Message]]
Stream = Callable[[Any, Context], AsyncIterator[Message]]


@dataclass
class Scripted:
    """The server. `requests` holds the received requests, by "Service/Method"; the request of a client stream is the
    list of its messages. `authorizations` holds the header of each of them; "" without one."""

    port: int = 0
    requests: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    authorizations: list[str] = field(default_factory=list[str])
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    _server: aio.Server | None = None
    _handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = field(default_factory=dict[str, Any])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on(self, path: str, script: Unary | Stream) -> None:
        """Answer calls of "Service/Method" with a script, which is a coroutine function or an asynchronous generator function."""
        service, method = path.split("/")
        pool = descriptor_pool.Default()
        rpc = pool.FindServiceByName(service).methods_by_name[method]
        request = message_factory.GetMessageClass(rpc.input_type)
        response = message_factory.GetMessageClass(rpc.output_type)
        if rpc.server_streaming:
            make = grpc.unary_stream_rpc_method_handler
        elif rpc.client_streaming:
            make = grpc.stream_unary_rpc_method_handler
        else:
            make = grpc.unary_unary_rpc_method_handler
        handler = self._recording(path, script, rpc.client_streaming, rpc.server_streaming)
        self._handlers[f"/{path}"] = cast(
            "grpc.RpcMethodHandler[Any, Any]",
            make(handler, request.FromString, response.SerializeToString),
        )

    def reply(self, path: str, message: Message) -> None:
        """Answer all calls of a "Service/Method" without streams with this message."""

        async def script(request: Any, context: Context) -> Message:
            del request, context
            return message

        self.on(path, script)

    def refuse(self, path: str, refusal: status_pb2.Status) -> None:
        """Answer all calls of a "Service/Method" with this error."""

        async def script(_: Any, context: Context) -> Message:
            await abort(context, refusal)
            return refusal

        async def stream(_: Any, context: Context) -> AsyncIterator[Message]:
            await abort(context, refusal)
            yield refusal

        service, method = path.split("/")
        rpc = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
        self.on(path, stream if rpc.server_streaming else script)

    def _recording(self, path: str, script: Any, incoming: bool, outgoing: bool) -> Any:
        def record(request: Any, context: Context) -> None:
            self.requests.setdefault(path, []).append(request)
            metadata = dict(cast("Sequence[tuple[str, str]]", context.invocation_metadata() or ()))
            self.authorizations.append(metadata.get("authorization", ""))

        async def unary(request: Any, context: Context) -> Message:
            record(request, context)
            return await script(request, context)

        async def upload(messages: AsyncIterator[Any], context: Context) -> Message:
            gathered = [message async for message in messages]
            record(gathered, context)
            return await script(gathered, context)

        async def stream(request: Any, context: Context) -> AsyncIterator[Message]:
            record(request, context)
            try:
                async for message in script(request, context):
                    yield message
            except (asyncio.CancelledError, GeneratorExit):
                self.cancelled.set()
                raise

        return stream if outgoing else upload if incoming else unary

    async def start(self) -> None:
        """Listen. After a stop, the server listens on the same port as before."""
        scripted = self

        class Handlers(grpc.GenericRpcHandler):
            def service(
                self, handler_call_details: grpc.HandlerCallDetails
            ) -> grpc.RpcMethodHandler[Any, Any] | None:
                return scripted._handlers.get(handler_call_details.method)

        # Without reuse, so that no other server can listen on this port at the same time and get its calls.
        server = aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((Handlers(),))
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Cut all calls and stop listening."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(None)


# A turn's events

TURN = "turns/0192f3c8-0000-7000-8000-000000000001"
CONVERSATION = "conversations/0192f3c8-0000-7000-8000-000000000002"
ANSWER = "Émile wrote it. It was in 1898."
QUOTES = ("Émile wrote it.", "It was in 1898.")


def started() -> turn_pb2.TurnEvent:
    return turn_pb2.TurnEvent(
        seq=1, attempt=1, started=turn_pb2.TurnStarted(conversation=CONVERSATION, created_conversation=True)
    )


def step(seq: int, message: str = "Searching knowledge base...") -> turn_pb2.TurnEvent:
    made = turn_pb2.TurnStatus(step=turn_pb2.STEP_RETRIEVING, message=message)
    return turn_pb2.TurnEvent(seq=seq, attempt=1, status=made)


def delta(seq: int, text: str, offset: int) -> turn_pb2.TurnEvent:
    return turn_pb2.TurnEvent(seq=seq, attempt=1, delta=turn_pb2.TurnDelta(text=text, byte_offset=offset))


def citation(quote: str, start: int, source: int = 100) -> citation_pb2.Citation:
    """start, source: the byte offsets of the quote in the answer and in the document."""
    length = len(quote.encode())
    return citation_pb2.Citation(
        passage="passages/0192f3c8-0000-7000-8000-000000000003",
        document_version="documents/0192f3c8-0000-7000-8000-000000000004/versions/1",
        title="Letters",
        uri="letters.md",
        source_range=byte_range_pb2.ByteRange(start=source, end=source + length),
        quote=quote,
        sha256=hashlib.sha256(quote.encode()).digest(),
        answer_range=byte_range_pb2.ByteRange(start=start, end=start + length),
        score=0.9,
        quote_origin=citation_pb2.QUOTE_ORIGIN_COPIED,
        verdict=citation_pb2.JUDGE_VERDICT_NONE,
    )


def answer(seq: int, text: str = ANSWER) -> turn_pb2.TurnEvent:
    made = turn_pb2.TurnAnswer(
        text=text,
        sha256=hashlib.sha256(text.encode()).digest(),
        citations=[citation(QUOTES[0], 0, 100), citation(QUOTES[1], len(QUOTES[0].encode()) + 1, 300)],
        outcome=turn_pb2.ANSWER_OUTCOME_COMPLETE,
        passages_used=2,
    )
    return turn_pb2.TurnEvent(seq=seq, attempt=1, answer=made)


def whole_turn() -> list[turn_pb2.TurnEvent]:
    """The events of a whole turn: started, status, three deltas and answer, with the seqs 1 to 6."""
    pieces = ["Émile ", "wrote it.", " It was in 1898."]
    events, offset = [started(), step(2)], 0
    for seq, piece in enumerate(pieces, start=3):
        events.append(delta(seq, piece, offset))
        offset += len(piece.encode())
    return [*events, answer(6)]


def refused(seq: int, message: str = "Nothing in the documents supports an answer.") -> turn_pb2.TurnEvent:
    made = turn_pb2.TurnRefused(reason=turn_pb2.REFUSAL_REASON_NO_SUPPORT, message=message)
    return turn_pb2.TurnEvent(seq=seq, attempt=1, refused=made)


def excerpt(text: str, uri: str, *, shown: bool = True) -> excerpt_pb2.Excerpt:
    """An excerpt of one sentence. shown: whether with its text; otherwise, GetPassage makes it."""
    whole = byte_range_pb2.ByteRange(end=len(text.encode()))
    return excerpt_pb2.Excerpt(
        title="Letters",
        headings=["Authors"],
        collection="collections/post",
        uri=uri,
        source_range=whole,
        passage=f"passages/{uri}",
        markdown=text if shown else "",
        grade=excerpt_pb2.EXCERPT_GRADE_ANSWERS,
    )


def passages(seq: int) -> turn_pb2.TurnEvent:
    """An answer that shows a passage, and has a further one that its text does not contain."""
    event = answer(seq)
    event.answer.model = "passages"
    event.answer.excerpts.append(excerpt("Émile wrote it.", "letters.md"))
    event.answer.more_excerpts.append(excerpt("Anna read it.", "more.md", shown=False))
    event.answer.fallbacks.add(kind=turn_pb2.FALLBACK_KIND_PASSAGES, cause="no_model")
    return event


def failed(seq: int, *, retriable: bool = True) -> turn_pb2.TurnEvent:
    made = status(grpc.StatusCode.UNAVAILABLE, "WORKER_LOST", "The worker was lost.", metadata={"turn": TURN})
    return turn_pb2.TurnEvent(
        seq=seq, attempt=1, failed=turn_pb2.TurnFailed(status=made, retriable=retriable)
    )


def frame(
    after: int, through: int, events: Sequence[turn_pb2.TurnEvent], turn: str = TURN
) -> chat_service_pb2.AskResponse:
    """A frame with the turn's events whose seqs lie in the frame's range."""
    inside = [event for event in events if after < event.seq <= through]
    return chat_service_pb2.AskResponse(turn=turn, after_seq=after, through_seq=through, events=inside)


def without_deltas(events: Sequence[turn_pb2.TurnEvent]) -> list[turn_pb2.TurnEvent]:
    return [event for event in events if event.WhichOneof("event") != "delta"]


# Streams

ASK = f"{CHAT}/Ask"
RESUME = f"{CHAT}/ResumeTurn"
Frames = AsyncIterator[chat_service_pb2.AskResponse]


def seqs(events: list[turn_pb2.TurnEvent]) -> list[int]:
    return [event.seq for event in events]


def play_streams(server: Scripted, *scripts: Callable[[Any, Context], Frames]) -> None:
    """Play one script per stream, in order, for Ask and ResumeTurn together. After the last script, all further streams repeat it."""
    streams: list[Any] = []

    async def script(request: Any, context: Context) -> Frames:
        streams.append(request)
        async for one in scripts[min(len(streams), len(scripts)) - 1](request, context):
            yield one

    server.on(ASK, script)
    server.on(RESUME, script)


async def complete(request: Any, __: Context) -> Frames:
    """Send the turn frame by frame, from the requested position on."""
    events = whole_turn()
    last = request.after_seq if isinstance(request, chat_service_pb2.ResumeTurnRequest) else 0
    for through in (2, 5, 5, 6):  # the second 5 is a frame without events, which clients must accept
        if through >= last:
            yield frame(last, through, events)
            last = through


# Operations

DOCUMENT = "documents/0192f3c8-0000-7000-8000-000000000004"
OPERATION = "operations/0192f3c8-0000-7000-8000-000000000005"


def operation(
    result: document_pb2.IngestResult | None = None,
    error: status_pb2.Status | None = None,
    name: str = OPERATION,
) -> operations_pb2.Operation:
    """An operation that has ended with this result or this error. If neither is given, the operation is still running."""
    progress = packed(document_pb2.IngestMetadata(document=DOCUMENT, passages_done=1, passages_total=2))
    made = operations_pb2.Operation(name=name, metadata=progress, done=bool(result or error))
    if result is not None:
        made.response.Pack(result)
    if error is not None:
        made.error.CopyFrom(error)
    return made


def ingested(version: int = 1, *, unchanged: bool = False, key: str = "a.md") -> document_pb2.IngestResult:
    document = document_pb2.Document(
        name=DOCUMENT, source_key=key, version=version, state=document_pb2.DOCUMENT_STATE_READY
    )
    return document_pb2.IngestResult(document=document, unchanged=unchanged)


def sent(server: Scripted, method: str) -> Any:
    """The last request of a method of AdminService."""
    return server.requests[f"{ADMIN}/{method}"][-1]
