"""Compares the wording of a claim with the pieces of a passage. Pure functions over words; no model is asked.

A paraphrase changes many words of a sentence a little. A wrong claim often has all words of a sentence but one, and the other word, name or number
stands elsewhere in the passage, or in a different place of the same sentence. The features here tell the two apart. `claims.py` weighs them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import FoundPassage, PassagePiece, VectorKind
from responsa_server.search.evidence import PassageAnalysis
from responsa_server.search.words import (
    ENGLISH,
    FRAME,
    IMPLIED,
    LIGHT,
    NUMBER_WORDS,
    OPPOSITES,
    UNCOUNTED,
    UNITS,
    negates,
)
from responsa_server.text.lexical import STOPWORDS, Analyzer
from responsa_server.text.rows import NAMED_ROWS

_PIECES: Final = 3
"""The maximum number of single pieces that are compared with a claim."""
_PAIRS: Final = 2
"""The maximum number of pairs of neighbouring pieces that are compared with a claim."""
_PAIR_GAIN: Final = 0.05
"""A pair is compared only if it contains at least this much more of the claim than the best single piece."""
_TOPIC_PIECES: Final = 3
"""A word that occurs in at least this number of pieces is a topic of the passage. It may stand in any claim about the passage."""
_CELLS: Final = 6000
_HEAVY: Final = 1.3
_LETTERS_OF_UNIT: Final = 2

_CLAUSE: Final = re.compile(r"[,;:](?!\S)|[()–—]")
_CLAUSE_ENGLISH: Final = re.compile(
    rf"{_CLAUSE.pattern}|\b(?:but|although|though|while|whereas|because|so|which|who)\b", re.IGNORECASE
)
"""What separates the clauses of a sentence, roughly."""


class Kind(StrEnum):
    """What a word is. LIGHT words say little; the others are the content of a text."""

    LIGHT = "light"
    WORD = "word"
    NAME = "name"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text. text: in lower case. terms: its term and, if it is a compound, the terms of its parts; for a number, its digits.
    capital: whether it begins with a capital letter.
    """

    text: str
    terms: tuple[str, ...]
    kind: Kind
    capital: bool


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of a passage. place: its index among the passage's pieces and headings. terms: the terms of its words, and the initials of its names. above: the
    terms of the title, the headings and, for a row, the header of the table. denied: the terms of each clause with a negation. implied: whether it has a word of `IMPLIED`.
    """

    piece: PassagePiece
    place: int
    words: Sequence[Word]
    terms: frozenset[str]
    above: frozenset[str]
    negated: bool
    denied: Sequence[frozenset[str]]
    implied: bool


@dataclass(frozen=True, slots=True)
class PassageWords:
    """The words of a passage's pieces. topics: the terms that occur in many pieces. numbered: the terms of names with a number in the title and the headings, such as ("wren",
    "2"). beginnings: the terms of the passage by their first letters.
    """

    language: str
    pieces: Sequence[_Piece]
    topics: frozenset[str]
    numbered: frozenset[tuple[str, str]]
    beginnings: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Compared:
    """A piece that was compared with a claim, alone or with a neighbour. place: its index among the passage's pieces and headings. features: one value for each of `FEATURES`."""

    piece: PassagePiece
    place: int
    features: Mapping[str, float]


def read_words(text: str, language: str, analyzer: Analyzer) -> Sequence[Word]:
    """All words of a text, in order."""
    found: list[Word] = []
    stop = STOPWORDS.get(language or "en", frozenset())
    at = (-1, -1)
    end = 0
    for token in analyzer.tokens(text, language):
        if (token.start, token.end) == at:
            last = found[-1]
            if last.kind is not Kind.NUMBER:  # the "th" of "19th" says nothing
                found[-1] = Word(last.text, (*last.terms, token.term), last.kind, last.capital)
            continue
        begins = not found or _BEGINS.search(text[end : token.start]) is not None
        at, end = (token.start, token.end), token.end
        found.append(_word(text[token.start : token.end], token.term, language, stop, begins=begins))
    return found


_BEGINS: Final = re.compile(r"[.!?:;•\n|]\s*[\"“'(*]*$")
_ORDINAL: Final = re.compile(r"(\d+)(?:st|nd|rd|th|s)")
_IDENTIFIER: Final = re.compile(r"_|[a-z][A-Z]")


