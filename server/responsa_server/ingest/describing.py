"""Makes the description of a document version: what its file states, and the gist of its text; and asks a model where
another subject begins.

The gist consists of sentences and words of the text. If a model is configured, the model writes the gist; whatever goes
wrong, the words of the text are used.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from structlog.typing import FilteringBoundLogger

from responsa_formats.sandbox.parsed_file import ParsedFile
from responsa_formats.text.canonical import MAX_KEYWORD_CHARS, MAX_KEYWORDS, Block, BlockKind, keyword_lines
from responsa_formats.text.languages import STOPWORDS
from responsa_formats.text.sections import Sectioned
from responsa_server.agents.engine.background_model import FAILURES, BackgroundModel, NoAnswer, plain_line
from responsa_server.agents.engine.node import NodeModel
from responsa_server.domain.knowledge import Description
from responsa_server.ingest.indexing import CutDocument, OpenSection
from responsa_server.text.dates import find_stated
from responsa_server.text.lexical import Analyzer
from responsa_server.text.sentences import Piece, PieceKind, plain

MAX_SUMMARY_BYTES: Final = 500
MAX_SENTENCES: Final = 3

_READ_BYTES: Final = 128 * 1024
_TITLE_WEIGHT: Final = 3
_LEAST_LETTERS: Final = 3
_LEAST_SENTENCE_TERMS: Final = 4
# A sentence whose terms have mostly been said adds little.
_NEW_TERMS: Final = 0.4
# The beginning of a text says more often what it is about.
_LEAD: Final = 0.5
_LEAD_SENTENCES: Final = 8


@dataclass(frozen=True, slots=True)
class Gist:
    """summary: 1 to 3 sentences of the text in their order, at most 500 bytes; "" if the text has no such sentence.
    keywords: words of the text, the best first, at most 10.
    """

    summary: str = ""
    keywords: Sequence[str] = ()


@dataclass(slots=True)
class _WordCounts:
    weights: Counter[str] = field(default_factory=Counter[str])
    forms: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])


def gist_of(text: bytes, pieces: Sequence[Piece], title: str, language: str) -> Gist:
    """The gist of a canonical text. pieces: as `sentences.pieces` returns them. Only the first 128 KiB are read."""
    analyzer, words = Analyzer(), _WordCounts()
    _count(words, analyzer, title, language, _TITLE_WEIGHT)
    sentences: list[tuple[str, frozenset[str]]] = []
    for piece in pieces:
        if piece.byte_end > _READ_BYTES:
            break
        if piece.kind is PieceKind.CODE:
            continue
        line = plain(text[piece.byte_start : piece.byte_end].decode())
        heading = piece.kind is PieceKind.HEADING
        terms = _count(words, analyzer, line, language, _TITLE_WEIGHT if heading else 1)
        if piece.kind is PieceKind.SENTENCE and line.endswith(
            (".", "!", "?", "。", "！", "？", "।", "؟", ".”", ".“", ".»")
        ):
            sentences.append((line, terms))
    return Gist(_summary(sentences, words), _keywords(words))


def _count(words: _WordCounts, analyzer: Analyzer, text: str, language: str, weight: int) -> frozenset[str]:
    """Count the words of a text. Returns their terms, without function words and numbers."""
    stop = STOPWORDS.get(language.partition("-")[0] or "en", frozenset[str]())
    terms: set[str] = set()
    for token in analyzer.tokens(text, language.partition("-")[0]):
        word = text[token.start : token.end]
        # Scripts without spaces give pairs of characters, of which each is a word more often than not.
        least = _LEAST_LETTERS if word.isascii() or len(token.term) > 2 else 2
        if (
            len(token.term) < least
            or not word[0].isalpha()
            or word.lower() in stop
            or len(word) > MAX_KEYWORD_CHARS
        ):
            continue
        terms.add(token.term)
        words.weights[token.term] += weight
        words.forms.setdefault(token.term, Counter())[word] += 1
    return frozenset(terms)


def _keywords(words: _WordCounts) -> Sequence[str]:
    # A long word says more than a short one. Of words with equal scores, the first of the text wins.
    scores = {term: weight * min(len(term), 12) for term, weight in words.weights.items()}
    best = sorted(scores, key=lambda term: -scores[term])
    keywords: dict[str, str] = {}
    for term in best:
        word = words.forms[term].most_common(1)[0][0]
        # The parts of a compound such as max_tokens stand for the same word.
        keywords.setdefault(word.lower(), word)
        if len(keywords) == MAX_KEYWORDS:
            break
    return tuple(keywords.values())


def _summary(sentences: Sequence[tuple[str, frozenset[str]]], words: _WordCounts) -> str:
    def score(index: int) -> float:
        terms = sentences[index][1]
        mean = sum(words.weights[term] for term in terms) / (len(terms) + _LEAST_SENTENCE_TERMS)
        return mean * (1 + _LEAD * max(0, _LEAD_SENTENCES - index) / _LEAD_SENTENCES)

    places = [index for index, (_, terms) in enumerate(sentences) if len(terms) >= _LEAST_SENTENCE_TERMS]
    chosen: list[int] = []
    covered: set[str] = set()
    left = MAX_SUMMARY_BYTES
    for index in sorted(places or range(len(sentences)), key=lambda index: -score(index)):
        text, terms = sentences[index]
        size = len(text.encode()) + (1 if chosen else 0)
        if size > left or (chosen and len(terms - covered) < _NEW_TERMS * len(terms)):
            continue
        chosen.append(index)
        covered |= terms
        left -= size
        if len(chosen) == MAX_SENTENCES:
            break
    return " ".join(sentences[index][0] for index in sorted(chosen))


READ_BYTES: Final = 12 * 1024
"""The model reads at most this part of the text, from its beginning. With the instructions, it fits into a small model's window."""


