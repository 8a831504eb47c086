"""Citations: answers made of quotes, the marks with which a model names passages, and the sentences that marks belong to.

Pure.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import Field

from responsa_formats.text.languages import language_of
from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.node import NodeModel
from responsa_server.domain.answers import CheckedClaim, CitedSentence, FoundSource, Quote
from responsa_server.domain.events import (
    MAX_ANSWER_BYTES,
    MAX_CITATIONS,
    MAX_DELTA_BYTES,
    MAX_DIFFERENCES,
    MAX_FULL_CITATIONS,
    MAX_QUOTE_BYTES,
    MAX_SHORT_QUOTE_BYTES,
    AnswerOutcome,
    AnyCitation,
    ByteRange,
    Citation,
    Cited,
    Delta,
    Difference,
    JudgeVerdict,
    QuoteOrigin,
    RefusalReason,
    ToolCitation,
    ToolOrigin,
)
from responsa_server.domain.models import MARK, MARK_BEGUN
from responsa_server.text.disarming import Disarmer, disarm
from responsa_server.text.sentences import sentences

SEPARATOR: Final = "\n\n"
"""The separator between two quotes. Each quote is a block of Markdown."""
_LIST_SEPARATOR: Final = "\n"
_ITEM: Final = re.compile(r"(?:- |\d{1,9}\. )")


@dataclass(frozen=True, slots=True)
class Composition:
    """An answer: its text and its events in order. The texts of the deltas, joined in order, are exactly the answer's text."""

    text: str
    events: Sequence[Delta | Cited]
    outcome: AnswerOutcome

    @property
    def citations(self) -> Sequence[AnyCitation]:
        """The citations in the order of the text."""
        return [event.citation for event in self.events if isinstance(event, Cited)]


def compose(quotes: Sequence[Quote]) -> Composition:
    """Join quotes into an answer. The answer shows each quote in full and cites it. If a quote does not fit, the answer
    ends before that quote, with the outcome OUTPUT_LIMIT.

    A quote that is longer than MAX_QUOTE_BYTES has several citations, one for each part of its source. All of them refer to
    the whole quote in the answer.
    """
    text, events, cited = "", list[Delta | Cited](), 0
    outcome = AnswerOutcome.COMPLETE
    disarmer = Disarmer(lambda: [quote.text for quote in quotes])
    for quote in quotes:
        sources = list(split(quote.text, MAX_QUOTE_BYTES))
        lead = _separator(text, quote.markdown)
        disarmer.feed(lead)
        shown = disarmer.feed(quote.markdown) + disarmer.end()
        if len((text + lead + shown).encode()) > MAX_ANSWER_BYTES or cited + len(sources) > MAX_CITATIONS:
            outcome = AnswerOutcome.OUTPUT_LIMIT
            if text:
                break
            # The first quote is too long: its beginning is better than an empty answer.
            sources = sources[:MAX_CITATIONS]
            shown = disarm(shown, [quote.text], most_bytes=MAX_ANSWER_BYTES)
        start = len(text.encode())
        for piece in split(lead + shown, MAX_DELTA_BYTES):
            events.append(Delta(piece, start))
            start += len(piece.encode())
        text += lead + shown
        answer = ByteRange(start - len(shown.encode()), start)
        source = quote.source.start
        for piece in sources:
            end = source + len(piece.encode())
            events.append(Cited(citation_of(quote, piece, ByteRange(source, end), answer)))
            source = end
        cited += len(sources)
        if outcome is AnswerOutcome.OUTPUT_LIMIT:
            break
    return Composition(text, events, outcome)


def _separator(text: str, following: str) -> str:
    """What stands between the answer so far and the next quote. List items that follow each other are one list."""
    if not text:
        return ""
    last = text.rpartition(SEPARATOR)[2]
    return _LIST_SEPARATOR if _ITEM.match(last) and _ITEM.match(following) else SEPARATOR


def split(text: str, most_bytes: int) -> Iterator[str]:
    """Split the text into pieces of at most `most_bytes` bytes. A piece with a space in its second half ends after its last space."""
    rest = text
    while len(rest.encode()) > most_bytes:
        piece = rest.encode()[:most_bytes].decode(errors="ignore")
        space = piece.rfind(" ")
        if space > len(piece) // 2:
            piece = piece[: space + 1]
        yield piece
        rest = rest[len(piece) :]
    if rest:
        yield rest


