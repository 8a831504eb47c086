"""Guesses the language of a text.

The language is guessed from the script and the most common words, in microseconds and without a model. The guess is
good enough to choose a stemmer, and to detect when an English embedding model must not be used. To distinguish related
languages, the guess needs more than a few words. Language codes are ISO 639-1.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

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
    language, doubtful = _guess(text)
    return UNKNOWN if doubtful and has_english_letters(text[:_SAMPLE_CHARS]) else language


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
        evident = evidence & counts.keys()
        # A short text may say one word again and again.
        score = len(evident), sum(counts[word] for word in evident)
        if score > best_score:
            best, best_score = code, score
    return best, best_score[0] < 2 and best != "en"