class _GistModel(NodeModel):
    summary: str
    keywords: tuple[str, ...]


class Describer:
    """Describes document versions. model: writes the gist; None to take it from the text."""

    def __init__(self, model: BackgroundModel | None = None) -> None:
        self._model = model

    async def describe(
        self, parsed: ParsedFile, title: str, cut: CutDocument, log: FilteringBoundLogger
    ) -> Description:
        """Describe a document version. A failure of the model is logged, and never fails the ingestion."""
        opening = await asyncio.to_thread(OpenSection.read, cut, 0, 0)  # the gist is that of the beginning
        gist: Gist | None = None
        if self._model is not None:
            try:
                text = opening.text[:READ_BYTES].decode(errors="ignore")
                gist = await _write_gist(self._model, title, text, log)
            except FAILURES as error:
                log.warning("description_without_model", cause=type(error).__name__, error=str(error))
        if gist is None:
            # The work needs the CPU, so it runs outside the event loop.
            gist = await asyncio.to_thread(gist_of, opening.text, opening.pieces, title, cut.language)
        first = opening.text[:READ_BYTES].decode(errors="ignore")
        date = await asyncio.to_thread(find_stated, first, cut.language) or parsed.date
        # What the author states comes before what was found.
        return Description(
            parsed.author, date, gist.summary, keyword_lines((*parsed.keywords, *gist.keywords))
        )


async def _write_gist(model: BackgroundModel, title: str, text: str, log: FilteringBoundLogger) -> Gist:
    """The gist that the model writes. Nobody can trust it, because the document may have told the model what to say: it
    becomes plain, short lines."""
    trusted = {"sentences": MAX_SENTENCES, "words": MAX_KEYWORDS}
    entry = await model.ask("metadata_extraction", _GistModel, trusted, {"title": title, "text": text}, log)
    summary = plain_line(entry.summary)
    if not summary or len(summary.encode()) > MAX_SUMMARY_BYTES:
        raise NoAnswer(f"the summary is empty or has more than {MAX_SUMMARY_BYTES} bytes")
    words = (plain_line(keyword) for keyword in entry.keywords)
    keywords = {word.lower(): word for word in words if word and len(word) <= MAX_KEYWORD_CHARS}
    return Gist(summary, tuple(keywords.values())[:MAX_KEYWORDS])


LEAST_BYTES: Final = 2 * 1024
"""A shorter document is about one passage long, so there is nothing to decide."""
MOST_CALLS: Final = 8
_SHOWN_BYTES: Final = 240
_WINDOW_BYTES: Final = 12 * 1024
_CUT_BEFORE: Final = (BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.QUOTE)


class _Begins(NodeModel):
    begins: tuple[int, ...]


class Topics:
    """Finds where subjects begin. model: None to leave the cuts to the structure of the text."""

    def __init__(self, model: BackgroundModel | None = None) -> None:
        self._model = model

    async def begins(self, parsed: Sectioned, log: FilteringBoundLogger) -> frozenset[int]:
        """The byte offsets of the blocks with which another subject begins, all in the first section; empty without a model.

        The model is called at most 8 times. Blocks that it does not read, and blocks after a failure, begin nothing.
        """
        if self._model is None:
            return frozenset()
        # In at most 8 calls, the model does not read further.
        document = (await asyncio.to_thread(parsed.section, 0)).document
        data = document.canonical_text.encode()
        offsets: set[int] = set()
        if len(data) < LEAST_BYTES:
            return frozenset()
        blocks = [block for block in document.blocks if block.kind in _CUT_BEFORE]
        for calls, window in enumerate(_windows(data, blocks)):
            if calls == MOST_CALLS:
                break
            lines = "\n".join(f"{number}: {text}" for number, (_, text) in enumerate(window, 1))
            try:
                answer = await self._model.ask("document_chunking", _Begins, {}, {"blocks": lines}, log)
            except FAILURES as error:
                log.warning("chunking_without_model", cause=type(error).__name__, error=str(error))
                break
            offsets.update(
                window[number - 1][0].byte_start for number in answer.begins if 0 < number <= len(window)
            )
        return frozenset(offsets)


def _windows(data: bytes, blocks: Sequence[Block]) -> Iterator[Sequence[tuple[Block, str]]]:
    """Groups of blocks, each block with its first words on one line. A group fits into one question."""
    window: list[tuple[Block, str]] = []
    size = 0
    for block in blocks:
        end = min(block.byte_end, block.byte_start + _SHOWN_BYTES)
        text = " ".join(data[block.byte_start : end].decode(errors="ignore").split())
        if size + len(text.encode()) > _WINDOW_BYTES and window:
            yield window
            window, size = [], 0
        window.append((block, text))
        size += len(text.encode()) + 8
    if window:
        yield window