def _word(raw: str, term: str, language: str, stop: Collection[str], *, begins: bool) -> Word:
    text = raw.lower()
    english = language in ENGLISH
    capital = raw[:1].isupper()
    if english and text in NUMBER_WORDS:
        return Word(text, (NUMBER_WORDS[text],), Kind.LIGHT if text in UNCOUNTED else Kind.NUMBER, capital)
    if raw[0].isdigit():
        ordinal = _ORDINAL.fullmatch(raw)
        digits = ordinal.group(1) if ordinal else "".join(filter(str.isdigit, raw))
        return Word(text, (digits or term,), Kind.NUMBER, capital)
    identifier = (len(raw) > 1 and raw.isupper()) or _IDENTIFIER.search(raw) or any(map(str.isdigit, raw))
    if identifier or (capital and not begins and language != "de" and text not in stop):
        kind = Kind.NAME
    else:
        kind = Kind.LIGHT if text in stop or (english and text in LIGHT) else Kind.WORD
    return Word(text, (term,), kind, capital)


def passage_words(found: FoundPassage, passage: PassageAnalysis, analyzer: Analyzer) -> PassageWords:
    """The words of a passage. passage: the analysis of the same passage."""
    language = found.language
    titles = " ; ".join((found.passage.title, *found.passage.headings))
    title_words = read_words(titles, language, analyzer)
    above = title = _terms(title_words)
    numbered = set(_numbered(title_words))
    header = frozenset[str]()
    row_before = False
    pieces: list[_Piece] = []
    for place, (piece, analysis) in enumerate(zip(found.pieces, passage.pieces, strict=True)):
        words = read_words(analysis.plain, language, analyzer)
        is_row = piece.kind is VectorKind.ROW
        if piece.kind is VectorKind.HEADING:
            above = title | _terms(words)
            numbered.update(_numbered(words))
        elif not analysis.instructs:
            terms = _terms(words) | _initials(words)
            negated = bool(negates(analysis.plain, language))
            implied = IMPLIED.search(analysis.plain) is not None
            if is_row and not row_before:
                # The header of a table that began in an earlier passage.
                header = analysis.columns
            known = above | header if is_row else above
            denied = _denied(analysis.plain, language, analyzer) if negated else ()
            pieces.append(_Piece(piece, place, words, terms, known, negated, denied, implied))
            if is_row and not row_before and not header and found.media_type not in NAMED_ROWS:
                header = terms
        row_before = is_row
    counts = Counter(term for one in pieces for term in _terms(_content(one.words)))
    beginnings: dict[str, set[str]] = {}
    for term in frozenset[str]().union(*(one.terms | one.above for one in pieces)):
        beginnings.setdefault(term[:_BEGINNING], set()).add(term)
    return PassageWords(
        language,
        pieces,
        frozenset(term for term, count in counts.items() if count >= _TOPIC_PIECES),
        frozenset(numbered),
        {start: frozenset(terms) for start, terms in beginnings.items()},
    )


def _terms(words: Iterable[Word]) -> frozenset[str]:
    return frozenset(term for word in words for term in word.terms)


def _numbered(words: Sequence[Word]) -> Iterable[tuple[str, str]]:
    """The terms of each word with a capital letter that a number follows, and of the number."""
    return (
        (one.terms[0], other.terms[0])
        for one, other in pairwise(words)
        if one.capital and other.kind is Kind.NUMBER
    )


def _denied(text: str, language: str, analyzer: Analyzer) -> Sequence[frozenset[str]]:
    """The terms of the content of each clause with a negation."""
    clauses = (_CLAUSE_ENGLISH if language in ENGLISH else _CLAUSE).split(text)
    return [
        _terms(_content(read_words(clause, language, analyzer)))
        for clause in clauses
        if clause and negates(clause, language)
    ]


def _initials(words: Sequence[Word]) -> frozenset[str]:
    """The initials of two to four successive words with a capital letter, such as "eu"."""
    found: set[str] = set()
    for start in range(len(words)):
        initials = ""
        for word in words[start : start + 4]:
            if not word.capital:
                break
            initials += word.text[0]
            if len(initials) > 1:
                found.add(initials)
    return frozenset(found)


def _content(words: Iterable[Word]) -> list[Word]:
    return [word for word in words if word.kind is not Kind.LIGHT]


class _Where(StrEnum):
    """Where a word of the claim occurs: in the piece itself, in the texts above it, in a neighbouring piece, elsewhere in the passage as a topic, elsewhere
    once or twice, or nowhere.
    """

    OWN = "own"
    ABOVE = "above"
    NEAR = "near"
    TOPIC = "topic"
    REST = "rest"
    NONE = "none"


