"""The words of a question about a record: phrases that mean words of the record, misspellings, and words that say nothing. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Final
from uuid import UUID

from responsa_server.domain.record import RecordWords
from responsa_server.search.record_lines import Line, title_words
from responsa_server.text.lexical import STOPWORDS, Analyzer
from responsa_server.text.names import WORD

_LEAST_SPELLED: Final = 6
"""The least number of letters of a misspelled word and of the word that is meant."""
_MOST_SPELLED: Final = 32
_MOST_CORRECTED: Final = 100
"""The maximum number of words of a question whose spelling is checked."""
_APART: Final = 5
"""The lengths of a misspelled word and of the word that is meant differ by at most one letter for so many letters."""
_ALIKE: Final = 0.85
"""The least likeness (0 to 1, `difflib`) of a misspelled word and the word that is meant."""
_LEAST_IDLE: Final = 5
_IDLE_ALIKE: Final = 0.8
"""The same for words that say nothing about a question, such as “something”; they are left out."""
GENERIC: Final = (
    "tell show give explain know please say think well good score scores point points result results value values level levels number record records much many describe"
    " mean means detail details anything something thing things list look read find get got want need according person kind type sort exactly really currently long"
    " actually question answer based info information data document documents see help let way ways use using have has compare compared comparison differ difference better"
    " worse stronger weaker higher lower above below far apart happened happen made make work works one two three four five six all every given day date when test tests"
    " took take taken would suited right like stands become choose chosen greater smaller name speak speaks understand particularly especially figure figures change"
    " changed interpret pick select decide go going whats wheres hows whens im ive id dont didnt cant hey hi hello ok pls plz thx stuff yet even any just kinda bit vs"
    " versus maybe about idea too more up time spot spots also very lot bad looks looking broken wrong advise enough count counts degree everything nothing everyone people"
    " being another other end begin begun start started full whole little small big next side part parts half here there today ever never always rather quite truly"
    " honestly true honest serious seriously mad crazy constantly totally strange weird odd funny poor buy believe convince sure certain certainly come came went goes"
    " coming earth god gosh heck hand case fact exam quiz stand told said ask asked asking enquire obliged oblige kindly wonder wondering suppose supposed seem seems feel"
    " feels looked sat now tip tips advice trick tricks file files papers page possible possibly perhaps wish wished wanted wanna gonna keep kept becoming became properly"
    " proper short um uh lol btw tbh omg hmm er through gap cope moved isnt arent wasnt wont couldnt shouldnt wouldnt doesnt hasnt havent whether still only hate love hope"
    " across everywhere somewhere anywhere pray don doesn didn isn wasn aren weren won couldn wouldn shouldn hasn haven hadn ll ve re wd cd ur yeah yep nope after around"
    " again both between able whatever somehow somewhat fairly pretty wich whitch wat wot wht wen shuld shoud shold shuold coud culd woud wuld becuase becouse strongest"
    " weakest highest lowest best worst top most least greatest poorest suggest overview summary summarise summarize general overall out where"
)
GENERIC_WORDS: Final = frozenset(GENERIC.split())
_IDLE: Final = re.compile(
    r"\b(?:on earth|in other words|just curious|(?:i am|i['’]?m) (?:just )?curious|go on|i think|i guess|i suppose|trust(?= (?:the|these|this|those|that|it|my (?:results?|scores?|numbers?|figures?|tests?))\b)|at all|after all|of course|(?:would|will|can|could) open|open (?:up|doors)|kind of|sort of|to be honest|by the way)\b",
    re.IGNORECASE,
)
"""Phrases that say nothing about the question, although a record may have their words."""
PIECE: Final = re.compile(r"[^\W_]+")
AUTHOR: Final = re.compile(r"\b(?:i|me|my|mine|myself|im|ive)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as `Choice` reads it. misspelled: see `RecordReading`."""

    text: str
    misspelled: tuple[tuple[str, str], ...]


def meant_by(question: str, spelling: Spelling, shelf: Shelf) -> Asked:
    """The question with the words that were meant, and with words of the record in place of phrases."""
    asked = spelling.of(_IDLE.sub(" ", question))
    return Asked(shelf.in_its_words(asked.text), asked.misspelled)


Keys = tuple[tuple[str, ...], ...]
"""The terms of each word of a phrase."""


class PhraseTables:
    """The words and phrases of questions that an agent's `RecordWords` name, as the terms of one language. They are not changed after they are made."""

    def __init__(self, words: RecordWords, analyzer: Analyzer, language: str) -> None:
        self.words = frozenset(one for one in words.synonyms if " " not in one)
        self.synonyms: dict[tuple[str, ...], tuple[str, Sequence[str]]] = {}
        self.phrases: dict[tuple[str, ...], list[tuple[Keys, str]]] = {}
        for phrase, meant in words.synonyms.items():
            keys = tuple(_key(one.group(), analyzer, language) for one in PIECE.finditer(phrase))
            if AUTHOR.search(phrase):  # the question is still about its author
                meant = f"my {meant}"
            if len(keys) == 1 and len(keys[0]) == 1:
                self.synonyms.setdefault(keys[0], (phrase, analyzer.query_terms(meant, language)))
            else:
                self.phrases.setdefault(keys[0], []).append((keys, meant))
        for each in self.phrases.values():
            each.sort(key=lambda one: -len(one[0]))