def citation_of(
    quote: Quote,
    piece: str,
    source: ByteRange,
    answer: ByteRange,
    origin: QuoteOrigin = QuoteOrigin.COPIED,
    verdict: JudgeVerdict = JudgeVerdict.NONE,
    differences: Sequence[Difference] = (),
) -> AnyCitation:
    """The citation of a piece of a quote: its place in the document or in the tool's source, and in the answer."""
    passage = quote.passage
    shared: dict[str, Any] = {
        "title": passage.title,
        "uri": passage.uri,
        "source": source,
        "quote": piece,
        "sha256": hashlib.sha256(piece.encode()).digest(),
        "answer": answer,
        "score": min(max(quote.score, 0.0), 1.0),
        "quote_origin": origin,
        "verdict": verdict,
        "differences": differences,
    }
    if passage.origin is not None:
        return ToolCitation(passage.origin, **shared)
    location = passage.place_of(source)._asdict()
    return Citation(passage.id, passage.document_id, passage.version, **location, date=passage.date, **shared)


class Mark(NamedTuple):
    """A mark: its byte offset in the text without marks, the number of the passage that it names, from 1, and the words
    that it copies from the passage; "" if it copies none."""

    offset: int
    passage: int
    quote: str = ""


MOST_MARKS: Final = 256
"""The maximum number of marks that are recorded for one text. Later marks are removed from the text but not recorded."""
# Outside of code: a run of characters that cannot begin a mark, code or a line.
_PASSING: Final = re.compile(r"(?:[^ \[【(`\n]| (?![ \[【(]|\Z))+")
_CODE: Final = re.compile(r"[^`\n]+")
_FENCE: Final = 3
_MARK: Final = re.compile(rf" ?{MARK}")
_STOPS: Final = ".!?…。！？"
# A number in round brackets, and what follows it: the end of a sentence, or a space.
_ROUND: Final = re.compile(rf" ?\(([1-9][0-9]?)\)(?=([{_STOPS}]?)([ \n]|\Z))")
_COUNTED: Final = re.compile(r"\([0-9]{1,2}\)")
_BEGUN: Final = re.compile(rf" ?(?:{MARK_BEGUN}|\((?:[0-9]{{1,2}}(?:\)[{_STOPS}]?)?)?)?\Z")
MOST_HELD: Final = 300
"""The maximum number of characters that are held back as the possible beginning of a mark."""
_COPIED: Final = re.compile(r"\[(?P<numbers>[^:\"“„«]*)(?::|(?=[\"“„«])) ?(?P<quote>.*?) ?\]\Z", re.DOTALL)
_QUOTATION: Final = '"“”„«»'
_FURTHER: Final = re.compile(r"[\"”“»]\s?[,;]\s?([0-9]{1,2})\s?:\s?[\"“„«]")
"""Before the further words of a mark that copies words of several passages."""


