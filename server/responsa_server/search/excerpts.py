"""Makes the excerpts that a turn shows without a language model, in the order of the search, and grades how well they
fit the question.

An excerpt is the best piece of a passage with its neighbours, short enough to read at a glance; its section is to
unfold. Of a table, the cell is marked whose row and column the question names. Named is what has all words of the
question that any other of its kind has, and more: of the columns `2025 Plan` and `2026 Plan`, "the plan of 2026"
names the second one, and "the plan" none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any, Final
from uuid import UUID

from responsa_server.domain.answers import Ranking
from responsa_server.domain.events import (
    MAX_EXCERPT_BYTES,
    MAX_EXCERPTS,
    MAX_MORE_EXCERPTS,
    ByteRange,
    Excerpt,
    Grade,
)
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.knowledge import ExcerptPlace, ShownPart
from responsa_server.domain.passages import FoundPassage, NearText, Passage, VectorKind
from responsa_server.domain.sharing import pause
from responsa_server.search.evidence import ParsedQuestion, PieceEvidence, judge, readable
from responsa_server.search.parts import ExcerptPart, PassageParts
from responsa_server.search.retrieve import ParsedQuestions, Retrieval, ScoredPassage
from responsa_server.text.dates import find_wanted, is_whole_date
from responsa_server.text.instructing import instructing_spans, without_instructions
from responsa_server.text.lexical import Analyzer

READ: Final = 10
"""The number of passages, best first, of which excerpts are made."""

ANSWERS: Final = 0.85
"""The least support of an excerpt of the grade ANSWERS. Grades rank the evidence; they do not say that the answer is there."""
NEAR: Final = 0.5
"""The least support of an excerpt of the grade PERHAPS; without one, a question is refused. Of the parts fit and choose
of evals/reading, .94 of the answerable questions and .13 of those that are about other things have an excerpt from here
on."""
UNKNOWN: Final = 0.7
"""The greatest support if no passage has any word of the question: the cosines of words that the embedding model does
not know say little."""


def group_copies(passages: Sequence[ScoredPassage]) -> Sequence[Sequence[ScoredPassage]]:
    """The passages in the same order, each followed by those of other documents that have its text."""
    groups: list[list[ScoredPassage]] = []
    first: dict[str, list[ScoredPassage]] = {}
    for each in passages:
        passage = each.found.passage
        group = first.setdefault(" ".join(passage.text.split()), [])
        if not group or group[0].found.passage.document_id == passage.document_id:
            groups.append(group if not group else [])
            groups[-1].append(each)
        else:
            group.append(each)
    return groups


@dataclass(frozen=True, slots=True)
class ChosenExcerpt:
    """What an excerpt shows, before its Markdown is made. question: as the passage's collection reads it. best: its
    best piece. part: the section round it. alone: whether only the piece itself may be shown. words: of the section.
    support: how well the section fits the question, from 0 to 1."""

    question: ParsedQuestion
    passage: ScoredPassage
    parts: PassageParts
    best: PieceEvidence
    part: ExcerptPart
    alone: bool
    words: frozenset[str]
    support: float

    def repeats(self, other: ChosenExcerpt) -> bool:
        """Whether both say the same, or share half of the shorter one: neighbouring passages share some sentences."""
        same = self.passage.found.passage.read == other.passage.found.passage.read
        return (same and share_half(self.part.source, other.part.source)) or self.words == other.words

    def show(self, kinds: Mapping[str, CollectionKind], analyzer: Analyzer) -> Excerpt:
        """The excerpt. kinds: those of the collections."""
        found_passage, parts = self.passage.found, self.parts
        passage = found_passage.passage
        named = _find_cell(found_passage, parts, self.part, self.question, analyzer)
        row, marked = named or (self.best.place, None)

        def weigh(line: str) -> float:
            return self.question.covered(
                self.question.mask(frozenset(analyzer.terms(readable(line), found_passage.language)))
            )

        card = self.part if self.alone else parts.card(row, weigh, marked)
        source, piece = card.source, found_passage.pieces[row].source
        marked = marked if marked is not None and marked.is_within(source) else None
        piece = ByteRange(max(piece.start, source.start), min(piece.end, source.end))
        markdown, cell, section = _write_card(parts, card, self.part, marked)
        grade = Grade.PERHAPS if self.support >= NEAR else Grade.CLOSEST
        grade = Grade.ANSWERS if self.support >= ANSWERS else grade
        shown = parts.text(source), markdown, grade, self.support
        headings = parts.headings(card)
        return _make_excerpt(
            passage, kinds, headings, source, shown, marked or piece, marked, cell, piece, section
        )


def _make_excerpt(
    passage: Passage,
    kinds: Mapping[str, CollectionKind],
    headings: Sequence[str],
    source: ByteRange,
    shown: tuple[str, str, Grade, float],
    opened: ByteRange,
    *marks: Any,
) -> Excerpt:
    """kinds: those of the collections. shown: the text, the Markdown, the grade and the support. opened: what a reader opens."""
    span = passage.place_of(opened)
    return Excerpt(
        passage.id,
        passage.collection_id,
        kinds.get(passage.collection_id),
        passage.document_id,
        passage.version,
        without_instructions(passage.title),
        list(map(without_instructions, headings)),
        passage.uri,
        source,
        *shown,
        span.page,
        span.boxes,
        span.path,
        passage.date,
        *marks,
    )


def share_half(span: ByteRange, other: ByteRange) -> bool:
    """Whether two ranges of a text share half of the shorter one."""
    shared = min(span.end, other.end) - max(span.start, other.start)
    return shared > 0 and 2 * shared > min(span.end - span.start, other.end - other.start)


def show_part(passage: FoundPassage, near: NearText, wanted: ExcerptPlace) -> ShownPart | None:
    """What an excerpt that was made shows of a passage; None if it is not of the passage."""
    parts = PassageParts(passage, near)
    card = parts.at(wanted.reference.source)
    if card is None:
        return None
    section = parts.of(card.first)
    if section is None or parts.instructs(section.source):
        section = card
    return ShownPart(passage.passage, *_write_card(parts, card, section, wanted.marked))


def _write_card(
    parts: PassageParts, card: ExcerptPart, section: ExcerptPart, marked: ByteRange | None
) -> tuple[str, ByteRange | None, str]:
    """The Markdown of a card, where its marked cell stands in it, and the Markdown of its section; '' if that is the card."""
    markdown = parts.markdown(card) or parts.markdown(section)
    whole = "" if card.source == section.source else parts.markdown(section)
    return markdown, parts.find_mark(replace(card, marked=marked), markdown), whole


async def choose(
    retrieval: Retrieval, around: Mapping[UUID, NearText], analyzer: Analyzer
) -> Sequence[ChosenExcerpt]:
    """An excerpt of each of the first passages, in their order, at most MAX_EXCERPTS. around: the text around each of
    these passages; those without it are left out."""
    questions = ParsedQuestions(retrieval, analyzer)
    chosen: list[ChosenExcerpt] = []
    for passage in retrieval.passages[:READ]:
        if len(chosen) == MAX_EXCERPTS:
            break
        await pause()
        near = around.get(passage.found.passage.id)
        each = excerpts_of(passage, near, retrieval, questions, analyzer)
        excerpt = next((item for item in each if not any(item.repeats(other) for other in chosen)), None)
        chosen += () if excerpt is None else (excerpt,)
    return chosen


def ranking(chosen: Sequence[ChosenExcerpt]) -> Ranking:
    """How well the best of the excerpts fits that a turn shows first. The excerpts are not made."""
    support = max((excerpt.support for excerpt in chosen[:MAX_EXCERPTS]), default=0.0)
    return Ranking(support=support, near=support >= NEAR, made=False)


async def with_excerpts(
    ranked: Ranking, chosen: Sequence[ChosenExcerpt], retrieval: Retrieval, analyzer: Analyzer
) -> Ranking:
    """The ranking with its excerpts, and with the passages after them that say something else."""
    excerpts: list[Excerpt] = []
    for each in chosen:
        if ranked.near or each.support > 0:
            await pause()
            excerpts.append(each.show(retrieval.kinds, analyzer))
    return replace(
        ranked, excerpts=tuple(excerpts), more=_further(chosen, retrieval) if ranked.near else (), made=True
    )


def _further(chosen: Sequence[ChosenExcerpt], retrieval: Retrieval) -> tuple[Excerpt, ...]:
    """The passages after the chosen ones, without their texts: what to show of them is chosen when a reader wants it."""
    passages = list(retrieval.passages[:READ])
    after = passages[passages.index(chosen[-1].passage) + 1 :] if chosen else []
    taken = [(each.passage.found.passage.read, each.part.source) for each in chosen]
    further: list[Excerpt] = []
    for found_passage in (each.found for each in after):
        passage = found_passage.passage
        if any(passage.read == read and share_half(passage.source, source) for read, source in taken):
            continue
        known = found_passage.instructions(passage.source)
        if instructing_spans(passage.text) if known is None else known:
            continue
        taken.append((passage.read, passage.source))
        shown = "", "", Grade.CLOSEST, 0.0
        further.append(
            _make_excerpt(passage, retrieval.kinds, passage.headings, passage.source, shown, passage.source)
        )
    return tuple(further[:MAX_MORE_EXCERPTS])


def excerpts_of(
    passage: ScoredPassage,
    near: NearText | None,
    retrieval: Retrieval,
    questions: ParsedQuestions,
    analyzer: Analyzer,
) -> Iterator[ChosenExcerpt]:
    """The excerpts round the pieces of a passage that can be shown, each once, that of the best piece first; none
    without the text around the passage."""
    if near is None:
        return
    question = questions.of(passage)
    parts, tried = PassageParts(passage.found, near), set[ByteRange]()
    judged = judge(question, passage.found, passage.score.total, analyzer)
    for best in sorted(judged, key=lambda piece: -piece.score):
        index, alone = best.place, False
        part = parts.of(index)
        if part is not None and part.source not in tried and parts.instructs(part.source):
            # An instruction to an assistant is nobody's answer. The sentence next to it is shown without it.
            piece, alone = best.piece.source, True
            too_long = piece.end - piece.start > MAX_EXCERPT_BYTES
            part = None if too_long or parts.instructs(piece) else parts.at(piece)
        if part is None or part.source in tried:
            continue
        tried.add(part.source)
        text = parts.text(part.source)
        if not parts.markdown(part):
            continue
        value = _support(passage, question, index, best.titled, part, analyzer)
        if find_wanted(text, passage.found.language, question.dates) == -1:
            value = min(value, UNKNOWN)  # what is said of another date
        if not retrieval.weights[passage.term].terms:
            value = min(value, UNKNOWN if question.weights else 0.0)
        yield ChosenExcerpt(question, passage, parts, best, part, alone, frozenset(text.split()), value)


def _support(
    passage: ScoredPassage,
    question: ParsedQuestion,
    index: int,
    titled: float,
    part: ExcerptPart,
    analyzer: Analyzer,
) -> float:
    """How well an excerpt fits the question, from 0 to 1: by the best cosine of it and the heading above it, and by the
    weighted share of the question's words that stand in it or above it."""
    found_passage = passage.found
    own, pieces = question.terms_of(found_passage, analyzer)
    shown = slice(part.first, part.last + 1)
    terms = {*own, *chain.from_iterable(pieces[shown])}
    above = [unit for unit in found_passage.pieces[:index] if unit.kind is VectorKind.HEADING]
    cosines = [unit.cosine for unit in (*above[-1:], *found_passage.pieces[shown]) if unit.cosine is not None]
    share = max(question.covered(question.mask(frozenset(terms))), titled)
    if not cosines or not question.english or found_passage.language not in ("en", ""):
        return support(None, share)
    by_cosine = support(max(cosines), share)
    # The cosine of a question whose language is not known may say nothing, and says little of the forms of a date.
    dated = any(map(is_whole_date, terms & question.weights.keys()))
    return max(by_cosine, support(None, share)) if dated or not question.language else by_cosine


