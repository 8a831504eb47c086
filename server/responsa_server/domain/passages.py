"""Passages as they are stored and as they are ranked, and the indexes that a search reads.

A vector is stored as bytes: 32-bit floats, little-endian.

The database alone decides which passages are live. A store of vectors outside it may lag behind, so a passage
that it finds becomes a candidate only when the database confirms it (`PassageIndex.candidates`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from responsa_server.domain.events import ByteRange, ToolOrigin, VersionRead
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.listing import Filter
from responsa_server.domain.parts import ReportedPart
from responsa_server.domain.people import Reader

TEXT_PART: Final = "text index"
"""The `part` in the error Unavailable that a search raises when the text index fails."""
VECTORS_PART: Final = "vectors"
"""The `part` in the error Unavailable that a search raises when the vector index fails. In this case, a search by words
alone may still work.
"""

Column = Any
"""A column of numbers, as numpy has them (float64)."""
COSINE_DIGITS: Final = 4
"""The digits of a cosine that all indexes agree on: each adds up in another order."""


class VectorKind(StrEnum):
    """The text that a vector represents.

    WINDOW: a stretch of text as long as the embedding model's input limit.
    SENTENCE, ITEM, CODE, ROW: pieces that an answer may quote.
    HEADING: a text that an answer never quotes.
    """

    WINDOW = "window"
    SENTENCE = "sentence"
    ITEM = "item"
    CODE = "code"
    ROW = "row"
    HEADING = "heading"


class PlacedBlock(NamedTuple):
    """Where a block of the canonical text stands in the original file.

    start, end: the byte range of the block, or of the block's part within a passage. page: the number of the page,
    slide or sheet, from 1; 0 if the format has no pages. box: the left, top, right and bottom edge on the page, in
    thousandths of the page's width and height; None if unknown.
    path: the place inside an office or data file; with a box, the label that the file gives to the page; ''
    if there is none.
    """

    start: int
    end: int
    page: int
    box: tuple[int, int, int, int] | None
    path: str


class SourcePlace(NamedTuple):
    """Where a range of the canonical text stands in the original file. page, path: those of the block that has most of
    it, as in `PlacedBlock`. boxes: those of all its blocks on this page, in order."""

    page: int = 0
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    path: str = ""


class OutlinedHeading(NamedTuple):
    """A heading of a document. start: its first byte in the canonical text. level: 1 to 6. title: without markup; may be ''."""

    start: int
    level: int
    title: str


def open_headings(headings: Iterable[OutlinedHeading]) -> tuple[OutlinedHeading, ...]:
    """Of headings in the order of the text, those that the text after the last one stands below, outermost first: each
    is deeper than the one before."""
    path: list[OutlinedHeading] = []
    for heading in headings:
        while path and path[-1].level >= heading.level:
            path.pop()
        path.append(heading)
    return tuple(path)


def common_headings(paths: Iterable[Sequence[OutlinedHeading]]) -> tuple[OutlinedHeading, ...]:
    """The outermost headings that all paths begin with."""
    levels = zip(*paths, strict=False)
    return tuple(headings[0] for headings in takewhile(lambda headings: len({*headings}) == 1, levels))


def titles_of(headings: Iterable[OutlinedHeading]) -> tuple[str, ...]:
    """The titles that are not ''."""
    return tuple(heading.title for heading in headings if heading.title)


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document version. source: the passage's byte range in the canonical text. text: those bytes, decoded.
    places: the places of the passage's blocks, in order; empty if the document's format keeps no places. If the passage
    begins within a table, the first one is the table's header, which stands before the passage. origin: the tool's
    source that the passage is; None for a passage of a document. date: the date that the document states, as
    YYYY-MM-DD; '' if it states none. headings: those above all of the passage, outermost first. outline: the headings
    above its first byte, and those within; () if the passage was stored by a release that kept none. name: the words of
    the document's file name and folder that count as the passage's, see `text/file_names.py`.
    """

    id: UUID
    collection_id: str
    document_id: UUID
    version: int
    title: str
    uri: str
    source: ByteRange
    text: str
    headings: Sequence[str] = ()
    places: Sequence[PlacedBlock] = ()
    origin: ToolOrigin | None = None
    date: str = ""
    outline: Sequence[OutlinedHeading] = ()
    name: str = ""

    @property
    def read(self) -> VersionRead | None:
        """The version of the document from which the text was read; None if the text comes from no document."""
        return None if self.origin is not None else VersionRead(self.document_id, self.version)

    @property
    def path(self) -> Sequence[OutlinedHeading]:
        """The headings that all of the passage stands below, outermost first."""
        edges = (self.source.start, *(one.start for one in self.outline if one.start > self.source.start))
        return common_headings(
            [open_headings(heading for heading in self.outline if heading.start <= edge) for edge in edges]
        )

    def path_at(self, offset: int) -> Sequence[str]:
        """The titles of the headings above a byte of the canonical text, outermost first."""
        return (
            titles_of(open_headings(heading for heading in self.outline if heading.start <= offset))
            or self.headings
        )

    def place_of(self, source: ByteRange) -> SourcePlace:
        """The place of a range."""
        blocks = [block for block in self.places if block.start < source.end and source.start < block.end]
        if not blocks:
            return SourcePlace()
        main = max(blocks, key=lambda block: min(block.end, source.end) - max(block.start, source.start))
        boxes = (block.box for block in blocks if block.box is not None and block.page == main.page)
        return SourcePlace(main.page, tuple(dict.fromkeys(boxes)), main.path)


