"""A WebSocket as a further transport: questions, resumed and cancelled turns, and the frames for a turn's events."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from responsa_server.transports.ws.html import of_markdown
from tests.gateway.sockets import Client, Json
from tests.transports import Call, Outcome

KINDS = {"Ask": "ask", "ResumeTurn": "resume", "CancelTurn": "cancel"}


class Ws:
    """`/ws/chat`, with a new socket for each call. The handshake carries the credential unchanged."""

    def __init__(self, target: str) -> None:
        self._target = target

    def call(self, call: Call) -> Outcome:
        """Make the call. The messages are the turn's frames, without the turn's name and the seqs, and with deltas joined."""
        (request,) = call.messages
        with Client(self._target, key=None, headers=call.headers) as client:
            frames = client.say(**message_of(call.method.name, request)).turn()
        last = frames[-1]
        if last["type"] == "error" and "seq" not in last:
            assert last["message"] == last["status"]["message"]
            return Outcome([], in_contract_words(call.method.name, last["status"]))
        assert len({frame["turn"] for frame in frames}) == 1
        seqs = [int(frame["seq"]) for frame in frames]
        assert seqs == sorted(set(seqs))
        assert min(seqs) > int(getattr(request, "after_seq", 0))
        plain = [
            {key: value for key, value in frame.items() if key not in ("turn", "seq")} for frame in frames
        ]
        return Outcome(_joined(plain), None)


def in_contract_words(method: str, status: Json) -> Json:
    """A problem in the form of the other transports. A WebSocket error names the fields of the socket's messages, not
    those of the contract."""
    names = {"content": "text", "conversation_id": "conversation"}
    if method == "CancelTurn":
        names["turn"] = "name"
    message, details = status["message"], list[Json]()
    for detail in status.get("details", ()):
        violations: list[Json] = []
        for violation in detail.get("fieldViolations", ()):
            field: str = violation["field"]
            assert field not in (set(names.values()) - {"turn"}), field
            assert not field.startswith("options."), field
            if field == "teacher_id" or field.partition(".")[0] == "parameters":
                whole = f"options.parameters.{field}" if field == "teacher_id" else f"options.{field}"
            else:
                whole = names.get(field, field)
            message = message.replace(f"{field}: ", f"{whole}: ", 1)
            violations.append({**violation, "field": whole})
        details.append({**detail, "fieldViolations": violations} if violations else detail)
    return {**status, "message": message, "details": details}


def message_of(method: str, request: Message) -> Json:
    """The client's WebSocket message for this request. Scopes, policies and costs do not exist on a socket."""
    given: Json = json_format.MessageToDict(request)
    options = given.pop("options", {})
    names = {
        "text": "content",
        "conversation": "conversation_id",
        "requestId": "request_id",
        "afterSeq": "after_seq",
        "includeDeltas": "deltas",
        "name": "turn",
    }
    sent: Json = {names.get(key, key): value for key, value in {**given, **options}.items()}
    assert not set(sent) & {"scope", "onBusy", "cancelOnDisconnect", "maxCostUsdMicros"}, (
        "no WebSocket client can say that"
    )
    if "after_seq" in sent:
        sent["after_seq"] = int(sent["after_seq"])
    if method in ("Ask", "ResumeTurn"):
        sent["tools"] = True
    if method == "Ask":
        sent.setdefault("content", "")
        # The default agent of a socket differs from the default agent of the other transports.
        sent.setdefault("agent", "agents/default")
        # Over a WebSocket, teacher_id is a separate field and not one of the parameters.
        parameters: Json = sent.pop("parameters", {})
        if isinstance(parameters.get("teacher_id"), str):
            sent["teacher_id"] = parameters.pop("teacher_id")
        sent |= {"parameters": parameters} if parameters else {}
    return {"type": KINDS[method], **sent}


