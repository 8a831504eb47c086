"""Shared answers, as their reader may read them."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from responsa.chat.v1 import citation_pb2, share_pb2, turn_pb2
from responsa_server.calls.convert.messages import message
from responsa_server.domain import names
from responsa_server.domain.events import FallbackKind
from responsa_server.domain.people import Principal
from responsa_server.domain.rows import Row


def share(value: Row, reader: Principal, *, answered: bool = True) -> share_pb2.Share:
    """Convert a share. answered: whether with its answer."""
    answer: turn_pb2.TurnAnswer | None = None
    if answered and value.terminal is not None:
        answer = _readable(turn_pb2.TurnEvent.FromString(value.terminal).answer, value.unreadable)
    turn = names.turn(value.turn_id) if value.user_id == reader.user_id else ""
    return message(share_pb2.Share, value, turn=turn, answer=answer)


def _readable(answer: turn_pb2.TurnAnswer, unreadable: Collection[UUID]) -> turn_pb2.TurnAnswer:
    def hidden(version: str) -> bool:
        # A tool's source may be a document, and does not say which.
        return bool(unreadable) if not version else names.parse_document_version(version)[0] in unreadable

    # Without a model, the text consists of texts of documents.
    withheld = bool(unreadable) and answer.model == FallbackKind.PASSAGES
    return turn_pb2.TurnAnswer(
        text="" if withheld else answer.text,
        citations=[
            citation_pb2.Citation(answer_range=citation.answer_range, not_permitted=True)
            if hidden(citation.document_version)
            else citation
            for citation in answer.citations
        ],
        outcome=answer.outcome,
        unsourced=() if withheld else answer.unsourced,
        model=answer.model,
        fallbacks=[
            turn_pb2.Fallback(kind=fallback.kind)
            for fallback in answer.fallbacks
            if fallback.kind == turn_pb2.FALLBACK_KIND_UNCITED
        ],
        excerpts=[excerpt for excerpt in answer.excerpts if not hidden(excerpt.document_version)],
    )