@lru_cache(maxsize=64)
def phrase_tables(words: RecordWords, analyzer: Analyzer, language: str) -> PhraseTables:
    """Kept, because an agent has hundreds of phrases, and each question would analyse all of them again."""
    return PhraseTables(words, analyzer, language)


def _key(word: str, analyzer: Analyzer, language: str) -> tuple[str, ...]:
    return tuple(analyzer.terms(word, language)) or (word.casefold(),)


class Shelf:
    """The lines that may answer a question, and the words that mean theirs."""

    def __init__(
        self, lines: Sequence[Line], words: RecordWords, analyzer: Analyzer, ranked: Sequence[UUID] = ()
    ) -> None:
        """ranked: the ids of the documents, best first."""
        self.lines = lines
        self.own = [one for one in lines if one.own]
        self.focus = words.focus
        self.ways = words.ways
        self.topics = words.topics
        self.ranked = ranked
        self.analyzer = analyzer
        self.language = self.own[0].passage.found.language
        self.said = [one.terms | one.heading | one.title for one in lines]
        self.titles = title_words(self.own)
        tables = phrase_tables(words, analyzer, self.language)
        self.words = tables.words
        self.synonyms = tables.synonyms
        self._phrases = tables.phrases
        self.replaced: dict[str, str] = {}
        """For terms of the record that stand in the place of a phrase, the phrase."""

    def terms(self, text: str) -> Sequence[str]:
        """The terms of a text, without function words."""
        return self.analyzer.query_terms(text, self.language)

    def in_its_words(self, question: str) -> str:
        """The question with words of the record in place of phrases."""
        found = list(PIECE.finditer(question))
        keys = [self._key(one.group()) for one in found]
        shown: list[str] = []
        place = done = 0
        while place < len(found):
            for phrase, meant in self._phrases.get(keys[place], ()):
                if tuple(keys[place : place + len(phrase)]) == phrase:
                    said = question[found[place].start() : found[place + len(phrase) - 1].end()]
                    self.replaced |= dict.fromkeys(self.terms(meant), said)
                    shown += [question[done : found[place].start()], meant]
                    place += len(phrase)
                    done = found[place - 1].end()
                    break
            else:
                place += 1
        return "".join([*shown, question[done:]])

    def _key(self, word: str) -> tuple[str, ...]:
        return _key(word, self.analyzer, self.language)


class Spelling:
    """Finds the known words that were meant by unknown words which are nearly like them, such as “opennes”. Since “electrician” is nearly like “electrical”, too, the answer says what was read."""

    def __init__(self, known: AbstractSet[str], analyzer: Analyzer, language: str) -> None:
        self._candidates = sorted(one for one in known if len(one) >= _LEAST_SPELLED)
        self._idle = sorted(one for one in GENERIC_WORDS | STOPWORDS["en"] if len(one) >= _LEAST_IDLE)
        self._analyzer = analyzer
        self._language = language
        right = " ".join(known | GENERIC_WORDS | STOPWORDS["en"])
        self._right = frozenset(analyzer.terms(right, self._language))

    def of(self, question: str) -> Asked:
        """The question with the words that were meant."""
        misspelled: dict[str, str] = {}

        def meant(found: re.Match[str]) -> str:
            word = found.group()
            near = self._near(word.casefold())
            if near in GENERIC_WORDS or near in STOPWORDS["en"]:
                return near
            return misspelled.setdefault(word, near) if near else word

        return Asked(WORD.sub(meant, question, _MOST_CORRECTED), tuple(misspelled.items()))

    def _near(self, word: str) -> str:
        """The word that was meant; "" if the word is known, in whatever form, or like none."""
        if not _LEAST_IDLE <= len(word) <= _MOST_SPELLED:
            return ""
        if self._right.issuperset(self._analyzer.terms(word, self._language)):
            return ""
        if len(word) >= _LEAST_SPELLED:
            sound = _sound(word)
            most = len(word) // _APART
            near = {
                _sound(one): one
                for one in reversed(self._candidates)
                if _sound(one)[0] == sound[0] and abs(len(one) - len(word)) <= most
            }
            best = near.get(next(iter(difflib.get_close_matches(sound, near, 1, _ALIKE)), ""), "")
            # “Advise” is another word than “adviser”, but “opennes” lacks a letter that stands twice.
            if best and not (best.startswith(word) and best[-1] != word[-1]):
                return best
        near_idle = [one for one in self._idle if one[0] == word[0] and abs(len(one) - len(word)) <= 1]
        return next(iter(difflib.get_close_matches(word, near_idle, 1, _IDLE_ALIKE)), "")


def _sound(word: str) -> str:
    """The word with one spelling for one sound."""
    return word.replace("ph", "f")


def inflected(one: str, other: str) -> bool:
    """Whether two words of one stem are forms of one word. “Living” is not a form of “lively”."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return len(list(same)) >= min(len(one), len(other)) - 1
