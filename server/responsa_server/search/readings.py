"""What the pieces of passages say, whatever is asked: read once and remembered, since questions meet the same passages again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.domain.passages import FoundPassage, VectorKind
from responsa_server.text.lexical import Analyzer
from responsa_server.text.sentences import plain

_CODE_PENALTY: Final = 0.5
_QUESTION_PENALTY: Final = 1.75
_SHORT_PENALTY: Final = 0.3
_ANNOUNCEMENT_PENALTY: Final = 0.25
_SHORT_WORDS: Final = 4
# Some 2 KiB each: 10 MiB at most, some 600 passages.
_REMEMBERED_PIECES: Final = 5_000


@dataclass(frozen=True, slots=True)
class PieceReading:
    """One piece: its exact text, without markup, the plain text of the piece before it ('' after a heading), its terms in order and
    distinct, and what speaks against it whatever is asked."""

    quote: str
    plain: str
    context: str
    terms: Sequence[str]
    distinct: frozenset[str]
    penalty: float


@dataclass(frozen=True, slots=True)
class PassageReading:
    """A passage. above: the terms of its title and headings; pieces: as they were found, headings among them."""

    above: frozenset[str]
    pieces: Sequence[PieceReading]


class Readings:
    """Reads passages, and remembers those read last. Keep one per thread."""

    def __init__(self, most: int = _REMEMBERED_PIECES) -> None:
        """most: pieces remembered at once."""
        self.analyzer = Analyzer()
        self._most = most
        self._known: OrderedDict[object, PassageReading] = OrderedDict()
        self._pieces = 0

    def __len__(self) -> int:
        """How many pieces are remembered."""
        return self._pieces

    def of(self, found: FoundPassage) -> PassageReading:
        """A passage's reading: by what it says, not by its id, and the same object while it is remembered."""
        passage = found.passage
        key = (
            passage.text,
            passage.title,
            tuple(passage.headings),
            passage.source.start,
            found.language,
            tuple((piece.kind, piece.source.start, piece.source.end) for piece in found.pieces),
        )
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        made = self._read(found)
        self._known[key] = made
        self._pieces += len(made.pieces)
        while self._pieces > self._most:
            _, oldest = self._known.popitem(last=False)
            self._pieces -= len(oldest.pieces)
        return made

    def _read(self, found: FoundPassage) -> PassageReading:
        passage, language = found.passage, found.language
        raw = passage.text.encode()
        offset = passage.source.start
        context = ""
        pieces: list[PieceReading] = []
        for piece in found.pieces:
            quote = raw[piece.source.start - offset : piece.source.end - offset].decode()
            words = plain(quote)
            terms = tuple(self.analyzer.terms(words, language))
            penalty = _penalty(piece.kind, words, len(terms))
            pieces.append(PieceReading(quote, words, context, terms, frozenset(terms), penalty))
            context = "" if piece.kind is VectorKind.HEADING else words
        above = self.analyzer.terms(" ".join((passage.title, *passage.headings)), language)
        return PassageReading(frozenset(above), pieces)


def _penalty(kind: VectorKind, words: str, terms: int) -> float:
    """Against pieces that answer nothing by themselves."""
    penalty = 0.0
    if kind is VectorKind.CODE:
        penalty += _CODE_PENALTY
    elif terms < _SHORT_WORDS:
        penalty += _SHORT_PENALTY
    if words.endswith(":"):
        penalty += _ANNOUNCEMENT_PENALTY
    if words.rstrip("\"'”’) ").endswith(("?", "？", "؟")):
        penalty += _QUESTION_PENALTY
    return penalty
