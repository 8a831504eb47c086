"""Makes passages for storage from a parsed document. It cuts the document into passages, then plans and computes their
vectors in batches."""

from __future__ import annotations

import asyncio
import hashlib
import re
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, ParamSpec, Protocol, TypeVar
from uuid import UUID

import numpy as np

from responsa_formats.text.canonical import Block, Place
from responsa_formats.text.languages import is_doubtful, language_of_document
from responsa_formats.text.sections import Sectioned
from responsa_server.domain.events import ByteRange
from responsa_server.domain.generations import UnembeddedPassage
from responsa_server.domain.knowledge import Chunking
from responsa_server.domain.passage_words import pack
from responsa_server.domain.passages import (
    BEFORE_BYTES,
    NEAR_BYTES,
    FoundPassage,
    NearText,
    NewPassage,
    OutlinedHeading,
    Passage,
    PassagePiece,
    PassageVector,
    PassageVectors,
    PlacedBlock,
    VectorKind,
    open_headings,
    titles_of,
)
from responsa_server.domain.turns import NewId
from responsa_server.ingest.chunk import Chunk, chunk_document
from responsa_server.ingest.tables import Header, section_headers
from responsa_server.search.embedder import Embedder, Embedders
from responsa_server.search.evidence import sequences_of_passage
from responsa_server.search.parts import PassageParts
from responsa_server.stores.postgres.passages import PassageAnalysis
from responsa_server.text.instructing import instructing_ranges
from responsa_server.text.lexical import Analyzer, tsvector_literal
from responsa_server.text.sentences import (
    MAX_PIECES,
    Piece,
    PieceKind,
    merge_pieces,
    paragraph_pieces,
    pieces,
    plain,
    weight,
)
from responsa_server.text.shown import header_of

Args = ParamSpec("Args")
Result = TypeVar("Result")

WINDOW_OVERLAP: Final = 32
"""The number of tokens that neighbouring windows of a passage share."""

_TITLE_CHARS: Final = 120
_COLUMNS_CHARS: Final = 200
_PASSAGES_A_BATCH: Final = 16
# To hand work over to a thread costs more than the work on so short a text.
SHORT_BYTES: Final = 2048
# A compressed upload can hold a hundred times its size in text. Its pieces are bounded by what was uploaded: by this
# number and one for each four bytes.
_DOCUMENT_PIECES: Final = 8192
_BYTES_A_PIECE: Final = 4
_FEWEST_PIECES: Final = 16
# An HNSW index links each vector to its nearest neighbours. Several hundred equal vectors link only to each other, and a
# search that reaches them cannot leave them for other vectors (2,000 equal vectors hid a quarter of 2,500 other vectors).
# Therefore, if a document has more than four equal vectors, the fifth and each later one is moved slightly. The cosine of the moved
# and the original vector stays above 0.999. Measurements then found no hidden vectors.
_EQUAL_MOST: Final = 4
_APART: Final = 0.0007


