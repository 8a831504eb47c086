"""Decides whether a passage supports a sentence of a model's answer that cites it. Pure functions; no model is asked.

What must not be invented has to stand in the passage: every number with its unit, every name, every identifier and every quoted string. Enough of the other words
must stand together, in one piece of the passage or in neighbouring ones. Between two languages, only names, numbers and identifiers can decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from responsa_server.domain.answers import CitedSentence, Quote
from responsa_server.domain.passages import PassagePiece, VectorKind
from responsa_server.search.parts import PassageParts
from responsa_server.search.prompt_passages import PromptPassage
from responsa_server.text.instructing import instructing_spans, without_instructions
from responsa_server.text.lexical import STOPWORDS, UNKNOWN, Analyzer, is_doubtful, language_of
from responsa_server.text.sentences import plain

LEAST_SHARE: Final = 0.3
"""The least share (0 to 1) of a claim's words that stand together. A word in another piece of the passage counts half, and less than nothing if it replaces a word."""
_ELSEWHERE: Final = 0.5
_REPLACES: Final = -0.5
_TOGETHER: Final = 2
_LISTED: Final = 4
"""The most neighbouring pieces that are read together: sentences or rows, and items, which one sentence often sums up."""
_COMPARED: Final = 3
_MOST_WORDS: Final = 300
"""The most words of a text that are compared one by one, because the time grows with their square."""
_LEAST_STEM: Final = 4
_MOST_INITIALS: Final = 6
_POINT: Final = frozenset({"en", "zh", "ja", "ko", "he", "th", "hi"})
"""The languages that write a point before a fraction; the others of those that are detected write a comma."""
_EXACT: Final = re.compile(
    r"(?<!`)`++([^`\n]{1,300})`++|“([^“”\n]{1,300})”|„([^„“”\n]{1,300})[“”]|«([^«»\n]{1,300})»|\"([^\"\n]{1,300})\""
)
_IDENTIFIER: Final = re.compile(
    r"https?://[^\s)\]>\"'”`]{1,500}(?<![.,;:!?])|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}"
    r"|(?<![\w/.])(?:~|\.{1,2})?(?:/[\w.@-]{0,64}\w){1,20}/?|\b\w[\w.-]{0,64}(?:/[\w.-]{0,64}\w){2,20}|(?<![\w-])--[A-Za-z][\w-]{0,64}"
    r"|\b(?=[\w.:]{0,64}[^\W\d_])\w{2,64}(?:(?:\.|::)\w{2,64}){1,20}\b|\b\w{0,64}[^\W_]_\w{1,64}\b|\b[a-z]{1,64}[A-Z]\w{0,64}|\b[^\W\d_]{1,64}\d\w{0,64}"
)
"""Addresses, paths, options, and words with a point, an underscore, a capital letter or a figure within."""
_NUMBER: Final = re.compile(
    r"(?<![\w.])(?P<sign>[$€£¥]\s?)?(?P<digits>\d{1,3}(?:[.,'’\u00a0\u2009\u202f ]\d{3}(?!\d))+(?:[.,]\d+)?|\d+(?:[.,]\d+)?)"
    r"(?P<unit>[\s-]{0,8}(?:%|°\w?|[$€£¥]|[^\W\d_]+))?"
)
_NAMED: Final = re.compile(r"\b[A-Z][^\Wa-z]*+[a-z]\w*+ $")
_BEGINS: Final = re.compile(r"(?:^|[.!?:;•\n|)])\s*[\"“„'‘(*\[]*$")
_GROUPS: Final = re.compile(r"['’\s]")