BASE: Final = -8.4
COSINE: Final = 20.0
SHARE: Final = 2.0
WORDS_BASE: Final = -3.0
WORDS_SHARE: Final = 10.0


def support(cosine: float | None, share: float) -> float:
    """The support of an excerpt. cosine: its best cosine to the question; None if there is none of a calibrated model,
    so that words alone decide. share: that of the question's words."""
    if cosine is None:
        value = WORDS_BASE + WORDS_SHARE * share
    else:
        value = BASE + COSINE * max(cosine, 0.0) + SHARE * share
    return 1 / (1 + math.exp(-value))


def _find_cell(
    passage: FoundPassage,
    parts: PassageParts,
    part: ExcerptPart,
    question: ParsedQuestion,
    analyzer: Analyzer,
) -> tuple[int, ByteRange] | None:
    """The cell of a part whose row and column the question names: the index of its row, and its bytes. None if there
    is none, if several tables have one, or if what stands beside the tables has as many of the question's words, by
    weight.
    """
    tables = parts.tables(part)
    if not tables:
        return None
    _, pieces = question.terms_of(passage, analyzer)
    masks = [question.mask(frozenset(terms)) for terms in pieces]
    rows = [_find_dominating({index: masks[index] for index in table}) for table in tables]
    cells = [
        (row, *cell)
        for row in rows
        if row is not None and part.first <= row <= part.last
        if (cell := _cell(parts, row, passage.language, question, analyzer)) is not None
    ]
    if len(cells) != 1:
        return None
    [(row, mask, cell)] = cells
    beside = (
        masks[index]
        for index in range(part.first, part.last + 1)
        if passage.pieces[index].kind not in (VectorKind.ROW, VectorKind.HEADING)
    )
    return (row, cell) if all(question.covered(other) < question.covered(mask) for other in beside) else None