@dataclass(frozen=True, slots=True)
class PassageVector:
    """One vector of a passage.

    source: the byte range of the canonical text that the vector represents.
    """

    kind: VectorKind
    source: ByteRange
    vector: bytes


@dataclass(frozen=True, slots=True)
class NewPassage:
    """A passage to store. It is not searched before its version is published.

    ordinal: the passage's position in the version, from 0. language: an ISO 639-1 code, or '' if the language is
    unknown. tokens: the passage's length in tokens of the embedding model. terms: a tsvector literal in which title
    terms have the label A. length: the number of terms in the literal. words: see `passage_words.py`; b"" if they are
    not made yet. instructing: see `FoundPassage`; None if they are not known yet. cards: see `NearText`; None if they
    are not made yet.
    """

    passage: Passage
    ordinal: int
    language: str
    tokens: int
    terms: str
    length: int
    vectors: Sequence[PassageVector]
    words: bytes = b""
    instructing: Sequence[tuple[int, int]] | None = None
    cards: bytes | None = None


@dataclass(frozen=True, slots=True)
class PassageVectors:
    """All vectors of one passage, as a vector index stores them."""

    passage_id: UUID
    vectors: Sequence[PassageVector]


@dataclass(frozen=True, slots=True)
class IndexingAttempt:
    """One attempt at indexing a document version.

    epoch: the operation's epoch. A later attempt at the same version has a greater epoch; BUILT, if the version is
    searchable already and its vectors are computed for another generation.
    model: the name of the model that computed the vectors. generation: the `generation_name` to which they belong.
    """

    tenant_id: str
    collection_id: str
    document_id: UUID
    version: int
    epoch: int
    model: str
    generation: str


BUILT: Final = 2**40
"""An epoch that no operation reaches."""


def generation_name(collection_id: str, generation_id: UUID | None) -> str:
    """The name under which a `VectorStore` keeps a generation of a collection. generation_id: None for that of the first table."""
    return collection_id if generation_id is None else str(generation_id)


@dataclass(frozen=True, slots=True)
class DocumentSet:
    """The documents that a filter selects. packed: the 16 bytes of each id, because a set may hold 100,000 ids.
    passages: the number of passages of these documents that searches find.
    """

    packed: bytes
    passages: int

    @classmethod
    def of(cls, ids: Collection[UUID], passages: int) -> DocumentSet:
        return cls(b"".join(document_id.bytes for document_id in ids), passages)

    def __len__(self) -> int:
        return len(self.packed) // 16

    def __iter__(self) -> Iterator[UUID]:
        return (UUID(bytes=self.packed[start : start + 16]) for start in range(0, len(self.packed), 16))


@dataclass(frozen=True, slots=True)
class SearchScope:
    """The passages that a search may find: those that the reader may read, in these collections, as the reader calls
    them, and of these documents. None means all.
    own: if not None, the passages of documents about the reader, and of documents without a subject in these
    collections. about: whether those about the reader are among them.
    """

    reader: Reader
    collections: Sequence[str] | None = None
    documents: DocumentSet | None = None
    own: Sequence[str] | None = None
    about: bool = True