class MarkFilter:
    """Removes marks, and the space before each mark, from a text that arrives in pieces. The result does not depend on
    where the text is cut into pieces.

    A mark names passages by numbers from 1 to 99, and may copy words of one (`MARK`). A number in round brackets is a
    mark only at a sentence's end, if so many passages are shown and the line does not count with such numbers. Brackets
    in code are not marks.
    """

    def __init__(self, start: int = 0, shown: int = 0) -> None:
        """start: how many bytes of text precede the first piece. shown: how many passages the model was shown."""
        self.marks: list[Mark] = []
        self._start = self._end = start
        self._shown = shown
        self._held: str = ""
        # The last character that was passed on, whether a space after a mark is dropped, and whether the line counts
        # with numbers in round brackets.
        self._last: str = ""
        self._behind = self._counts = False
        # How many backticks opened the current code fence and the current inline code (0 outside of code), and how many
        # backticks the current run has so far.
        self._fence = 0
        self._inline = 0
        self._run = 0
        self._line_begins = True

    def feed(self, text: str) -> str:
        """Process the next piece. Returns the text that can be passed on now, which may be empty."""
        return self._clean(text, ended=False)

    def end(self) -> str:
        """End the text. Returns the rest that was held back."""
        return self._clean("", ended=True)

    def _clean(self, text: str, *, ended: bool) -> str:
        out, index = list[str](), 0
        text, self._held = self._held + text, ""
        while index < len(text):
            if text[index] == "`":
                self._run += 1
                self._say("`", out)
                index += 1
                continue
            if self._run:
                self._code(self._run)
                self._run = 0
            if text[index] == "\n":
                # Without this, a stray backtick would hide the marks in the paragraphs that follow.
                self._inline = 0
                self._say("\n", out)
                self._line_begins, self._counts = True, False
                index += 1
                continue
            code = self._fence or self._inline
            if match := (_CODE if code else _PASSING).match(text, index):
                self._say(match.group(), out)
                index = match.end()
                continue
            if not ended and len(text) - index <= MOST_HELD and _BEGUN.match(text, index):
                self._held = text[index:]
                break
            if match := _MARK.match(text, index) or self._round(text, index):
                self._mark(match.group())
                index = match.end()
                continue
            self._say(text[index], out)
            index += 1
        return "".join(out)

    def _round(self, text: str, index: int) -> re.Match[str] | None:
        match = _ROUND.match(text, index)
        if match is not None and not self._line_begins and not self._counts:
            stopped = bool(self._last) and self._last in _STOPS
            ends = stopped or bool(match[2]) or match[3] != " "
            apart = stopped or text[index] == " "
            if ends and apart and int(match[1]) <= self._shown:
                return match
        self._counts = self._counts or _COUNTED.match(text, index) is not None
        return None

    def _code(self, run: int) -> None:
        """Handle the end of a run of backticks: the run opens or closes code."""
        if self._fence:
            if self._line_begins and run >= self._fence:
                self._fence = 0
        elif self._inline:
            if run == self._inline:
                self._inline = 0
        elif run >= _FENCE and self._line_begins:
            self._fence = run
        else:
            self._inline = run
        self._line_begins = False

    def _mark(self, text: str) -> None:
        """Record a mark. At the beginning of a line, the space after the mark is dropped instead of the one before it."""
        copied = _COPIED.search(text)
        parts = [copied["numbers"], *_FURTHER.split(copied["quote"])] if copied else [text, ""]
        for numbers, words in zip(parts[::2], parts[1::2], strict=True):
            quote, left = words.strip(_QUOTATION), max(MOST_MARKS - len(self.marks), 0)
            read = re.findall(r"[0-9]+", numbers)[:left]
            self.marks += [Mark(self._end, int(number), quote) for number in read]
        self._behind = self._behind or (self._line_begins and not self._start == self._end > 0)
        self._line_begins = False

    def _say(self, text: str, out: list[str]) -> None:
        if self._behind:
            text = text.lstrip(" ")
            if not text:
                return
            self._behind = False
        if text != "`":
            self._line_begins = self._line_begins and not text.strip()
        out.append(text)
        self._last = text[-1]
        self._end += len(text.encode())


_MOST_LINES_BACK: Final = 8
"""How many sentences without words may stand between a mark and its sentence."""
_LEAD: Final = re.compile(r"(?:[\s,;:.)|–—]|>|#{1,6}\s|[-*+•]\s|\d{1,3}[.)]\s)*")
"""The characters before a claim's first word: white space, the markers of lists and headings, and punctuation that
ends the previous clause.
"""


def _words(data: bytes, start: int, end: int) -> ByteRange | None:
    """The range without what precedes its first word, and without white space at its end. None if it has no word."""
    raw = data[start : max(start, end)]
    part = raw.decode()
    lead = _LEAD.match(part)
    start += len(part[: lead.end()].encode()) if lead else 0
    end -= len(raw) - len(raw.rstrip())
    if start < end and any(character.isalnum() for character in data[start:end].decode()):
        return ByteRange(start, end)
    return None


def _leading(data: bytes, marks: Sequence[Mark]) -> set[int]:
    lines = dict[tuple[int, int], list[int]]()
    for offset, *_ in marks:
        if offset <= len(data):
            end = data.find(b"\n", offset)
            line = (data.rfind(b"\n", 0, offset) + 1, end if end >= 0 else len(data))
            lines.setdefault(line, []).append(offset)
    leading = set[int]()
    for (start, end), offsets in lines.items():
        # The filter removed the space between a list's marker and a mark.
        begins = _LEAD.fullmatch(data[start : offsets[0]].decode() + " ") is not None
        if begins and _words(data, offsets[0], end) is not None:
            leading |= set(offsets if _words(data, offsets[-1], end) is not None else offsets[:1])
    return leading


