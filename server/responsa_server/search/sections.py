"""Whole sections: ranks the sections that the passages of a search are from, and makes quotes of all their blocks.

A section is what stands between two headings, with its code. It fits a question by its best piece, by what its heading
says, by how often it has the question's words for its length, and by whether it has code, if the question asks for
something to be written. The section that opens a document mostly introduces the others, and so loses a little.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from responsa_server.domain.answers import Quote
from responsa_server.domain.events import MAX_QUOTE_BYTES, ByteRange
from responsa_server.domain.passages import FoundPassage, NearText, Passage, PassagePiece, VectorKind
from responsa_server.domain.sharing import pause
from responsa_server.search.evidence import ParsedQuestion, judge
from responsa_server.search.retrieve import ParsedQuestions, Retrieval, ScoredPassage
from responsa_server.text.headed import HeadedBlock, HeadedSection, headed_sections
from responsa_server.text.instructing import instructing_spans
from responsa_server.text.lexical import Analyzer
from responsa_server.text.shown import MARKDOWN, QuoteOrigin, escaped, shown_blocks, shown_code, visible

AROUND_BYTES: Final = 32 * 1024
"""How much of the text before and after a passage is read to find the sections of the passage."""

PIECE_WEIGHT: Final = 1.0
HEADING_WEIGHT: Final = 0.7
COSINE_WEIGHT: Final = 0.2
WORDS_WEIGHT: Final = 0.8
CODE_WEIGHT: Final = 0.3
OPENING_PENALTY: Final = 0.3

# BM25 of a section. The average is that of the samples of the agents cairo and scarb, so that the score of a section
# does not depend on the others.
_SATURATION: Final = 2.0
_LENGTH: Final = 0.75
_AVERAGE_TERMS: Final = 200

_ASKING: Final = re.compile(
    (
        r"\s*(?:(?:at|by|for|from|in|on|to|with) )?(?:what|which|whose?|why|how|when|where|do|does|did|is|are|was"
        r"|were|am|can|could|may|might|must|should|will|would|has|have|if|tell|explain)\b"
    ),
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SectionSignals:
    """How a section fits a question, each from 0 to 1. piece: the score of its best piece. heading: the weighted share
    of the question's terms in its heading and title. cosine: the cosine of its heading. words: the BM25 of the section,
    divided by the best that the question's terms could reach. code: 1 if it has the code that the question asks for.
    opening: whether it is the first of several sections of its document.
    """

    piece: float
    heading: float
    cosine: float
    words: float
    code: float
    opening: bool

    @property
    def total(self) -> float:
        """The score, from 0 to 1."""
        reached = (
            PIECE_WEIGHT * self.piece
            + HEADING_WEIGHT * self.heading
            + COSINE_WEIGHT * self.cosine
            + WORDS_WEIGHT * self.words
            + CODE_WEIGHT * self.code
            - OPENING_PENALTY * self.opening
        )
        highest = PIECE_WEIGHT + HEADING_WEIGHT + COSINE_WEIGHT + WORDS_WEIGHT + CODE_WEIGHT
        return max(reached, 0.0) / highest


@dataclass(frozen=True, slots=True)
class RankedSection:
    """A section of a document. text: the text around the passage, which begins at the byte `start` of the document.
    best: the range of the piece of the section that fits best."""

    passage: Passage
    section: HeadedSection
    start: int
    text: bytes
    best: ByteRange
    signals: SectionSignals
    markdown: bool

    def bytes_of(self, source: ByteRange) -> str:
        """The text of a range of the document."""
        return self.text[source.start - self.start : source.end - self.start].decode()


def whole_sections(
    ranked: Sequence[RankedSection], limit: int, most_bytes: int, *, divided: bool
) -> Sequence[Sequence[Quote]]:
    """See `SectionSource.sections`. ranked: the sections, best first."""
    return [quotes for section in ranked[:limit] if (quotes := _quotes(section, most_bytes, divided=divided))]


async def rank_sections(
    retrieval: Retrieval, around: Mapping[UUID, NearText], analyzer: Analyzer
) -> Sequence[RankedSection]:
    """The sections of the passages, best first. A section that several passages share occurs once."""
    questions = ParsedQuestions(retrieval, analyzer)
    divided = _Divided(analyzer)
    sections: dict[tuple[UUID, int], RankedSection] = {}
    for passage in retrieval.passages:
        await pause()
        for section in _sections_of(passage, questions.of(passage), around, analyzer, divided):
            key = (section.passage.document_id, section.section.source.start)
            earlier = sections.get(key)
            if earlier is None or section.signals.total > earlier.signals.total:
                sections[key] = section
    return sorted(
        sections.values(),
        key=lambda section: (-section.signals.total, section.passage.id.bytes, section.section.source.start),
    )


class _Divided:
    """The sections of texts, and their terms. Passages of one document mostly have the same text around them, which is divided once."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._sections: dict[tuple[UUID, int, int, bool], Sequence[HeadedSection]] = {}
        self._terms: dict[tuple[UUID, ByteRange, str], Counter[str]] = {}

    def sections(self, passage: FoundPassage, start: int, text: bytes) -> Sequence[HeadedSection]:
        """The sections of the text around a passage. Only Markdown has marks of headings: in other formats, a passage is a section."""
        if not _is_markdown(passage):
            source = passage.passage.source
            return [HeadedSection(source, "", (HeadedBlock(source, 0, code=False),))]
        sections = self._divide(passage.passage, start, text, fenced=False)
        if start == 0 or not _is_mistaken(sections, passage.pieces):
            return sections
        return self._divide(passage.passage, start, text, fenced=True)

    def _divide(self, passage: Passage, start: int, text: bytes, *, fenced: bool) -> Sequence[HeadedSection]:
        key = (passage.document_id, start, len(text), fenced)
        if key not in self._sections:
            self._sections[key] = headed_sections(text.decode(), start, fenced=fenced)
        return self._sections[key]

    def terms(self, passage: Passage, source: ByteRange, words: bytes, language: str) -> Counter[str]:
        """The terms of a section of the passage's document, with their numbers."""
        key = (passage.document_id, source, language)
        if key not in self._terms:
            self._terms[key] = Counter(self._analyzer.terms(words.decode(), language))
        return self._terms[key]