_BEGINNING: Final = 4
_SHARED: Final = 5
_ENDING: Final = 0.6


def _matching(word: Word, passage: PassageWords) -> frozenset[str]:
    """The terms of the passage that say the same as a word: its own terms, and terms that differ only in their endings."""
    if word.kind is Kind.NUMBER:
        return frozenset(word.terms)
    term = word.terms[0]
    similar = (other for other in passage.beginnings.get(term[:_BEGINNING], ()) if _share_stem(term, other))
    return frozenset((*word.terms, word.text, *similar))


def _share_stem(one: str, other: str) -> bool:
    longest = max(len(one), len(other))
    shared = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    return shared >= min(_SHARED, longest - 1) and shared >= max(_BEGINNING, _ENDING * longest)


def within(inner: ByteRange, outer: ByteRange) -> bool:
    """Whether all bytes of `inner` are in `outer`."""
    return outer.start <= inner.start and inner.end <= outer.end


def compare(
    claim: str, language: str, passage: PassageWords, source: ByteRange, analyzer: Analyzer
) -> Sequence[Compared]:
    """The pieces that have the most words of the claim, each with its features; and the pairs of neighbouring pieces that have more of them, because
    a claim may join two sentences. The piece of a pair is the one with more of the claim's words.

    language: the claim's language, or UNKNOWN. source: only pieces within these bytes are compared. Empty if the claim has no words or the passage has no pieces.
    """
    text = FRAME.sub("", claim) or claim
    words = read_words(text, passage.language, analyzer)
    content = _content(words) or list(words)
    inside = [place for place, one in enumerate(passage.pieces) if within(one.piece.source, source)]
    if not content or not inside:
        return []
    same = [_matching(word, passage) for word in content]
    # found[piece][word]: whether the piece has the word.
    found = [[not one.isdisjoint(piece.terms) for one in same] for piece in passage.pieces]
    hits = [sum(row) for row in found]
    best = sorted(inside, key=lambda place: (-hits[place], place))[:_PIECES]
    pairs: dict[tuple[int, ...], int] = {}
    for first in dict.fromkeys(start for place in best for start in (place, place - 1)):
        if first in inside and first + 1 in inside and passage.pieces[first].piece.kind is not VectorKind.ROW:
            both = sum(one or other for one, other in zip(found[first], found[first + 1], strict=True))
            if both > hits[best[0]] + _PAIR_GAIN * len(content):
                pairs[first, first + 1] = both
    chosen = [(place,) for place in best] + sorted(pairs, key=lambda pair: -pairs[pair])[:_PAIRS]
    negated = bool(negates(text, language or passage.language))
    # The 2 of "Wren 2" counts nothing, so it is a part of the name.
    named = [
        word.kind is Kind.NUMBER
        and place > 0
        and (content[place - 1].terms[0], word.terms[0]) in passage.numbered
        for place, word in enumerate(content)
    ]
    given = _Given(text, words, content, same, found, named, negated)
    return [
        Compared(
            passage.pieces[main].piece,
            passage.pieces[main].place,
            _features(given, places, passage),
        )
        for places in chosen
        for main in (max(places, key=lambda place: (hits[place], -place)),)
    ]


@dataclass(frozen=True, slots=True)
class _Given:
    """A claim. same: for each content word, the terms of the passage that match it. found: for each piece of the passage, which content words it has. named: whether a content
    word is the number of a name in the title or a heading.
    """

    text: str
    words: Sequence[Word]
    content: Sequence[Word]
    same: Sequence[frozenset[str]]
    found: Sequence[Sequence[bool]]
    named: Sequence[bool]
    negated: bool


