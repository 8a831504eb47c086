"""The tools: their arguments, the calls that they make, and their results."""

from __future__ import annotations

import asyncio
import json
from collections import ChainMap
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message
from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel, ConfigDict, Field, model_validator

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.turn_pb2 import AnswerOutcome, RefusalReason, Turn, TurnEvent
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa.knowledge.v1.document_pb2 import Document, Passage
from responsa.type.v1.scope_pb2 import Scope
from responsa_server.calls import status
from responsa_server.calls.convert.cited import citations, with_passages, with_sources
from responsa_server.calls.json_types import qualify
from responsa_server.calls.methods import CHAT
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.programs import ASK, SEARCH
from responsa_server.text.disarming import disarm_quoted
from responsa_server.transports.mcp.backend import KNOWLEDGE, TERMINAL, Backend, Resuming

MOST_BYTES: Final = 262_144
DEFAULT_BYTES: Final = 32_768
_MOST_NAMES: Final = 10
_UNENDED: Final = "state = PENDING OR state = RUNNING OR state = QUEUED"

Progress = Callable[[str], Awaitable[None]]


class ToolArguments(BaseModel):
    """The arguments of a tool. Their limits are those of the contract. Models write null for what they leave out, and numbers as texts."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: dict[str, Any]) -> dict[str, Any]:
        fields = cls.model_fields
        return {
            name: value
            for name, value in values.items()
            if value is not None or name not in fields or fields[name].is_required()
        }


class _Scoped(ToolArguments):
    collections: list[str] = Field(
        default=[], description="Ids of the collections to read. Empty: all that the caller may read."
    )
    filter: str = Field(
        default="", description='Only documents that match, such as `labels.team = "legal"` (AIP-160).'
    )

    def scope(self) -> Scope | None:
        """The scope of a search or a question; None if nothing narrows it."""
        if not self.collections and not self.filter:
            return None
        return Scope(
            collections=[qualify("collections", name) for name in self.collections], filter=self.filter
        )


class Search(_Scoped):
    """The arguments of `search`."""

    query: str = Field(description="What to look for, in words.")
    limit: int = Field(default=10, ge=1, le=100, description="The most passages to return.")


class Documents(_Scoped):
    """The arguments of `documents`."""

    query: str = Field(default="", description="Return the documents that a search for this text finds.")
    names: list[str] = Field(
        default=[],
        max_length=_MOST_NAMES,
        description="Return these instead: `documents/{uuid}`, `documents/{uuid}/versions/{n}` or `passages/{uuid}`.",
    )
    offset: int = Field(default=0, ge=0, le=2**53, description="Where the first text begins, in bytes.")
    max_bytes: int = Field(
        default=DEFAULT_BYTES, ge=1, le=MOST_BYTES, description="The most bytes of all texts together."
    )


class Ask(_Scoped):
    """The arguments of `ask`."""

    question: str = Field(description="The question.")
    agent: str = Field(default="", description="The id of the agent that answers. Empty: the default agent.")
    conversation: str = Field(default="", description="The conversation to continue, from an earlier result.")
    parameters: dict[str, Any] = Field(default={}, description="The agent's parameters.")
    request_id: str = Field(
        default="",
        description="A UUID. A repeated call with it attaches to the same turn, whether that runs or has ended.",
    )


class Cancel(ToolArguments):
    """The arguments of `cancel`."""

    request_id: str = Field(description="The request_id of the question.")


@dataclass(frozen=True, slots=True)
class Asking:
    """What a host says with a tool call. request_id: the id of a question that states none. ends_with_reader: whether a
    host that goes away means to cancel."""

    request_id: UUID
    ends_with_reader: bool
    progress: Progress


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A tool. scope: what a connected program needs to call it. fields: the names of its arguments by those of the
    contract's fields. keys: those of its structured result that are always there."""

    title: str
    description: str
    arguments: type[ToolArguments]
    call: Callable[[Backend, Any, Asking], Awaitable[CallToolResult]]
    fields: Mapping[str, str]
    keys: Mapping[str, str]
    scope: str = SEARCH
    reads: bool = True


def result(text: str, data: Mapping[str, object], *, error: bool = False) -> CallToolResult:
    """The result of a tool: a text for models, and data for programs."""
    return CallToolResult(content=[TextContent(text=text)], structured_content=dict(data), is_error=error)


async def _search(backend: Backend, arguments: Search, _: Asking) -> CallToolResult:
    hits = await _hits(backend, arguments, arguments.query, arguments.limit)
    passages = [
        {
            "passage": hit.passage.name,
            "document": hit.passage.document_version,
            "collection": hit.passage.collection,
            "title": hit.passage.title,
            "headings": [*hit.passage.headings],
            "page": hit.passage.page,
            "locator": hit.passage.locator,
            "score": hit.score,
            "text": disarm_quoted(hit.passage.text),
        }
        for hit in hits
    ]
    texts = [
        disarm_quoted(
            f"## {' › '.join([hit.passage.title, *hit.passage.headings])}\n{hit.passage.name}\n\n{hit.passage.text}"
        )
        for hit in hits
    ]
    return result("\n\n".join(texts) or "No passage matches.", {"passages": passages})


