"""Decides whether a passage supports a sentence of a model's answer that cites it. Pure functions; no model is asked.

What must not be invented has to stand in the passage: every number with its unit, every name, every identifier and every quoted string. Enough of the other words
must stand together, in one piece of the passage or in two neighbouring ones. Between two languages, only names, numbers and identifiers can decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from responsa_server.domain.answers import Claim, Quote
from responsa_server.domain.passages import PassagePiece, VectorKind
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.parts import PassageParts
from responsa_server.search.prompt_passages import PromptPassage
from responsa_server.text.instructing import instructing_spans
from responsa_server.text.lexical import STOPWORDS, UNKNOWN, Analyzer, language_of
from responsa_server.text.sentences import plain

LEAST_SHARE: Final = 0.4
"""The least share (0 to 1) of a claim's words that stand together. A word in another piece of the passage counts half, and less than nothing if it replaces a word."""
_ELSEWHERE: Final = 0.5
_REPLACES: Final = -0.5
_COMPARED: Final = 3
"""How many pieces, and pairs of neighbouring pieces, are compared word by word."""
_MOST_WORDS: Final = 300
"""The most words of a text that are compared one by one, because the time grows with their square."""


@dataclass(frozen=True, slots=True)
class Supported:
    """The piece that supports a claim best. text: its bytes, decoded. score: the share (0 to 1) of the claim's words that stand there."""

    piece: PassagePiece
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a text. text: in lower case. terms: its term and, if it is a compound, those of its parts."""

    text: str
    terms: frozenset[str]
    name: bool
    content: bool


@dataclass(frozen=True, slots=True)
class _Number:
    """values: the number, in each way in which its notation can be read. unit: the sign before it, or the word or sign after it; or ''. near: the same, and the terms of the next words."""

    values: frozenset[str]
    unit: str
    near: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that was read. lowered: without markup, in lower case. exact: its identifiers and quoted strings, in lower case. initials: of successive names."""

    lowered: str
    words: Sequence[_Word]
    terms: frozenset[str]
    numbers: Sequence[_Number]
    exact: Sequence[str]
    initials: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of a passage. above: the title, the headings and, for a row, the names of the columns."""

    piece: PassagePiece
    text: str
    read: _Text
    above: Sequence[_Text]


def judge_claims(
    claims: Sequence[Claim], passages: Sequence[PromptPassage], analyses: PassageAnalyses
) -> Sequence[Quote | None]:
    """For each claim, a quote of the piece that supports the claim; None if the passage that the claim names does not exist, or does not support it."""
    # The language is detected for all claims together, because the language of a single sentence is often unknown.
    language = language_of(" ".join(claim.text for claim in claims))
    read: dict[int, Sequence[_Piece]] = {}
    quotes: list[Quote | None] = []
    for claim in claims:
        quotes.append(None)
        if 1 <= claim.passage <= len(passages):
            passage = passages[claim.passage - 1]
            if claim.passage not in read:
                read[claim.passage] = _pieces(passage, analyses.analyzer)
            pieces = read[claim.passage]
            found = _supported(claim.text, language, passage.found.language, pieces, analyses.analyzer)
            if found is not None:
                quotes[-1] = Quote(passage.found.passage, found.piece.source, found.text, found.score)
    return quotes


def check_claim(
    claim: str, language: str, passage: PromptPassage, analyses: PassageAnalyses
) -> Supported | None:
    """The piece of a passage that supports a claim best; None if the passage does not support it. language: the claim's language, or UNKNOWN."""
    pieces = _pieces(passage, analyses.analyzer)
    return _supported(claim, language, passage.found.language, pieces, analyses.analyzer)