def _sections_of(
    scored_passage: ScoredPassage,
    question: ParsedQuestion,
    around: Mapping[UUID, NearText],
    analyzer: Analyzer,
    divided: _Divided,
) -> Iterator[RankedSection]:
    passage, pieces = scored_passage.found.passage, scored_passage.found.pieces
    if passage.id not in around:
        return
    start, text = _whole_characters(*around[passage.id][:2])
    judged = judge(question, scored_passage.found, scored_passage.score.total, analyzer)
    sections = divided.sections(scored_passage.found, start, text)
    for section in sections:
        source = section.source
        if not (source.start < passage.source.end and passage.source.start < source.end):
            continue
        within = [each for each in judged if _holds(source, each.piece)]
        if not within:
            continue
        best = max(within, key=lambda each: each.score)
        language = scored_passage.found.language
        terms = divided.terms(passage, source, text[source.start - start : source.end - start], language)
        titles = analyzer.terms(f"{passage.title} {visible(section.heading)}", language)
        cosines = [
            each.cosine
            for each in pieces
            if each.kind is VectorKind.HEADING and each.cosine is not None and _holds(source, each)
        ]
        yield RankedSection(
            passage,
            section,
            start,
            text,
            best.piece.source,
            SectionSignals(
                best.score,
                question.covered(question.mask(frozenset(titles))),
                max([0.0, *cosines]),
                _words(question, terms),
                float(_asks_for_code(question) and any(block.code for block in section.blocks)),
                start == 0 and len(sections) > 1 and section is sections[0],
            ),
            _is_markdown(scored_passage.found),
        )


def _words(question: ParsedQuestion, terms: Counter[str]) -> float:
    """The BM25 of a section with these terms, from 0 to 1. A term of the question that only a synonym stands for counts once."""
    usual = _SATURATION * (1 - _LENGTH + _LENGTH * terms.total() / _AVERAGE_TERMS)
    reached = 0.0
    for term in question.among(frozenset(terms)):
        count = max(terms[term], 1)
        reached += question.weights[term] * count / (count + usual)
    return reached / question.total