@dataclass(frozen=True, slots=True)
class TermStatistics:
    """Statistics of live passages.

    passages: the number of passages. terms: the total length of the passages, in terms.
    frequencies: for each term, the number of passages that contain the term. synonyms: the SHA-256 of the collection's
    synonyms; b"" for a collection without synonyms and for several collections. kind: the kind of the passages'
    collection.
    embedding: the name of the model of the collection's active generation; "" means the server's model. generation: the
    id under which the vectors of the active generation are stored; None for the first table. shown: the collection's id
    as the reader calls it; "" for several collections.
    """

    passages: int
    terms: int
    frequencies: dict[str, int]
    synonyms: bytes = b""
    kind: CollectionKind = CollectionKind.OWN
    embedding: str = ""
    generation: UUID | None = None
    shown: str = ""


@dataclass(frozen=True, slots=True)
class LexicalQuery:
    """A full-text query.

    collections: the collections to search. terms, weights, frequencies: distinct terms, the weight of each, the largest
    weight first, and in how many passages each occurs, itself or in an alternative. gate: if several collections are
    searched, the number of leading terms that select passages. The remaining terms only rank the selected passages.
    mean_length: the mean length of the passages, in terms. limit: the maximum number of passages to select.
    alternatives: for each term, the lists of terms of which each counts like the term where all its terms occur; empty
    if no term has alternatives.
    """

    collections: Sequence[str]
    terms: Sequence[str]
    weights: Sequence[float]
    frequencies: Sequence[int]
    gate: int
    mean_length: float
    limit: int = 50
    alternatives: Sequence[Sequence[Sequence[str]]] = ()


@dataclass(frozen=True, slots=True)
class QuestionVector:
    """The vector of a question. It is compared only with vectors of the same model.

    model: the name of the model that computed the vector. generations: the ids under which the index stores the active
    generations of this model; None for its first table. stored: the same generations as a `VectorStore` names them.
    """

    model: str
    data: bytes
    generations: tuple[UUID | None, ...] = (None,)
    stored: tuple[str, ...] = ()


class PassageCosines(NamedTuple):
    """The best cosine similarities between a question and a passage's vectors, from -1 to 1.

    window: the best cosine of the WINDOW vectors. piece: the best cosine of all other vectors. None: the passage has no
    such vector.
    """

    window: float | None
    piece: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Live passages of a collection that a query has selected, as columns.

    ids: ascending. lengths: in terms. counts: for each passage, how often it has each term of the query, including title
    and headings; at most 255. windows, pieces: as in `PassageCosines`; NaN instead of None.
    """

    ids: Sequence[UUID]
    languages: Sequence[str]
    lengths: Column
    counts: Column
    windows: Column
    pieces: Column


@dataclass(frozen=True, slots=True)
class CandidateQuery:
    """A string as the collections whose vectors one model made are searched for it.

    collections: as `TermStatistics` names them; None means all. terms: those to be counted in each candidate. words:
    queries that select passages. question: selects the passages of its `nearest` vectors, and is compared with the
    vectors of all candidates; None to leave vectors out. documents: the documents to search; None means all. ids:
    further candidates.
    """

    collections: Sequence[str] | None
    terms: Sequence[str] = ()
    words: Sequence[LexicalQuery] = ()
    question: QuestionVector | None = None
    nearest: int = 100
    documents: DocumentSet | None = None
    ids: Collection[UUID] = ()


ANALYSIS_VERSION: Final = 4
"""The version of `text/lexical.py`, of what counts as a passage's words, and of its cards (`search/parts.py`). What
another version made is made again (`ingest/analysing.py`). A migration that changes it also makes the index
`passage_not_analysed` again."""
INSTRUCTING_VERSION: Final = 1
"""The version of the patterns of `text/instructing.py`, which is stored with what they find. What another version found
is looked for again (`ingest/analysing.py`). A migration that changes it also makes the index `passage_not_analysed`
again.
"""


@dataclass(frozen=True, slots=True)
class PassagePiece:
    """A piece of a passage, or a heading.

    cosine: the cosine similarity to the question, from -1 to 1, with COSINE_DIGITS; None if there is no question vector
    of the same model.
    """

    kind: VectorKind
    source: ByteRange
    cosine: float | None


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that was read for a question, with its pieces in order.

    media_type: the type of the passage's document; '' if it is not known. words: see `passage_words.py`, a character a
    byte (Latin-1), because cached results have no bytes; '' if they are not stored. instructing: the ranges of bytes in
    the passage, and within 1,200 bytes of it, that give instructions to an assistant (`text/instructing.py`); None if
    they are not stored.
    """

    passage: Passage
    language: str
    pieces: Sequence[PassagePiece]
    media_type: str = ""
    words: str = ""
    instructing: Sequence[tuple[int, int]] | None = None

    def instructions(self, source: ByteRange) -> Sequence[ByteRange] | None:
        """The parts of a range of bytes, in the passage or within 1,200 bytes of it, that give instructions to an
        assistant; None if they are not known."""
        if self.instructing is None:
            return None
        clipped = (
            ByteRange(max(start, source.start), min(end, source.end)) for start, end in self.instructing
        )
        return [part for part in clipped if part.start < part.end]


