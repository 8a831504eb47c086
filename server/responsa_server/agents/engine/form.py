"""The form of a message: how it is said, without its subject. Two messages that ask have similar forms, whatever they are about. English, and pure.

The form begins with what the rules of `asked` say about the message. A word that builds sentences ("where", "could", "my") stays, and so does a word that names a task on words ("translate"). Any other word becomes a class with its ending: a name, a number, or
a plain word. A classifier that is trained on forms learns from a few hundred messages of any company what a request looks like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from responsa_server.agents.engine.asked import asks, is_about_words, only_tells, wishes

_KEPT: Final = frozenset(
    re.findall(
        r"\S+",
        """
    a an the this that these those my your our their his her its i you we they he she it me us them him who whom whose which what when where why how
    is are was were am be been being do does did done doing have has had having can could may might must shall should will would not no never none nothing
    and or but so if whether because than then as of in on at by for from to with without about into over under between until till since after before during
    up down out off again still yet already just only also too very much many more most any some all each every both another other else
    please thanks thank hi hello hey ok okay yes sorry there here now today tomorrow yesterday
    tell show find give look search check need want wants like know wonder wondering waiting left long late soon ago get got say said see saw
    translate rephrase rewrite shorten correct spell sentence word words write draft
    mean means make made turn put let able happen happened come came
    """,
    )
)
_TOKEN: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d[\d.,:%/-]*|[?!.,:;\"“”„()=+*/-]")
_ENDINGS: Final = ("ing", "ed", "s")
_SIGNS: Final = {"?": "qmark", "!": "bang", ".": "dot", ",": "comma", ":": "colon"}


def form_of(text: str) -> str:
    """The form of a text, as words."""
    # A classifier counts words and pairs of words, so each mark is three words that occur in no message.
    words = [f"{mark}{place}" for mark in _marks(text) for place in "abc"]
    words.append("begin")
    first = len(words)
    for token in _TOKEN.findall(text):
        lower = token.casefold().replace("’", "'")
        if lower in _KEPT or "'" in lower:
            words.append(lower)
        elif lower[0].isdigit():
            words.append("9")
        elif not lower[0].isalpha():
            words.append(_SIGNS.get(lower, "sign"))
        else:
            ending = next((one for one in _ENDINGS if lower.endswith(one)), "")
            words.append(("name" if token[0].isupper() and len(words) > first else "x") + ending)
    return " ".join([*words, "end"])


def _marks(text: str) -> Iterator[str]:
    if asks(text):
        yield "asks"
    else:
        yield "tells" if only_tells(text) else "unasked"
    if wishes(text):
        yield "wishes"
    if is_about_words(text):
        yield "rewords"