class CitationModel(NodeModel):
    """A citation as plain state, with its hash in hexadecimal. origin: the tool's source that the quote is from; None
    if it is from a passage. The fields that name the passage are then empty.
    """

    passage_id: str = ""
    document_id: str = ""
    version: int = Field(default=0, ge=0)
    title: str
    uri: str
    source: ByteRange
    quote: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    answer: ByteRange
    score: float = Field(ge=0, le=1)
    page: int = Field(default=0, ge=0)
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    path: str = ""
    date: str = ""
    origin: ToolOrigin | None = None
    quote_origin: QuoteOrigin = QuoteOrigin.COPIED
    verdict: JudgeVerdict = JudgeVerdict.NONE
    differences: tuple[Difference, ...] = Field(default=(), max_length=MAX_DIFFERENCES)

    @property
    def fails(self) -> bool:
        """Whether the words of the citation were not found, or a model that judges has denied the sentence."""
        return self.quote_origin is QuoteOrigin.NOT_FOUND or self.verdict is JudgeVerdict.DENIED


class AnswerModel(NodeModel):
    """A whole answer, as plain state. collections: the collections that its text is from; empty if the evidence says
    so. excerpts: how many of the ranking's excerpts the text shows, from the first. unsourced: see `find_unsourced`.
    """

    text: str = Field(min_length=1)
    citations: tuple[CitationModel, ...] = Field(max_length=MAX_CITATIONS)
    outcome: AnswerOutcome
    passages_used: int = Field(ge=0)
    collections: tuple[str, ...] = ()
    excerpts: int = Field(default=0, ge=0)
    unsourced: tuple[ByteRange, ...] = ()


class RefusalModel(NodeModel):
    """A refusal, as plain state."""

    reason: RefusalReason
    message: str


def claims(text: str, marks: Sequence[Mark]) -> Sequence[CitedSentence]:
    """The claims that the marks make, in the order of the text. Each quote of a passage occurs once for a sentence.

    A mark belongs to the sentence that contains the mark or ends at it, but only to the sentence's text before the
    mark. If a sentence has several marks, each mark belongs to the text since the previous mark. Adjacent marks belong
    to the same text. If a line begins with a mark, that mark belongs to the sentence that follows it, and so do the
    line's other marks unless the line ends with one.
    """
    data = text.encode()
    leading = _leading(data, marks)
    distinct_claims = dict[tuple[int, int, int, str], CitedSentence]()
    ranges = sentence_ranges(text)
    starts = [span.start for span in ranges]
    before = 0
    for index, (offset, passage, quote) in enumerate(marks):
        if index and marks[index - 1][0] != offset:
            before = marks[index - 1][0]
        end = min(offset, len(data))
        last = bisect_left(starts, end)
        if offset in leading:
            until = next((mark.offset for mark in marks[index:] if mark.offset > offset), len(data))
            following = ranges[max(0, bisect_right(starts, end) - 1) :]
            spans = (_words(data, max(span.start, end), min(span.end, until)) for span in following)
            source = next(filter(None, spans), None)
        else:
            near = ranges[max(0, last - _MOST_LINES_BACK) : last]
            source = _claim(data, near, min(before, offset), end)
        if source is not None:
            words = data[source.start : source.end].decode()
            whole = starts[bisect_right(starts, source.start) - 1]
            distinct_claims.setdefault(
                (source.start, source.end, passage, quote),
                CitedSentence(words, source, passage, quote, whole),
            )
    return list(distinct_claims.values())


def _claim(data: bytes, sentences: Sequence[ByteRange], before: int, offset: int) -> ByteRange | None:
    """The text that a mark at `offset` belongs to: a part of the last sentence with a word. None if no sentence has a word.

    before: the offset of the previous mark; if this offset is in the sentence, the text begins there.
    """
    for sentence in reversed(sentences):
        end = min(sentence.end, offset)
        start = before if sentence.start < before < end else sentence.start
        if span := _words(data, start, end):
            return span
        # This line has no words. A mark that is alone on a line belongs to the line before.
        before = 0
    return None


_APART: Final = re.compile(
    rb"^ {0,3}(`{3,}|~{3,})(?:.*?^ {0,3}\1|.*)|^ {0,3}#{1,6}[ \t][^\n]*|^\*\*[^*\n.!?]{1,200}\*\*[ \t]*$"
    rb"|^[^\n]*\n(?=(?=[^\n]*-)(?=[^\n]*\|)[-:| \t]++$)",
    re.DOTALL | re.MULTILINE,
)
"""Code, headings, and the names of columns."""
_UNSAID: Final = re.compile(r"[:：?？][\s*_~`\"”“)]*\Z")
_WORD: Final = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+")