class VectorCache(Protocol):
    """Stores vectors under the SHA-256 of their text. Each call is for one tenant. A vector is bytes: 32-bit floats, little-endian."""

    async def find_cached(self, tenant_id: str, model: str, hashes: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The cached vectors for these hashes. A hash without a cached vector is left out."""
        ...

    async def cache_vectors(self, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]) -> None: ...


@dataclass(frozen=True, slots=True)
class DocumentIdentity:
    """The document version that the passages belong to."""

    tenant_id: str
    collection_id: str
    document_id: UUID
    version: int
    title: str
    uri: str
    name: str = ""
    """See `Passage`."""


@dataclass(frozen=True, slots=True)
class CutDocument:
    """A document cut into passages, section by section. It holds no text: each passage has its bytes and its headings,
    counted from its section's beginning, and the header of the table within which it begins, or None."""

    language: str
    media_type: str
    document: Sectioned
    sections: Sequence[Sequence[tuple[Chunk, Header | None]]]

    @property
    def passage_count(self) -> int:
        return sum(len(section) for section in self.sections)


@dataclass(frozen=True, slots=True)
class OpenSection:
    """A section's text, and its passages and pieces with offsets in the whole text. chunks: the passages, each with the
    header of the table within which it begins, or None. placed: the blocks that have a place. start: where the section
    begins in the whole text. body_start: where it says more than statements about the document. size: the size of the
    whole text in bytes.
    """

    text: bytes
    chunks: Sequence[tuple[Chunk, Header | None]]
    pieces: Sequence[Piece]
    placed: Sequence[Block]
    start: int
    body_start: int
    size: int

    @classmethod
    def read(cls, cut: CutDocument, index: int, first: int) -> OpenSection:
        """Read a section. first: the number of its first passage."""
        section = cut.document.section(index)
        document, start = section.document, section.start
        data = document.canonical_text.encode()
        section_pieces = pieces(document.canonical_text, document.blocks, cut.language)
        if start:
            section_pieces = [
                Piece(start + piece.byte_start, start + piece.byte_end, piece.kind)
                for piece in section_pieces
            ]
        return cls(
            text=data,
            chunks=[
                (
                    replace(
                        chunk,
                        ordinal=first + chunk.ordinal,
                        byte_start=start + chunk.byte_start,
                        byte_end=start + chunk.byte_end,
                        text=data[chunk.byte_start : chunk.byte_end].decode(),
                        outline=tuple(it._replace(start=start + it.start) for it in chunk.outline),
                    ),
                    header,
                )
                for chunk, header in cut.sections[index]
            ],
            pieces=section_pieces,
            placed=[
                replace(block, byte_start=start + block.byte_start, byte_end=start + block.byte_end)
                for block in document.blocks
                if block.place is not None
            ],
            start=start,
            body_start=start + document.body_start,
            size=cut.document.size,
        )

    def near(self, chunk: Chunk, header: Header | None) -> NearText | None:
        """The text near a passage, without its cards; None if some of it is in another section."""
        first, last = chunk.byte_start - NEAR_BYTES, chunk.byte_end + NEAR_BYTES
        end = self.start + len(self.text)
        if (first < self.start and self.start) or (last > end and end < self.size):
            return None
        low, before = max(first, self.body_start), max(chunk.byte_start - BEFORE_BYTES, self.body_start)
        if header is None and before < self.start:
            return None
        above = self._bytes(before, chunk.byte_start).decode(errors="ignore")
        return NearText(low, self._bytes(low, last), before=above if header is None else header.lines)

    def _bytes(self, start: int, end: int) -> bytes:
        return self.text[start - self.start : end - self.start]

    def places(self, source: ByteRange, header: Header | None = None) -> Sequence[PlacedBlock]:
        blocks: list[PlacedBlock] = []
        if header is not None:
            at = header.place or Place()
            blocks.append(PlacedBlock(header.start, header.end, at.page, at.box, at.path))
        first = bisect_right(self.placed, source.start, key=lambda piece: piece.byte_end)
        for block in islice(self.placed, first, None):
            if block.byte_start >= source.end:
                break
            assert block.place is not None
            start, end = max(block.byte_start, source.start), min(block.byte_end, source.end)
            blocks.append(PlacedBlock(start, end, block.place.page, block.place.box, block.place.path))
        return blocks


@dataclass(frozen=True, slots=True)
class PlannedVector:
    """A vector that will be computed from `text`. It represents the bytes `source` of the canonical text."""

    kind: VectorKind
    source: ByteRange
    text: str


@dataclass(frozen=True, slots=True)
class LexicalForm:
    """A passage for full-text search. terms: a tsvector literal. counts: how often each term occurs. length: the number of terms."""

    terms: str
    counts: Mapping[str, int]
    length: int


class Indexer:
    """Makes passages with their vectors and terms. CPU-bound work runs outside the event loop."""

    def __init__(self, embedder: Embedder, cache: VectorCache, new_id: NewId) -> None:
        self._embedder = embedder
        self._cache = cache
        self._new_id = new_id

    async def cut(
        self,
        document: Sectioned,
        chunking: Chunking,
        media_type: str,
        begins: Set[int] = frozenset(),
        usual_language: str = "",
    ) -> CutDocument:
        """Cut a document into passages, in order. Passages of two sections share no tokens. media_type: the type of the
        document. begins: see `chunk_document`; they are in the first section. usual_language: that of a text which is
        too short to say.
        """
        return await _in_thread(
            document.size, self._cut, document, chunking, media_type, begins, usual_language
        )

    async def passages(
        self, identity: DocumentIdentity, cut: CutDocument, size_bytes: int
    ) -> AsyncIterator[Sequence[NewPassage]]:
        """All passages in order, in batches, each passage with its vectors. size_bytes: the size of the upload, which
        bounds the number of vectors."""
        limit = _most_pieces(size_bytes, cut)
        seen, analyzer = SeenVectors(cut.passage_count), Analyzer()
        first = 0
        for index, ranges in enumerate(cut.sections):
            size = cut.document.size
            section = await _in_thread(size, OpenSection.read, cut, index, first)
            first += len(ranges)
            for start in range(0, len(ranges), _PASSAGES_A_BATCH):
                chunks = section.chunks[start : start + _PASSAGES_A_BATCH]
                planned = await _in_thread(size, self._plan, analyzer, identity, cut, section, chunks, limit)
                vectors = await self._vectors(identity.tenant_id, [plan for _, plan in planned], seen)
                yield [replace(new, vectors=of_it) for (new, _), of_it in zip(planned, vectors, strict=True)]

    async def vectors(
        self, tenant_id: str, passages: Sequence[UnembeddedPassage], seen: SeenVectors
    ) -> Sequence[PassageVectors]:
        """The vectors of passages that are stored already. Each passage has at least one. seen: counts the vectors of all calls."""
        planned = await asyncio.to_thread(lambda: [self._plan_again(passage) for passage in passages])
        vectors = await self._vectors(tenant_id, planned, seen)
        return [
            PassageVectors(passage.passage.id, of_it)
            for passage, of_it in zip(passages, vectors, strict=True)
        ]

    def _plan_again(self, unembedded_passage: UnembeddedPassage) -> Sequence[PlannedVector]:
        passage = unembedded_passage.passage
        own = [
            Piece(it.source.start, it.source.end, _PIECE_KINDS[it.kind]) for it in unembedded_passage.pieces
        ]
        if not own:
            own = paragraph_pieces(passage.text, passage.source.start, unembedded_passage.language)
        planned = plan_vectors(self._embedder, passage, own, header=unembedded_passage.header)
        return planned or [PlannedVector(VectorKind.WINDOW, passage.source, passage.text)]

    def _cut(
        self, document: Sectioned, chunking: Chunking, media_type: str, begins: Set[int], usual: str
    ) -> CutDocument:
        language = document.language or ""
        sections: list[Sequence[tuple[Chunk, Header | None]]] = []
        table: Header | None = None
        for index in range(document.section_count):
            section = document.section(index)
            text = section.document.canonical_text
            language = language or (usual if is_doubtful(text) else "") or language_of_document(text)
            chunks = chunk_document(
                section.document,
                self._embedder.token_offsets,
                chunking,
                begins if index == 0 else frozenset(),
                section.above,
                language,
            )
            above, table = section_headers(section, media_type, [chunk.byte_start for chunk in chunks], table)
            sections.append([(replace(chunk, text=""), it) for chunk, it in zip(chunks, above, strict=True)])
        return CutDocument(language, media_type, document, sections)

    def _plan(
        self,
        analyzer: Analyzer,
        identity: DocumentIdentity,
        cut: CutDocument,
        section: OpenSection,
        chunks: Sequence[tuple[Chunk, Header | None]],
        limit: int,
    ) -> list[tuple[NewPassage, Sequence[PlannedVector]]]:
        planned: list[tuple[NewPassage, Sequence[PlannedVector]]] = []
        for chunk, header in chunks:
            source = ByteRange(chunk.byte_start, chunk.byte_end)
            low, high = (
                bisect_left(section.pieces, it, key=lambda piece: piece.byte_start)
                for it in (source.start, source.end)
            )
            own = section.pieces[low:high]
            lines = header.lines if header is not None else ""
            passage = Passage(
                id=self._new_id(),
                collection_id=identity.collection_id,
                document_id=identity.document_id,
                version=identity.version,
                title=identity.title,
                uri=identity.uri,
                source=source,
                text=chunk.text,
                headings=chunk.heading_path,
                outline=chunk.outline,
                places=section.places(source, header),
                name=identity.name,
            )
            vectors = plan_vectors(self._embedder, passage, own, header=lines, most_pieces=limit)
            pieces = [
                PassagePiece(vector.kind, vector.source, None)
                for vector in vectors
                if vector.kind is not VectorKind.WINDOW
            ]
            found_passage = FoundPassage(passage, cut.language, pieces, cut.media_type)
            analysis = analyse(analyzer, found_passage, lines, section.near(chunk, header))
            new = NewPassage(
                passage=passage,
                ordinal=chunk.ordinal,
                language=cut.language,
                tokens=chunk.tokens,
                terms=analysis.terms,
                length=analysis.length,
                vectors=(),
                words=analysis.words,
                instructing=analysis.instructing,
                cards=analysis.cards,
            )
            planned.append((new, vectors))
        return planned

    async def _vectors(
        self, tenant_id: str, planned: Sequence[Sequence[PlannedVector]], seen: SeenVectors
    ) -> Sequence[Sequence[PassageVector]]:
        """The vectors of each passage. A vector that is not in the cache is computed and cached."""
        texts = {_digest(vector.text): vector.text for plan in planned for vector in plan}
        model = self._embedder.name
        known = dict(await self._cache.find_cached(tenant_id, model, list(texts)))
        # Group texts of similar length, because the model needs as long for each text of a run as for the longest one.
        missing = sorted(
            (digest for digest in texts if digest not in known), key=lambda digest: len(texts[digest])
        )
        computed: dict[bytes, bytes] = {}
        if missing:
            vectors = await self._embedder.embed([texts[digest] for digest in missing])
            for digest, vector in zip(missing, vectors, strict=True):
                computed[digest] = np.ascontiguousarray(vector, "<f4").tobytes()
            await self._cache.cache_vectors(tenant_id, model, computed)
        known |= computed
        return [
            [PassageVector(it.kind, it.source, _apart(known[_digest(it.text)], seen)) for it in plan]
            for plan in planned
        ]


class Indexers:
    """Makes an `Indexer` for each embedding model."""

    def __init__(self, embedders: Embedders, cache: VectorCache, new_id: NewId) -> None:
        self._embedders = embedders
        self._cache = cache
        self._new_id = new_id

    @property
    def configured(self) -> str:
        """The model of new collections, `provider:model`."""
        return self._embedders.configured

    async def of_name(self, model: str) -> Indexer | None:
        """The indexer for the model with this `Embedder.name`; None if the settings no longer declare the model."""
        embedder = await self._embedders.of_name(model)
        return None if embedder is None else Indexer(embedder, self._cache, self._new_id)


class SeenVectors:
    """Counts how often each vector has occurred, in a few megabytes for the largest document.

    Two different vectors may share a counter by chance. Then one of them is moved slightly without need, which does no harm.
    """

    def __init__(self, passages: int, earlier: int = 0) -> None:
        """passages: the number of passages with these vectors. earlier: how many others have counted vectors of the
        same passages, each with another number. Every vector may have occurred that often.
        """
        self.earlier = earlier
        self._counts = array("I", bytes(4 * max(4096, 64 * passages)))

    def count(self, digest: bytes) -> int:
        slot = int.from_bytes(digest, "little") % len(self._counts)
        self._counts[slot] += 1
        return self._counts[slot]


def _apart(vector: bytes, seen: SeenVectors) -> bytes:
    """The vector itself up to its fourth occurrence, then a slightly moved vector. Each occurrence is moved differently, but
    in the same way whenever the document is ingested.
    """
    values = np.frombuffer(vector, "<f4")
    # Hash the vector, rounded as in the index. A hash of the text would not do: texts that differ only beyond the model's window
    # have the same vector.
    digest = hashlib.sha256(values.astype("<f2").tobytes()).digest()[:16]
    count = seen.count(digest)
    if seen.earlier + count <= _EQUAL_MOST:
        return vector
    moved = values + np.random.default_rng((seen.earlier, count)).normal(0.0, _APART, values.size)
    return (moved / np.linalg.norm(moved)).astype("<f4").tobytes()


async def _in_thread(
    size: int, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
) -> Result:
    """Do CPU-bound work on a document of this many bytes outside the event loop, unless the document is short."""
    if size <= SHORT_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def _most_pieces(size_bytes: int, cut: CutDocument) -> int:
    """How many pieces the passages of an upload of this size may have; see `merge_pieces`."""
    weights = sum(weight(it.byte_end - it.byte_start) for section in cut.sections for it, _ in section)
    fair = (_DOCUMENT_PIECES + size_bytes // _BYTES_A_PIECE) // max(weights, 1)
    return max(_FEWEST_PIECES, min(MAX_PIECES, fair))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def plan_vectors(
    embedder: Embedder,
    passage: Passage,
    pieces: Sequence[Piece],
    *,
    header: str = "",
    most_pieces: int = MAX_PIECES,
) -> list[PlannedVector]:
    """Plan the vectors of a passage: vectors for windows that together cover the passage, and for its pieces and headings.

    pieces: any pieces of the document; only those within the passage are used. header: see `UnembeddedPassage`.
    most_pieces: see `merge_pieces`.
    """
    source, raw = passage.source, passage.text.encode()
    own = [piece for piece in pieces if source.start <= piece.byte_start and piece.byte_end <= source.end]
    planned: list[PlannedVector] = []
    for section, headings in _sections(passage.outline, source, own):
        words = " ".join(list_new_words(passage.name, (passage.title, *headings)))
        context = " > ".join(part for part in (words, passage.title, *headings) if part)[:_TITLE_CHARS]
        if (columns := " | ".join(header_of(header))) and section.start == source.start:
            context = f"{context}\n{plain(columns)[:_COLUMNS_CHARS]}"
        within = raw[section.start - source.start : section.end - source.start].decode()
        planned += _windows(embedder, context, section, within)
    units = [
        PassagePiece(_KINDS[piece.kind], ByteRange(piece.byte_start, piece.byte_end), None)
        for piece in merge_pieces(own, len(raw), most_pieces)
    ]
    parts = PassageParts(FoundPassage(passage, "", units), NearText(source.start, raw, before=header))
    for index, (unit, text) in enumerate(zip(units, parts.read_units(), strict=True)):
        if (words := plain(text)) and unit.kind is VectorKind.ROW:
            words = _cut_row(embedder, f"{plain(parts.caption(index))}\n{words}".strip())
        if words:
            planned.append(PlannedVector(unit.kind, unit.source, words))
    return planned


def _cut_row(embedder: Embedder, text: str) -> str:
    """As many cells of a row as the model reads."""
    if len(text.encode()) < embedder.max_tokens:
        return text  # a token has at least a byte
    beyond = embedder.token_offsets(text)[embedder.max_tokens :]
    return (text[: beyond[0][0]].rpartition("; ")[0] or text) if beyond else text


def list_new_words(name: str, above: Sequence[str]) -> Sequence[str]:
    """The words of a name that stand in none of these titles."""
    known = frozenset(re.findall(r"\w+", " ".join(above).lower()))
    return [word for word in name.split() if word.lower() not in known]


def _sections(
    outline: Sequence[OutlinedHeading], source: ByteRange, pieces: Sequence[Piece]
) -> Iterator[tuple[ByteRange, Sequence[str]]]:
    """The sections of a passage, each with the titles above its text. A heading without text of its own is in the
    section below it. pieces: those of the passage."""
    texts = [piece.byte_start for piece in pieces if piece.kind is not PieceKind.HEADING]
    headings = [*open_headings(heading for heading in outline if heading.start < source.start)]
    start = source.start
    for heading in outline:
        if heading.start < source.start:
            continue
        has_text = bisect_left(texts, start) < bisect_left(texts, heading.start)
        is_below = not headings or heading.level > headings[-1].level
        if start < heading.start and (has_text or not is_below):
            yield ByteRange(start, heading.start), titles_of(headings)
            start = heading.start
        headings = [*open_headings((*headings, heading))]
    yield ByteRange(start, source.end), titles_of(headings)


_KINDS: Final = {
    PieceKind.SENTENCE: VectorKind.SENTENCE,
    PieceKind.ITEM: VectorKind.ITEM,
    PieceKind.CODE: VectorKind.CODE,
    PieceKind.ROW: VectorKind.ROW,
    PieceKind.HEADING: VectorKind.HEADING,
}
_PIECE_KINDS: Final = {kind: piece for piece, kind in _KINDS.items()}


def _windows(embedder: Embedder, context: str, source: ByteRange, text: str) -> list[PlannedVector]:
    """Plan the windows of a passage. Each window, with the context before it, is short enough for the model to read
    completely. A context that would take more than half of the model's limit is left out.
    """
    context_bytes = len(context.encode())
    if context_bytes <= embedder.max_tokens // 2 and context_bytes + len(text.encode()) < embedder.max_tokens:
        # A token has at least a byte, so there is one window.
        span = ByteRange(source.start, source.end)
        return [PlannedVector(VectorKind.WINDOW, span, f"{context}\n{plain(text)}".strip())]
    context_tokens = len(embedder.token_offsets(context))
    if context_tokens > embedder.max_tokens // 2:
        context, context_tokens = "", 0
    room = embedder.max_tokens - context_tokens - 1
    overlap = min(WINDOW_OVERLAP, room // 2)
    offsets = embedder.token_offsets(text)
    windows: list[PlannedVector] = []
    first = 0
    while first < len(offsets):
        last = min(first + room, len(offsets))
        start = 0 if first == 0 else offsets[first][0]
        end = len(text) if last == len(offsets) else offsets[last - 1][1]
        low = source.start + len(text[:start].encode())
        span = ByteRange(low, low + len(text[start:end].encode()))
        windows.append(PlannedVector(VectorKind.WINDOW, span, f"{context}\n{plain(text[start:end])}".strip()))
        if last == len(offsets):
            break
        first = last - overlap
    return windows


def lexical_form(
    analyzer: Analyzer,
    title: str,
    headings: Sequence[str],
    text: str,
    language: str,
    columns: str = "",
    name: str = "",
) -> LexicalForm:
    """The terms of a passage. The terms of the title and the headings are labelled, so that ranking can weight them differently.

    columns: the names of the columns, if the passage begins within a table. They count as its first row.
    name: see `Passage`. Its terms count less than those of the title, and so only once, where the passage has them nowhere else.
    """
    above = [term for part in (title, *headings) for term in analyzer.terms(part, language)]
    body = analyzer.terms(plain(f"{columns}\n{text}" if columns else text), language)
    counts = Counter([*above, *body])
    named = [term for term in dict.fromkeys(analyzer.terms(name, language)) if term not in counts]
    counts.update(named)
    return LexicalForm(tsvector_literal(above, [*body, *named]), counts, counts.total())


def analyse(
    analyzer: Analyzer, found_passage: FoundPassage, header: str, near: NearText | None
) -> PassageAnalysis:
    """What is stored of a passage's text. header: see `UnembeddedPassage`. near: the text around it; without it, there are
    no cards and no instructions."""
    passage, source = found_passage.passage, found_passage.passage.source
    text = near or NearText(source.start, passage.text.encode(), before=header)
    instructing = instructing_ranges(text.text, text.start, (source.start, source.end))
    parts = PassageParts(replace(found_passage, instructing=instructing), text._replace(cards=b""))
    columns, language = " | ".join(header_of(header)), found_passage.language
    above = passage.title, passage.headings
    form = lexical_form(analyzer, *above, passage.text, language, columns, passage.name)
    return PassageAnalysis(
        pack(form.counts, sequences_of_passage(found_passage, analyzer, parts.read_units())),
        None if near is None else parts.pack(),
        None if near is None else instructing,
        form.terms,
        form.length,
        passage.name,
    )
