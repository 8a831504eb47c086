"""Decides whether two sentences that two models wrote for one answer contradict each other. Pure.

The rule is narrow, because a false alarm costs a whole answer: both sentences must be about the same things in the same words, and differ in a
number or in a negation.
"""

from __future__ import annotations

import re
from typing import Final

from responsa_server.search.words import negates
from responsa_server.text.figures import numbers_in
from responsa_server.text.lexical import language_of

_LEAST_SHARED: Final = 0.8
_LEAST_WORDS: Final = 3
_STEM: Final = 5
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
# Verbs that come with a negation, and the words of negation themselves, say nothing about the matter.
_AUXILIARIES: Final = re.compile(
    r"(?:do|does|did|don|doesn|didn|is|are|was|were|isn|aren|wasn|weren|can|cannot|could|may|must|will|would|not|no|never|nicht|kein|keine|keinen|non|pas|ne)"
)


def contradict(first: str, second: str) -> bool:
    """Whether two sentences share nearly all of their words, and have different numbers, or one of them has a negation."""
    mine, yours = _stems(first), _stems(second)
    if min(len(mine), len(yours)) < _LEAST_WORDS:
        return False
    if len(mine & yours) < _LEAST_SHARED * len(mine | yours):
        return False
    numbers, others = numbers_in(first), numbers_in(second)
    if numbers and others and not (numbers <= others or others <= numbers):
        return True
    language = language_of(f"{first} {second}")
    negated = negates(first, language), negates(second, language)
    return None not in negated and negated[0] is not negated[1]


def _stems(text: str) -> frozenset[str]:
    words = (one.casefold() for one in _WORD.findall(text))
    return frozenset(one[:_STEM].rstrip("s") for one in words if not _AUXILIARIES.fullmatch(one))