def _supported(
    text: str, language: str, there: str, pieces: Sequence[_Piece], analyzer: Analyzer
) -> Supported | None:
    foreign = UNKNOWN not in (language, there) and language != there
    claim = _read(text, language if foreign else there, analyzer)
    all_texts = [one for piece in pieces for one in (piece.read, *piece.above)]
    if not claim.words or any(all(one not in text.lowered for text in all_texts) for one in claim.exact):
        return None
    everything = _terms(all_texts)
    content = [word for word in claim.words if word.content]
    parts = [(place,) for place in range(len(pieces))]
    parts += [
        (place, place + 1)
        for place in range(len(pieces) - 1)
        if VectorKind.ROW not in (pieces[place].piece.kind, pieces[place + 1].piece.kind)
    ]
    shared = {part: _shared(content, part, pieces) for part in parts}
    best: Supported | None = None
    for part in sorted(parts, key=lambda part: (-shared[part] + len(part) / 4, part))[:_COMPARED]:
        main = max((pieces[place] for place in part), key=lambda one: _count(content, one.read.terms))
        texts = [one for place in part for one in (pieces[place].read, *pieces[place].above)]
        numbers = [number for one in texts for number in one.numbers]
        if not all(_counted(number, numbers) for number in claim.numbers):
            continue
        if foreign:
            score = _foreign_share(claim, _terms(texts), texts)
        else:
            score = _share(
                claim,
                [word for place in part for word in pieces[place].read.words],
                texts,
                everything,
                all_texts,
            )
        if score >= LEAST_SHARE and (best is None or score > best.score):
            best = Supported(main.piece, main.text, min(score, 1.0))
    return best


def _count(words: Sequence[_Word], terms: frozenset[str]) -> int:
    return sum(_stands(word, terms) for word in words)


def _shared(words: Sequence[_Word], part: Sequence[int], pieces: Sequence[_Piece]) -> int:
    return _count(words, _terms([pieces[place].read for place in part]))


def _terms(texts: Sequence[_Text]) -> frozenset[str]:
    return frozenset[str]().union(*(one.terms for one in texts))


def _share(
    claim: _Text,
    words: Sequence[_Word],
    texts: Sequence[_Text],
    everything: frozenset[str],
    all_texts: Sequence[_Text],
) -> float:
    """The share of the claim's words that stand in a part of a passage; 0 if a name is missing."""
    terms = _terms(texts)
    initials = frozenset[str]().union(*(one.initials for one in all_texts))
    abbreviated = any(one in everything for one in claim.initials)
    replacing = _replacing(claim.words[:_MOST_WORDS], words[:_MOST_WORDS])
    total = counted = 0.0
    for place, word in enumerate(claim.words):
        if not word.content:
            continue
        total += 1
        if _stands(word, terms) or (word.name and (abbreviated or word.text in initials)):
            counted += 1
        elif _stands(word, everything):
            if word.name and place in replacing:
                return 0.0
            counted += _REPLACES if place in replacing else _ELSEWHERE
        elif word.name:
            return 0.0
    return counted / total if total else 1.0


def _foreign_share(claim: _Text, terms: frozenset[str], texts: Sequence[_Text]) -> float:
    """1 if the names stand in texts of another language, and something at all is shared; otherwise 0."""
    names = [word for word in claim.words if word.name]
    shared = bool(claim.numbers or claim.exact) or any(
        _stands(word, terms) for word in claim.words if word.content
    )
    return float(shared and all(_stands(word, terms) for word in names))


def _replacing(claim: Sequence[_Word], piece: Sequence[_Word]) -> frozenset[int]:
    """The places of the claim's words that stand where the piece has another word."""
    matcher = SequenceMatcher(
        None, [word.text for word in piece], [word.text for word in claim], autojunk=False
    )
    return frozenset(
        place
        for kind, start, end, first, last in matcher.get_opcodes()
        if kind == "replace" and any(word.content for word in piece[start:end])
        for place in range(first, last)
        if not any(_stands(claim[place], word.terms) for word in piece[start:end])
    )


_LEAST_STEM: Final = 4


