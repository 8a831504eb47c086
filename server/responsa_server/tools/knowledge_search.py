"""The kind `knowledge_search`: searches the organisation's documents, as the user for whom the turn works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, cast

from pydantic import Field

from responsa_server.domain.answers import EvidenceSource, SearchOptions
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.events import ToolSource, Usage
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.lists import SEARCHED
from responsa_server.domain.tools import (
    MAX_SOURCES_BYTES,
    Declaration,
    Effect,
    Tool,
    ToolCall,
    ToolCard,
    ToolFault,
    ToolOutcome,
    ToolResult,
    ToolUnfit,
)
from responsa_server.domain.uris import safe_uri
from responsa_server.tools.kinds import ToolContext, ToolKind, ToolOptions

_PARAMETERS: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {
        "query": {
            "type": "string",
            "minLength": 1,
            "maxLength": 1000,
            "description": "The question, or the words to look for, in the language of the documents.",
        }
    },
    "required": ["query"],
    "additionalProperties": False,
}
_RETURNS: Final[Mapping[str, object]] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"title": {"type": "string"}, "uri": {"type": "string"}, "passage": {"type": "string"}},
        "required": ["title", "passage"],
    },
}


class KnowledgeOptions(ToolOptions):
    """The keys of `knowledge_search`."""

    collections: tuple[str, ...] = Field(
        (),
        strict=False,
        description=(
            "The collections to search, by their ids; empty: the collections of the question or its "
            "agent, or, if neither names any, all collections that the user may read."
        ),
    )
    passages: int = Field(6, ge=1, le=20, description="The maximum number of passages.")
    bytes: int = Field(
        12_000,
        ge=500,
        le=MAX_SOURCES_BYTES,
        description="The maximum size of all passages together, in bytes.",
    )


class KnowledgeTool:
    """Implements `Tool`. A question that names collections or a filter limits the search to them; the declaration's
    collections cannot widen it."""

    effect = Effect.NONE

    def __init__(
        self,
        declaration: Declaration,
        options: KnowledgeOptions,
        evidence: EvidenceSource,
        clock: Callable[[], datetime],
    ) -> None:
        self.card = ToolCard(
            declaration.name, declaration.description, _PARAMETERS, declaration.title, _RETURNS
        )
        self.timeout_seconds = declaration.timeout_seconds
        self._options = options
        self._evidence = evidence
        self._clock = clock

    async def call(self, call: ToolCall) -> ToolResult:
        query, options = cast("str", call.arguments["query"]), self._options
        collections, own = call.collections, options.collections
        if call.requested and own:
            collections = tuple(name for name in own if name in call.collections)
            if not collections:
                return _nothing()
        elif own:
            collections = own
        filters = tuple(parse_filter(SEARCHED, call.document_filter))
        try:
            evidence = await self._evidence.search(
                call.caller, (query,), collections, SearchOptions(options.passages, filters=filters)
            )
            ranked = await self._evidence.rank(call.caller, query, evidence)
        except ResponsaError as error:
            return ToolResult(ToolOutcome.ERROR, error.message, error=ToolFault.UNREACHABLE)
        used, time = Usage(evidence.embedding_tokens) + ranked.usage, self._clock()
        passages = await self._evidence.passages(ranked.evidence, options.bytes)
        shown = [passage for passage in passages if passage.place is not None]
        if not shown:
            return _nothing(used)
        # A citation refers to the bytes of the document. Instructions are left out of the result when a prompt shows it.
        sources = [ToolSource(hit.uri, hit.title, time, hit.exact, hit.place) for hit in shown]
        content = "\n\n".join(f"{hit.title}\n{hit.exact}" for hit in shown)
        data = [
            {"title": hit.title, "uri": safe_uri(hit.uri), "passage": str(hit.place.passage_id)}
            for hit in shown
            if hit.place is not None
        ]
        return ToolResult(ToolOutcome.OK, content, data, sources, usage=used)

    async def close(self) -> None:
        pass


def _nothing(used: Usage | None = None) -> ToolResult:
    return ToolResult(ToolOutcome.OK, "No passage was found.", [], usage=used or Usage())


def _make(declaration: Declaration, options: KnowledgeOptions, parts: ToolContext) -> Sequence[Tool]:
    if parts.evidence is None:
        raise ToolUnfit("This server has no documents to search.")
    return [KnowledgeTool(declaration, options, parts.evidence, parts.clock)]


KIND: Final = ToolKind(
    KnowledgeOptions,
    _make,
    title="the documents",
    description=(
        "Searches the organisation's documents and returns the passages that fit best. Use it "
        "for what the organisation itself knows."
    ),
    shipped=True,
)
