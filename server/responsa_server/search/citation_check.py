"""Finds the quotes of the sentences that cite passages, and what differs. No model is asked.

Nothing here says that a sentence is right or wrong (ADR 0131).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from responsa_contract import QuoteOrigin
from responsa_formats.text.languages import STOPWORDS, UNKNOWN, is_doubtful, language_of
from responsa_server.domain.answers import CheckedClaim, CitedSentence, Quote
from responsa_server.domain.events import MAX_DIFFERENCES, MAX_SHORT_QUOTE_BYTES, ByteRange, Difference
from responsa_server.domain.sharing import pause
from responsa_server.search.differing import CitedText, Span, find_differences
from responsa_server.search.prompt_passages import PromptPassage
from responsa_server.search.quoting import Quotable
from responsa_server.text.instructing import without_instructions
from responsa_server.text.lexical import Analyzer
from responsa_server.text.quantities import quantities
from responsa_server.text.sentences import plain, sentences

_ROW: Final = re.compile(r"\n(?=[ \t]*(?:\||[-*+•][ \t]|\d{1,3}[.)][ \t]|#{1,6}[ \t]))|(?<=\|)[ \t]*\n")
"""Before a row, an item or a heading, and after a row."""
_CELLS: Final = re.compile(r"\|")
_ITEM: Final = re.compile(r"(?:[-*+•]|\d{1,3}[.)])[ \t]")
_HEADING: Final = re.compile(r"#{1,6}[ \t]")


class _Source:
    """A passage that sentences may cite. units: the characters of its sentences, rows, items and headings, without those
    that give instructions."""

    def __init__(self, passage: PromptPassage) -> None:
        self.passage = passage
        self.quotable = Quotable(passage.text)
        self.language = passage.found.language
        self._instructing = passage.instructing
        self.units = [unit for unit in _split(passage.text, self.language) if not self._instructs(unit)]

    def find(self, words: str) -> Span | None:
        """The place of words; None if they are not there, or give instructions, which no prompt shows."""
        span = self.quotable.find(words)
        return span if span is not None and not self._instructs(span) else None

    def choose(self, sentence: str, language: str, analyzer: Analyzer) -> tuple[Span, float] | None:
        """The unit that has most of the numbers and then of the words of a sentence, rare ones first, and the share of
        the words; None without a unit."""
        stop = STOPWORDS.get(language or "en", frozenset())
        wanted = set(analyzer.terms(sentence, language)) - stop
        units = [unit for unit in self.units if _HEADING.match(self.passage.text, *unit) is None]
        terms = [
            wanted.intersection(analyzer.terms(self.passage.text[slice(*unit)], self.language))
            for unit in units
        ]
        often = Counter(term for known in terms for term in known)
        worth = {term: math.log(1 + len(units) / (1 + often[term])) for term in wanted}
        shares = [sum(worth[term] for term in known) for known in terms]
        if not units:
            return None
        figures = quantities(sentence, language, analyzer)
        numbers = [0] * len(units)
        for index, unit in enumerate(units) if figures else ():
            stated = quantities(self.passage.text[slice(*unit)], self.language, analyzer)
            numbers[index] = sum(not figure.weak and figure.is_in(stated) for figure in figures)
        best = max(range(len(units)), key=lambda index: (numbers[index], shares[index], -index))
        start, end = units[best]
        short = self.passage.text[start:end].encode()[:MAX_SHORT_QUOTE_BYTES].decode(errors="ignore")
        return (start, start + len(short.rstrip())), shares[best] / (sum(worth.values()) or 1.0)

    def around(self, span: Span) -> Sequence[Span]:
        """The units around a range, with the header of their table or what introduces their list."""
        within = [index for index, unit in enumerate(self.units) if unit[0] < span[1] and span[0] < unit[1]]
        units = [self.units[index] for index in within]
        text = self.passage.text
        if within and within[0]:
            for kind in (_CELLS, _ITEM):
                index = within[0]
                while index and kind.match(text, *self.units[index]):
                    index -= 1
                if index < within[0]:
                    units += self.units[index : index + (2 if kind is _CELLS else 1)]
        return units

    def above(self, index: int) -> str:
        """The title and the headings above a place of the text."""
        path = self.passage.found.passage.path_at(self._byte(index))
        return " ; ".join(map(without_instructions, (self.passage.found.passage.title, *path)))

    def bytes_of(self, span: Span) -> ByteRange:
        """A range of characters in bytes of the canonical text."""
        return ByteRange(*map(self._byte, span))

    def quote(self, span: Span, score: float) -> Quote:
        text = self.passage.text[slice(*span)]
        return Quote(self.passage.found.passage, self.bytes_of(span), text, score)

    def _byte(self, index: int) -> int:
        return self.passage.source.start + len(self.passage.text[:index].encode())

    def _instructs(self, span: Span) -> bool:
        return any(start < span[1] and span[0] < end for start, end in self._instructing)


def _split(text: str, language: str) -> Iterator[Span]:
    start = 0
    for sentence in sentences(text, language or "en"):
        first = start
        ends = [*(match.end() for match in _ROW.finditer(sentence)), len(sentence)]
        for end in ends:
            part = text[first : start + end]
            if part.strip():
                yield first + len(part) - len(part.lstrip()), first + len(part.rstrip())
            first = start + end
        start += len(sentence)


def _merge(spans: Sequence[Span]) -> Sequence[Span]:
    """Spans in their order, with those joined that overlap."""
    merged: list[Span] = []
    for start, end in spans:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


@dataclass(frozen=True, slots=True)
class _Found:
    """What a claim names, and the characters of its quote. span: those of the passage's text if nothing was found."""

    claim: CitedSentence
    source: _Source
    span: Span
    origin: QuoteOrigin
    score: float

    @property
    def text(self) -> CitedText:
        """As it is compared. Of a passage that a sentence names as a whole, all may be what it says."""
        copied = self.origin is QuoteOrigin.COPIED
        around = self.source.around(self.span) if copied else self.source.units
        return CitedText(self.source.passage.text, self.source.language, self.span, around, copied)

    def check(self, differing: Sequence[Difference]) -> CheckedClaim:
        quote = self.source.quote(self.span, self.score)
        if self.origin is QuoteOrigin.NOT_FOUND:
            quote = replace(quote, text="")
            return CheckedClaim(quote, quote, self.origin)
        parts = sorted({self.span, *self.source.around(self.span)})
        around = replace(
            quote, text="\n".join(self.source.passage.text[slice(*part)] for part in _merge(parts))
        )
        return CheckedClaim(quote, around, self.origin, differing[:MAX_DIFFERENCES])