def frames_of(events: Sequence[Json]) -> list[Json]:
    """The expected frames for the events of a golden turn."""
    conversation = "<uuid>"
    frames: list[Json] = []
    for event in events:
        if "status" in event:
            step = event["status"]["step"].removeprefix("STEP_").lower()
            frames.append({"type": "status", "step": step, "message": event["status"]["message"]})
        elif "delta" in event:
            frames.append({"type": "delta", "text": event["delta"]["text"]})
        elif "toolCall" in event:
            call = event["toolCall"]
            title, arguments = call.get("title", ""), call.get("arguments", {})
            frame = {"call_id": call["callId"], "tool": call["tool"], "title": title, "arguments": arguments}
            frames.append({"type": "tool_call", **frame})
        elif "toolResult" in event:
            frames.append(_tool_result(event["toolResult"]))
        elif "attemptRestarted" in event:
            again = event["attemptRestarted"]
            seq, kept = int(again["discardFromSeq"]), int(again.get("keepBytes", 0))
            frames.append({"type": "restarted", "discard_from_seq": seq, "keep_bytes": kept})
        elif "answer" in event:
            answer = event["answer"]
            used, sources = (
                answer.get("passagesUsed", 0),
                [_source(one) for one in answer.get("citations", [])],
            )
            content = _html(answer["text"])
            intent = _intent(answer)
            more = {**_fallen(answer), **_origin(answer), **_shown(answer), **_written(answer)}
            frames.append(_message(content, used, sources, conversation, intent, **more))
        elif "refused" in event:
            refused = event["refused"]
            reason = refused["reason"].removeprefix("REFUSAL_REASON_").lower()
            content = f"<p>{html.escape(refused['message'], quote=False)}</p>"
            intent = _intent(refused)
            more = {"outcome": "refused", "reason": reason, **_fallen(refused), **_shown(refused)}
            frames.append(_message(content, 0, [], conversation, intent, **more))
        elif "failed" in event:
            status = event["failed"]["status"]
            (info,) = [one for one in status["details"] if one["@type"].endswith("/google.rpc.ErrorInfo")]
            code = "LLM_ERROR" if info["reason"] in ("MODEL_UNAVAILABLE", "TURN_TIME_LIMIT") else "INTERNAL"
            frames.append({"type": "error", "code": code, "message": status["message"], "status": status})
        elif "cancelled" in event:
            frames.append(_message("", 0, [], conversation, outcome="cancelled"))
    return frames


def _html(text: str) -> str:
    """The HTML of an answer. An answer of one paragraph is rendered here independently; other tests check other answers."""
    if "\n\n" in text:
        return of_markdown(text)
    return f"<p>{html.escape(text, quote=False)}</p>\n"


def steadily(value: Any) -> Any:
    """The same value without the numbers of its ids. Events and frames contain the ids in different orders, so the numbers differ."""
    return json.loads(re.sub(r"<uuid \d+>", "<uuid>", json.dumps(value)))


def _origin(answer: Json) -> Json:
    """Where the passages for an answer come from."""
    found: Json = {}
    if collection := answer.get("collection"):
        found["collection"] = collection
    if kind := answer.get("collectionKind"):
        found["collection_kind"] = kind.removeprefix("COLLECTION_KIND_").lower()
    return found


def _written(answer: Json) -> Json:
    """What wrote an answer, and how many of its sentences cite what is not there."""
    names = {"model": "model", "unsupportedSentences": "unsupported_sentences"}
    return {to: answer[name] for name, to in names.items() if name in answer}


def _shown(end: Json) -> Json:
    """The passages that an answer or a refusal shows, and further ones."""
    names = {"excerpts": "excerpts", "moreExcerpts": "more_excerpts"}
    return {to: [_excerpt(excerpt) for excerpt in end[name]] for name, to in names.items() if name in end}


