"""Operations on conversations: create, list, rename, delete and read them, and verify their citations."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from responsa_server.domain.conversations import Conversation, ConversationStore
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.events import ByteRange, Citation, ToolCitation, ToolSource
from responsa_server.domain.formatting import is_visible
from responsa_server.domain.knowledge import SourceRef, Sources, SourceSlice
from responsa_server.domain.limits import NO_LIMIT
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import CitationCheck, NewId, Verdict
from responsa_server.turns.runtime import retry

_PATIENCE_SECONDS: Final = 5.0
_CONTEXT_BYTES: Final = 4096
"""How much of a tool's source is shown before a quote, and how much after it."""


class Conversations:
    """The callers' operations on conversations; each caller sees only their own."""

    def __init__(self, store: ConversationStore, sources: Sources, new_id: NewId) -> None:
        self.store = store
        """The stored conversations and messages, to read, list or delete them."""
        self._sources = sources
        self._new_id = new_id

    async def create(
        self,
        caller: Principal,
        title: str,
        labels: Mapping[str, str],
        request_id: UUID | None,
        limit: int = NO_LIMIT,
    ) -> Conversation:
        """Create a conversation. If the title is empty, the creation time becomes the title. limit: the maximum number
        of the caller's conversations. Raises InvalidRequest, AlreadyExists (REQUEST_ID_REUSED), Exhausted
        (LIMIT_REACHED).
        """
        _check_title(title)
        identity = self._new_id()
        return await retry(
            lambda: self.store.create(caller, identity, title, labels, request_id, limit=limit),
            _PATIENCE_SECONDS,
        )

    async def update(
        self,
        caller: Principal,
        identity: UUID,
        *,
        title: str | None,
        labels: Mapping[str, str] | None,
        etag: str,
        pinned: bool | None = None,
        archived: bool | None = None,
    ) -> Conversation:
        """Change the fields that are not None. If an error occurs, no field is changed. The title "" removes
        the title. Raises InvalidRequest, NotFound, Conflict (ETAG_MISMATCH).
        """
        _check_title(title or "")
        return await self.store.update(
            caller, identity, title=title, labels=labels, etag=etag, pinned=pinned, archived=archived
        )

    async def verify(
        self, caller: Principal, *, turn_id: UUID | None = None, message_id: UUID | None = None
    ) -> Sequence[CitationCheck]:
        """Check each citation with a quote of a turn's answer, or of a message: against the current documents, or against
        the text that a tool returned. The results have the order of the citations. Where the caller may not read the document,
        the citation is without the quote and without what describes its source.

        The result is empty for a refusal, a failure or a turn that has not ended. Raises NotFound.
        """
        all_citations = await self.store.citations(caller, turn_id=turn_id, message_id=message_id)
        citations = [citation for citation in all_citations if citation.quote]
        documents = [citation for citation in citations if isinstance(citation, Citation)]
        verdicts = iter(await self._verdicts(caller, documents) if documents else ())
        results: Mapping[str, Sequence[ToolSource]] = {}
        if len(documents) < len(citations):
            results = await self.store.tool_sources(caller, turn_id=turn_id, message_id=message_id)
        return [
            _document_check(citation, next(verdicts))
            if isinstance(citation, Citation)
            else _tool_check(citation, results)
            for citation in citations
        ]

    async def _verdicts(self, caller: Principal, citations: Sequence[Citation]) -> Sequence[Verdict]:
        cited = [SourceRef(citation.document_id, citation.version, citation.source) for citation in citations]
        slices = await self._sources.sources(caller, cited)
        # A quote is valid if the current searchable version contains it. The cited version does not count: it
        # may still exist only because of the citation.
        today = [
            SourceRef(reference.document_id, piece.current_version, reference.source)
            for reference, piece in zip(cited, slices, strict=True)
            if piece.current_version and piece.current_version != reference.version
        ]
        current = iter(await self._sources.sources(caller, today) if today else ())
        return [
            _verdict(
                cited,
                next(current) if piece.current_version and piece.current_version != cited.version else piece,
            )
            for cited, piece in zip(citations, slices, strict=True)
        ]


def _document_check(citation: Citation, verdict: Verdict) -> CitationCheck:
    return CitationCheck(_blank(citation) if verdict is Verdict.NOT_PERMITTED else citation, verdict)


def _tool_check(citation: ToolCitation, results: Mapping[str, Sequence[ToolSource]]) -> CitationCheck:
    """Check a citation against the text that the tool returned. The turn belongs to the caller, and so does what its tools returned."""
    sources = results.get(citation.origin.call_id, ())
    if citation.origin.source_index >= len(sources):
        return CitationCheck(citation, Verdict.SOURCE_DELETED)
    text = sources[citation.origin.source_index].text.encode()
    start, end = citation.source.start, citation.source.end
    if hashlib.sha256(text[start:end]).digest() != citation.sha256:
        return CitationCheck(citation, Verdict.SOURCE_CHANGED)
    before = text[max(start - _CONTEXT_BYTES, 0) : start]
    # What is cut off may be a part of a character.
    shown = before.decode(errors="ignore")
    after = text[end : end + _CONTEXT_BYTES].decode(errors="ignore")
    from_byte = len(shown.encode())
    return CitationCheck(
        citation,
        Verdict.VALID,
        f"{shown}{text[start:end].decode()}{after}",
        ByteRange(from_byte, from_byte + end - start),
    )


def _blank(citation: Citation) -> Citation:
    """A citation without anything of its document but the name."""
    return Citation(
        passage_id=citation.passage_id,
        document_id=citation.document_id,
        version=citation.version,
        title="",
        uri="",
        source=ByteRange(0, 0),
        quote="",
        sha256=b"",
        answer=citation.answer,
        score=0.0,
    )


def _verdict(citation: Citation, source: SourceSlice) -> Verdict:
    if not source.permitted:
        return Verdict.NOT_PERMITTED
    if source.current_version is None:
        return Verdict.SOURCE_DELETED
    if source.text is None or hashlib.sha256(source.text).digest() != citation.sha256:
        return Verdict.SOURCE_CHANGED
    return Verdict.VALID


def _check_title(title: str) -> None:
    if title and not is_visible(title):
        remedy = "must have a visible character; send another title, or an empty one for the title that the server makes"
        raise InvalidRequest.of_field("conversation.title", "title.visible", remedy)
