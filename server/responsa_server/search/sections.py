"""Whole sections: ranks the sections that the passages of a search are from, and makes quotes of all their blocks.

A section is what stands between two headings, with its code. It fits a question by its best piece, by what its heading says, and by how many of the question's words it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from responsa_server.domain.answers import Quote
from responsa_server.domain.events import MAX_QUOTE_BYTES, ByteRange
from responsa_server.domain.passages import FoundPassage, Passage, PassagePiece, VectorKind
from responsa_server.search.evidence import ParsedQuestion, PassageAnalyses, judge
from responsa_server.search.retrieve import ParsedQuestions, Retrieval, ScoredPassage
from responsa_server.text.headed import HeadedBlock, HeadedSection, headed_sections
from responsa_server.text.instructing import instructing_spans
from responsa_server.text.shown import MARKDOWN, Origin, escaped, shown_blocks, shown_code, visible

AROUND_BYTES: Final = 32 * 1024
"""How much of the text before and after a passage is read to find the sections of the passage."""

PIECE_WEIGHT: Final = 1.0
HEADING_WEIGHT: Final = 0.3
COSINE_WEIGHT: Final = 0.3
COVERED_WEIGHT: Final = 0.3


@dataclass(frozen=True, slots=True)
class SectionSignals:
    """How a section fits a question, each from 0 to 1. piece: the score of its best piece. heading: the weighted share of the question's terms in its heading. cosine: the cosine of its
    heading. covered: the weighted share of the question's terms that are in it.
    """

    piece: float
    heading: float
    cosine: float
    covered: float

    @property
    def total(self) -> float:
        """The score, from 0 to 1."""
        reached = (
            PIECE_WEIGHT * self.piece
            + HEADING_WEIGHT * self.heading
            + COSINE_WEIGHT * self.cosine
            + COVERED_WEIGHT * self.covered
        )
        return reached / (PIECE_WEIGHT + HEADING_WEIGHT + COSINE_WEIGHT + COVERED_WEIGHT)


@dataclass(frozen=True, slots=True)
class RankedSection:
    """A section of a document. text: the text around the passage, which begins at the byte `start` of the document. best: the range of the piece of the section that fits best."""

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
    retrieval: Retrieval,
    around: Mapping[UUID, tuple[int, bytes]],
    analyses: PassageAnalyses,
    most: int,
    most_bytes: int,
    *,
    divided: bool,
) -> Sequence[Sequence[Quote]]:
    """See `SectionSource.sections`. around: the text around each passage, with its place."""
    ranked = rank_sections(retrieval, around, analyses)[:most]
    return [quotes for one in ranked if (quotes := _quotes(one, most_bytes, divided=divided))]


def rank_sections(
    retrieval: Retrieval, around: Mapping[UUID, tuple[int, bytes]], analyses: PassageAnalyses
) -> Sequence[RankedSection]:
    """The sections of the passages, best first. A section that several passages share occurs once."""
    questions = ParsedQuestions(retrieval, analyses.analyzer)
    found: dict[tuple[UUID, int], RankedSection] = {}
    for one in (*retrieval.passages, *retrieval.elsewhere):
        for section in _sections_of(one, questions.of(one), around, analyses):
            key = (section.passage.document_id, section.section.source.start)
            earlier = found.get(key)
            if earlier is None or section.signals.total > earlier.signals.total:
                found[key] = section
    return sorted(
        found.values(), key=lambda one: (-one.signals.total, one.passage.id.bytes, one.section.source.start)
    )


def _sections_of(
    one: ScoredPassage,
    question: ParsedQuestion,
    around: Mapping[UUID, tuple[int, bytes]],
    analyses: PassageAnalyses,
) -> Iterator[RankedSection]:
    passage, pieces = one.found.passage, one.found.pieces
    if passage.id not in around:
        return
    start, text = _whole_characters(*around[passage.id])
    markdown = one.found.media_type in ("", MARKDOWN)
    sections = _divided(one.found, start, text, markdown=markdown)
    judged = judge(question, one.found, one.score.first, analyses)
    for section in sections:
        source = section.source
        if not (source.start < passage.source.end and passage.source.start < source.end):
            continue
        within = [each for each in judged if _holds(source, each.piece)]
        if not within:
            continue
        best = max(within, key=lambda each: each.score)
        language = one.found.language
        words = text[source.start - start : source.end - start].decode()
        titles = analyses.analyzer.terms(f"{passage.title} {visible(section.heading)}", language)
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
                question.covered(question.mask(frozenset(analyses.analyzer.terms(words, language)))),
            ),
            markdown,
        )


def _holds(source: ByteRange, piece: PassagePiece) -> bool:
    return source.start <= piece.source.start < source.end


def _whole_characters(start: int, text: bytes) -> tuple[int, bytes]:
    """The text without characters that are cut, and the place of its first byte."""
    cut = 0
    while cut < min(len(text), 4) and text[cut] & 0xC0 == 0x80:
        cut += 1
    return start + cut, text[cut:].decode(errors="ignore").encode()


def _divided(found: FoundPassage, start: int, text: bytes, *, markdown: bool) -> Sequence[HeadedSection]:
    """The sections of a text. Only Markdown has marks of headings: in other formats, a passage is a section."""
    if not markdown:
        source = found.passage.source
        return [HeadedSection(source, "", (HeadedBlock(source, 0, code=False),))]
    whole = text.decode()
    sections = headed_sections(whole, start)
    if start == 0 or not _is_mistaken(sections, found.pieces):
        return sections
    return headed_sections(whole, start, fenced=True)


def _is_mistaken(sections: Sequence[HeadedSection], pieces: Sequence[PassagePiece]) -> bool:
    """Whether most sentences are in code, because the text begins within code."""
    code = [block.source for one in sections for block in one.blocks if block.code]
    sentences = [one.source for one in pieces if one.kind is VectorKind.SENTENCE]
    inside = sum(any(block.start < one.start < block.end for block in code) for one in sentences)
    return inside * 2 > len(sentences)


def _quotes(one: RankedSection, most_bytes: int, *, divided: bool) -> Sequence[Quote]:
    """The section's blocks as one quote, or if `divided`, as several: neighbours that are short together are one quote. Blocks that give instructions to an
    assistant are left out, and end a quote.
    """
    groups: list[list[HeadedBlock]] = []
    goes_on = False
    for block in _chosen(one.section.blocks, one.best, most_bytes):
        if not block.code and instructing_spans(one.bytes_of(block.source)):
            goes_on = False
        elif goes_on and (not divided or block.source.end - groups[-1][0].source.start <= MAX_QUOTE_BYTES):
            groups[-1].append(block)
        else:
            groups.append([block])
            goes_on = True
    score = one.signals.total
    made: list[Quote] = []
    heading = one.section.heading if groups and groups[0][0] is one.section.blocks[0] else ""
    if instructing_spans(heading):
        heading = ""
    for group in groups:
        source = ByteRange(group[0].source.start, group[-1].source.end)
        texts = [_shown(one, block) for block in group]
        shown = "\n\n".join([text for text in texts if text])
        if heading and not made:
            source = ByteRange(one.section.source.start, source.end)
            shown = f"**{escaped(visible(heading))}**\n\n{shown}".rstrip()
        if any(map(str.isalnum, shown)):
            made.append(Quote(one.passage, source, one.bytes_of(source), score, shown))
    return made


def _shown(one: RankedSection, block: HeadedBlock) -> str:
    text = one.bytes_of(block.source)
    origin = Origin(one.markdown, block.indent)
    return shown_code(text, origin) if block.code else shown_blocks(text, origin)


def _chosen(blocks: Sequence[HeadedBlock], best: ByteRange, most_bytes: int) -> Sequence[HeadedBlock]:
    """All blocks if they are short enough; otherwise the block with the best piece and as many of its neighbours as there is room for: first the block before, which leads
    to it, then those after it, then those before.
    """

    def size(first: int, last: int) -> int:
        return blocks[last].source.end - blocks[first].source.start

    last = len(blocks) - 1
    if size(0, last) <= most_bytes:
        return blocks
    place = next((place for place, one in enumerate(blocks) if best.start < one.source.end), last)
    first = end = place
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