def _excerpt(excerpt: Json) -> Json:
    passage: Json = {
        **{name: excerpt.get(name, "") for name in ("passage", "collection", "title", "uri")},
        "document": excerpt["documentVersion"],
        "headings": excerpt.get("headings", []),
        "source_range": _range(excerpt["sourceRange"]),
        "grade": excerpt["grade"].removeprefix("EXCERPT_GRADE_").lower(),
        "score": excerpt.get("score", 0),
        **place_of(excerpt),
    }
    if kind := excerpt.get("collectionKind"):
        passage["collection_kind"] = kind.removeprefix("COLLECTION_KIND_").lower()
    texts = {"markdown": "markdown", "sectionMarkdown": "section_markdown"}
    passage |= {to: excerpt[name] for name, to in texts.items() if name in excerpt}
    for name, key in (
        ("piece_range", "pieceRange"),
        ("marked_range", "markedRange"),
        ("marked_in_markdown", "markedInMarkdown"),
    ):
        if marked := excerpt.get(key):
            passage[name] = _range(marked)
    return passage


def _range(value: Json) -> Json:
    return {"start": int(value.get("start", 0)), "end": int(value.get("end", 0))}


def place_of(place: Json) -> Json:
    """Where the quote of a citation or an excerpt begins in the original file."""
    found: Json = {name: place[name] for name in ("page", "path", "date") if name in place}
    if boxes := place.get("boxes"):
        found["boxes"] = [[box.get(edge, 0) for edge in ("left", "top", "right", "bottom")] for box in boxes]
    return found


def _intent(end: Json) -> str | None:
    return end.get("intent")


def _message(
    content: str,
    used: int,
    sources: list[Json],
    conversation: str,
    intent: str | None = None,
    **more: Any,
) -> Json:
    metadata = {
        "intent": intent,
        "chunks_used": used,
        "source_chunks": [*dict.fromkeys(source["passage"] for source in sources if source["passage"])],
        "sources": sources,
        "conversation_id": conversation,
    }
    return {"type": "message", "role": "assistant", "content": content, "metadata": {**metadata, **more}}


def _fallen(end: Json) -> Json:
    told = [
        {"kind": one["kind"].removeprefix("FALLBACK_KIND_").lower()}
        | {name: one.get(name, "") for name in ("source", "target", "cause")}
        for one in end.get("fallbacks", [])
    ]
    return {"fallbacks": told} if told else {}


def _source(citation: Json) -> Json:
    names = {
        "passage": "passage",
        "document": "documentVersion",
        "title": "title",
        "uri": "uri",
        "quote": "quote",
    }
    found = {name: citation.get(there, "") for name, there in names.items()} | place_of(citation)
    found["quote_origin"] = citation["quoteOrigin"].removeprefix("QUOTE_ORIGIN_").lower()
    found["verdict"] = citation["verdict"].removeprefix("JUDGE_VERDICT_").lower()
    found["differences"] = citation.get("differences", [])
    return found | _fetched(citation)


def _fetched(fetched: Json) -> Json:
    if not (cited := fetched.get("toolResult")):
        return {}
    return {"tool": cited["tool"], "call_id": cited["callId"], "fetch_time": cited["fetchTime"]}


def _tool_result(result: Json) -> Json:
    outcome = result["outcome"].removeprefix("TOOL_OUTCOME_").lower()
    frame: Json = {"call_id": result["callId"], "outcome": outcome, "content": result["content"]}
    if fault := result.get("fault"):
        frame["fault"] = fault.removeprefix("TOOL_FAULT_").lower()
    if sources := result.get("sources"):
        names = {"uri": "uri", "title": "title", "fetch_time": "fetchTime", "passage": "passage"}
        names["document"] = "documentVersion"
        frame["sources"] = [
            {name: source.get(there, "") for name, there in names.items()} for source in sources
        ]
    return {"type": "tool_result", **frame}


def _joined(frames: Sequence[Json]) -> list[Json]:
    result: list[Json] = []
    for frame in frames:
        if frame["type"] == "delta" and result and result[-1]["type"] == "delta":
            result[-1] = {**frame, "text": result[-1]["text"] + frame["text"]}
        else:
            result.append(frame)
    return result
