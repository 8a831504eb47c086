"""The parts of an answer, and the interfaces that the graph uses to find and check them: evidence, extraction,
citations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from responsa_contract import QuoteOrigin
from responsa_server.domain.events import (
    ByteRange,
    Difference,
    Excerpt,
    Fallback,
    SourcePassage,
    ToolOrigin,
    ToolSource,
    Usage,
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
    content: what was found, which only the evidence's source and its judge read. Of an object, a milestone keeps the
    property `kept`: plain values, and tuples, sets and dataclasses of them, but no text of a document; see
    `EvidenceSource.read_again`. degraded: "text_only" if vectors were not available,
    otherwise "". record: false if the search was for documents about the caller and there are none. collections: the
    collections of the passages. languages: the question's and at most two of the documents', if none of these is in the
    question's, and no vector compares the two; otherwise (). kinds: the kinds of these collections; empty if the question
    or its agent named the collections.
    """

    passages: int
    embedding_tokens: int
    content: object
    degraded: str = ""
    collections: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    kinds: Mapping[str, CollectionKind] = field(default_factory=dict[str, CollectionKind])
    record: bool = True


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
        own, another = self.passage, other.passage
        same = (own.document_id, own.version) == (another.document_id, another.version)
        shares = self.source.start < other.source.end and other.source.start < self.source.end
        return (same and shares) or self.words <= other.words

    @property
    def words(self) -> frozenset[str]:
        return frozenset(_WORD.findall(self.text.lower()))


@dataclass(frozen=True, slots=True)
class Ranking:
    """The passages that a turn shows without a language model, best first.

    excerpts: at most MAX_EXCERPTS, of which at most two are from one document. more: at most MAX_MORE_EXCERPTS further
    ones. support: how well the best of them fits the question, from 0 to 1. near: whether it fits enough for an
    answer; otherwise a refusal shows the excerpts, of which there may be none.
    made: whether the excerpts are made; otherwise there are none yet, and `EvidenceSource.excerpts` makes them.
    """

    excerpts: tuple[Excerpt, ...] = ()
    more: tuple[Excerpt, ...] = ()
    support: float = 0.0
    near: bool = False
    made: bool = True


