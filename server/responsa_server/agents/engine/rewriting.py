"""Rewrites a follow-up question so that it makes sense without the conversation. Rules add words from earlier messages. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from responsa_server.agents.engine.state import Said
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.turns import MAX_QUESTION_BYTES

MIN_CONTENT_WORDS: Final = 4
MAX_ENTITIES: Final = 3
_MAX_TITLE: Final = 120

_WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
# In scripts without spaces, about two characters make a word.
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class _Language:
    """The pronouns that refer to earlier messages, and the function words."""

    pronouns: frozenset[str]
    small: frozenset[str]


# The language of a question is the one whose function words occur most often in the question. If languages tie, the first
# of them in this list is chosen; English comes first.
_LANGUAGES: Final = (
    _Language(
        _words(
            "it its itself he him his himself she her hers herself they them their theirs themselves this that these those"
        ),
        _words(
            """a an the and or but if so of in on at by to for from with without about into over under between as than then
            is are was were be been being am do does did has have had having will would can could shall should may might must
            i you we me my your our us not no yes what which who whom whose when where why how much many more most some any there
            also too very just please tell explain give show say mean means"""
        ),
    ),
    _Language(
        _words(
            "er sie es ihn ihm ihnen seine seiner seinen ihre ihrer ihren dieser diese dieses diesen dessen deren dort davon dafür"
        ),
        _words(
            """der die das den dem des ein eine einer eines einem einen und oder aber in im am an auf aus bei mit nach von vom zu zum
            zur für über ist sind war waren wird werden hat haben kann können ich du wir was wer wen wem wessen wann wo warum wieso wie
            viel viele welche welcher welches nicht auch sein"""
        ),
    ),
    _Language(
        _words(
            "él ella ellos ellas su sus este esta esto estos estas ese esa eso esos esas aquel aquella allí"
        ),
        _words(
            """el la los las un una unos unas y o pero de del en por para con sin sobre es son fue era eran ha han hay se lo que qué
            quién cuál cuándo dónde cómo cuánto cuánta cuántos cuántas porqué no también"""
        ),
    ),
    _Language(
        _words("il elle ils elles lui leur leurs celui celle ceux celles cela ça cette ces"),
        _words(
            """le la les un une des et ou mais du de en dans sur sous par pour avec sans est sont était ont que quoi qui quel quelle
            quels quelles quand où comment pourquoi combien ne pas aussi ce se"""
        ),
    ),
)
_SMALL: Final = frozenset[str]().union(*(one.small | one.pronouns for one in _LANGUAGES))
# After these words, "that" is a pronoun ("What does that mean?"). After other words, "that" begins a clause ("the river that
# flows …").
_BEFORE_THAT: Final = _words(
    "is was are does did do about of to in with like and for from on at by than after before"
)
_ELLIPTICAL: Final = re.compile(
    r"""^\W*(?:(?:(?:and|or|but|so)\W+)?(?:what|how)\W+about\b
    |(?:and|or|but|und|oder|et|ou|y|o)\b(?!\W+(?:what|who|whom|whose|when|where|why|how|which|is|are|was|were|am|do|does|did|can|could|may|might
    |must|should|shall|will|would|have|has|had|if|please|tell|show|was|wer|wen|wem|wann|wo|warum|wie|welche\w*|que|qu|qui|quand|où|comment|pourquoi|combien|quel\w*|qué|quién
    |cuál|cuándo|dónde|cómo|cuánt\w*)\b))""",
    re.IGNORECASE | re.VERBOSE,
)
_THING: Final = re.compile(r"\b(?:the|a|an|my|our|your)\s+", re.IGNORECASE)
_LATER: Final = re.compile(
    r"(?<=\w\s)(?:when|if|unless|while|because|after|before|once|until|and|but|so)\b", re.IGNORECASE
)
"""The beginning of a later clause."""
_DOES: Final = re.compile(r"\b(?:do|does|did|can|could|may|must|should|will|would)\b", re.IGNORECASE)
_NOTHING: Final = Said(speaker=Speaker.ASSISTANT, text="", refused=True)
_GOES_ON: Final = re.compile(
    r"^\W*(?:and|so|but|ok|okay|nice|then)\b|\b(?:such|there|then|again)\b", re.IGNORECASE
)
"""Words that go on with what was said, although they are not pronouns."""
_OPENERS: Final = frozenset(
    {
        "What",
        "Which",
        "Who",
        "When",
        "Where",
        "Why",
        "How",
        "The",
        "A",
        "An",
        "In",
        "On",
        "At",
        "It",
        "This",
        "That",
    }
)


def standalone(question: str, history: Sequence[Said], *, whole: bool = False) -> str | None:
    """The question with what it refers to added; None if the question needs no addition, or if the history has nothing to add.

    To a question that leaves out its verb (“And in Rome?”), the question before is added; to another question, the subject of the conversation. whole: whether the
    question before is added in any case; words such as “and” or “again” then refer to it, too.
    """
    if not (goes_on(question) if whole else _refers(question)):
        return None
    carried = answered_questions(history)[-1:] if whole else _carried(question, history)
    if not carried:
        return None
    rewritten = f"{question.strip()} ({', '.join(carried)})"
    return rewritten if len(rewritten.encode()) <= MAX_QUESTION_BYTES else None


def goes_on(question: str, fewest: int = MIN_CONTENT_WORDS) -> bool:
    """Whether the question may go on with what was said: it has a pronoun, a word such as “and” or “again”, or fewer than `fewest` words that carry meaning."""
    return _refers(question, fewest) or _GOES_ON.search(question) is not None


def _refers(question: str, fewest: int = MIN_CONTENT_WORDS) -> bool:
    return points_back(question) or content_words(question) < fewest


def points_back(question: str) -> bool:
    """Whether the question has a pronoun."""
    words = [part for word in _WORD.findall(question) for part in re.split("['’]", word)]
    # After the first word, a capital marks a name or a form of address ("IT", German "Sie").
    folded = [word.casefold() if place == 0 else word for place, word in enumerate(words)]
    language = max(_LANGUAGES, key=lambda one: sum(word in one.small for word in folded))
    for place, word in enumerate(folded):
        if word == "that" and 0 < place < len(folded) - 1 and folded[place - 1] not in _BEFORE_THAT:
            continue
        if word in language.pronouns:
            return True
    return False


def content_words(question: str) -> int:
    """The number of words that carry meaning: all words except function words."""
    unspaced = len(_UNSPACED.findall(question))
    words = (word.casefold() for word in _WORD.findall(_UNSPACED.sub(" ", question)))
    return unspaced // 2 + sum(word not in _SMALL for word in words)


def entities(text: str) -> Sequence[str]:
    """The names in a text: runs of capitalised words within a sentence. The most frequent names come first; equally
    frequent names keep the order of the text.
    """
    found: Counter[str] = Counter()
    for sentence in re.split(r"(?<=[.!?:])\s+|\n+", text):
        run: list[str] = []
        for place, match in enumerate([*_WORD.finditer(sentence), None]):
            word = match.group() if match else ""
            begins = word[:1].isupper() and word.casefold() not in _LANGUAGES[0].pronouns
            # A number after a name is a part of it ("Wren 2").
            begins = begins or (bool(run) and word.isdecimal())
            # A capital at the beginning of a sentence does not mark a name, unless the next word has a capital, too.
            if begins and not (place == 0 and word in _OPENERS) and not _broken(sentence, run, match):
                run.append(word)
                continue
            _close(run, found, sentence)
            run = [word] if begins and not (place == 0 and word in _OPENERS) else []
        _close(run, found, sentence)
    return [name for name, _ in found.most_common()]


def _broken(sentence: str, run: Sequence[str], match: re.Match[str] | None) -> bool:
    """Whether more than a space separates the matched word from the run's last word."""
    return bool(run) and match is not None and sentence[match.start() - 1] not in (" ", "\u00a0")