async def check_claims(
    claims: Sequence[CitedSentence], passages: Sequence[PromptPassage], analyzer: Analyzer
) -> Sequence[CheckedClaim | None]:
    """The quote of each claim, and what differs; None for a claim that names no passage. passages: those that the
    prompt showed, which claims name by their positions, from 1.
    """
    # The language is detected for all claims together, because the language of a single sentence is often unknown.
    text = " ".join(claim.text for claim in claims)
    language = UNKNOWN if is_doubtful(text) else language_of(text)
    sources: dict[int, _Source] = {}
    quotes: list[_Found | None] = []
    for claim in claims:
        await pause()
        if not 1 <= claim.passage <= len(passages):
            quotes.append(None)
            continue
        if claim.passage not in sources:
            sources[claim.passage] = _Source(passages[claim.passage - 1])
        quotes.append(_find_quote(claim, language, sources[claim.passage], analyzer))
    quotes = [quote and _name_others(quote, quotes, language, analyzer) for quote in quotes]
    differing = await _compare([quote for quote in quotes if quote is not None], language, analyzer)
    return [quote and quote.check(differing.get(id(quote), ())) for quote in quotes]


def _find_quote(claim: CitedSentence, language: str, source: _Source, analyzer: Analyzer) -> _Found:
    if (span := source.find(claim.quote or plain(claim.text))) is not None:
        return _Found(claim, source, span, QuoteOrigin.COPIED, 1.0)
    if not claim.quote and (chosen := source.choose(plain(claim.text), language, analyzer)) is not None:
        return _Found(claim, source, chosen[0], QuoteOrigin.CHOSEN, chosen[1])
    return _Found(claim, source, (0, len(source.passage.text)), QuoteOrigin.NOT_FOUND, 0.0)


def _name_others(quote: _Found, quotes: Sequence[_Found | None], language: str, analyzer: Analyzer) -> _Found:
    """A mark with several numbers copies words of one passage, and names the others by their numbers alone."""
    claim = quote.claim
    if quote.origin is QuoteOrigin.NOT_FOUND and any(
        other is not None
        and other.origin is QuoteOrigin.COPIED
        and (other.claim.answer, other.claim.quote) == (claim.answer, claim.quote)
        for other in quotes
    ):
        return _find_quote(replace(claim, quote=""), language, quote.source, analyzer)
    return quote


async def _compare(
    quotes: Sequence[_Found], language: str, analyzer: Analyzer
) -> dict[int, list[Difference]]:
    """The differences of each claim, by its identity. All quotes of a sentence count together; a difference belongs to
    the first citation that has something else, or to the first one."""
    differing: dict[int, list[Difference]] = {}
    quoted = [quote for quote in quotes if quote.origin is not QuoteOrigin.NOT_FOUND]
    for _, sentence in groupby(quoted, key=lambda quote: quote.claim.sentence):
        await pause()
        cited = list(sentence)
        above = " ; ".join(dict.fromkeys(citation.source.above(citation.span[0]) for citation in cited))
        texts = [citation.text for citation in cited]
        for answer in dict.fromkeys(citation.claim.answer for citation in cited):
            own = [number for number, citation in enumerate(cited) if citation.claim.answer == answer]
            text = cited[own[0]].claim.text
            spoken = language or cited[own[0]].source.language
            for difference in find_differences(text, spoken, texts, above, analyzer):
                number, offset = (
                    difference.source
                    if difference.source is not None and difference.source[0] in own
                    else (own[0], None)
                )
                start = answer.start + len(text[: difference.said[0]].encode())
                stated_at = ByteRange(start, start + len(text[slice(*difference.said)].encode()))
                there = None if offset is None else cited[number].source.bytes_of(offset)
                if stated_at.start < stated_at.end:
                    differing.setdefault(id(cited[number]), []).append(
                        Difference(difference.kind, stated_at, there)
                    )
    return differing
