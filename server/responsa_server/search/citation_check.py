"""Decides what of a sentence that cites a passage can be decided without understanding. Pure functions; no model is asked.

A sentence is *quoted* if the words that its mark copies stand in the passage, and the sentence says nothing else in
form: each name, identifier and quoted string stands in these words or above them, enough of its other words do, and
nothing in `contradicting.py` speaks against it. Everything else is unconfirmed, unless a model that judges is asked and
nothing in `contradicting.py` speaks against it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.domain.answers import CheckedClaim, CitedSentence, Quote
from responsa_server.domain.events import ByteRange
from responsa_server.search.contradicting import contradicts
from responsa_server.search.prompt_passages import PromptPassage
from responsa_server.search.quoting import Quotable
from responsa_server.text.instructing import without_instructions
from responsa_server.text.lexical import STOPWORDS, UNKNOWN, Analyzer, is_doubtful, language_of
from responsa_server.text.quantities import MEASURES
from responsa_server.text.sentences import plain

LEAST_SHARE: Final = 0.3
"""The least share (0 to 1) of a sentence's words that stand in its quote, or in the title or the headings above it."""
_MOST_WORDS: Final = 300
"""The most words of a text that are compared."""
_MOST_INITIALS: Final = 6
_EXACT: Final = re.compile(
    r"(?<!`)`++([^`\n]{1,300})`++|“([^“”\n]{1,300})”|„([^„“”\n]{1,300})[“”]|«([^«»\n]{1,300})»|\"([^\"\n]{1,300})\""
)
_IDENTIFIER: Final = re.compile(
    r"https?://[^\s)\]>\"'”`]{1,500}(?<![.,;:!?])|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}"
    r"|(?<![\w/.])(?:~|\.{1,2})?(?:/[\w.@-]{0,64}\w){1,20}/?|\b\w[\w.-]{0,64}(?:/[\w.-]{0,64}\w){2,20}|(?<![\w-])--[A-Za-z][\w-]{0,64}"
    r"|\b(?=[\w.:]{0,64}[^\W\d_])\w{2,64}(?:(?:\.|::)\w{2,64}){1,20}\b|\b\w{0,64}[^\W_]_\w{1,64}\b"
    r"|\b[a-z]{1,64}[A-Z]\w{0,64}|\b[^\W\d_]{1,64}\d\w{0,64}"
)
"""Addresses, paths, options, and words with a point, an underscore, a capital letter or a figure within."""
_BEGINS: Final = re.compile(r"(?:^|[.!?:;•\n|)])\s*[\"“„'‘(*\[]*$")


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a text. text: in lower case. terms: its term and, if it is a compound, those of its parts. content:
    whether it is neither a function word nor a number."""

    text: str
    terms: frozenset[str]
    name: bool
    content: bool


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that was read. said: without markup, and as it is. exact: its identifiers and quoted strings."""

    said: str
    words: Sequence[_Word]
    terms: frozenset[str]
    exact: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Source:
    """A passage that sentences may cite. above: the title and the headings above a place of its text, in characters."""

    passage: PromptPassage
    text: Quotable
    instructing: Sequence[tuple[int, int]]

    def above(self, place: int) -> str:
        # The passage's outline says what stands above a place of the canonical text.
        start = self.passage.source.start + len(self.passage.text[:place].encode())
        path = self.passage.found.passage.path_at(start)
        return " ; ".join(map(without_instructions, (self.passage.found.passage.title, *path)))


def check_claims(
    claims: Sequence[CitedSentence],
    passages: Sequence[PromptPassage],
    analyzer: Analyzer,
    *,
    whole: bool = False,
) -> Sequence[CheckedClaim]:
    """What each claim quotes, and whether the words of the quote hold what it says. passages: those that the prompt
    showed, which claims name by their positions, from 1. whole: whether a claim that copies no words quotes its whole
    passage, if that has no instructions to machines.
    """
    # The language is detected for all claims together, because the language of a single sentence is often unknown.
    text = " ".join(claim.text for claim in claims)
    language = UNKNOWN if is_doubtful(text) else language_of(text)
    sources: dict[int, _Source] = {}
    checked: list[CheckedClaim] = []
    for claim in claims:
        if not 1 <= claim.passage <= len(passages):
            checked.append(CheckedClaim())
            continue
        if claim.passage not in sources:
            passage = passages[claim.passage - 1]
            sources[claim.passage] = _Source(passage, Quotable(passage.text), passage.instructing)
        checked.append(_checked(claim, language, sources[claim.passage], analyzer, whole=whole))
    return checked


