"""Lists of words for comparing texts: units, numbers, opposites, negations, and words that say little.

The lists of `support.py` and those of `wording.py` differ, because each was fitted together with the weights that use it. A change of a list needs new weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from responsa_server.text.lexical import UNKNOWN
from responsa_server.text.number_words import BELOW_100

ENGLISH: Final = ("en", UNKNOWN)
"""The languages to which the English lists apply."""
NUMBER_WORDS: Final[Mapping[str, str]] = {
    **BELOW_100,
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
    "billion": "1000000000",
    "trillion": "1000000000000",
    "twice": "2",
    "single": "1",
    "once": "1",
    "dozen": "12",
    "tenfold": "10",
}
# These words say "one" without counting, so a claim may add them.
UNCOUNTED: Final = frozenset({"one", "single", "once"})
LIGHT: Final = frozenset(
    [
        "also",
        "just",
        "only",
        "very",
        "much",
        "many",
        "more",
        "most",
        "such",
        "each",
        "every",
        "any",
        "both",
        "either",
        "other",
        "another",
        "same",
        "own",
        "per",
        "via",
        "which",
        "who",
        "whose",
        "where",
        "when",
        "while",
        "because",
        "since",
        "although",
        "though",
        "even",
        "however",
        "yet",
        "than",
        "thus",
        "therefore",
        "so",
        "then",
        "there",
        "here",
        "now",
        "still",
        "already",
        "often",
        "usually",
        "normally",
        "generally",
        "typically",
        "about",
        "around",
        "roughly",
        "approximately",
        "nearly",
        "almost",
        "some",
        "several",
        "few",
        "one",
        "once",
        "being",
        "having",
        "get",
        "gets",
        "got",
        "use",
        "uses",
        "used",
        "using",
        "make",
        "makes",
        "made",
        "take",
        "takes",
        "took",
        "become",
        "becomes",
        "became",
        "may",
        "might",
        "must",
        "shall",
        "should",
        "can",
        "could",
        "would",
        "up",
        "down",
        "out",
        "over",
        "under",
        "between",
        "within",
        "without",
        "into",
        "onto",
        "upon",
        "through",
        "during",
        "before",
        "after",
        "above",
        "below",
        "again",
        "further",
        "too",
        "either",
        "neither",
        "nor",
        "not",
        "no",
        "never",
        "none",
        "cannot",
        "isn",
        "aren",
        "wasn",
        "weren",
        "don",
        "doesn",
        "didn",
        "won",
        "ve",
        "ll",
        "re",
    ]
)
"""English words that paraphrases add and leave out freely."""
FRAME: Final = re.compile(
    r"^(?:yes|no|in short|in summary|as described|note that|according to (?:the|this) (?:\w+ )?(?:document|text|passage|source|article|page)s?"
    r"|(?:the|this) (?:document|text|passage|source|article|page) (?:says|states|explains|notes|mentions|describes)(?: that)?)\b[,:]?\s*",
    re.IGNORECASE,
)
"""The beginning of a claim that is about the source and not from the source."""
UNITS: Final[Mapping[str, str]] = {
    form: forms.split()[0]
    for forms in (
        "km kilometre kilometres kilometer kilometers",
        "m metre metres meter meters",
        "cm centimetre centimetres centimeter centimeters",
        "mm millimetre millimetres millimeter millimeters",
        "mile miles",
        "foot feet ft",
        "inch inches",
        "s second seconds sec",
        "minute minutes min",
        "h hour hours",
        "day days",
        "week weeks",
        "month months monthly",
        "year years yearly annually",
        "decade decades",
        "century centuries",
        "ms millisecond milliseconds",
        "kb kilobyte kilobytes",
        "mb megabyte megabytes",
        "gb gigabyte gigabytes",
        "kib",
        "mib",
        "gib",
        "byte bytes",
        "bit bits",
        "g gram grams",
        "kg kilogram kilograms",
        "ton tons tonnes",
        "pound pounds",
        "volt volts v",
        "watt watts w",
        "ampere amperes amp amps a",
        "litre litres liter liters l",
        "millilitre millilitres ml",
        "euro euros",
        "dollar dollars",
        "cent cents",
        "percent percentage",
        "degree degrees",
        "thousand",
        "million",
        "billion",
        "trillion",
        "hectare hectares",
        "acre acres",
    )
    for form in forms.split()
}


def _both_ways(pairs: str) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for one, two in (pair.split("/") for pair in pairs.split()):
        found.setdefault(one, set()).add(two)
        found.setdefault(two, set()).add(one)
    return {word: frozenset(others) for word, others in found.items()}


OPPOSITES: Final = _both_ways(
    "more/less most/least many/few large/small larger/smaller largest/smallest big/small bigger/smaller high/low higher/lower"
    " highest/lowest before/after first/last early/late earlier/later increase/decrease increased/decreased rise/fall rose/fell"
    " rising/falling grow/shrink grew/shrank north/south northern/southern east/west eastern/western above/below left/right long/short"
    " longer/shorter longest/shortest maximum/minimum always/never often/rarely strong/weak stronger/weaker positive/negative"
    " internal/external inner/outer inside/outside upper/lower allow/forbid allow/prevent permit/forbid public/private open/close"
    " opened/closed win/lose won/lost rich/poor fast/slow faster/slower fastest/slowest quick/slow quickest/slowest best/worst"
    " better/worse great/small greater/smaller majority/minority succeed/fail success/failure enable/disable enabled/disabled"
    " required/optional mandatory/optional start/stop starts/stops begin/end accept/reject accepts/rejects accepts/refuses"
    " include/exclude included/excluded hot/cold warm/cold light/dark light/heavy thick/thin wide/narrow deep/shallow new/old"
    " young/old modern/ancient active/passive liquid/solid solid/molten efficient/inefficient complete/incomplete direct/indirect"
    " dependent/independent legal/illegal formal/informal regular/irregular possible/impossible safe/dangerous easy/difficult"
    " simple/complex temporary/permanent local/remote add/remove added/removed buy/sell import/export gain/loss support/oppose"
    " attack/defend push/pull up/down raise/lower raised/lowered strengthen/weaken cheap/expensive free/expensive full/empty"
)
"""English words with an opposite."""

_NEGATIONS: Final[Mapping[str, re.Pattern[str]]] = {
    code: re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    for code, words in {
        "en": r"no|not|never|none|neither|nor|cannot|without|nobody|nothing|nowhere|\w+n['’]t",
        "de": r"nicht|nichts|nie|niemals|niemand|ohne|weder|kein(?:e|en|em|er|es)?",
        "es": "no|nunca|nada|nadie|ni|sin|ning(?:ún|una?|uno)",
        "fr": r"ne|n['’]\w+|pas|jamais|rien|personne|ni|sans|aucune?",
        "it": "non|mai|nulla|niente|nessun[oa]?|né|senza",
        "pt": "não|nunca|nada|ninguém|nem|sem|nenhuma?",
        "nl": "niet|niets|nooit|niemand|zonder|geen",
    }.items()
}
"""A pattern for the words of negation in each language. Other languages have no rule."""
_NOT_NEGATED: Final = re.compile(
    r"\b(?:no (?:more|fewer|less|later|earlier|sooner|longer) than|not (?:only|just|more than|less than)|no matter|whether or not|no doubt|at no cost"
    r"|nothing (?:but|else))\b",
    re.IGNORECASE,
)
"""English phrases with a word of negation that negate nothing."""
IMPLIED: Final = re.compile(
    r"\b(?:un(?:able|like|less|known|supported|available|necessary|changed|related|certain|common|usual|likely|successful|clear|affected)"
    r"|in(?:efficient|complete|correct|valid|dependent|ability|visible|frequent|sufficient)|im(?:possible|proper)|dis(?:agree|allow|courage|regard)\w*"
    r"|refus\w+|den(?:y|ies|ied)|fail\w*|lack\w*|prevent\w*|prohibit\w*|forbid\w*|except\w*|instead|rather|only|barely|hardly|scarcely|rarely|seldom|few"
    r"|little|free|offline|miss\w*|absen\w+|reject\w*|exclud\w*|stop\w*|avoid\w*|eliminat\w*|otherwise|far from|before|but|less|least|loses?|lost"
    r"|leav\w+|ban\w*|poor\w*|relatively|opposed)\b",
    re.IGNORECASE,
)
"""English words that another sentence may say with a negation."""


def negates(text: str, language: str) -> bool | None:
    """Whether a text has a word of negation; None if there is no rule for the language. UNKNOWN is treated as English."""
    words = _NEGATIONS.get(language or "en")
    if words is None:
        return None
    return words.search(_NOT_NEGATED.sub(" ", text) if language in ENGLISH else text) is not None


QUESTION_NEGATION: Final = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|cannot|without|neither|nor|unable|fail(?:s|ed)?|lacks?|lacked|except|unlike"
    r"|refus\w+|least|incapable|impossible)\b|n['’]t\b",
    re.IGNORECASE,
)
"""The words that the support of an answer treats as negations, in the question and near the piece."""
OPPOSITE_STEMS: Final = (
    ("increas", "decreas"),
    ("more", "less"),
    ("more", "fewer"),
    ("most", "least"),
    ("before", "after"),
    ("first", "last"),
    ("north", "south"),
    ("east", "west"),
    ("win", "lose"),
    ("gain", "lose"),
    ("high", "low"),
    ("large", "small"),
    ("begin", "end"),
    ("start", "end"),
    ("support", "oppos"),
    ("accept", "reject"),
    ("allow", "forbid"),
    ("import", "export"),
    ("easier", "harder"),
    ("private", "public"),
    ("inside", "outside"),
    ("internal", "external"),
    ("above", "below"),
    ("add", "remov"),
    ("enabl", "disabl"),
    ("oldest", "youngest"),
    ("faster", "slower"),
    ("strong", "weak"),
    ("positive", "negative"),
    ("minimum", "maximum"),
)
"""The pairs of English words that the support of an answer treats as opposites. Each pair has the beginnings of two words."""