def _features(given: _Given, places: Sequence[int], passage: PassageWords) -> Mapping[str, float]:
    pieces = [passage.pieces[place] for place in places]
    own = [word for piece in pieces for word in piece.words]
    content = _content(own)
    where = _where(given, places, passage)
    aligned = _aligned(given.same, content)
    features = dict.fromkeys(FEATURES, 0.0)
    total = 0.0
    for place, (word, at) in enumerate(zip(given.content, where, strict=True)):
        weight = 1.0 if word.kind is Kind.WORD else _HEAVY
        total += weight
        features[f"share_{at}"] += weight
        if at is not _Where.OWN:
            kind = Kind.WORD if word.kind is Kind.LIGHT else word.kind
            if at is _Where.ABOVE and given.named[place]:
                kind = Kind.NAME
            features[f"{kind}_{at}"] += 1
    for at in _Where:
        features[f"share_{at}"] /= total
    for name in _COUNTS:
        features[name] = min(features[name], _MOST_COUNTED)
    for name, count in _replaced(given, where, content, aligned).items():
        features[name] = min(count, 2.0)
    own_words = sum(at is _Where.OWN for at in where)
    features["order"] = len(aligned) / own_words if own_words else 0.0
    if passage.language in ENGLISH:
        features["opposite"] = float(_opposed(given.words, own))
        features["unit"], features["unit_new"] = _units(given.words, own)
    negated, implied = any(one.negated for one in pieces), any(one.implied for one in pieces)
    if given.negated and not negated:
        features["negation_implied" if implied else "negation_added"] = 1.0
    elif not given.negated:
        # A claim may leave out a clause, and its negation with it.
        said = frozenset[str]().union(*given.same)
        clauses = [clause for piece in pieces for clause in piece.denied]
        features["negation_lost"] = float(
            any(len(clause & said) >= _CLAUSE_KEPT * len(clause) for clause in clauses)
        )
    if len(places) > 1:
        features["joined"] = 1.0
        features["stray"], features["stray_heavy"] = _stray(given, places)
    features["short"] = 1 / len(given.content)
    features["size"] = math.log(max(1, len(content)))
    # If all but one word of a sentence is kept in its order, the one word is more probably wrong than one of many.
    close = max(0.0, features["share_own"] * features["order"] - _CLOSE) / (1 - _CLOSE)
    for name in _WHEN_CLOSE:
        features[f"close_{name}"] = close * features[name]
    return features


def _where(given: _Given, places: Sequence[int], passage: PassageWords) -> Sequence[_Where]:
    found, last = given.found, len(passage.pieces)
    is_row = passage.pieces[places[0]].piece.kind is VectorKind.ROW
    near = [] if is_row else [one for one in (places[0] - 1, places[-1] + 1) if 0 <= one < last]
    above = frozenset[str]().union(*(passage.pieces[place].above for place in places))
    result: list[_Where] = []
    for word, same in enumerate(given.same):
        if any(found[place][word] for place in places):
            result.append(_Where.OWN)
        elif not same.isdisjoint(above):
            result.append(_Where.ABOVE)
        elif any(found[place][word] for place in near):
            result.append(_Where.NEAR)
        elif not any(row[word] for row in found):
            result.append(_Where.NONE)
        elif given.content[word].kind is Kind.WORD and not same.isdisjoint(passage.topics):
            result.append(_Where.TOPIC)
        else:
            result.append(_Where.REST)
    return result