def _find_dominating(masks: Mapping[int, int]) -> int | None:
    """The one with all bits of each other one, and more; None if there is none."""
    best = max(masks, key=lambda row: masks[row].bit_count(), default=None)
    if best is None or not masks[best]:
        return None
    others = (mask for row, mask in masks.items() if row != best)
    return best if all(mask | masks[best] == masks[best] != mask for mask in others) else None


def _cell(
    parts: PassageParts, row: int, language: str, question: ParsedQuestion, analyzer: Analyzer
) -> tuple[int, ByteRange] | None:
    """The cell of a row whose column the question names, with a mask of the question's words that name the row or the
    column; None if it names no column, or nothing in the row."""

    def words(text: str) -> frozenset[str]:
        return frozenset(question.among(frozenset(analyzer.terms(readable(text), language))))

    cells = parts.cells(row)
    names = [words(cell.name) for cell in cells]
    values = [words(cell.value) - name for cell, name in zip(cells, names, strict=True)]
    shared = frozenset[str]().union(*values)
    masks: dict[int, int] = {}
    for column, (name, value) in enumerate(zip(names, values, strict=True)):
        if question.order.isdisjoint((*product(name, value), *product(value, name))):
            masks[column] = question.mask(name)
        else:
            shared |= name  # in "the team Blue", the column's name belongs to the cell, and asks for nothing
    column = _find_dominating(masks)
    if column is None or not shared or values[column] or not any(map(str.isalnum, cells[column].value)):
        return None
    return question.mask(shared | names[column]), cells[column].source
