"""Finds what differs in form between a sentence and the text that it cites: quantities, names and denials. Pure functions.

A difference decides nothing. It may be right, as a sum is, and a sentence without one may be wrong (ADR 0131).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple, cast

from responsa_contract import DifferenceKind
from responsa_formats.text.inline import STRUCK
from responsa_formats.text.languages import STOPWORDS
from responsa_server.text.lexical import Analyzer
from responsa_server.text.quantities import MEASURES, Quantity, quantities

Span = tuple[int, int]
_MOST_WORDS: Final = 300
"""The most words of a text that are compared."""
_MOST_INITIALS: Final = 6
_QUOTED: Final = re.compile(
    r"(?<!`)`++([^`\n]{1,300})`++|“([^“”\n]{1,300})”|„([^„“”\n]{1,300})[“”]|«([^«»\n]{1,300})»|\"([^\"\n]{1,300})\""
)
_IDENTIFIER: Final = re.compile(
    r"https?://[^\s)\]>\"'”`]{1,500}(?<![.,;:!?])|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}"
    r"|(?<![\w/.])(?:~|\.{1,2})?(?:/[\w.@-]{0,64}\w){1,20}/?|\b\w[\w.-]{0,64}(?:/[\w.-]{0,64}\w){2,20}|(?<![\w-])--[A-Za-z][\w-]{0,64}"
    r"|\b(?=[\w.:]{0,64}[^\W\d_])\w{2,64}(?:(?:\.|::)\w{2,64}){1,20}\b|\b\w{0,64}[^\W_]_\w{1,64}\b"
    r"|\b[a-z]{1,64}[A-Z]\w{0,64}|\b[^\W\d_]{1,64}\d\w{0,64}"
)
"""Addresses, paths, options, and words with a point, an underscore, a capital letter or a figure within."""
_BEGINS: Final = re.compile(r"(?:^|[.!?:;•–—\n|)]|\A(?:Yes|No|Ja|Nein),)\s*[\"“„'‘(*\[]*$")
_MARKUP: Final = re.compile(r"\]\([^()\s]{0,1000}\)|</?[A-Za-z][^<>]{0,300}>|(?<!\w)_+|_+(?!\w)|[*`\[\]]")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_CLAUSE_ENDS: Final = re.compile(r"[,;:.()–—]|\b(?:and|but|und|aber|sondern)\b")
_DENIED_SHARE: Final = 0.5
"""The share of the words of what one side denies that stand on the other side; more of a source's, which has more to say."""
_FIGURES: Final = re.compile(r"\d+(?:[.,]\d+)*")


class SentenceDifference(NamedTuple):
    """What differs. said: the characters of the sentence. source: the number of the text that has something else
    instead, and its characters there; None if no text has."""

    kind: DifferenceKind
    said: Span
    source: tuple[int, Span] | None = None


@dataclass(frozen=True, slots=True)
class CitedText:
    """A text that a sentence cites, with Markdown. quote: the characters that are quoted. around: the sentences or rows
    around them, and what explains these. copied: whether the sentence's author has copied the quote."""

    text: str
    language: str
    quote: Span
    around: Sequence[Span]
    copied: bool


class _Word(NamedTuple):
    """A word. terms: its term and, if it is a compound, those of its parts. name: whether it is a name by its form."""

    text: str
    span: Span
    terms: frozenset[str]
    name: bool


def find_differences(
    sentence: str, language: str, cited: Sequence[CitedText], above: str, analyzer: Analyzer
) -> Sequence[SentenceDifference]:
    """What a sentence says in another form than all the texts together that it cites, in the order of the sentence.

    language: ISO 639-1, that of the sentence. above: the titles and the headings above the quotes.
    """
    bare = _blank(sentence)
    numbers = quantities(bare, language, analyzer)
    differences = [
        *_compare_quantities(numbers, cited, above, language, analyzer),
        *_compare_names(sentence, bare, language, [item.span for item in numbers], cited, above, analyzer),
        *_compare_denials(
            bare, language, {number: text for number, text in enumerate(cited) if text.copied}, analyzer
        ),
    ]
    return sorted(differences, key=lambda difference: difference.said)


def _blank(text: str) -> str:
    """The text with spaces in place of its markup, and of what is struck, so that each character keeps its place."""
    for pattern in (STRUCK, _MARKUP):
        text = pattern.sub(lambda match: " " * len(match.group()), text)
    return text


def _list_parts(cited: CitedText) -> Iterator[tuple[int, str]]:
    """What is compared with a sentence: the place of each part, and its text. The quote comes first."""
    for start, end in (cited.quote, *cited.around):
        yield start, _blank(cited.text[start:end])