def _close(run: Sequence[str], found: Counter[str], sentence: str) -> None:
    if not run or (len(run) == 1 and sentence.startswith(run[0])):
        return
    found[" ".join(run)] += 1


def answered_questions(history: Sequence[Said]) -> Sequence[str]:
    """The questions that were answered and not refused, the oldest first."""
    return [
        asked.text
        for asked, answer in pairwise(history)
        if asked.speaker is Speaker.USER and answer.speaker is Speaker.ASSISTANT and not answer.refused
    ]


def needs_context(question: str) -> bool:
    """Whether the question cannot be understood alone. A short question without a pronoun may be a new question instead of a follow-up."""
    later = _LATER.search(question)
    first = question[: later.start()] if later else ""
    # "When may I send a parcel back if it is open?" names what its pronoun means.
    named = _THING.search(first) is not None and not points_back(first)
    return (points_back(question) and not named) or elliptical(question)


def elliptical(question: str) -> bool:
    """Whether the question leaves out its verb, so that the question before completes it (“And in Rome?”)."""
    return _ELLIPTICAL.search(question) is not None and not points_back(question)


def _carried(question: str, history: Sequence[Said]) -> Sequence[str]:
    """What the question refers to, without what it names itself."""
    answered = [
        (asked.text if asked.speaker is Speaker.USER else "", answer)
        for asked, answer in pairwise((_NOTHING, *history))
        if answer.speaker is Speaker.ASSISTANT and not answer.refused
    ]
    if not answered:
        return []
    last, answer = answered[-1]
    # The questions about the subject, from the last one back to the one that named it.
    about: list[str] = []
    for asked, _ in reversed(answered):
        about.append(asked)
        if not needs_context(asked):
            break
    named = [name for asked in about for name in entities(asked)]
    present = question.casefold()
    if elliptical(question) and last:
        # “And for Heron?” replaces the subject, so only a question that itself refers back needs one.
        subject = named if len(about) > 1 else []
        if entities(question):
            last, subject = _without(last, named), []
        return [last.strip(), *_unlike(subject, [last, question], MAX_ENTITIES)]
    # The answer may have been wrong. If it does not name what the people have named, their words alone say what they mean.
    told = f"{' '.join(answer.titles[:1])} {answer.text}".casefold()
    fits = not named or any(name.casefold() in told for name in named)
    titles = [title[:_MAX_TITLE].strip() for title in answer.titles[:1]] if fits else []
    names = [*named, *(entities(answer.text) if fits else ())]
    thing = _thing(about[-1]) if points_back(question) and not named else ""
    carried = [*titles, *_unlike([thing, *names], titles, MAX_ENTITIES)]
    return [one for one in carried if one and one.casefold() not in present]


