"""The parts of an answer, and the interfaces that the graph uses to find and check them: evidence, extraction,
citations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from responsa_server.domain.events import (
    AlsoFound,
    ByteRange,
    SourcePassage,
    ToolOrigin,
    ToolSource,
    VersionRead,
)
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.listing import Filter
from responsa_server.domain.passages import Passage
from responsa_server.domain.people import Principal

_WORD: Final = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Evidence:
    """The results of a search for a question.

    passages: the number of passages found. embedding_tokens: the number of tokens that the embedding model read.
    content: plain values (texts, numbers, booleans, None, and lists and mappings of these). The content is
    read only by the extractor and the judge of the evidence's source. degraded: "text_only" if vectors were not available,
    otherwise "". collections: the collections of the passages. kinds: the kinds of these collections, and of others that the
    extractor may use; empty if the question or its agent named the collections. also_found: documents in other collections that also support an answer, best first.
    """

    passages: int
    embedding_tokens: int
    content: Mapping[str, object]
    degraded: str = ""
    collections: tuple[str, ...] = ()
    kinds: Mapping[str, CollectionKind] = field(default_factory=dict[str, CollectionKind])
    also_found: tuple[AlsoFound, ...] = ()


@dataclass(frozen=True, slots=True)
class Quote:
    """A part of a passage, such as a sentence, or a sentence with the code after it.

    source: the part's byte range in the canonical text. text: those bytes, decoded. score: how well the part
    supports an answer, from 0 to 1. shown: the part in Markdown, as an answer shows it; '' if the answer shows `text` itself.
    """

    passage: Passage
    source: ByteRange
    text: str
    score: float
    shown: str = ""

    @property
    def markdown(self) -> str:
        """The text that an answer shows for this quote."""
        return self.shown or self.text

    def repeats(self, other: Quote) -> bool:
        """Whether the quote says nothing that the other does not say: it shares bytes of the same document, or has no other words."""
        one, another = self.passage, other.passage
        same = (one.document_id, one.version) == (another.document_id, another.version)
        shares = self.source.start < other.source.end and other.source.start < self.source.end
        return (same and shares) or self.words <= other.words

    @property
    def words(self) -> frozenset[str]:
        """The words and figures of the text."""
        return frozenset(_WORD.findall(self.text.lower()))


@dataclass(frozen=True, slots=True)
class Extraction:
    """The best sentences for an answer, in the order of the answer.

    support: how well the sentences support an answer, from 0 to 1. supported: whether `support` is high enough for the
    sentences to answer the question. also_found: documents that also support an answer, in collections of the evidence from which no
    sentence is, best first. closest: other quotes that come closest to an answer, best first.
    """

    quotes: Sequence[Quote]
    support: float
    supported: bool
    also_found: tuple[AlsoFound, ...] = ()
    closest: tuple[Quote, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    top_k: the maximum number of passages, from 1 to 50; None means the source's default. threshold: the lowest score of
    a passage, from 0 to 1. rerank: whether the candidates are compared with the question a second time. expansions:
    additional words to search for, which can add passages but never lower the question's support. support: the support
    that an answer needs, from 0 to 1; None means the source's default. last: the collections whose passages are used
    only if no other passage gives enough support. filters: conditions that the documents must meet, on the fields of `lists.SEARCHED`. own: if not None, the search finds only documents about
    the caller, whatever the caller's role, and documents without a subject in these collections; None means all documents that the caller may read.
    refers: whether the last of several questions cannot be understood without the others. It is then not searched for, but its words must be near an answer.
    """

    top_k: int | None = None
    threshold: float = 0.0
    rerank: bool = True
    expansions: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    support: float | None = None
    filters: tuple[Filter, ...] = ()
    own: tuple[str, ...] | None = None
    refers: bool = False


DEFAULT_SEARCH: Final = SearchOptions()


