"""Reads sources that tools returned as passages, so that answers quote them byte for byte as they quote documents. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
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
    data = found_source.source.text.encode()
    offset, language = _offset(found_source), language_of(found_source.source.text)
    source = ByteRange(offset, offset + len(data))
    found = _passage(
        found_source, source, found_source.source.text, _pieces(found_source, language), language
    )
    return PromptPassage(found, source, found_source.source.text)


def _offset(source: FoundSource) -> int:
    """The byte at which the text begins: in a document's passage, the bytes count from the beginning of the document."""
    return source.source.passage.range.start if source.source.passage is not None else 0


def _pieces(source: FoundSource, language: str) -> Sequence[PassagePiece]:
    return [
        PassagePiece(VectorKind(piece.kind.value), ByteRange(piece.byte_start, piece.byte_end), None)
        for piece in paragraph_pieces(source.source.text, _offset(source), language)
    ]


def _passage(
    found_source: FoundSource, source: ByteRange, text: str, pieces: Sequence[PassagePiece], language: str
) -> FoundPassage:
    title, uri, document = found_source.source.title, found_source.source.uri, found_source.source.passage
    if document is not None:
        passage = Passage(
            document.passage_id,
            NO_COLLECTION,
            document.document_id,
            document.version,
            title,
            uri,
            source,
            text,
        )
    else:
        # The same source has the same ids in every attempt at the turn.
        identity = uuid5(NAMESPACE_URL, f"{found_source.origin.call_id}/{found_source.origin.source_index}")
        passage = Passage(
            uuid5(identity, f"{source.start}-{source.end}"),
            NO_COLLECTION,
            identity,
            0,
            title,
            uri,
            source,
            text,
            origin=found_source.origin,
        )
    return FoundPassage(passage, language, list(pieces))