@dataclass(frozen=True, slots=True)
class _Supported:
    """The piece that supports a claim best. text: its bytes, decoded. score: the share (0 to 1) of the claim's words that stand there."""

    piece: PassagePiece
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a text. text: in lower case. terms: its term and, if it is a compound, those of its parts. content: whether it is neither a function word nor a number."""

    text: str
    terms: frozenset[str]
    name: bool
    content: bool


@dataclass(frozen=True, slots=True)
class _Number:
    """values: the number, in each way in which its notation can be read. unit: the sign before it, or the word or sign after it; or ''. near: the unit, and the terms of the next words."""

    values: frozenset[str]
    unit: str
    near: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that was read. said: without markup, and as it is. exact: its identifiers and quoted strings."""

    said: str
    words: Sequence[_Word]
    terms: frozenset[str]
    numbers: Sequence[_Number]
    exact: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of a passage. above: the title, the headings and, for a row, the names of the columns."""

    piece: PassagePiece
    text: str
    read: _Text
    above: Sequence[_Text]


def judge_claims(
    claims: Sequence[CitedSentence], passages: Sequence[PromptPassage], analyzer: Analyzer
) -> Sequence[Quote | None]:
    """For each claim, a quote of the piece that supports the claim; None if the passage that the claim names does not exist, or does not support it."""
    # The language is detected for all claims together, because the language of a single sentence is often unknown.
    text = " ".join(claim.text for claim in claims)
    language = UNKNOWN if is_doubtful(text) else language_of(text)
    read: dict[int, Sequence[_Piece]] = {}
    quotes: list[Quote | None] = []
    for claim in claims:
        quotes.append(None)
        if 1 <= claim.passage <= len(passages):
            passage = passages[claim.passage - 1]
            if claim.passage not in read:
                read[claim.passage] = _pieces(passage, analyzer)
            there = passage.found.language
            found = _supported(claim.text, language, there, read[claim.passage], analyzer)
            if found is not None:
                quotes[-1] = Quote(passage.found.passage, found.piece.source, found.text, found.score)
    return quotes


def _supported(
    text: str, language: str, there: str, pieces: Sequence[_Piece], analyzer: Analyzer
) -> _Supported | None:
    foreign = UNKNOWN not in (language, there) and language != there
    claim = _read(text, language if foreign else there, analyzer)
    everything = [one for piece in pieces for one in (piece.read, *piece.above)]
    if not claim.words or not all(_said(one, everything) for one in claim.exact):
        return None
    content = [word for word in claim.words if word.content]
    parts = {
        (first, last): _count(content, _terms(one.read for one in pieces[first:last]))
        for first in range(len(pieces))
        for last in range(first + 1, min(first + _most(pieces[first]), len(pieces)) + 1)
    }
    best: _Supported | None = None
    # Of two parts with nearly the same words, the shorter one is compared first.
    for first, last in sorted(parts, key=lambda part: (part[1] - part[0] - 4 * parts[part], part))[
        :_COMPARED
    ]:
        part = pieces[first:last]
        texts = [one for piece in part for one in (piece.read, *piece.above)]
        numbers = [number for one in texts for number in one.numbers]
        if not all(_counted(number, numbers) for number in claim.numbers):
            continue
        score = _foreign_share(claim, texts) if foreign else _share(claim, part, texts, everything)
        if score >= LEAST_SHARE and (best is None or score > best.score):
            main = max(part, key=lambda one: _count(content, one.read.terms))
            best = _Supported(main.piece, main.text, score)
    return best


def _most(first: _Piece) -> int:
    return _LISTED if first.piece.kind is VectorKind.ITEM else _TOGETHER


def _share(
    claim: _Text, part: Sequence[_Piece], texts: Sequence[_Text], everything: Sequence[_Text]
) -> float:
    """The share of the claim's words that stand in a part of a passage; 0 if a name is missing, or replaces another word."""
    terms, all_terms = _terms(texts), _terms(everything)
    replacing = _replacing(claim.words, [word for piece in part for word in piece.read.words])
    total = counted = 0.0
    for place, word in enumerate(claim.words):
        if not word.content:
            continue
        total += 1
        if _stands(word, terms) or (word.name and _abbreviates(word.text, everything)):
            counted += 1
        elif word.name and (place in replacing or not _stands(word, all_terms)):
            return 0.0
        elif _stands(word, all_terms):
            counted += _REPLACES if place in replacing else _ELSEWHERE
    return counted / total if total else 1.0


def _foreign_share(claim: _Text, texts: Sequence[_Text]) -> float:
    """1 if the names stand in texts of another language, and at least one word, number or identifier does; otherwise 0."""
    terms = _terms(texts)
    shared = (
        claim.numbers or claim.exact or any(word.content and _stands(word, terms) for word in claim.words)
    )
    return float(bool(shared) and all(_stands(word, terms) for word in claim.words if word.name))


def _replacing(claim: Sequence[_Word], part: Sequence[_Word]) -> frozenset[int]:
    """The places of the claim's words that stand where the part has another word."""
    part = part[:_MOST_WORDS]
    matcher = SequenceMatcher(None, [one.text for one in part], [one.text for one in claim], autojunk=False)
    return frozenset(
        place
        for kind, start, end, first, last in matcher.get_opcodes()
        if kind == "replace" and any(word.content for word in part[start:end])
        for place in range(first, last)
        if not any(_stands(claim[place], word.terms) for word in part[start:end])
    )


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
    return same >= max(min(_LEAST_STEM + 1, longest - 1), 0.6 * longest)