def _compare_quantities(
    numbers: Sequence[Quantity], cited: Sequence[CitedText], above: str, language: str, analyzer: Analyzer
) -> Iterator[SentenceDifference]:
    if not numbers:
        return
    stated = [
        (number, offset, quantity)
        for number, text in enumerate(cited)
        for offset, part in _list_parts(text)
        for quantity in quantities(part, text.language, analyzer)
    ]
    known = [quantity for *_, quantity in stated]
    figures = {value for quantity in known for value in quantity.values}
    figures.update(
        figure for text in cited for _, part in _list_parts(text) for figure in _FIGURES.findall(part)
    )
    headed = [item for item in quantities(above, language, analyzer) if item.kind == "date" or not item.unit]
    for quantity in numbers:
        if quantity.is_in(known) or (not quantity.weak and not quantity.unit and quantity.is_in(headed)):
            continue
        if quantity.kind == "number" and not quantity.sizes and not figures.isdisjoint(quantity.values):
            continue  # without a unit of measure, a number may count the same things by another word
        others = (
            (number, (offset + other.span[0], offset + other.span[1]))
            for number, offset, other in stated
            if quantity.is_like(other) and not other.is_in(numbers)
        )
        yield SentenceDifference(DifferenceKind.QUANTITY, quantity.span, next(others, None))


def _compare_names(
    sentence: str,
    bare: str,
    language: str,
    counted: Sequence[Span],
    cited: Sequence[CitedText],
    above: str,
    analyzer: Analyzer,
) -> Iterator[SentenceDifference]:
    parts = [
        above,
        *(
            f"{part}\n{text.text[offset : offset + len(part)]}"
            for text in cited
            for offset, part in _list_parts(text)
        ),
    ]
    texts = "\n".join(parts)
    terms = {
        term
        for part_language in {language, *(text.language for text in cited)}
        for term in analyzer.terms(texts, part_language)
    }
    wanting = [
        span
        for span in _find_exact(sentence, bare)
        if not re.search(rf"(?<!\w){re.escape(sentence[slice(*span)])}(?!\w)", texts, re.IGNORECASE)
    ]
    wanting += [
        word.span
        for word in _list_words(bare, language, analyzer)[:_MOST_WORDS]
        if word.name
        and not any(start < word.span[1] and word.span[0] < end for start, end in counted)
        and word.terms.isdisjoint(terms)
        and word.text not in terms
        and word.text not in MEASURES
        and not _abbreviates(word.text, texts)
    ]
    for span in _join(sorted(wanting), bare):
        yield SentenceDifference(DifferenceKind.NAME, span)


def _join(spans: Sequence[Span], text: str) -> Iterator[Span]:
    """The same characters, with neighbours in one span: a name of several words is one difference."""
    joined: Span | None = None
    for start, end in spans:
        if joined is not None and not text[joined[1] : start].strip():
            joined = (joined[0], max(joined[1], end))
            continue
        if joined is not None:
            yield joined
        joined = (start, end)
    if joined is not None:
        yield joined


def _find_exact(text: str, bare: str) -> Iterator[Span]:
    """What is code, quoted, or an identifier."""
    for match in _QUOTED.finditer(text):
        group = next(number for number, part in enumerate(match.groups(), 1) if part)
        start = match.start(group)
        if match.group().startswith("`"):
            yield from (
                (start + word.start(), start + word.end()) for word in re.finditer(r"\S+", match[group])
            )
        else:
            yield start, start + len(match[group].rstrip(".,"))
    yield from (match.span() for match in _IDENTIFIER.finditer(bare))


def _abbreviates(word: str, text: str) -> bool:
    """Whether a short word consists of the initials of successive words with a capital letter, as EU does."""
    if not 1 < len(word) < _MOST_INITIALS:
        return False
    spelled = re.compile(
        r"\b" + r"[\s-]".join(rf"{re.escape(letter.upper())}[^\W\d_]{{1,40}}" for letter in word)
    )
    return spelled.search(text) is not None


def _list_words(text: str, language: str, analyzer: Analyzer) -> Sequence[_Word]:
    places: dict[Span, set[str]] = {}
    for token in analyzer.tokens(text, language):
        places.setdefault((token.start, token.end), set()).add(token.term)
    stop = STOPWORDS.get(language or "en", frozenset())
    capitals = [text[start].isupper() and text[start:end].lower() not in stop for start, end in places]
    words: list[_Word] = []
    for index, ((start, end), terms) in enumerate(places.items()):
        word = text[start:end]
        name = capitals[index] and _BEGINS.search(text[max(start - 8, 0) : start]) is None
        if language == "de":
            # An ordinary noun has a capital letter too. Beside another such word, it is probably a name.
            name = name and any(capitals[max(index - 1, 0) : index] + capitals[index + 1 : index + 2])
        acronym = len(word) > 1 and word.isupper() and not word[0].isdigit()
        words.append(_Word(word.lower(), (start, end), frozenset(terms), name or acronym))
    return words