async def _hits(
    backend: Backend, arguments: _Scoped, query: str, limit: int
) -> Sequence[knowledge.SearchHit]:
    request = knowledge.SearchRequest(terms=[query], top_k=limit, scope=arguments.scope())
    return (await backend.answer(KNOWLEDGE + "Search", request, knowledge.SearchResponse)).hits


async def _documents(backend: Backend, arguments: Documents, _: Asking) -> CallToolResult:
    names = arguments.names
    if not names:
        hits = await _hits(backend, arguments, arguments.query, 10)
        names = [*dict.fromkeys(hit.passage.document_version for hit in hits)]
    left, offset, documents = arguments.max_bytes, arguments.offset, list[dict[str, object]]()
    for name in names:
        if left <= 0:
            break
        document, used = await read_text(backend, name, offset, left)
        documents.append(document)
        left, offset = left - used, 0
    texts = [f"# {document['title']}\n{document['name']}\n\n{document['text']}" for document in documents]
    return result(
        "\n\n".join(texts) or "No document matches.",
        {"documents": documents, "left_out": names[len(documents) :]},
    )


async def read_text(backend: Backend, name: str, offset: int, limit: int) -> tuple[dict[str, object], int]:
    """At most `limit` bytes of a document's or passage's text, with `next_offset` if there are more, and how many they
    are. Raises ResponsaError."""
    if name.startswith("passages/"):
        passage = await backend.answer(
            KNOWLEDGE + "GetPassage", knowledge.GetPassageRequest(name=name), Passage
        )
        title, data, start = passage.title, passage.text.encode(), offset
        data = data[offset:]
    else:
        document = "/".join(name.split("/")[:2])
        title = (
            await backend.answer(
                KNOWLEDGE + "GetDocument", knowledge.GetDocumentRequest(name=document), Document
            )
        ).title
        pieces: list[knowledge.GetDocumentContentResponse] = []
        size = 0

        async def take(piece: knowledge.GetDocumentContentResponse) -> bool:
            nonlocal size
            pieces.append(piece)
            size += len(piece.text.encode())
            return size <= limit

        request = knowledge.GetDocumentContentRequest(name=name, read_offset=offset)
        await backend.each(
            KNOWLEDGE + "GetDocumentContent", request, knowledge.GetDocumentContentResponse, take
        )
        data = "".join(piece.text for piece in pieces).encode()
        start = pieces[0].byte_offset if pieces else offset
    text = data[:limit].decode(errors="ignore")
    used = len(text.encode())
    more = {"next_offset": start + used} if used < len(data) else {}
    # A long text may take a second.
    shown = {"title": disarm_quoted(title), "text": await asyncio.to_thread(disarm_quoted, text)}
    return {"name": name, "offset": start, **shown, **more}, max(used, 1)


async def _ask(backend: Backend, arguments: Ask, asking: Asking) -> CallToolResult:
    request = chat.AskRequest(
        text=arguments.question,
        agent=qualify("agents", arguments.agent),
        conversation=qualify("conversations", arguments.conversation),
        request_id=arguments.request_id or str(asking.request_id),
        cancel_on_disconnect=asking.ends_with_reader,
        options=chat.AskOptions(scope=arguments.scope()),
    )
    if arguments.parameters:
        try:
            ParseDict(arguments.parameters, request.options.parameters)
        except (ParseError, ValueError, RecursionError):
            raise InvalidRequest.of_field("options.parameters", "type", "must be an object of JSON") from None
    return await _follow(backend, partial(backend.ask, request), request.request_id, asking)


async def resume_ask(backend: Resuming, turn: str, after_seq: int, asking: Asking) -> CallToolResult:
    """The result of `ask` for a host whose connection was cut after this event of the turn. Raises ResponsaError."""
    known = await backend.answer(CHAT + "GetTurn", chat.GetTurnRequest(name=turn), Turn)
    request = chat.ResumeTurnRequest(turn=turn, after_seq=after_seq)
    return await _follow(backend, partial(backend.resume, request), known.request_id, asking)


