"""Whether a question goes on with the conversation, and the question together with the earlier questions that it needs. Pure.

Models rewrite questions better; this is for turns without one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from responsa_formats.text.languages import language_of
from responsa_server.agents.engine.state import StateMessage
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.turns import MAX_QUESTION_BYTES

_MOST_BEFORE: Final = 3
_WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ENGLISH: Final = _set(
    "it its itself he him his himself she her hers herself they them their theirs themselves this that these those"
)
_PRONOUNS: Final[Mapping[str, frozenset[str]]] = {
    "de": _set(
        "er sie es ihn ihm ihnen seine seiner seinen ihre ihrer ihren dieser diese dieses diesen dessen deren dort davon dafür"
    ),
    "es": _set(
        "él ella ellos ellas su sus este esta esto estos estas ese esa eso esos esas aquel aquella allí"
    ),
    "fr": _set("il elle ils elles lui leur leurs celui celle ceux celles cela ça cette ces"),
}
"""The pronouns that point back, by language. A question in any other language is read like an English one."""
# After these words, "that" is a pronoun ("What does that mean?"). After other words, "that" begins a clause ("the river that flows …").
_BEFORE_THAT: Final = _set(
    "is was are does did do about of to in with like and for from on at by than after before"
)
_GOES_ON: Final = re.compile(
    r"^\W*(?:and|or|but|so|what about|how about|und|oder|et|ou|y|o)\b", re.IGNORECASE
)


def standalone(question: str, history: Sequence[StateMessage]) -> str | None:
    """The question followed by the questions before it, back to one that says enough by itself; None if the question
    needs no other, or if no other was answered."""
    if not needs_context(question):
        return None
    before = list[str]()
    for asked in reversed(_questions_of(history)):
        before.insert(0, asked)
        if len(before) == _MOST_BEFORE or not needs_context(asked):
            break
    rewritten = f"{question.strip()} ({' '.join(before)})"
    return rewritten if before and len(rewritten.encode()) <= MAX_QUESTION_BYTES else None


def after_previous(question: str, history: Sequence[StateMessage]) -> str | None:
    """The question with the last answered question before it; None if there is none."""
    before = _questions_of(history)
    joined = f"{question.strip()} ({before[-1]})" if before else ""
    return joined if joined and len(joined.encode()) <= MAX_QUESTION_BYTES else None


def needs_context(question: str) -> bool:
    """Whether the question has a pronoun that points back, or begins in the middle of a talk ("And in Rome?")."""
    return _GOES_ON.search(question) is not None or points_back(question)


def points_back(question: str) -> bool:
    """Whether the question has a pronoun that points back."""
    pronouns = _PRONOUNS.get(language_of(question), _ENGLISH)
    words = [part for word in _WORD.findall(question) for part in re.split("['’]", word)]
    for index, word in enumerate(words):
        # After the first word, a capital marks a name or a form of address ("IT", German "Sie").
        folded = word.casefold() if index == 0 else word
        begins_clause = (
            folded == "that" and 0 < index < len(words) - 1 and words[index - 1] not in _BEFORE_THAT
        )
        if folded in pronouns and not begins_clause:
            return True
    return False


def _questions_of(history: Sequence[StateMessage]) -> Sequence[str]:
    return [
        asked.text
        for asked, answer in pairwise(history)
        if asked.speaker is Speaker.USER and answer.speaker is Speaker.ASSISTANT and not answer.refused
    ]
