"""Turns of the stand-in with known events. The question `script NAME` requests a turn, and further words control its stream:

- `cut=N` cuts Ask's stream once, after seq N.
- `gone=N` cuts the stream after seq N, and at each resume.
- `reconnect=N` reports after seq N that the server is shutting down.
- `hang=N` waits after seq N until the turn is cancelled.
- `lost=N` reports after seq N that the caller may no longer see the turn.
- `stuck` never finishes a cancel.
- `drop` cuts the first stream before the first frame.
- `queued` begins with a heartbeat.

`script echo` sends the received question as a delta, and `script call` sends the call's id.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import grpc
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_status import rpc_status

from responsa.chat.v1.chat_service_pb2 import AskRequest, AskResponse, ResumeTurnRequest
from responsa.chat.v1.citation_pb2 import (
    Citation,
    CitedToolResult,
    JudgeVerdict,
    PageBox,
    QuoteOrigin,
)
from responsa.chat.v1.excerpt_pb2 import Excerpt, ExcerptGrade
from responsa.chat.v1.turn_pb2 import Step, Turn, TurnEvent
from responsa.type.v1.byte_range_pb2 import ByteRange
from responsa.type.v1.collection_kind_pb2 import CollectionKind
from responsa_server.calls import status
from responsa_server.domain.errors import (
    DeadlinePassed,
    Exhausted,
    NotFound,
    Reason,
    ResponsaError,
    Unavailable,
)

CONVERSATION = "0192f3c8-0000-7000-8000-00000000c0de"
MARKDOWN = "A **lease** <script>alert(1)</script> ends."
CITATION = Citation(
    passage="passages/p", document_version="documents/d/versions/2", title="Leases", uri="https://example.org/l", quote="A lease ends.",
    page=3, boxes=[PageBox(left=100, top=250, right=900, bottom=300)],
    quote_origin=QuoteOrigin.QUOTE_ORIGIN_COPIED, verdict=JudgeVerdict.JUDGE_VERDICT_NONE,
)  # fmt: skip

FETCHED = Citation(
    title="A page", uri="https://example.org/page", quote="A lease ends.",
    tool_result=CitedToolResult(call_id="tool-1", tool="tools/web_search", fetch_time=Timestamp(seconds=1_795_000_000)),
    quote_origin=QuoteOrigin.QUOTE_ORIGIN_CHOSEN, verdict=JudgeVerdict.JUDGE_VERDICT_SUPPORTED,
)  # fmt: skip
EXCERPT = Excerpt(
    passage="passages/p", document_version="documents/d/versions/2", collection="collections/c",
    collection_kind=CollectionKind.COLLECTION_KIND_OWN, title="Leases", headings=["Turns", "Ends"],
    uri="https://example.org/l", source_range=ByteRange(start=40, end=60), markdown="First. A lease ends.",
    piece_range=ByteRange(start=40, end=60), section_markdown="More.",
    marked_range=ByteRange(start=47, end=60), marked_in_markdown=ByteRange(start=7, end=20), grade=ExcerptGrade.EXCERPT_GRADE_ANSWERS,
    score=0.75, page=3, boxes=[PageBox(left=100, top=250, right=900, bottom=300)],
)  # fmt: skip
FURTHER = Excerpt(
    passage="passages/s", document_version="documents/s/versions/1", collection="collections/c", title="Sheet",
    source_range=ByteRange(end=8), grade=ExcerptGrade.EXCERPT_GRADE_CLOSEST, score=0.5, page=2, path="Sheet2!A4:C4",
)  # fmt: skip


def failure(error: ResponsaError) -> TurnEvent:
    event = TurnEvent()
    event.failed.status.CopyFrom(status.of(error))
    return event


def answer(text: str, **fields: Any) -> TurnEvent:
    event = TurnEvent()
    event.answer.text = text
    event.answer.sha256 = hashlib.sha256(text.encode()).digest()
    event.answer.passages_used = 3
    event.answer.citations.append(fields.get("cited", CITATION))
    event.answer.outcome = fields.get("outcome", 1)
    event.answer.intent = fields.get("intent", "")
    event.answer.model = fields.get("model", "")
    event.answer.unsupported_sentences = fields.get("unsupported", 0)
    event.answer.excerpts.extend(fields.get("excerpts", ()))
    event.answer.more_excerpts.extend(fields.get("more_excerpts", ()))
    return event


def delta(text: str) -> TurnEvent:
    event = TurnEvent()
    event.delta.text = text
    return event


def stepped(step: int, message: str) -> TurnEvent:
    event = TurnEvent()
    event.status.step = Step.ValueType(step)
    event.status.message = message
    return event


def other(**fields: Any) -> TurnEvent:
    return TurnEvent(**fields)


RETRIEVING = stepped(2, "Searching knowledge base...")
GENERATING = stepped(4, "Generating response...")
BODIES: Mapping[str, Sequence[TurnEvent]] = {
    "answer": [RETRIEVING, GENERATING, delta("A **lease** "), delta("<script>alert(1)</script> "), delta("ends."),
               other(citation=CITATION), answer(MARKDOWN)],
    "limit": [answer("Much.", outcome=2, model="openai:m", unsupported=2)],
    "fetched": [other(tool_call={"call_id": "tool-1", "tool": "tools/web_search"}),
                other(tool_result={"call_id": "tool-1", "outcome": 1, "content": "A page."}),
                answer("A page.", cited=FETCHED)],
    "newer": [stepped(99, "Something new..."), answer("Much.", outcome=2)],
    "restarted": [GENERATING, delta("A lea"), other(attempt_restarted={"discard_from_seq": 3, "keep_bytes": 0}),
                  delta("A lease."), answer("A lease.")],
    "post": [stepped(6, "Classifying your query..."), other(provider_switched={"source": "a:b", "target": "c:d", "cause": "timeout"}),
             stepped(7, "Checking the sources..."), other(usage={"model": "c:d"}),
             answer("Read this.", intent="post")],
    "passages": [RETRIEVING, answer("A lease ends.", model="passages", excerpts=[EXCERPT], more_excerpts=[FURTHER])],
    "near": [other(refused={"reason": 1, "message": "No.", "excerpts": [FURTHER]})],
    "needs_model": [other(refused={"reason": 12, "message": "A post needs a model.", "intent": "post"})],
    "out_of_scope": [other(refused={"reason": 2, "message": "Not here.", "intent": "out_of_scope"})],
    "refused": [RETRIEVING, other(refused={"reason": 1, "message": "Nothing says “*a* <b>”."})],
    "cancelled": [RETRIEVING, other(cancelled={"by": 1})],
    "failed": [RETRIEVING, failure(Unavailable(Reason.WORKER_LOST, "The worker was lost.", {"turn": "turns/x"}))],
    "late": [GENERATING, failure(DeadlinePassed(Reason.TURN_TIME_LIMIT, "It took too long.", {"turn": "turns/x"}))],
    "model": [GENERATING, failure(Unavailable(Reason.MODEL_UNAVAILABLE, "The model cannot be reached.", {"model": "m"}))],
    "long": [GENERATING, *(delta(f"{number:05} " * 150) for number in range(2000)), answer("It was long.")],
}  # fmt: skip


def name_of(text: str) -> str:
    return f"turns/{uuid5(NAMESPACE_URL, text)}"


def log_of(script: str) -> Sequence[TurnEvent]:
    """All events of a turn, numbered."""
    return numbered(BODIES[script])


def numbered(body: Sequence[TurnEvent]) -> Sequence[TurnEvent]:
    started = other(started={"conversation": f"conversations/{CONVERSATION}", "agent_version": "agents/default/versions/1"})  # fmt: skip
    events: list[TurnEvent] = []
    for seq, one in enumerate([started, *body], 1):
        event = TurnEvent()
        event.CopyFrom(one)
        event.seq = seq
        event.attempt = 1
        events.append(event)
    return events


class ScriptedTurns:
    """The turns that callers asked for, by name."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._parameters: dict[str, Struct] = {}
        self._logs: dict[str, Sequence[TurnEvent]] = {}
        self._cancelled: dict[str, asyncio.Event] = {}
        self._dropped: set[str] = set()

    def turn(self, name: str) -> Turn | None:
        """A turn that a caller asked for."""
        if name not in self._texts:
            return None
        end = self._logs[name][-1]
        return Turn(
            name=name,
            conversation=f"conversations/{CONVERSATION}",
            last_seq=end.seq,
            terminal_event=end,
            parameters=self._parameters[name],
        )

    def text(self, name: str) -> str:
        """The question of a turn."""
        return self._texts[name]

    def cancelled(self, name: str) -> Turn:
        """End a turn that hangs."""
        words = self._words(name)
        if "hang" in words and not self._cancelled[name].is_set():
            at = int(words["hang"])
            end = other(seq=at + 1, attempt=1, cancelled={"by": 1})
            self._logs[name] = [*self._logs[name][:at], end]
            self._cancelled[name].set()
        found = self.turn(name)
        assert found is not None
        return found

    async def stream_of(self, request: AskRequest, context: Any) -> AsyncIterator[AskResponse]:
        """The stream of an Ask call."""
        name = name_of(request.text + request.request_id)
        if "overloaded" in request.text:
            raise AssertionError(status.of(Exhausted(Reason.OVERLOADED, "Too much.", {"limit": "1"})))
        self._texts[name] = request.text
        self._parameters[name] = request.options.parameters
        script = request.text.split()[1]
        # `echo` answers with the received question, in the contract's field names.
        echo = [delta(json_format.MessageToJson(request, indent=None)), answer("Told.")]
        if script == "call":
            call_id = str(dict(context.invocation_metadata()).get("x-request-id", ""))
            echo = [delta(call_id), answer("Told.")]
        self._logs.setdefault(name, numbered(echo) if script in ("echo", "call") else log_of(script))
        self._cancelled.setdefault(name, asyncio.Event())
        if "drop" in self._words(name) and name not in self._dropped:
            self._dropped.add(name)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
        if "queued" in self._words(name):
            yield AskResponse(turn=name, events=[other(heartbeat={"queue_place": 2})])
        async for frame in self._frames(name, 0, context, first=True, deltas=request.include_deltas):
            yield frame

    async def resumed(self, request: ResumeTurnRequest, context: Any) -> AsyncIterator[AskResponse]:
        """The stream of a ResumeTurn call."""
        log = self._logs[request.turn]
        if "pruned" in self._words(request.turn):
            end = log[-1]
            event = other(snapshot={"through_seq": end.seq, "terminal_event": end})
            yield AskResponse(
                turn=request.turn, after_seq=request.after_seq, through_seq=end.seq, events=[event]
            )
            return
        async for frame in self._frames(
            request.turn, request.after_seq, context, first=False, deltas=request.include_deltas
        ):
            yield frame

    def _words(self, name: str) -> Mapping[str, str]:
        pairs = (word.partition("=") for word in self._texts[name].split()[2:])
        return {key: value for key, _, value in pairs}

    async def _frames(
        self, name: str, after_seq: int, context: Any, *, first: bool, deltas: bool
    ) -> AsyncIterator[AskResponse]:
        words = self._words(name)
        sent = after_seq
        number = after_seq - 1
        # The log of a turn that is cancelled gets shorter.
        while (number := number + 1) < len(self._logs[name]):
            if number == int(words.get("cut", "-1")) and first:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            if number == int(words.get("gone", "-1")):
                await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            if number == int(words.get("lost", "-1")):
                lost = status.of(NotFound.of("turn", name))
                await context.abort_with_status(
                    rpc_status.to_status(lost)  # pyright: ignore[reportUnknownMemberType]: its stub is not typed
                )
            if number == int(words.get("reconnect", "-1")):
                yield AskResponse(turn=name, after_seq=sent, through_seq=sent, events=[other(reconnect={})])
                return
            if number == int(words.get("hang", "-1")):
                await self._cancelled[name].wait()
            event = self._logs[name][number]
            if event.HasField("delta") and not deltas:
                continue
            yield AskResponse(turn=name, after_seq=sent, through_seq=event.seq, events=[event])
            sent = event.seq
