"""Divides a message into the questions that it asks. English, by rules, and pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from responsa_server.agents.engine.asked import asks
from responsa_server.agents.engine.rewriting import content_words, points_back

_MOST_CLAUSES: Final = 4
_MIN_CONTENT_WORDS: Final = 2
_CLAUSES: Final = re.compile(
    r"(?<=[?!.;])\s+|,?\s+and\s+(?=(?:(?:also|then|please)\s+)*(?:what|whats|how|hows|where|wheres|when|whens|who|whos|which|is|are|was|does|do|did|can|will|has|have|may|should|tell|see|check|find|search|look|work|sum|add)\b)",
    re.IGNORECASE,
)
# After a clause with numbers, this asks for their result.
_TOTAL: Final = re.compile(
    r"^\W*(?:(?:and|so|then)\W+)*(?:what|how much)(?:['’]s|\s+(?:is|does|do|did|will|would|must))?\s+(?:that|it|this|i|we|they|the\s+(?:total|sum|result))(?:\s+(?:pay|cost|owe|make|spend|come\s+to|have\s+to\s+pay|in\s+total|altogether))*\W*$|^\W*(?:the\s+)?(?:final|new|total)\s+(?:price|cost|amount|bill|total)\W*$",
    re.IGNORECASE,
)
_JOINT: Final = re.compile(r"^\W*(?:and|but|so|also)\b[\s,]*", re.IGNORECASE)

# What a question asks about: the noun after the auxiliary, or, if that is a person, the first noun after the verb.
_AUXILIARY: Final = re.compile(
    r"^(?P<lead>(?:\W*[\w'’]+){0,4}?\W*)\b(?P<aux>do|does|did|is|are|was|were|can|could|will|would|should|may|must|has|have)\s+(?P<rest>.+)$",
    re.IGNORECASE,
)
_WHAT: Final = re.compile(r"\b(?:what|which|who|where|how)\b", re.IGNORECASE)
_PERSON: Final = frozenset(("i", "we", "you", "one", "somebody", "someone", "people"))
_DETERMINERS: Final = frozenset(
    ("a", "an", "the", "my", "our", "your", "this", "that", "these", "those", "another", "some", "any")
)
# A noun ends before one of these words.
_ENDS_NOUN: Final = _DETERMINERS.union(
    *map(
        str.split,
        (
            "and or but if in on at by to for from with without about into over under between after before until during as than when",
            "where that which who is are was were be been not per cost costs last take takes need needs have has work works measure",
            "measures weigh weighs include includes contain contains come comes support supports use uses run runs cover covers get",
            "gets mean means start starts begin begins open opens close closes end ends charge charges offer offers ship ships fit",
            "fits require requires make makes expire expires apply applies arrive arrives",
        ),
    )
)
_WORD: Final = re.compile(r"[^\W_]+(?:['’./-][^\W_]+)*")
_MOST_NOUN: Final = 6
# "What weekday is it?" and "how long does it take?" refer to nothing.
_EMPTY_IT: Final = re.compile(
    r"\b(?:time|day|weekday|date|late|hour)\s+is\s+it\b|\bis\s+it\s+(?:possible|necessary|allowed|true|worth|okay|ok|better|raining|cold|warm)\b|\bdoes\s+it\s+take\b",
    re.IGNORECASE,
)
_PRONOUN: Final = re.compile(r"\b(?:(?P<one>it|its)|(?P<many>they|them|their))\b(?!['’])", re.IGNORECASE)
# "How do I add a dependency, and then update it?" asks twice.
_AND_THEN: Final = re.compile(
    r"(?P<asked>\bhow\s+(?:do|can|could|would|should|must)\s+(?:i|we|you|one))\s+(?P<first>[^?!.;]{3,200}?),?\s+and\s+then\s+(?P<second>(?!(?:what|how|where|when|who|which|why|is|are|do|does|did|can|will)\b)[a-z]+\b)",
    re.IGNORECASE,
)


def clauses_of(text: str) -> Sequence[str]:
    """The sentences of a message, and the questions that `and` joins. The last clause contains what remains of a long message."""
    text = _AND_THEN.sub(r"\g<asked> \g<first> and \g<asked> \g<second>", text)
    return [one for one in _CLAUSES.split(text, maxsplit=_MOST_CLAUSES - 1) if one.strip()]


def asks_for_total(clause: str) -> bool:
    """Whether a clause after one with numbers asks for their result."""
    return _TOTAL.match(clause) is not None


def questions_of(text: str, answered: Collection[str] = (), whole: str = "") -> tuple[str, ...]:
    """The questions of a message that are not among `answered`. The result is empty if the message asks only one question.

    If a question has a pronoun such as “it”, the noun of an earlier question replaces the pronoun. If no noun is found, the result contains `whole` instead of this question.
    whole: the message in words that can be understood without the earlier messages; "" if `text` itself can.
    """
    clauses = [one for one in clauses_of(text) if not (answered and asks_for_total(one))]
    asked = [one for one in clauses if asks(one) and content_words(one) > 0]
    leads = any(one not in asked and content_words(one) >= _MIN_CONTENT_WORDS for one in clauses)
    left = [
        _alone(one, asked[:place]) or whole or text if points_back(one) else one
        for place, one in enumerate(asked)
        if one not in answered
    ]
    parts = tuple(dict.fromkeys(map(worded, left)))
    return parts if answered or (len(parts) > 1 and not leads) else ()


def worded(clause: str) -> str:
    """A clause without the word that joins it to the one before."""
    return " ".join(_JOINT.sub("", clause, count=1).split())


def _alone(clause: str, before: Sequence[str]) -> str:
    """The clause with the noun of an earlier clause in place of its only pronoun; "" if there is no such noun."""
    found = list(_PRONOUN.finditer(clause))
    if len(found) != 1 or _EMPTY_IT.search(clause):
        return ""
    pronoun = found[0]
    rest = clause[: pronoun.start()] + clause[pronoun.end() :]
    if points_back(rest):
        return ""
    for one in reversed(before):
        noun = noun_of(one, several=pronoun["many"] is not None)
        if noun:
            owner = pronoun.group().casefold() in ("its", "their")
            own = f"{noun}’" if noun.endswith("s") else f"{noun}’s"
            return clause[: pronoun.start()] + (own if owner else noun) + clause[pronoun.end() :]
    return ""


def noun_of(question: str, *, several: bool = False) -> str:
    """What a question asks about, such as “the Plus plan” in “What does the Plus plan cost?”; "" if that is not sure. several: whether it is a plural."""
    found = _AUXILIARY.match(question)
    words = _WORD.findall(found["rest"] if found else question)
    if not words:
        return ""
    first = words[0].casefold()
    if found is None or first in _PERSON:
        # "How do I delete a document", "Who approves a trip": the object.
        at = next((place for place, one in enumerate(words) if one.casefold() in _DETERMINERS), None)
        noun = _noun(words[at:], ends=True) if at is not None else ()
    elif first in _DETERMINERS or words[0][0].isupper():
        be = found["aux"].casefold() in ("is", "are", "was", "were")
        noun = _noun(words, ends=be and _WHAT.search(found["lead"]) is not None)
    else:
        noun = ()
    if not noun or noun[0].casefold() in ("this", "that", "these", "those"):
        return ""
    head = noun[next((place for place, one in enumerate(noun) if one == "of"), len(noun)) - 1]
    plural = head.endswith("s") and not head.endswith("ss") and not head[0].isupper()
    return " ".join(noun) if plural == several else ""


def _noun(words: Sequence[str], *, ends: bool) -> Sequence[str]:
    """The noun at the beginning of these words. ends: whether it may be the last thing in the question; otherwise, the verb or the adjective follows it."""
    determined = words[0].casefold() in _DETERMINERS
    noun = [words[0]]
    place = 1
    while place < len(words) and len(noun) < _MOST_NOUN:
        word = words[place]
        if word == "of" and place + 1 < len(words):
            return [*noun, word, *_noun(words[place + 1 :], ends=ends)]
        if word.casefold() in _ENDS_NOUN and (not determined or len(noun) > 1):
            return noun
        noun.append(word)
        place += 1
        if word.isdigit():
            return noun  # a name such as “Wren 2” ends with its number
    if place >= len(words) and not ends and len(noun) > (2 if determined else 1):
        noun.pop()
    return noun if len(noun) > determined else ()