def _aligned(same: Sequence[frozenset[str]], content: Sequence[Word]) -> Sequence[tuple[int, int]]:
    """The longest sequence of matches that is in the same order in claim and piece: pairs of places. A long piece is cut."""
    content = content[: _CELLS // len(same)]
    rows, columns = len(same), len(content)
    equal = [[not one.isdisjoint(word.terms) for word in content] for one in same]
    length = [[0] * (columns + 1) for _ in range(rows + 1)]
    for row in range(rows - 1, -1, -1):
        line, below, equals = length[row], length[row + 1], equal[row]
        for column in range(columns - 1, -1, -1):
            if equals[column]:
                line[column] = below[column + 1] + 1
            else:
                line[column] = max(below[column], line[column + 1])
    row = column = 0
    pairs: list[tuple[int, int]] = []
    while row < rows and column < columns:
        if equal[row][column]:
            pairs.append((row, column))
            row, column = row + 1, column + 1
        elif length[row + 1][column] >= length[row][column + 1]:
            row += 1
        else:
            column += 1
    return pairs


def _replaced(
    given: _Given, where: Sequence[_Where], content: Sequence[Word], aligned: Sequence[tuple[int, int]]
) -> Mapping[str, float]:
    """How many words of the claim stand in the place of another word of the piece, between the same neighbours, by what the two words are."""
    counts: dict[str, float] = dict.fromkeys(_REPLACED, 0.0)
    ends = [(-1, -1), *aligned, (len(where), len(content))]
    for (before, left), (after, right) in pairwise(ends):
        there = content[left + 1 : right]
        here = range(before + 1, after)
        new = [one for one in here if where[one] is not _Where.OWN]
        moved = len(here) - len(new)
        if (
            moved == 1
            and not new
            and (len(there) == 1 or (len(there) == _SHORT_GAP and before >= 0 and after < len(where)))
        ):
            counts["replaced_moved"] += 1
        if not new or not there or len(new) > _LONGEST_NEW or len(there) > _LONGEST_GAP:
            continue
        kinds = {word.kind for word in there}
        for one in new:
            kind, at = given.content[one].kind, where[one]
            if at is _Where.ABOVE:
                continue
            if kind in kinds and kind in (Kind.NAME, Kind.NUMBER):
                counts[f"replaced_{kind}"] += 1
            elif kind is Kind.WORD and Kind.WORD in kinds:
                counts[f"replaced_{_Where.REST if at is _Where.NEAR else at}"] += 1
            elif at is not _Where.NONE:
                counts["replaced_kind"] += 1
    return counts


_SHORT_GAP: Final = 2
_LONGEST_NEW: Final = 3
_LONGEST_GAP: Final = 4


def _opposed(claim: Sequence[Word], own: Sequence[Word]) -> bool:
    """Whether the claim has the opposite of a word of the piece instead of the word. "7 km thick" is not the opposite of "thin"."""
    said, there = {word.text for word in claim}, {word.text for word in own}
    return any(
        word.text not in there
        and not (place and claim[place - 1].text in UNITS)
        and any(other in there and other not in said for other in OPPOSITES.get(word.text, ()))
        for place, word in enumerate(claim)
    )


def _units(claim: Sequence[Word], own: Sequence[Word]) -> tuple[float, float]:
    """How many numbers of the claim have another unit in the piece (at most two), and whether the claim has a unit that the piece lacks."""
    wrong = 0
    for place, word in enumerate(claim):
        if word.kind is Kind.NUMBER and (unit := _unit_after(claim, place)):
            units = [
                _unit_after(own, at)
                for at, other in enumerate(own)
                if not set(word.terms).isdisjoint(other.terms)
            ]
            wrong += bool(units) and all(other and other != unit for other in units)
    said = {UNITS[one.text] for one in claim if one.text in UNITS and len(one.text) > _LETTERS_OF_UNIT}
    there = {UNITS[one.text] for one in own if one.text in UNITS}
    return float(min(wrong, 2)), float(bool(said - there) and bool(there - said))


def _unit_after(words: Sequence[Word], place: int) -> str:
    return next((UNITS[one.text] for one in words[place + 1 : place + 3] if one.text in UNITS), "")


def _stray(given: _Given, places: Sequence[int]) -> tuple[float, float]:
    """For a claim that joins two pieces, the number of words that only one of them has and that stand singly or in pairs among words of the other (at most four);
    and how many of them are names or numbers (at most three).
    """
    first, second = (given.found[place] for place in places)
    sides = [
        (one, word.kind)
        for one, other, word in zip(first, second, given.content, strict=True)
        if one is not other
    ]
    stray = heavy = start = 0
    while start < len(sides):
        end = start
        while end < len(sides) and sides[end][0] is sides[start][0]:
            end += 1
        if end - start <= _SHORT_GAP:
            stray += end - start
            heavy += sum(kind is not Kind.WORD for _, kind in sides[start:end])
        start = end
    return float(min(stray, 4)), float(min(heavy, 3))


_CLAUSE_KEPT: Final = 0.5
"""A claim is about a clause if it has at least this share of the clause's words."""
_CLOSE: Final = 0.6
_MOST_COUNTED: Final = 3.0
_COUNTS: Final = tuple(
    f"{kind}_{at}" for kind in (Kind.WORD, Kind.NAME, Kind.NUMBER) for at in _Where if at is not _Where.OWN
)
_REPLACED: Final = (
    "replaced_name",
    "replaced_number",
    "replaced_topic",
    "replaced_rest",
    "replaced_none",
    "replaced_kind",
    "replaced_moved",
)
_WHEN_CLOSE: Final = (
    *_REPLACED,
    "word_none",
    "word_rest",
    "name_none",
    "name_rest",
    "name_near",
    "negation_added",
    "negation_lost",
    "opposite",
)
FEATURES: Final = (
    *(f"share_{at}" for at in _Where),
    *_COUNTS,
    *_REPLACED,
    *(f"close_{name}" for name in _WHEN_CLOSE),
    "order",
    "opposite",
    "unit",
    "unit_new",
    "negation_added",
    "negation_implied",
    "negation_lost",
    "joined",
    "stray",
    "stray_heavy",
    "short",
    "size",
)
"""The names of the features. Shares are from 0 to 1; counts are small."""