@dataclass(frozen=True, slots=True)
class Edition:
    """What says which of several documents is the newer one. date: as YYYY-MM-DD; '' if it states none. create_time: of
    its version. front: its front matter, at most 2 KB. headings: the titles of its first ones.
    """

    source_key: str
    title: str
    date: str
    create_time: datetime
    front: str
    headings: Sequence[str]


class PassageIndex(Protocol):
    """Passages and their vectors, as a search reads them.

    What the reader may not read is left out, and counts for nothing. All methods raise Unavailable with the part "text
    index" when the index fails, or "vectors" if vectors were asked for, and TooSlow when the index takes too long. When
    a caller is cancelled, the caller returns at once, but the call itself runs to its end.
    """

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        """Return the counts that BM25 needs, for each collection in the scope that has live passages. All documents
        count, also those that a
        filter leaves out: so a filter does not change how much a word says.
        """
        ...

    async def synonyms(self, reader: Reader, collections: Sequence[str]) -> Mapping[str, str]:
        """Return the synonyms of these collections, which `statistics` has named. Collections without synonyms are left out."""
        ...

    async def candidates(
        self, reader: Reader, queries: Sequence[CandidateQuery]
    ) -> Sequence[Mapping[str, Candidates]]:
        """Return the live passages that each query selects, by collection, without duplicates. The passages of a query
        are read at the same moment."""
        ...

    async def passages(
        self, reader: Reader, wanted: Mapping[QuestionVector | None, Mapping[UUID, bool]]
    ) -> Mapping[QuestionVector | None, Sequence[FoundPassage]]:
        """Return passages for each question, in the order of the ids, those with a true value with their pieces in the
        order of the text. Passages that are not live any more are left out. The cosine of a piece is None if there is
        no question vector of its model.
        """
        ...


NEAR_BYTES: Final = 1_200
"""How much of the text before and after a passage is read with it: as much as prompts and excerpts show beside it."""
BEFORE_BYTES: Final = 16 * 1024
"""How much of the text before a passage is read to find the header of the table that the passage begins in, if the
header's place is not stored."""


class NearText(NamedTuple):
    """The canonical text around a passage, and what is stored of it. A character at an end may be cut.

    start: the place of the first byte of `text`. cards: what its cards show (`PassageParts.pack`); b"" if it is not
    stored. before: if it is not, the header of the table within which the passage begins, with a line feed; if this is
    not known, the text before the passage, without a character that is cut.
    """

    start: int
    text: bytes
    cards: bytes = b""
    before: str = ""


@dataclass(frozen=True, slots=True)
class PassageSurroundings:
    """What stands around passages in their documents. Passages whose documents are gone are left out.

    headings: those within `around`, in order. editions: what the searched versions of documents say about their age.
    """

    around: Mapping[UUID, NearText]
    headings: Mapping[UUID, Sequence[OutlinedHeading]]
    editions: Mapping[UUID, Edition]