def find_unsourced(text: str, cited: Sequence[AnyCitation]) -> Sequence[ByteRange]:
    """The sentences, items and rows that name no source, without lead-ins, which end in a colon, and questions. A sentence
    names one if a citation belongs to it, or if the quotes of the sentence after it have all its words, names and numbers.
    """
    data = _APART.sub(lambda match: re.sub(rb"[^\n]", b" ", match[0]), text.encode())
    spans = [_words(data, span.start, span.end) for span in sentence_ranges(data.decode())]
    sentences = [span for span in spans if span]
    quotes = [
        [item for item in cited if item.answer.start < span.end and span.start < item.answer.end]
        for span in sentences
    ]
    unsourced: list[ByteRange] = []
    for span, own, following in zip(sentences, quotes, [*quotes[1:], []], strict=True):
        sentence = data[span.start : span.end].decode()
        known = {word for item in following for word in _WORD.findall(item.quote.casefold())}
        words = {*_WORD.findall(sentence.casefold())}
        if not own and not words <= known and not _UNSAID.search(sentence):
            unsourced.append(span)
    return unsourced


def sentence_ranges(text: str) -> Sequence[ByteRange]:
    """The sentences of a text. A line break always ends a sentence, because lists and headings have no full stops."""
    ranges: list[ByteRange] = []
    start, language = 0, language_of(text) or "en"
    for line in text.split("\n"):
        position = start
        for sentence in sentences(line, language):
            size = len(sentence.encode())
            ranges.append(ByteRange(position, position + size))
            position += size
        start += len(line.encode()) + 1
    return ranges


def sources_of_results(results: Sequence[ResultModel]) -> Sequence[FoundSource]:
    """The sources that tools returned in a turn so far, in order. A source of a result that repeats an earlier one
    occurs once. A model cites the sources by their positions, which come after those of the passages.
    """
    sources: dict[tuple[str, int], FoundSource] = {}
    for result in results:
        for index, source in enumerate(result.sources):
            origin = ToolOrigin(result.id, result.call.tool, index, source.fetch_time)
            sources.setdefault((result.id, index), FoundSource(origin, source))
    return list(sources.values())


def citation(
    claim: CitedSentence, checked: CheckedClaim, index: int, verdict: JudgeVerdict = JudgeVerdict.NONE
) -> AnyCitation:
    """The citation of a claim, the one at `index` of its answer, from 0. A quote that is too long is cut at its end."""
    quote = checked.quote
    words = first_part(quote.text, MAX_QUOTE_BYTES if index < MAX_FULL_CITATIONS else MAX_SHORT_QUOTE_BYTES)
    source = (
        ByteRange(quote.source.start, quote.source.start + len(words.encode())) if words else quote.source
    )
    return citation_of(quote, words, source, claim.answer, checked.origin, verdict, checked.differences)


def first_part(text: str, most_bytes: int = MAX_QUOTE_BYTES) -> str:
    """As much of a text as a citation can quote. A text that was cut does not end with the space at the cut."""
    first = next(split(text, most_bytes), "")
    return first if first == text else first.removesuffix(" ")


def plain(citation: AnyCitation) -> CitationModel:
    """A citation as plain state."""
    values: dict[str, Any] = {item.name: getattr(citation, item.name) for item in fields(citation)}
    values |= {
        "sha256": citation.sha256.hex(),
        "quote_origin": citation.quote_origin or QuoteOrigin.COPIED,
        "verdict": citation.verdict or JudgeVerdict.NONE,
        "differences": tuple(citation.differences),
    }
    if isinstance(citation, Citation):
        values |= {"passage_id": str(citation.passage_id), "document_id": str(citation.document_id)}
    return CitationModel(**values)


def of_plain(model: CitationModel) -> AnyCitation:
    """The citation in plain state: the inverse of `plain`."""
    kind = Citation if model.origin is None else ToolCitation
    values: dict[str, Any] = {item.name: getattr(model, item.name) for item in fields(kind)}
    values["sha256"] = bytes.fromhex(model.sha256)
    if model.origin is None:
        values |= {"passage_id": UUID(model.passage_id), "document_id": UUID(model.document_id)}
    return kind(**values)