@dataclass(frozen=True, slots=True)
class ShownPassage:
    """A passage as a prompt may show it. title: the document's title. text: the passage's text, whole or cut after a
    sentence. version: the version of the document; None if the text comes from no document. uri: the document's address, or "". place: where the text stands; None if it comes from no
    document. exact: the bytes at this place, decoded: the text before sentences that give instructions were left out.
    """

    title: str
    text: str
    version: VersionRead | None = None
    uri: str = ""
    place: SourcePassage | None = None
    exact: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of an answer with its citation. passage: the position of the cited passage in the result of
    `passages`, counted from 1.
    """

    text: str
    passage: int


@dataclass(frozen=True, slots=True)
class FoundSource:
    """A source that a tool returned, and from which call it is."""

    origin: ToolOrigin
    source: ToolSource


class EvidenceSource(Protocol):
    """Finds evidence for a question in the documents."""

    async def search(
        self,
        who: Principal,
        questions: tuple[str, ...],
        collections: tuple[str, ...],
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Evidence:
        """Find the best passages that the caller may read.

        questions: one question, in one or more phrasings. collections: the collections to search; empty means all. If
        vectors are not available, the search uses words only, and Evidence.degraded is "text_only". Raises Unavailable.
        """
        ...

    async def passages(self, evidence: Evidence, most_bytes: int) -> Sequence[ShownPassage]:
        """Return the passages for a prompt, the best first, with at most `most_bytes` of UTF-8 in total. Equal evidence
        gives equal passages.
        """
        ...

    async def with_sources(
        self, question: str, evidence: Evidence | None, sources: Sequence[FoundSource]
    ) -> Evidence:
        """Return the evidence with the texts of these sources as further passages, the best first. `passages`, the extractor and the judge treat them like the passages
        of documents.

        question: one of the phrasings that the search used. evidence: None if nothing was searched.
        """
        ...


class Extractor(Protocol):
    """Chooses the sentences that answer a question."""

    async def extract(self, question: str, evidence: Evidence) -> Extraction:
        """Return the sentences of the evidence that answer the question best. question: one of the phrasings that the
        search used.
        """
        ...

    async def closest(
        self, question: str, evidence: Evidence, without: Sequence[Quote] = ()
    ) -> tuple[Quote, ...]:
        """Return the quotes that come closest to an answer, best first: at most MAX_SUGGESTIONS, each of at most
        MAX_QUOTE_BYTES. Quotes that say hardly anything on the question are left out. without: the quotes of the answer, which are not repeated.
        """
        ...


class SectionSource(Protocol):
    """Finds the whole sections that the passages of evidence are from."""

    async def sections(
        self, who: Principal, evidence: Evidence, most: int, most_bytes: int, *, divided: bool
    ) -> Sequence[Sequence[Quote]]:
        """Return the sections that fit the question of the search best, best first: at most `most`. A section is the text between two headings of its document.

        divided: whether a section is several quotes that follow each other, so that each part of it has its own citation; otherwise it is one quote. most_bytes: the maximum size of a section. Of a longer section, the blocks around its best piece are
        returned; code is never cut. Documents that the caller may not read any more are left out. Raises Unavailable.
        """
        ...


class CitationJudge(Protocol):
    """Decides whether a passage supports the claim that cites it."""

    async def judge(
        self, claims: Sequence[Claim], evidence: Evidence, most_bytes: int
    ) -> Sequence[Quote | None]:
        """For each claim, return the piece of the cited passage that supports the claim best. The result is None for a
        claim whose passage does not exist or does not support the claim.

        most_bytes: the value that was passed to `passages`, so that the claims' numbers refer to the same passages.
        """
        ...

    async def judge_sources(
        self, claims: Sequence[Claim], sources: Sequence[FoundSource]
    ) -> Sequence[Quote | None]:
        """Like `judge`, for claims that cite what tools returned: `Claim.passage` is the position of the cited source in `sources`, counted from 1."""
        ...