class LexicalIndex(PassageIndex, Protocol):
    """The index of passages in the database, and what else the database says of them."""

    def session(self, named: SearchScope) -> AbstractAsyncContextManager[None]:
        """Enclose the calls of one search of a reader, so that they may share a connection. named: as in `stamp`."""
        ...

    async def documents(self, scope: SearchScope, filters: Sequence[Filter]) -> DocumentSet:
        """Return the documents in the scope that searches find and that meet all these conditions on the fields of `lists.SEARCHED`."""
        ...

    async def stamp(self, named: SearchScope) -> bytes:
        """Return bytes that differ from all earlier ones if a search in this scope, without a filter, may find
        something else, or show it differently."""
        ...

    async def languages(self, scope: SearchScope) -> Sequence[str]:
        """Return the languages of the documents in the scope's collections that searches find, of most of them first."""
        ...

    async def hides(self, scope: SearchScope) -> bool:
        """Return whether documents in the scope's collections have subjects that the reader may not read."""
        ...

    async def read_stored(self, reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, FoundPassage]:
        """Return these passages of any stored version, without pieces. Those that are gone are left out."""
        ...

    async def surroundings(
        self, reader: Reader, ids: Sequence[UUID], documents: Sequence[UUID], most_bytes: int = NEAR_BYTES
    ) -> PassageSurroundings:
        """Return what stands around passages, with at most `most_bytes` bytes before each and as many after it, and at most
        BEFORE_BYTES bytes before those whose cards are not stored. documents: whose editions are compared."""
        ...


class VectorStore(ReportedPart, Protocol):
    """A vector index with its own commits, outside the database's transactions.

    Vectors are put only while the database's transaction holds what they belong to: the operation that ingests a
    version (`IngestionStore`), or the passages of which another generation is built (`GenerationBuildStore`). So the
    job that removes them, which is enqueued by whatever ends or deletes this, comes later. Every method is
    idempotent: a repeated call has the same result as one call. All methods but `close` raise Unavailable with the part
    "vectors" when the store fails, and TooSlow when it takes too long.
    """

    async def nearest(
        self, scope: SearchScope, question: QuestionVector, limit: int, named: Collection[UUID] = ()
    ) -> Mapping[UUID, PassageCosines]:
        """Find the `limit` published vectors in the scope that are nearest to the question, and return the best cosines
        of their passages. The result also contains the `named` passages. Passages that have no vectors
        from the question's embedding model are left out. The scope's collections are those of `CandidateQuery`.
        """
        ...

    async def pieces(
        self, reader: Reader, ids: Sequence[UUID], question: QuestionVector | None
    ) -> Mapping[UUID, Sequence[PassagePiece]]:
        """Return the pieces and headings of these passages, in the order of the text. A cosine is None if there is no
        question vector of the piece's model.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...

    async def prepare(self, model: str, dimensions: int) -> bool:
        """Make what vectors of this model need, where it is missing or its settings have changed. `put` does so too.
        dimensions: the length of the model's vectors. Returns whether it was made."""
        ...

    async def put(
        self, passages: Mapping[IndexingAttempt, Sequence[PassageVectors]], *, published: bool = False
    ) -> None:
        """Store vectors of attempts with the same model. Searches of their generation find these vectors at once if
        they are `published`, otherwise only after `publish`."""
        ...

    async def lacking(
        self, tenant_id: str, model: str, generation: str, passages: Sequence[UUID]
    ) -> Sequence[UUID]:
        """Return those of the passages, in the same order, that have no published vectors in the generation, or not all of them."""
        ...

    async def publish(self, attempt: IndexingAttempt) -> None:
        """Let searches find the vectors of this attempt, and remove the vectors of earlier attempts at this version.

        If a later attempt at this version has already been published, the vectors of this attempt are not published but removed.
        Other versions and other generations do not change.
        """
        ...

    async def drop_attempts(self, tenant_id: str, document_id: UUID, version: int, before_epoch: int) -> None:
        """Remove the vectors of those attempts at a version that have an epoch below `before_epoch`."""
        ...

    async def drop_versions(
        self, tenant_id: str, document_id: UUID, before_version: int | None, keep: Collection[int] = ()
    ) -> None:
        """Remove the vectors of all versions of a document before `before_version`, but for the versions in `keep`.
        None means all versions."""
        ...

    async def drop_generation(self, tenant_id: str, generation: str) -> None:
        """Remove all vectors of a generation."""
        ...

    async def drop_tenant(self, tenant_id: str) -> None:
        """Remove all vectors of a tenant."""
        ...