def _asks_for_code(question: ParsedQuestion) -> bool:
    """Whether an English question is not worded as one, such as "Write a function that adds two numbers"."""
    return question.english and not question.text.rstrip().endswith("?") and not _ASKING.match(question.text)


def _is_markdown(passage: FoundPassage) -> bool:
    return passage.media_type in ("", MARKDOWN)


def _holds(source: ByteRange, piece: PassagePiece) -> bool:
    return source.start <= piece.source.start < source.end


def _whole_characters(start: int, text: bytes) -> tuple[int, bytes]:
    """The text without characters that are cut, and the place of its first byte."""
    whole = text.lstrip(bytes(range(0x80, 0xC0)))
    return start + len(text) - len(whole), whole.decode(errors="ignore").encode()


def _is_mistaken(sections: Sequence[HeadedSection], pieces: Sequence[PassagePiece]) -> bool:
    """Whether most sentences are in code, because the text begins within code."""
    code = [block.source for section in sections for block in section.blocks if block.code]
    sentences = [piece.source for piece in pieces if piece.kind is VectorKind.SENTENCE]
    inside = sum(any(block.start < sentence.start < block.end for block in code) for sentence in sentences)
    return inside * 2 > len(sentences)


def _quotes(section: RankedSection, most_bytes: int, *, divided: bool) -> Sequence[Quote]:
    """The section's blocks as one quote, or if `divided`, as several: neighbours that are short together are one quote.
    Blocks that give instructions to an assistant are left out, and end a quote.
    """
    groups: list[list[HeadedBlock]] = []
    goes_on = False
    for block in _choose_blocks(section.section.blocks, section.best, most_bytes):
        if instructing_spans(section.bytes_of(block.source)):
            goes_on = False
        elif goes_on and (not divided or block.source.end - groups[-1][0].source.start <= MAX_QUOTE_BYTES):
            groups[-1].append(block)
        else:
            groups.append([block])
            goes_on = True
    score = section.signals.total
    quotes: list[Quote] = []
    heading = section.section.heading if groups and groups[0][0] is section.section.blocks[0] else ""
    if instructing_spans(heading):
        heading = ""
    for group in groups:
        source = ByteRange(group[0].source.start, group[-1].source.end)
        texts = [_show_block(section, block) for block in group]
        shown = "\n\n".join([text for text in texts if text])
        if heading and not quotes:
            source = ByteRange(section.section.source.start, source.end)
            shown = f"**{escaped(visible(heading))}**\n\n{shown}".rstrip()
        if any(map(str.isalnum, shown)):
            quotes.append(Quote(section.passage, source, section.bytes_of(source), score, shown))
    return quotes


def _show_block(section: RankedSection, block: HeadedBlock) -> str:
    text = section.bytes_of(block.source)
    origin = QuoteOrigin(section.markdown, block.indent)
    return shown_code(text, origin) if block.code else shown_blocks(text, origin)


def _choose_blocks(blocks: Sequence[HeadedBlock], best: ByteRange, most_bytes: int) -> Sequence[HeadedBlock]:
    """All blocks if they are short enough; otherwise the block with the best piece and as many of its neighbours as
    there is room for: first the block before, which leads to it, then those after it, then those before.
    """

    def size(first: int, last: int) -> int:
        return blocks[last].source.end - blocks[first].source.start

    last = len(blocks) - 1
    if size(0, last) <= most_bytes:
        return blocks
    index = next((index for index, block in enumerate(blocks) if best.start < block.source.end), last)
    first = end = index
    # Code and what leads to it belong together, however long they are.
    leads = bool(first) and blocks[first].code and not blocks[first - 1].code
    if first and (leads or size(first - 1, end) <= most_bytes):
        first -= 1
    if end < last and blocks[end + 1].code and not blocks[end].code:
        end += 1
    while end < last and size(first, end + 1) <= most_bytes:
        end += 1
    while first and size(first - 1, end) <= most_bytes:
        first -= 1
    return blocks[first : end + 1]
