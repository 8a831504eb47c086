"""Reads sources that tools returned as passages, so that answers quote them byte for byte as they quote documents. Pure functions."""

from __future__ import annotations

from typing import Final
from uuid import NAMESPACE_URL, uuid5

from responsa_formats.text.languages import language_of
from responsa_server.domain.answers import FoundSource
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import (
    FoundPassage,
    Passage,
    PassagePiece,
    VectorKind,
)
from responsa_server.search.prompt_passages import PromptPassage
from responsa_server.text.sentences import paragraph_pieces

NO_COLLECTION: Final = ""
"""The collection of these passages."""


def whole_source(found_source: FoundSource) -> PromptPassage:
    """A source as one passage, as a prompt shows a tool's result. A source without text says nothing."""
    source, origin = found_source.source, found_source.origin
    document, language = source.passage, language_of(source.text)
    # In a document's passage, the bytes count from the beginning of the document.
    start = 0 if document is None else document.range.start
    span = ByteRange(start, start + len(source.text.encode()))
    if document is not None:
        ids = document.passage_id, document.document_id, document.version
    else:
        # The same source has the same ids in every attempt at the turn.
        document_id = uuid5(NAMESPACE_URL, f"{origin.call_id}/{origin.source_index}")
        ids = uuid5(document_id, f"{span.start}-{span.end}"), document_id, 0
    passage_id, document_id, version = ids
    passage = Passage(
        passage_id,
        NO_COLLECTION,
        document_id,
        version,
        source.title,
        source.uri,
        span,
        source.text,
        origin=origin if document is None else None,
    )
    pieces = [
        PassagePiece(VectorKind(piece.kind.value), ByteRange(piece.byte_start, piece.byte_end), None)
        for piece in paragraph_pieces(source.text, start, language)
    ]
    return PromptPassage(FoundPassage(passage, language, pieces), span, source.text)