def _stands(word: _Word, terms: frozenset[str]) -> bool:
    """Whether a word stands among terms, perhaps with another ending."""
    if not word.terms.isdisjoint(terms) or word.text in terms:
        return True
    term = min(word.terms, key=len)
    return len(term) >= _LEAST_STEM and any(
        other.startswith(term[:_LEAST_STEM]) and _same_stem(term, other) for other in terms
    )


def _same_stem(one: str, other: str) -> bool:
    longest, shortest = max(len(one), len(other)), min(len(one), len(other))
    same = next((place for place in range(shortest) if one[place] != other[place]), shortest)
    return same >= max(_LEAST_STEM, min(_LEAST_STEM + 1, longest - 1), 0.6 * longest)


def _counted(number: _Number, numbers: Sequence[_Number]) -> bool:
    """Whether a number is among numbers, and nowhere only with another unit."""
    same = [one for one in numbers if not number.values.isdisjoint(one.values)]
    return any(not number.unit or not one.near or number.unit in one.near for one in same)


_EXACT: Final = re.compile(
    r"`+([^`\n]{1,300})`+|“([^“”\n]{1,300})”|„([^„“”\n]{1,300})[“”]|«([^«»\n]{1,300})»|\"([^\"\n]{1,300})\""
)
_IDENTIFIER: Final = re.compile(
    r"https?://[^\s)\]>\"'”`]{1,500}(?<![.,;:!?])|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}"
    r"|(?<![\w/.])(?:~|\.{1,2})?(?:/[\w.@-]{0,64}\w){1,20}/?|\b\w[\w.-]{0,64}(?:/[\w.-]{0,64}\w){2,20}|(?<![\w-])--[A-Za-z][\w-]{0,64}"
    r"|\b(?=[\w.:]{0,64}[^\W\d_])\w{2,64}(?:(?:\.|::)\w{2,64}){1,20}\b|\b\w{0,64}[^\W_]_\w{1,64}\b|\b[a-z]{1,64}[A-Z]\w{0,64}|\b[^\W\d_]{1,64}\d\w{0,64}"
)
_NUMBER: Final = re.compile(
    r"(?<![\w.])(?P<sign>[$€£¥]\s?)?(?P<digits>\d{1,3}(?:[.,'’\u00a0\u2009\u202f ]\d{3}(?!\d))+(?:[.,]\d+)?|\d+(?:[.,]\d+)?)(?P<unit>[\s-]?(?:%|°\w?|[$€£¥]|[^\W\d_]+))?"
)
_BEGINS: Final = re.compile(r"(?:^|[.!?:;•\n|)])\s*[\"“„'‘(*\[]*$")
_GROUPS: Final = re.compile(r"['’\s]")


def _read(text: str, language: str, analyzer: Analyzer) -> _Text:
    exact: list[str] = []
    for one in _EXACT.finditer(text):
        quoted = next(group for group in one.groups() if group)
        exact += quoted.lower().split() if one.group().startswith("`") else [plain(quoted).lower()]
    text = plain(text)
    exact += [one.group().lower() for one in _IDENTIFIER.finditer(text)]
    words = _words(text, language, analyzer)
    terms = frozenset(term for word in words for term in word.terms)
    return _Text(
        text.lower(), words, terms, list(_numbers(text, language, analyzer)), exact, _initials(words)
    )


def _words(text: str, language: str, analyzer: Analyzer) -> Sequence[_Word]:
    places: dict[tuple[int, int], set[str]] = {}
    for token in analyzer.tokens(text, language):
        places.setdefault((token.start, token.end), set()).add(token.term)
    stop = STOPWORDS.get(language or "en", frozenset())
    found: list[_Word] = []
    capitals = [text[start].isupper() and text[start:end].lower() not in stop for start, end in places]
    for place, ((start, end), terms) in enumerate(places.items()):
        word = text[start:end]
        acronym = len(word) > 1 and word.isupper()
        content = word.lower() not in stop or acronym
        name = capitals[place] and _BEGINS.search(text[max(start - 8, 0) : start]) is None
        if language == "de":
            # An ordinary noun has a capital letter too. Beside another such word, it is probably a name.
            name = name and any(capitals[max(place - 1, 0) : place] + capitals[place + 1 : place + 2])
        found.append(
            _Word(word.lower(), frozenset(terms), name or acronym, content and not word[0].isdigit())
        )
    return found