async def _follow(
    backend: Backend,
    follow: Callable[[Callable[[str, TurnEvent], Awaitable[None]]], Awaitable[None]],
    request_id: str,
    asking: Asking,
) -> CallToolResult:
    names = {"turn": "", "conversation": "", "agent": ""}
    terminal = TurnEvent()

    async def take(turn: str, event: TurnEvent) -> None:
        names["turn"] = turn
        kind = event.WhichOneof("event")
        if kind == "started":
            names["conversation"], names["agent"] = event.started.conversation, event.started.agent_version
            if asking.ends_with_reader:
                # Such a host cannot have the rest sent again, but it can ask again.
                await asking.progress(f"Accepted, request_id {request_id}")
        elif kind == "status":
            await asking.progress(event.status.message)
        elif kind == "tool_call":
            await asking.progress(event.tool_call.title or event.tool_call.tool)
        elif kind in TERMINAL:
            terminal.CopyFrom(event.snapshot.terminal_event if kind == "snapshot" else event)

    await follow(take)
    if not names["conversation"]:  # the log was pruned
        turn = await backend.answer(CHAT + "GetTurn", chat.GetTurnRequest(name=names["turn"]), Turn)
        names |= {"conversation": turn.conversation, "agent": turn.agent_version}
    return await _answer(terminal, {**names, "request_id": request_id})


_NO_CITATIONS: Final[Mapping[str, Sequence[str]]] = {"citations": []}


async def _answer(terminal: TurnEvent, names: Mapping[str, str]) -> CallToolResult:
    match terminal.WhichOneof("event"):
        case "failed":
            raise status.read(terminal.failed.status)
        case "answer":
            answer = terminal.answer
            whole = answer.outcome == AnswerOutcome.ANSWER_OUTCOME_COMPLETE
            # The parser takes a while for some texts of models.
            shown = await asyncio.to_thread(with_sources, answer)
            fields = {
                "outcome": "answered" if whole else "cut",
                "text": answer.text,
                "citations": citations(answer.text, answer.citations),
            }
            return result(shown, {**names, **fields})
        case "refused":
            reason = RefusalReason.Name(terminal.refused.reason).removeprefix("REFUSAL_REASON_")
            data = {"outcome": "refused", "refusal": reason, "text": terminal.refused.message}
            return result(with_passages(terminal.refused), {**names, **data, **_NO_CITATIONS})
        case _:
            data = {"outcome": "cancelled", "text": ""}
            return result("The question was cancelled.", {**names, **data, **_NO_CITATIONS})


async def _cancel(backend: Backend, arguments: Cancel, _: Asking) -> CallToolResult:
    turn = await cancel(backend, arguments.request_id)
    return result(
        f"Cancelled {turn}." if turn else "No question with this request_id is being answered.",
        {"turn": turn},
    )


async def cancel(backend: Backend, request_id: str) -> str:
    """Cancel the caller's turn with this request_id. Returns its name; "" if none runs. Raises ResponsaError."""
    wanted = chat.ListTurnsRequest(filter=_UNENDED, page_size=200)
    while True:
        page = await backend.answer(CHAT + "ListTurns", wanted, chat.ListTurnsResponse)
        for turn in page.turns:
            if turn.request_id == request_id:
                await backend.answer(CHAT + "CancelTurn", chat.CancelTurnRequest(name=turn.name), Turn)
                return turn.name
        if not page.next_page_token:
            return ""
        wanted.page_token = page.next_page_token


_SCOPE: Final = {"scope.collections": "collections", "scope.filter": "filter"}
TOOLS: Final[Mapping[str, ToolRow]] = {
    "search": ToolRow(
        "Search passages",
        "Find the passages of the documents that match a text, the best first.",
        Search,
        _search,
        {"terms[0]": "query", "top_k": "limit", **_SCOPE},
        {"passages": "array"},
    ),
    "documents": ToolRow(
        "Read documents",
        "Return the raw text of documents or passages, by name or as a search finds them. `next_offset` says where a text continues.",
        Documents,
        _documents,
        {"terms[0]": "query", "name": "names", "read_offset": "offset", **_SCOPE},
        {"documents": "array", "left_out": "array"},
    ),
    "ask": ToolRow(
        "Ask",
        (
            "Let an agent answer a question from the documents, with citations. The outcome "
            "`refused` means that the documents do not answer it."
        ),
        Ask,
        _ask,
        {"text": "question", "options.parameters": "parameters"}
        | {f"options.{path}": name for path, name in _SCOPE.items()},
        dict.fromkeys(("turn", "conversation", "agent", "request_id", "outcome", "text"), "string")
        | dict.fromkeys(_NO_CITATIONS, "array"),
        scope=ASK,
        reads=False,
    ),
    "cancel": ToolRow(
        "Cancel a question",
        "Cancel a question that is being answered, by its request_id.",
        Cancel,
        _cancel,
        {},
        {"turn": "string"},
        scope=ASK,
        reads=False,
    ),
}


def as_json(*messages: Message) -> str:
    """The fields of messages of the contract in one JSON object."""
    fields = [MessageToDict(message, preserving_proto_field_name=True) for message in messages]
    return json.dumps(dict(ChainMap(*fields)), ensure_ascii=False)
