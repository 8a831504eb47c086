"""Detects the language of a text and splits the text into terms for full-text search.

A term is one of these:

- a stemmed word;
- a pair of characters, in Chinese and Japanese, which do not separate words, and in Korean, which writes particles as
  part of the word before them;
- three characters, in scripts such as Thai's, which do not separate words and have a letter for each sound.

Passages and questions go through the same `Analyzer`. PostgreSQL therefore stores and compares finished terms
(`tsvector`s without a configuration), and it needs neither a dictionary nor a word breaker.

The language is guessed from the script and the most common words, in microseconds and without a model. The guess is
good enough to choose a stemmer, and to detect when an English embedding model must not be used. To distinguish related
languages, the guess needs more than a few words. Language codes are ISO 639-1.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from sys import getsizeof
from typing import Final

from responsa_server.text.compounds import german_parts

UNKNOWN: Final = ""
"""The code of an unknown language: the text is too short, or its language has no row below. Such a text is treated as
English.
"""

_SAMPLE_CHARS: Final = 2000
_ENOUGH_LETTERS: Final = 0.3
"""The share of the letters that shows a script. It is far below 1, because Japanese mixes its kana with Chinese characters,
and any script is mixed with Latin names."""

STOPWORDS: Final[dict[str, frozenset[str]]] = {
    code: frozenset(words.split())
    for code, words in {
        "en": "a about am an and are as at be been but by can could did do does for from had has have he her his how i if in into"
        " is it its me my no not of on or our please she should so some such tell than that the their them then there these they"
        " this those to us want was we were what when where which while who whom whose why will with would you your",
        "es": "a al como con cual cuando cuál cuáles cuándo cuánto cuántos cómo de del dónde el ella en entre era es esta"
        " este fue ha la las le lo los más no o para pero por que quien quién qué se según ser sin sobre su sus también"
        " un una y",
        "de": "als am an auch auf aus bei bis das dass dem den der des die durch ein eine einem einen einer eines er es"
        " für hat hatte ihr im in ist kann mit nach nicht oder sein sich sie sind über um und unter vom von vor wann war"
        " waren warum was welche welchem welcher welches wer werden wie wird wo wurde wurden zu zum zur",
        "fr": "a au aux avec ce cette ces comment dans de des du elle en est et était été il ils la le les leur lui mais"
        " ne ont ou où par pas plus pour pourquoi quand que quel quelle quelles quels qui quoi sa se ses son sont sur un"
        " une",
        "it": "a al alla anche che chi ci come con cosa da dal dalla dei del della delle di dove e è era gli ha i il in la"
        " le lo ma nel nella non o per perché più quale quali quando quanto quanti si sono stato su sua suo un una",
        "pt": "a ao aos as até com como da das de do dos e ela ele em entre era está foi mais mas na nas no nos não o os"
        " ou para pela pelo por qual quais quando quanto quantos que quem se ser seu sua são também um uma onde",
        "nl": "aan als bij dat de der deze die dit door een en er haar het hij hoe hun in is kan maar met naar niet of om"
        " onder ook op over te tot uit van voor waar waarom wanneer waren was wat welke werd wie wordt worden zijn",
        "sv": "av att av de den det efter eller en ett från för ha hade han hon hur i inte är kan med men mot när och om"
        " på sig som till under ut vad var varför vem vid vilka vilken vilket än",
        "da": "af at blev da de den der det efter eller en er et for fra han har havde hun hvad hvem hvilke hvilken hvor"
        " hvordan hvorfor hvornår i ikke med men mod når og om på som til ud under var ved være",
        "no": "av at ble da de den der det etter eller en er et for fra han har hadde hun hva hvem hvilke hvilken hvor"
        " hvordan hvorfor i ikke med men mot når og om på som til ut under var ved være",
        "fi": "että ei ja joka jotka kuin kuka kun mikä milloin miksi mitä missä miten mutta myös ne niin oli olivat on"
        " ovat se sen tai tämä voi",
        "pl": "ale był była co czy dla do gdzie i ich jak jaki jakie jako jest jego już kiedy kto który która które lub na"
        " nie o od po przez przy się są tak to w z za ze",
        "cs": "a aby ale byl byla co do jak jako je jeho jsou kde když který která které kdo na nebo o od po pro při se"
        " v ve z za že",
        "ro": "a ale au care ce când cine cu cum de din este era fost în la lui mai nu o pe pentru prin sau se sunt și"
        " unde un unei unui",
        "tr": "bir bu da daha de en gibi hangi ile için kadar kim mi mı mu nasıl ne neden nerede olan olarak olduğu sonra"
        " ve veya",
        "hu": "a az azt egy ez ezt és hogy hogyan hol is ki kik meg melyik mennyi mi mikor milyen miért nem s vagy van volt",
        "ca": "a al amb com de del els el en entre era és foi la les li més no o on per però qual quan què qui se són un"
        " una va",
        "id": "adalah akan apa atau bagaimana berapa dalam dan dari dengan di itu ini kapan karena ke mana mengapa oleh"
        " pada sebagai siapa telah tidak untuk yang",
    }.items()
}

# The languages are in the order of STOPWORDS, the more common languages first, because the first of two languages with
# equal scores wins. One-letter words do not count, because they occur in most languages with Latin script, and after
# apostrophes.
_EVIDENCE: Final = {
    code: frozenset(word for word in words if len(word) > 1) for code, words in STOPWORDS.items()
}

_SCRIPTS: Final = (
    # Kana must come before Han, because Japanese mixes the two scripts.
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("zh", re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff\u0750-\u077f]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("ta", re.compile(r"[\u0b80-\u0bff]")),
    ("hy", re.compile(r"[\u0530-\u058f]")),
)
_WORD: Final = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> str:
    """Return the code of the main language at the beginning of the text, or UNKNOWN."""
    return _guess(text)[0]


def is_doubtful(text: str) -> bool:
    """Return whether `language_of(text)` is UNKNOWN, or a language other than English that is recognised by only one
    distinct word, however often that occurs. Such a word may be a name, like "Dan", which is Indonesian for "and", or
    English, like "per".
    """
    return _guess(text)[1]


def language_of_document(text: str) -> str:
    """Return the code of the main language at the beginning of a document. A doubtful one is UNKNOWN, unless the text
    has letters that English does not have."""
    found, doubtful = _guess(text)
    return UNKNOWN if doubtful and has_english_letters(text[:_SAMPLE_CHARS]) else found


def has_english_letters(text: str) -> bool:
    """Whether all letters of a text are those of English, so that it may be English even if its language is not known."""
    return all(map(str.isascii, filter(str.isalpha, text)))


def _guess(text: str) -> tuple[str, bool]:
    sample = text[:_SAMPLE_CHARS].lower()
    words = _WORD.findall(sample)
    letters = sum(map(len, words))
    if not letters:
        return UNKNOWN, True
    if not sample.isascii():
        for code, script in _SCRIPTS:
            if len(script.findall(sample)) >= _ENOUGH_LETTERS * letters:
                return code, False
    counts = Counter(words)
    best, best_score = UNKNOWN, (0, 0)
    for code, evidence in _EVIDENCE.items():
        found = evidence & counts.keys()
        # A short text may say one word again and again.
        score = len(found), sum(counts[word] for word in found)
        if score > best_score:
            best, best_score = code, score
    return best, best_score[0] < 2 and best != "en"


MAX_TERM_CHARS: Final = 64
"""The maximum length of a term. Longer runs of characters (keys, base64) are cut, because no question contains them in
full, and because PostgreSQL limits the length of a lexeme.
"""

MAX_QUERY_TERMS: Final = 512
"""The maximum number of distinct terms of a searched string. Further terms of a pasted text would hardly change what is
found, but cost the database and the server's event loop as much as the first ones.
"""

_MOST_PARTS: Final = 32
# The limit of the cached words of one analyzer. It is enough for about 16,000 English words.
_CACHED_BYTES: Final = 4 * 1024 * 1024
# What an entry of a dict takes besides its key and its value.
_ENTRY_BYTES: Final = 100

_STEMMERS: Final = {
    "": "english",
    "en": "english",
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
STEMMED: Final = tuple(code for code in _STEMMERS if code)
"""Languages whose words are stemmed."""

# Python's \w does not match the combining marks that Indic scripts, Thai, Arabic and Hebrew use for vowels.
_MARKS: Final = r"\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e\u200c\u200d"
# Scripts that do not separate words, and Hangul, which is cut up like them (see the beginning of this file).
_UNSPACED: Final = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f\uac00-\ud7a3\u0e01-\u0e4e\u0e80-\u0eff\u1000-\u109f\u1780-\u17d3"
_TOKEN: Final = re.compile(
    rf"(?P<unspaced>[{_UNSPACED}]+)"
    r"|(?P<number>\d+(?:[.,٫٬]\d+)+)"
    r"|(?P<initials>(?<!\w)(?:[A-Za-z]\.){2,})"
    rf"|(?P<word>(?:(?![{_UNSPACED}])[\w{_MARKS}])+)"
)
# The same tokens in texts without the characters of _SLOW, as plain strings. A letter after an apostrophe is a token with the apostrophe.
_FAST_TOKEN: Final = re.compile(
    r"['’](?:"
    r"[A-Za-z](?!\w|\.[A-Za-z]\.)"  # a letter that begins neither a word nor initials
    r"|[^\W\dA-Za-z](?!\w)"  # another letter, which never begins initials
    r"|\d(?!\w|[.,]\d)"  # a digit that begins no longer number
    r")"
    r"|\d+(?:[.,]\d+)+"
    r"|(?<!\w)(?:[A-Za-z]\.){2,}"
    r"|\w+"
)
_SLOW: Final = re.compile(rf"[{_UNSPACED}{_MARKS}\u066b\u066c]")
# Scripts with a letter for each sound, which do not separate words. A pair of letters says little.
_LETTERS: Final = re.compile(r"[\u0e01-\u0eff\u1000-\u109f\u1780-\u17d3]")
_RUN: Final = re.compile(rf"[{_UNSPACED}]{{1,3}}")
_HIRAGANA: Final = re.compile(r"[\u3040-\u309f]+")
_COMPOUND: Final = re.compile(r"\w_\w|[a-z][A-Z]|[A-Z]{2}[a-z]|\d[^\W\d_]|[^\W\d_]\d")
_PARTS: Final = re.compile(r"[^\W\d_]+|\d+")
_PLAIN_DIGITS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", "0123456789" * 2)
_POINTS: Final = str.maketrans("٫٬", ".,")
# In Turkish, the small letter of I has no dot.
_TURKISH: Final = str.maketrans({"I": "ı", "İ": "i"})
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Token:
    """A term of a text, and the characters [start, end) that it stands for."""

    term: str
    start: int
    end: int


@dataclass(slots=True)
class _CacheBudget:
    """The number of bytes that further words of an analyzer may take; negative once one did not fit."""

    left: int = _CACHED_BYTES


class _Words(dict[str, tuple[str, ...]]):
    """The cached terms of the words and numbers of one language. Words that are longer than a term are not cached.

    A dict finds a word several times faster than an `LruCache`, and a text has hundreds of words.
    """

    def __init__(self, language: str, budget: _CacheBudget) -> None:
        super().__init__()
        import Stemmer  # late: who only asks for the language of a text, like the command line, needs no stemmer

        algorithm = _STEMMERS.get(language)
        # Without the stemmer's own cache, whose limit is a number of words.
        self._stemmer = None if algorithm is None else Stemmer.Stemmer(algorithm, 0)
        self._turkish, self._german = language == "tr", language == "de"
        self._budget = budget

    def __missing__(self, word: str) -> tuple[str, ...]:
        terms = _terms_of(_western(word), self._term)
        if self._german and self._stemmer is not None:
            terms = (*terms, *map(self._term, german_parts(word, self._stemmer.stemWord)))
        if len(word) <= MAX_TERM_CHARS:
            self._budget.left -= (
                _ENTRY_BYTES + getsizeof(word) + getsizeof(terms) + sum(map(getsizeof, terms))
            )
            if self._budget.left >= 0:
                self[word] = terms
        return terms

    def _term(self, word: str) -> str:
        word = word[:MAX_TERM_CHARS]
        # Elsewhere, Python's small letter of İ is an i with the dot as a further character.
        lowered = word.translate(_TURKISH).lower() if self._turkish else word.lower().replace("i\u0307", "i")
        # The Arabic stemmer reduces some words to an empty text; then the unstemmed word is used.
        return _folded(self._stemmer.stemWord(lowered) if self._stemmer is not None else lowered) or _folded(
            lowered
        )


class Analyzer:
    """Splits text into terms. Use one analyzer per thread, because the stemmers are not thread-safe."""

    def __init__(self) -> None:
        self._words: dict[str, _Words] = {}
        self._budget = _CacheBudget()

    def tokens(self, text: str, language: str = UNKNOWN) -> list[Token]:
        """Return all terms in order.

        Each part of a compound such as snake_case or camelCase has the character range of the whole compound.
        """
        return list(self._each(text, language))

    def _each(self, text: str, language: str) -> Iterator[Token]:
        for match in _TOKEN.finditer(text):
            start, end = match.span()
            if match.lastgroup == "unspaced":
                for place, pair in _runs(match.group()):
                    yield Token(pair, start + place, start + place + len(pair))
                continue
            for term in self._matched(match, language):
                yield Token(term, start, end)

    def _matched(self, match: re.Match[str], language: str) -> Sequence[str]:
        """Return the terms of one match of _TOKEN. A single letter after an apostrophe has no term.

        match: a match of any group of _TOKEN except `unspaced`.
        """
        word = match.group()
        if len(word) == 1 and (start := match.start()) and match.string[start - 1] in "'’":
            return ()  # such as the s of "Newton's" and the t of "don't"
        return self._cached(language)[word]

    def _cached(self, language: str) -> _Words:
        """Return the cached words of a language. Drops those of all languages if one did not fit."""
        if self._budget.left < 0:
            self._words, self._budget = {}, _CacheBudget()
        known = self._words.get(language)
        if known is None:
            known = self._words[language] = _Words(language, self._budget)
        return known

    def terms(self, text: str, language: str = UNKNOWN) -> Sequence[str]:
        """Return the same terms as `tokens`, without their positions and in much less time."""
        if _SLOW.search(text) is None:
            return list(
                chain.from_iterable(map(self._cached(language).__getitem__, _FAST_TOKEN.findall(text)))
            )
        terms: list[str] = []
        for match in _TOKEN.finditer(text):
            if match.lastgroup == "unspaced":
                terms.extend(pair for _, pair in _runs(match.group()))
            else:
                terms.extend(self._matched(match, language))
        return terms

    def query_terms(self, text: str, language: str = UNKNOWN, without: str | None = None) -> list[str]:
        """Return the distinct terms to search for, in order, at most `MAX_QUERY_TERMS`. Function words are left out,
        unless the text has no other words.

        without: the language whose function words are left out; None is `language`.
        """
        stop = STOPWORDS.get((language if without is None else without) or "en", frozenset())
        content: dict[str, None] = {}
        others: dict[str, None] = {}
        begun, wanted = -1, True
        for token in self._each(text, language):
            # The parts of a compound stand at the same place, and a compound may be as long as the text.
            if token.start != begun:
                begun, word = token.start, text[token.start : token.end]
                # "us" and "it" are function words, but "US" and "IT" in capitals are not.
                wanted = word.lower() not in stop or (len(word) > 1 and word.isupper())
            (content if wanted else others)[token.term] = None
            if len(content) == MAX_QUERY_TERMS:
                break
        return list(content or others)


def _western(word: str) -> str:
    """The word with the digits 0 to 9 and with "." and "," in numbers, whatever digits the script of the text has."""
    if word.isascii() or not any(map(str.isdecimal, word)):
        return word
    return "".join(f"{unicodedata.decimal(char)}" if char.isdecimal() else char for char in word).translate(
        _POINTS
    )


def _terms_of(word: str, term: Callable[[str], str]) -> tuple[str, ...]:
    """Return the term of a word or a number and, if the word is a compound, the terms of its parts."""
    if word[0] in "'’":
        return ()
    if "." in word or "," in word:
        return (
            (word.replace(",", "")[:MAX_TERM_CHARS],)
            if word[0].isdecimal()
            else (word.replace(".", "").lower()[:MAX_TERM_CHARS],)
        )
    return term(word), *_compound(word, term)


def _folded(term: str) -> str:
    """Return the term without Latin, Greek and Cyrillic diacritics, because users leave diacritics out in questions."""
    if term.isascii():
        return term
    decomposed = unicodedata.normalize("NFKD", term)
    if not any("a" <= char <= "z" or "\u0370" <= char <= "\u04ff" for char in decomposed):
        return unicodedata.normalize("NFKC", term)
    return "".join(char for char in decomposed if not "\u0300" <= char <= "\u036f").replace("ı", "i")


def _compound(word: str, term: Callable[[str], str]) -> list[str]:
    """Return the terms of an identifier's first parts, so that "tokens" finds `max_tokens`, "passage" finds
    `getPassage`, and "rope" finds "rope¹"."""
    if not word.isascii():
        word = word.translate(_PLAIN_DIGITS)
    if not _COMPOUND.search(word):
        return []
    pieces = (piece.group() for piece in _PARTS.finditer(word))
    parts = list(islice((part for piece in pieces for part in _CAMEL.split(piece)), _MOST_PARTS))
    if len(parts) < 2:
        return []
    return [term(part) for part in parts if len(part) > 1]


def _runs(text: str) -> Iterator[tuple[int, str]]:
    """Yield the overlapping terms of a text without spaces, pairs or, of letters, triples. A shorter text is a term by itself."""
    size = 3 if _LETTERS.match(text) else 2
    if len(text) <= size:
        yield 0, text
        return
    for place in range(len(text) - size + 1):
        yield place, text[place : place + size]


def missing_words(term: str) -> float:
    """How many missing words a term counts for that no passage has.

    A word in a text without spaces is one or two terms if it is known, but three or more if it is not, because it also
    makes some with its neighbours. Hiragana alone is mostly grammar, and a question uses other endings than
    a passage, so it counts for nothing.
    """
    if _RUN.fullmatch(term) is None:
        return 1.0
    return 0.0 if _HIRAGANA.fullmatch(term) else 1 / 3


def tsvector_literal(title: Sequence[str], body: Sequence[str]) -> str:
    """Return the input text of a PostgreSQL `tsvector`: the title's terms with the label A, then the body's terms, all
    with their positions.

    PostgreSQL keeps at most 255 positions per term and no position above 16383, so further positions are left out. Of
    a title, at most 1000 terms are taken, so that the body has positions left.
    """
    places: dict[str, list[str]] = {}
    for number, term in enumerate(title[:1000], 1):
        places.setdefault(term, []).append(f"{number}A")
    # One position between title and body stays empty.
    offset = min(len(title), 1000) + 1
    for number, term in enumerate(body, offset + 1):
        known = places.setdefault(term, [])
        if len(known) < 255 and number < 16_384:
            known.append(str(number))
    return " ".join(
        "'" + term.replace("\\", "\\\\").replace("'", "''") + "'" + (":" + ",".join(found) if found else "")
        for term, found in places.items()
    )