def _without(text: str, names: Iterable[str]) -> str:
    """The text without these names."""
    for name in names:
        text = re.sub(rf"\b{re.escape(name)}\b", " ", text)
    return " ".join(text.split())


def _thing(question: str) -> str:
    """The noun after the first article of a question, such as "laptop" in “When is a laptop replaced?”; "" if the question has no article."""
    found = _THING.search(question)
    if found is None:
        return ""
    words: list[str] = []
    for match in _WORD.finditer(question, found.end()):
        if match.group().casefold() in _SMALL or _broken(question, words, match):
            break
        words.append(match.group())
    ends = question[found.end() :].rstrip("?!. ") == " ".join(words)
    # A question usually ends with its verb.
    if ends and len(words) > 1 and (words[-1].endswith("ed") or _DOES.search(question, 0, found.start())):
        words.pop()
    return " ".join(words)


def _unlike(names: Iterable[str], taken: Sequence[str], most: int) -> list[str]:
    """The first `most` names without repetitions. A name is left out if an earlier name or a name in `taken` contains it."""
    seen = [one.casefold() for one in taken]
    kept: list[str] = []
    for name in names:
        if len(kept) == most:
            break
        folded = name.casefold()
        if not any(folded in one for one in seen):
            kept.append(name)
            seen.append(folded)
    return kept