def _abbreviates(word: str, texts: Sequence[_Text]) -> bool:
    """Whether a short word consists of the initials of successive words with a capital letter, as EU does."""
    if not 1 < len(word) < _MOST_INITIALS:
        return False
    spelled = re.compile(
        r"\b" + r"[\s-]".join(rf"{re.escape(letter.upper())}[^\W\d_]{{1,40}}" for letter in word)
    )
    return any(spelled.search(text.said) for text in texts)


def _count(words: Sequence[_Word], terms: frozenset[str]) -> int:
    return sum(_stands(word, terms) for word in words)


def _terms(texts: Iterator[_Text] | Sequence[_Text]) -> frozenset[str]:
    return frozenset[str]().union(*(text.terms for text in texts))


def _said(exact: str, texts: Sequence[_Text]) -> bool:
    whole = re.compile(rf"(?<!\w){re.escape(exact)}(?!\w)", re.IGNORECASE)
    return any(whole.search(text.said) for text in texts)


def _counted(number: _Number, numbers: Sequence[_Number]) -> bool:
    """Whether a number is among numbers, and not only with another unit."""
    same = [one for one in numbers if not number.values.isdisjoint(one.values)]
    return any(not number.unit or not one.near or number.unit in one.near for one in same)


def _read(text: str, language: str, analyzer: Analyzer) -> _Text:
    exact: list[str] = []
    for match in _EXACT.finditer(text):
        quoted = next(group for group in match.groups() if group)
        exact += quoted.split() if match.group().startswith("`") else [plain(quoted).rstrip(".,")]
    original, text = text, plain(text)
    exact += [match.group() for match in _IDENTIFIER.finditer(text)]
    words = _words(text, language, analyzer)[:_MOST_WORDS]
    terms = frozenset(term for word in words for term in word.terms)
    return _Text(f"{text}\n{original}", words, terms, list(_numbers(text, language, analyzer)), exact)


def _words(text: str, language: str, analyzer: Analyzer) -> Sequence[_Word]:
    places: dict[tuple[int, int], set[str]] = {}
    for token in analyzer.tokens(text, language):
        places.setdefault((token.start, token.end), set()).add(token.term)
    stop = STOPWORDS.get(language or "en", frozenset())
    capitals = [text[start].isupper() and text[start:end].lower() not in stop for start, end in places]
    found: list[_Word] = []
    for place, ((start, end), terms) in enumerate(places.items()):
        word = text[start:end]
        acronym = len(word) > 1 and word.isupper()
        content = (acronym or word.lower() not in stop) and not word[0].isdigit()
        name = capitals[place] and _BEGINS.search(text[max(start - 8, 0) : start]) is None
        if language == "de":
            # An ordinary noun has a capital letter too. Beside another such word, it is probably a name.
            name = name and any(capitals[max(place - 1, 0) : place] + capitals[place + 1 : place + 2])
        found.append(_Word(word.lower(), frozenset(terms), name or acronym, content))
    return found


def _numbers(text: str, language: str, analyzer: Analyzer) -> Iterator[_Number]:
    stop = STOPWORDS.get(language or "en", frozenset())
    masked = _IDENTIFIER.sub(lambda one: "_" * len(one.group()), text)
    for match in _NUMBER.finditer(masked):
        # The figure of "Wren 2" counts nothing, so that no unit follows it.
        counts = _NAMED.search(text[max(match.start() - 40, 0) : match.start()]) is None
        said = (match["sign"] or (counts and match["unit"]) or "").strip(" -\u00a0\u202f").lower()
        unit = "" if said in stop else next(iter(analyzer.terms(said, language)), said)
        after = analyzer.terms(text[match.end("digits") : match.end("digits") + 40], language)[:3]
        yield _Number(_values(match["digits"], language), unit, frozenset((*after, *filter(None, [unit]))))


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
    titles = map(without_instructions, (found.passage.title, *found.passage.headings))
    title = _read(" ; ".join(titles), language, analyzer)
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
            if columns is None:
                continue  # the header itself
            header = [_read(" ; ".join(columns), language, analyzer)] if columns else []
            made.append(_Piece(piece, text, read, [*above, *header]))
    return made
