"""Operations on conversations: create, list, rename, delete and read them, and verify their citations."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from responsa_server.domain.conversations import Conversation, ConversationStore
from responsa_server.domain.events import ByteRange, Citation
from responsa_server.domain.knowledge import SourceRef, Sources, SourceSlice
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import NewId, Verdict
from responsa_server.turns.runtime import repeated

_PATIENCE_SECONDS: Final = 5.0


class Conversations:
    """The callers' operations on conversations; each caller sees only their own."""

    def __init__(self, store: ConversationStore, sources: Sources, new_id: NewId) -> None:
        self.store = store
        """The stored conversations and messages, to read, list or delete them."""
        self._sources = sources
        self._new_id = new_id

    async def create(
        self, who: Principal, title: str, labels: Mapping[str, str], request_id: UUID | None
    ) -> Conversation:
        """Create a conversation. If the title is empty, the creation time becomes the title. Raises
        InvalidRequest, AlreadyExists (REQUEST_ID_REUSED).
        """
        identity = self._new_id()
        return await repeated(
            lambda: self.store.create(who, identity, title, labels, request_id), _PATIENCE_SECONDS
        )

    async def update(
        self,
        who: Principal,
        identity: UUID,
        *,
        title: str | None,
        labels: Mapping[str, str] | None,
        etag: str,
    ) -> Conversation:
        """Change the fields that are not None. If an error occurs, no field is changed. The title "" removes
        the title. Raises InvalidRequest, NotFound, Conflict (ETAG_MISMATCH).
        """
        return await self.store.update(who, identity, title=title, labels=labels, etag=etag)

    async def verify(
        self, who: Principal, *, turn_id: UUID | None = None, message_id: UUID | None = None
    ) -> Sequence[tuple[Citation, Verdict]]:
        """Check each citation of a turn's answer, or of a message, against the current documents. The results have the order of the citations. Where the caller may
        not read the document, the citation is without the quote and without what describes its source.

        The result is empty for a refusal, a failure or a turn that has not ended. Raises NotFound.
        """
        citations = await self.store.citations(who, turn_id=turn_id, message_id=message_id)
        if not citations:
            return []
        verdicts = await self._verdicts(who, citations)
        return [
            (_blank(one) if verdict is Verdict.NOT_PERMITTED else one, verdict)
            for one, verdict in zip(citations, verdicts, strict=True)
        ]

    async def _verdicts(self, who: Principal, citations: Sequence[Citation]) -> Sequence[Verdict]:
        cited = [SourceRef(one.document_id, one.version, one.source) for one in citations]
        slices = await self._sources.sources(who, cited)
        # A quote is valid if the current searchable version contains it. The cited version does not count: it
        # may still exist only because of the citation.
        today = [
            SourceRef(one.document_id, found.current_version, one.source)
            for one, found in zip(cited, slices, strict=True)
            if found.current_version and found.current_version != one.version
        ]
        current = iter(await self._sources.sources(who, today) if today else ())
        return [
            _verdict(
                one,
                next(current) if found.current_version and found.current_version != one.version else found,
            )
            for one, found in zip(citations, slices, strict=True)
        ]


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


def _verdict(citation: Citation, found: SourceSlice) -> Verdict:
    if not found.permitted:
        return Verdict.NOT_PERMITTED
    if found.current_version is None:
        return Verdict.SOURCE_DELETED
    if found.text is None or hashlib.sha256(found.text).digest() != citation.sha256:
        return Verdict.SOURCE_CHANGED
    return Verdict.VALID