@dataclass(frozen=True, slots=True)
class Ranked:
    """The evidence in the order of its ranking, and what a turn shows of it. fallback: what was done instead if the
    reranking model failed; None if it did not fail or there is none.
    usage: what the reranking model cost.
    """

    evidence: Evidence
    ranking: Ranking
    fallback: Fallback | None = None
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search.

    top_k: the maximum number of passages, from 1 to 50; None means the source's default. threshold: the lowest score of
    a passage, from 0 to 1. rerank: whether the reranking model, if one is configured, orders the passages. expansions:
    additional words to search for, which can add passages but never displace the better half of the others. filters:
    conditions that the documents must meet, on the fields of `lists.SEARCHED`. own: if not None, the search finds only
    documents about the caller, whatever the caller's role, and documents without a subject in these collections; None
    means all documents that the caller may read.
    """

    top_k: int | None = None
    threshold: float = 0.0
    rerank: bool = True
    expansions: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    own: tuple[str, ...] | None = None


DEFAULT_SEARCH: Final = SearchOptions()


@dataclass(frozen=True, slots=True)
class ShownPassage:
    """A passage as a prompt may show it. title: the document's title. text: the passage's text, whole or cut after a
    sentence. version: the version of the document; None if the text comes from no document. uri: the document's
    address, or "". place: where the text stands; None if it comes from no document. exact: the bytes at this place,
    decoded: the text before sentences that give instructions were left out. headings: those above the text, outermost
    first. date: the document's date as YYYY-MM-DD; "" if it is not known.
    """

    title: str
    text: str
    version: VersionRead | None = None
    uri: str = ""
    place: SourcePassage | None = None
    exact: str = ""
    headings: tuple[str, ...] = ()
    date: str = ""


@dataclass(frozen=True, slots=True)
class CitedSentence:
    """A sentence of an answer, or a part of one, and a passage that a mark names for it.

    answer: its bytes in the answer. passage: the passage's number, from 1; those of tools' sources follow those of the
    prompt's passages. quote: the words that the mark copies; "" if it copies none. sentence: the first byte of the
    whole sentence.
    """

    text: str
    answer: ByteRange
    passage: int
    quote: str = ""
    sentence: int = 0


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """What a cited sentence quotes. quote: of words that were not found, its text is "", and its place that of the
    passage. around: the quote with the sentences or rows around it.
    """

    quote: Quote
    around: Quote
    origin: QuoteOrigin
    differences: Sequence[Difference] = ()


@dataclass(frozen=True, slots=True)
class FoundSource:
    """A source that a tool returned, and from which call it is."""

    origin: ToolOrigin
    source: ToolSource


class EvidenceSource(Protocol):
    """Finds evidence for a question in the documents."""

    async def search(
        self,
        caller: Principal,
        questions: tuple[str, ...],
        collections: tuple[str, ...],
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Evidence:
        """Find the best passages that the caller may read.

        questions: one question, in one or more phrasings. collections: the collections to search; empty means all. If
        vectors are not available, the search uses words only, and Evidence.degraded is "text_only". Raises Unavailable.
        """
        ...

    async def read_again(self, caller: Principal, evidence: Evidence) -> Evidence | None:
        """Return the evidence that a milestone kept, with the texts that the caller may read now; None if the caller
        may not read all of them, or one of them is gone or another. Raises Unavailable."""
        ...

    async def has_rare_word(self, caller: Principal, words: str, collections: tuple[str, ...]) -> bool:
        """Whether one of these words is in fewer than 1 % of the passages of a collection, or in a single one; a word
        that stands alone may be in any number of them. collections: as in `search`. Raises Unavailable."""
        ...

    async def passages(self, evidence: Evidence, most_bytes: int) -> Sequence[ShownPassage]:
        """Return the passages for a prompt, the best first, with at most `most_bytes` of UTF-8 in total. Equal evidence
        gives equal passages. Neighbours of a passage are shown with it where they fit whole.
        """
        ...

    async def rank(self, caller: Principal, question: str, evidence: Evidence) -> Ranked:
        """Order the passages of the evidence by how well they fit the question, leave out those that repeat others, and
        say how well the excerpts fit that a turn would show. If they fit badly, and nobody has chosen what is searched,
        the documentation of Responsa is searched too. If one of its excerpts has the grade ANSWERS, its best passages stand
        behind the first of the others.

        question: one of the phrasings that the search used. Only the order depends on the reranking model, if there is
        one; if it fails, the search's own order stays. Of documents that the caller may not read any more, nothing is
        shown. Raises Unavailable.
        """
        ...

    async def excerpts(self, evidence: Evidence, ranking: Ranking) -> Ranking:
        """The ranking of this evidence with its excerpts."""
        ...


class SectionSource(Protocol):
    """Finds the whole sections that the passages of evidence are from."""

    async def sections(
        self, caller: Principal, evidence: Evidence, limit: int, most_bytes: int, *, divided: bool
    ) -> Sequence[Sequence[Quote]]:
        """Return the sections that fit the question of the search best, best first: at most `limit`. A section is the
        text between two headings of its document.

        divided: whether a section is several quotes that follow each other, so that each part of it has its own
        citation; otherwise it is one quote. most_bytes: the maximum size of a section. Of a longer section, the blocks
        around its best piece are returned; code is never cut. Documents that the caller may not read any more are left
        out. Raises Unavailable.
        """
        ...


class CitationJudge(Protocol):
    """Finds what the sentences of an answer quote."""

    async def check(
        self,
        claims: Sequence[CitedSentence],
        evidence: Evidence,
        most_bytes: int,
        sources: Sequence[FoundSource] = (),
    ) -> Sequence[CheckedClaim | None]:
        """What each claim quotes; None for a claim that names nothing.

        most_bytes: the value that was passed to `passages`, so that the claims' numbers refer to the same passages.
        sources: those of tools, whose numbers follow those of the passages.
        """
        ...
