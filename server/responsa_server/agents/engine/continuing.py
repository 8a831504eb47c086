"""How a model takes up an answer that another model broke off: what stays of the text, and whether the new text fits it. Pure.

The tests for repetition compare words without case, punctuation and citation marks, because models change these when they repeat themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from responsa_server.domain.models import Fit, PromptMessage, Role
from responsa_server.text.sentences import sentences

GO_ON: Final = (
    "Your answer above ended too early. Write only the rest of it: go on with the next sentence, in the same language and form. "
    "Do not repeat anything, do not begin again, and do not mention that the answer was interrupted."
)
"""The instruction for a model that takes up an answer in a new message."""

LEAST_KEPT: Final = 4
"""The minimum number of words that are worth keeping. Of a shorter text, the next model writes the answer anew."""
_COMPARED: Final = 8
"""How many words of the new text are compared before it is sent."""
_RUN: Final = 3
"""The minimum number of words that a repetition at the seam has; if what stands ends within a word, two words."""
_LEAST_REPEATED: Final = 5
"""The minimum number of words of a repeated sentence. Shorter sentences, such as headings, may occur twice."""

_WORD: Final = re.compile(r"\w+(?:['’.,]\w+)*")
_MARK: Final = re.compile(r"\[\d{1,2}(?:,\s?\d{1,2})*\](?!\()")
_MARKS_AFTER: Final = re.compile(r"(?:\s*\[\d{1,2}(?:,\s?\d{1,2})*\])+\s+")
_CODE: Final = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
# Full stops of scripts without white space between sentences, and all full stops.
_STOPS: Final = frozenset("\u3002\uff01\uff1f\u0964")
_ENDS: Final = frozenset(".!?\u2026)\"\u201d") | _STOPS


def words_of(text: str) -> Sequence[str]:
    """The words of a text, without case, punctuation and citation marks."""
    return [one.casefold() for one in _WORD.findall(_MARK.sub(" ", text))]


def whole_sentences(text: str) -> int:
    """How many characters the whole sentences of a broken-off text have, with the white space and the citation marks after them.

    A line break ends a sentence. The end of the text does not: a full stop there may belong to a number. Unfinished code is left out.
    """
    end = place = text.rfind("\n") + 1
    for one in sentences(text[place:], "en"):
        place += len(one)
        # White space ends a sentence. The number of a list's item is not a sentence, and neither is a text that only pauses after a word.
        ended = one.rstrip()
        ends = ended != one or one[-1] in _STOPS
        goes_on = place == len(text) and ended[-1:] not in _ENDS
        if ends and not goes_on and any(letter.isalpha() for letter in one):
            end = place
    if (marks := _MARKS_AFTER.match(text, end)) is not None:
        end = marks.end()
    fences = [one.start() for one in _CODE.finditer(text[:end])]
    return fences[-1] if len(fences) % 2 else end


def kept(text: str, *, prefix: bool) -> int:
    """How many characters of a broken-off text stay; 0 if it is not worth keeping. prefix: whether the next model continues the text itself."""
    end = len(text) if prefix else whole_sentences(text)
    return end if len(words_of(text[:end])) >= LEAST_KEPT else 0


def continuing(messages: Sequence[PromptMessage], stands: str) -> Sequence[PromptMessage]:
    """The messages for a model that writes on after `stands`."""
    return [*messages, PromptMessage(Role.ASSISTANT, stands.rstrip()), PromptMessage(Role.USER, GO_ON)]


class Comparison:
    """Implements `Seam`. contradict: whether two sentences contradict each other; None to leave this out."""

    def __init__(self, stands: str, contradict: Callable[[str, str], bool] | None = None) -> None:
        self._stands = stands
        self._words = words_of(stands)
        self._open = bool(stands) and stands[-1].isalnum()
        self._sentences = [one for line in stands.split("\n") for one in sentences(line, "en") if one.strip()]
        self._said = {
            tuple(words) for one in self._sentences if len(words := words_of(one)) >= _LEAST_REPEATED
        }
        self._contradict = contradict
        self._text = ""
        self._read = 0
        self._begun = False

    def add(self, text: str) -> Fit:
        """See `Seam.add`."""
        self._text += text
        if not self._begun:
            # The last word may go on in the next piece.
            words = words_of(self._text)[:-1]
            fit = self._opening(words, whole=False)
            if fit is not Fit.FITS:
                return fit
            self._begun = True
        return self._sentences_from(ended=False)

    def end(self) -> Fit:
        """See `Seam.end`."""
        if not self._begun:
            fit = self._opening(words_of(self._text), whole=True)
            if fit is not Fit.FITS:
                return fit
        return self._sentences_from(ended=True)

    def _opening(self, words: Sequence[str], *, whole: bool) -> Fit:
        """How the first words fit. whole: whether no more words will come."""
        compared = words[:_COMPARED]
        begins = self._words[: len(compared)]
        enough = len(compared) >= min(_COMPARED, len(self._words))
        if self._rewrites_word(compared):
            return Fit.REPEATS
        same = self._same(begins, compared) if len(begins) == len(self._words) else begins == compared
        if compared and same:
            # The text begins like the answer. The beginning of a short answer is at the same time its end.
            if enough or whole:
                return Fit.ANEW if len(compared) >= LEAST_KEPT else Fit.FITS
            return Fit.OPEN
        if self._repeated(compared):
            return Fit.REPEATS
        # A run of words may still become a repetition, but only if it is one so far.
        if not whole and len(compared) < _COMPARED and self._may_repeat(compared):
            return Fit.OPEN
        return Fit.FITS if compared or whole else Fit.OPEN

    def _rewrites_word(self, words: Sequence[str]) -> bool:
        """Whether what stands ends within a word, and the text begins with the whole word."""
        return (
            self._open
            and bool(words)
            and self._text[:1].isalnum()
            and len(self._words[-1]) > 1
            and words[0].startswith(self._words[-1])
        )

    def _repeated(self, words: Sequence[str]) -> bool:
        """Whether the first words are the last words of what stands."""
        least = _RUN - 1 if self._open else _RUN
        return any(
            self._same(self._words[-size:], words[:size])
            for size in range(least, min(len(words), len(self._words)) + 1)
        )

    def _may_repeat(self, words: Sequence[str]) -> bool:
        """Whether the first words stand somewhere near the end of what stands, in this order and up to the end of the words so far."""
        if not words:
            return True
        last = self._words[-2 * _COMPARED :]
        return any(
            self._same(last[place : place + len(words)], words) for place in range(len(last) - len(words) + 1)
        )

    def _same(self, standing: Sequence[str], coming: Sequence[str]) -> bool:
        if len(standing) != len(coming):
            return False
        *before, end = standing
        *others, word = coming
        # What stands may end within a word.
        return before == others and (word == end or (self._open and word.startswith(end) and len(end) > 1))

    def _sentences_from(self, *, ended: bool) -> Fit:
        """How the sentences that have become whole fit."""
        end = len(self._text) if ended else whole_sentences(self._text[self._read :]) + self._read
        if end <= self._read:
            return Fit.FITS
        new, self._read = self._text[self._read : end], end
        for line in new.split("\n"):
            for one in sentences(line, "en"):
                words = tuple(words_of(one))
                if len(words) >= _LEAST_REPEATED and words in self._said:
                    return Fit.REPEATS
                if (
                    self._contradict is not None
                    and words
                    and any(self._contradict(standing, one) for standing in self._sentences)
                ):
                    return Fit.CONTRADICTS
        return Fit.FITS