def _compare_denials(
    sentence: str, language: str, copied: Mapping[int, CitedText], analyzer: Analyzer
) -> Iterator[SentenceDifference]:
    """A denial of what the other side says: most words of what it denies stand there. Of a sentence in other words, the
    form says nothing."""
    forms = _read_forms()
    if not copied or language not in forms or any(text.language not in forms for text in copied.values()):
        return
    denial = _find_denial(sentence, language)
    if denial is not None:
        parts = [(part, text.language) for text in copied.values() for _, part in _list_parts(text)]
        denied = _find_denied(sentence, denial, (0, len(sentence)), language, analyzer)
        if _share(denied, parts, analyzer) >= _DENIED_SHARE and not any(
            _find_denial(*part) for part in parts
        ):
            yield SentenceDifference(DifferenceKind.DENIAL, denial)
        return
    places: list[tuple[int, Span]] = []
    for number, text in copied.items():
        start, end = _find_clause(text)
        quoted = _blank(text.text[start:end])
        copies = (text.quote[0] - start, text.quote[1] - start)
        words = (
            word
            for word in _find_denials(quoted, text.language)
            if _share(
                _find_denied(quoted, word, copies, text.language, analyzer), [(sentence, language)], analyzer
            )
            > _DENIED_SHARE
        )
        if (word := next(words, None)) is None:
            return  # what the sentence affirms
        places.append((number, (start + word[0], start + word[1])))
    yield SentenceDifference(DifferenceKind.DENIAL, (0, len(sentence)), places[0])


def _find_clause(cited: CitedText) -> Span:
    """The quote with the rest of its clause: a word that denies it may stand before it."""
    first = cited.quote[0]
    within = next(((start, end) for start, end in cited.around if start <= first < end), cited.quote)
    return _extend(cited.text, cited.quote, within)


def _extend(text: str, span: Span, within: Span) -> Span:
    """A range with the rest of its clause."""
    (first, last), start, end = span, min(within[0], span[0]), max(within[1], span[1])
    before = [match.end() for match in _CLAUSE_ENDS.finditer(text, start, first)]
    after = _CLAUSE_ENDS.search(text, last, end)
    return max([start, *before]), after.start() if after else end


def _find_denied(text: str, word: Span, within: Span, language: str, analyzer: Analyzer) -> set[str]:
    """The terms of what a word denies: what follows in its clause and within a range, or in its clause, or else the whole
    clause."""
    start, end = _extend(text, word, (0, len(text)))
    ranges = ((max(word[1], within[0]), min(end, within[1])), (word[1], end), (start, end))
    return next(
        filter(None, (_list_terms(text[slice(*span)], language, analyzer) for span in ranges)), set[str]()
    )


def _share(words: set[str], parts: Sequence[tuple[str, str]], analyzer: Analyzer) -> float:
    """The share of these terms that stand in the texts. Each text comes with its language."""
    texts = {term for part in parts for term in _list_terms(*part, analyzer)}
    return len(words & texts) / max(len(words), 1)


def _list_terms(text: str, language: str, analyzer: Analyzer) -> set[str]:
    """The terms of a text without function words and words that deny."""
    left_out = STOPWORDS.get(language, frozenset()) | _read_forms()[language][0]
    return {
        token.term
        for token in analyzer.tokens(text, language)
        if text[token.start : token.end].lower() not in left_out
    }


def _find_denial(text: str, language: str) -> Span | None:
    """The first word that denies something. A second denial seldom takes back the first: “do not and cannot”."""
    return next(_find_denials(text, language), None)


def _find_denials(text: str, language: str) -> Iterator[Span]:
    negations, affirmed = _read_forms()[language]
    text = affirmed.sub(lambda match: " " * len(match.group()), text.lower().replace("’", "'"))
    return (match.span() for match in _WORD.finditer(text) if match.group() in negations)


@cache
def _read_forms() -> Mapping[str, tuple[frozenset[str], re.Pattern[str]]]:
    """The words that deny, and the phrases that have such a word and deny nothing, by language."""
    text = (files("responsa_server.search") / "denials.toml").read_text("utf-8")
    table = cast("dict[str, dict[str, list[str]]]", tomllib.loads(text))
    return {
        language: (
            frozenset(words["negations"]),
            re.compile("|".join(_make_pattern(phrase) for phrase in words["affirmed"])),
        )
        for language, words in table.items()
    }


def _make_pattern(phrase: str) -> str:
    # “Yes,” and “No,” answer the question; only at the beginning.
    return (
        rf"\A\W*{re.escape(phrase[:-1])}\s?(?:[,.:;–—]|-\s)"
        if phrase.endswith(",")
        else rf"\b{re.escape(phrase)}\b"
    )