def _initials(words: Sequence[_Word]) -> frozenset[str]:
    found, run = set[str](), ""
    for word in words:
        run = run + word.text[0] if word.name else ""
        found.update(run[-size:] for size in range(2, len(run) + 1))
    return frozenset(found)


def _numbers(text: str, language: str, analyzer: Analyzer) -> Iterator[_Number]:
    masked = _IDENTIFIER.sub(lambda one: "_" * len(one.group()), text)
    stop = STOPWORDS.get(language or "en", frozenset())
    for one in _NUMBER.finditer(masked):
        said = (one["sign"] or one["unit"] or "").strip(" -\u00a0\u202f").lower()
        terms = analyzer.terms(said, language) if said not in stop else ()
        unit = next(iter(terms), said if said not in stop else "")
        after = analyzer.terms(text[one.end("digits") : one.end("digits") + 40], language)[:3]
        yield _Number(_values(one["digits"], language), unit, frozenset((*after, *filter(None, [unit]))))


_POINT: Final = frozenset({"en", "zh", "ja", "ko", "he", "th", "hi"})
"""The languages that write a point before a fraction; the others of those that are detected write a comma."""


def _values(digits: str, language: str) -> frozenset[str]:
    """The number in each way in which it can be read: 1,000 is one thousand in English, 1 in German, and only itself if the language is not known."""
    bare = _GROUPS.sub("", digits)
    found = {bare, *_GROUPS.split(digits)} if bare != digits else {bare}
    marks = [mark for mark in bare if mark in ".,"]
    if marks:
        whole, part = bare[: bare.rfind(marks[-1])], bare[bare.rfind(marks[-1]) + 1 :]
        if len(marks) > 1 and len(set(marks)) == 1:
            found.add(bare.replace(marks[0], ""))
        elif len(marks) > 1 or len(part) != 3 or whole == "0" or len(whole) > 3:
            found.add(f"{re.sub('[.,]', '', whole)}.{part}")
        elif language:
            point = "." if language in _POINT else ","
            found.add(f"{whole}.{part}" if marks[0] == point else whole + part)
    return frozenset(_shortest(one) for one in found)


def _shortest(number: str) -> str:
    if "." in number and "," not in number:
        number = number.rstrip("0").rstrip(".")
    return number.lstrip("0") or "0"


def _pieces(passage: PromptPassage, analyzer: Analyzer) -> Sequence[_Piece]:
    """The pieces of a passage that a prompt shows, without those that give instructions to an assistant."""
    found, language = passage.found, passage.found.language
    data, offset = passage.text.encode(), passage.source.start
    parts = PassageParts(found)
    instructing = [
        (offset + len(passage.text[:start].encode()), offset + len(passage.text[:end].encode()))
        for start, end in instructing_spans(passage.text)
    ]
    title = _read(" ; ".join((found.passage.title, *found.passage.headings)), language, analyzer)
    above = [title]
    made: list[_Piece] = []
    for place, piece in enumerate(found.pieces):
        source = piece.source
        if not passage.source.start <= source.start <= source.end <= passage.source.end:
            continue
        text = data[source.start - offset : source.end - offset].decode()
        read = _read(text, language, analyzer)
        if piece.kind is VectorKind.HEADING:
            above = [title, read]
        elif not any(start < source.end and source.start < end for start, end in instructing):
            columns = parts.header(place) if piece.kind is VectorKind.ROW else ()
            header = [_read(" ; ".join(columns), language, analyzer)] if columns else []
            made.append(_Piece(piece, text, read, [*above, *header]))
    return made
