"""Reads a provider's answers as the provider sent them, next to what the adapter makes of them, and finds what the
adapter does not expect."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, cast

import httpx2

from responsa_server.domain.models import (
    Ended,
    ModelError,
    ModelPiece,
    ModelPrompt,
    Spent,
    TextPiece,
    ToolRequest,
)
from responsa_server.providers.http_model import HttpModel

Json = Mapping[str, Any]


class _Copied(httpx2.AsyncByteStream):
    """A body that is also copied while it is read."""

    def __init__(self, body: httpx2.AsyncByteStream, into: bytearray) -> None:
        self._body = body
        self._into = into

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        async for part in self._body:
            self._into.extend(part)
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()


@dataclass(slots=True)
class Heard:
    """An answer. pieces: what the adapter made of it. error: the error that ended it, or None. body: the bytes that arrived."""

    pieces: list[ModelPiece] = field(default_factory=list[ModelPiece])
    error: ModelError | None = None
    body: bytearray = field(default_factory=bytearray)

    @property
    def texts(self) -> Sequence[str]:
        """The pieces of the text."""
        return [piece.text for piece in self.pieces if isinstance(piece, TextPiece)]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.texts)

    @property
    def requests(self) -> Sequence[ToolRequest]:
        """The requested calls of tools."""
        return [piece for piece in self.pieces if isinstance(piece, ToolRequest)]

    @property
    def end(self) -> Ended | None:
        """The end; None if the answer broke off."""
        return next((piece for piece in self.pieces if isinstance(piece, Ended)), None)

    @property
    def spent(self) -> Spent | None:
        """The last report of usage; None if there was none."""
        return next((piece for piece in reversed(self.pieces) if isinstance(piece, Spent)), None)

    @property
    def events(self) -> Sequence[Json]:
        """The JSON objects in the events that have arrived whole."""
        events: list[Json] = []
        for line in bytes(self.body).decode(errors="replace").splitlines():
            if line.startswith("data:"):
                try:
                    value = json.loads(line.removeprefix("data:"))
                except ValueError:
                    continue
                if isinstance(value, dict):
                    events.append(cast("Json", value))
        return events


async def hear(model: HttpModel, prompt: ModelPrompt, *, pieces: int = 0) -> Heard:
    """Ask a model. pieces: the number of pieces of text after which the answer is broken off; 0 to read all of it."""
    heard = Heard()

    async def copy(response: httpx2.Response) -> None:
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Copied(response.stream, heard.body)

    model.http.event_hooks = {"response": [copy]}
    try:
        async with aclosing(model.stream(prompt)) as stream:
            async for piece in stream:
                heard.pieces.append(piece)
                if pieces and len(heard.texts) >= pieces:
                    break
    except ModelError as error:
        heard.error = error
    return heard


@dataclass(frozen=True, slots=True)
class Seen:
    """What the events of an answer hold. stops: the reasons for which it stopped. unknown: names that the adapter
    passes over. usage_at: the places of reports of usage.
    fragments: in how many parts the arguments of tool requests came.
    """

    stops: Sequence[str]
    unknown: Sequence[str]
    usage_at: Sequence[str]
    fragments: int = 0


@dataclass(frozen=True, slots=True)
class Assumed:
    """What an adapter assumes about its protocol. stops: the reasons for which an answer stops. usage_at: where usage
    is reported. read: reads the events."""

    stops: frozenset[str]
    usage_at: str
    read: Callable[[Sequence[Json]], Seen]


def _dicts(value: object) -> Sequence[Json]:
    return (
        [cast("Json", one) for one in cast("list[object]", value) if isinstance(one, dict)]
        if isinstance(value, list)
        else ()
    )


def _dict(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _filled(value: Json, known: frozenset[str], prefix: str) -> set[str]:
    """The names of values that are there and that the adapter does not know."""
    return {
        f"{prefix}.{name}"
        for name, one in value.items()
        if name not in known and one not in (None, "", [], {})
    }


_DELTA: Final = frozenset({"role", "content", "refusal", "tool_calls"})


def _openai(events: Sequence[Json]) -> Seen:
    stops, unknown, usage_at, fragments = list[str](), set[str](), list[str](), 0
    for event in events:
        choices = _dicts(event.get("choices"))
        if event.get("usage"):
            where = (
                "before the finish reason"
                if not stops and not any(one.get("finish_reason") for one in choices)
                else ""
            )
            usage_at.append(where or ("with the last choice" if choices else "after the last choice"))
        for choice in choices:
            delta = _dict(choice.get("delta"))
            unknown |= _filled(delta, _DELTA, "delta")
            fragments += sum(
                bool(_dict(one.get("function")).get("arguments")) for one in _dicts(delta.get("tool_calls"))
            )
            if choice.get("finish_reason"):
                stops.append(str(choice["finish_reason"]))
    return Seen(stops, sorted(unknown), usage_at, fragments)


_EVENTS: Final = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    }
)
_BLOCKS: Final = frozenset({"text", "tool_use", "text_delta", "input_json_delta"})


def _anthropic(events: Sequence[Json]) -> Seen:
    stops, unknown, usage_at, fragments = list[str](), set[str](), list[str](), 0
    for event in events:
        kind = str(event.get("type"))
        delta, block = _dict(event.get("delta")), _dict(event.get("content_block"))
        if kind not in _EVENTS:
            unknown.add(f"event {kind}")
        for one in (delta, block):
            if one.get("type") and one["type"] not in _BLOCKS:
                unknown.add(f"block {one['type']}")
        if event.get("usage") or _dict(event.get("message")).get("usage"):
            usage_at.append(kind)
        if delta.get("stop_reason"):
            stops.append(str(delta["stop_reason"]))
        fragments += bool(delta.get("partial_json"))
    return Seen(stops, sorted(unknown), usage_at, fragments)


_PART: Final = frozenset({"text", "thought", "functionCall", "thoughtSignature"})


def _gemini(events: Sequence[Json]) -> Seen:
    stops, unknown, usage_at, fragments = list[str](), set[str](), list[str](), 0
    for place, event in enumerate(events):
        if event.get("usageMetadata"):
            usage_at.append("the last chunk" if place == len(events) - 1 else "an earlier chunk")
        for candidate in _dicts(event.get("candidates")):
            for part in _dicts(_dict(candidate.get("content")).get("parts")):
                unknown |= _filled(part, _PART, "part")
                fragments += bool(part.get("functionCall"))
            if candidate.get("finishReason"):
                stops.append(str(candidate["finishReason"]))
    return Seen(stops, sorted(unknown), usage_at, fragments)


ASSUMED: Final[Mapping[str, Assumed]] = {
    "openai": Assumed(
        frozenset({"stop", "length", "tool_calls", "content_filter"}), "after the last choice", _openai
    ),
    "anthropic": Assumed(
        frozenset({"end_turn", "max_tokens", "tool_use", "refusal"}), "message_delta", _anthropic
    ),
    "gemini": Assumed(frozenset({"STOP", "MAX_TOKENS", "SAFETY"}), "the last chunk", _gemini),
}
"""By the name of the protocol."""