def _checked(
    claim: CitedSentence, language: str, source: _Source, analyzer: Analyzer, *, whole: bool
) -> CheckedClaim:
    passage, passage_language = source.passage, source.passage.found.language
    said = plain(claim.text)
    span = source.text.find(claim.quote or said)
    if span is not None and any(start < span[1] and span[0] < end for start, end in source.instructing):
        return CheckedClaim(passage.found.passage)
    if span is None and (claim.quote or not whole or source.instructing):
        # Nothing similar takes the place of words that are not there, and no citation quotes an instruction.
        return CheckedClaim(passage.found.passage)
    quote = _quote(passage, *(span or (0, len(passage.text))))
    foreign = UNKNOWN not in (language, passage_language) and language != passage_language
    words = plain(quote.text)
    if contradicts(said, words, UNKNOWN if foreign else passage_language, analyzer, whole=span is None):
        return CheckedClaim(passage.found.passage)
    if span is None:
        return CheckedClaim(passage.found.passage, quote)
    above = source.above(span[0])
    held = _holds(
        claim.text,
        language if foreign else passage_language,
        f"{above} ; {quote.text}",
        passage_language,
        analyzer,
        foreign=foreign,
    )
    return CheckedClaim(passage.found.passage, quote, quoted=held)


def _quote(passage: PromptPassage, start: int, end: int) -> Quote:
    text = passage.text[start:end]
    first = passage.source.start + len(passage.text[:start].encode())
    return Quote(passage.found.passage, ByteRange(first, first + len(text.encode())), text, 1.0)


def _holds(
    claim: str, claim_language: str, quote: str, quote_language: str, analyzer: Analyzer, *, foreign: bool
) -> bool:
    """Whether the names, identifiers and quoted strings of a claim, and enough of its other words, stand in a quote.
    foreign: whether the two are in different languages, so that only names and identifiers can be compared.
    """
    said, source = _read(claim, claim_language, analyzer), _read(quote, quote_language, analyzer)
    if not said.words or not all(_said(exact, source) for exact in said.exact):
        return False
    content = [word for word in said.words if word.content]
    stand = [
        _stands(word, source.terms) or (word.name and _abbreviates(word.text, source)) for word in content
    ]
    if not all(stands for word, stands in zip(content, stand, strict=True) if word.name):
        return False
    return foreign or not content or sum(stand) >= LEAST_SHARE * len(content)


def _stands(word: _Word, terms: frozenset[str]) -> bool:
    """Whether a word stands among terms. Months and units are compared with their numbers."""
    return not word.terms.isdisjoint(terms) or word.text in terms or word.text in MEASURES


def _abbreviates(word: str, text: _Text) -> bool:
    """Whether a short word consists of the initials of successive words with a capital letter, as EU does."""
    if not 1 < len(word) < _MOST_INITIALS:
        return False
    spelled = re.compile(
        r"\b" + r"[\s-]".join(rf"{re.escape(letter.upper())}[^\W\d_]{{1,40}}" for letter in word)
    )
    return spelled.search(text.said) is not None


def _said(exact: str, text: _Text) -> bool:
    whole = re.compile(rf"(?<!\w){re.escape(exact)}(?!\w)", re.IGNORECASE)
    return whole.search(text.said) is not None


def _read(text: str, language: str, analyzer: Analyzer) -> _Text:
    exact: list[str] = []
    for match in _EXACT.finditer(text):
        quoted = next(group for group in match.groups() if group)
        exact += quoted.split() if match.group().startswith("`") else [plain(quoted).rstrip(".,")]
    original, text = text, plain(text)
    exact += [match.group() for match in _IDENTIFIER.finditer(text)]
    words = _words(text, language, analyzer)[:_MOST_WORDS]
    terms = frozenset(term for word in words for term in word.terms)
    return _Text(f"{text}\n{original}", words, terms, exact)


def _words(text: str, language: str, analyzer: Analyzer) -> Sequence[_Word]:
    places: dict[tuple[int, int], set[str]] = {}
    for token in analyzer.tokens(text, language):
        places.setdefault((token.start, token.end), set()).add(token.term)
    stop = STOPWORDS.get(language or "en", frozenset())
    capitals = [text[start].isupper() and text[start:end].lower() not in stop for start, end in places]
    words: list[_Word] = []
    for place, ((start, end), terms) in enumerate(places.items()):
        word = text[start:end]
        acronym = len(word) > 1 and word.isupper()
        content = (acronym or word.lower() not in stop) and not word[0].isdigit()
        name = capitals[place] and _BEGINS.search(text[max(start - 8, 0) : start]) is None
        if language == "de":
            # An ordinary noun has a capital letter too. Beside another such word, it is probably a name.
            name = name and any(capitals[max(place - 1, 0) : place] + capitals[place + 1 : place + 2])
        words.append(_Word(word.lower(), frozenset(terms), name or acronym, content))
    return words
