"""How a model takes up an answer that another model broke off: what stays of the text, and whether the new text fits it. Pure.

The tests for repetition compare words without case, punctuation and citation marks, because models change these when
they repeat themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from responsa_server.domain.models import MARK, Fit, PromptMessage, Role
from responsa_server.text.sentences import sentences

GO_ON: Final = (
    "Your answer above ended too early. Write only the rest of it: go on with the next sentence, in the same language and form. "
    "Do not repeat anything, do not begin again, and do not mention that the answer was interrupted."
)
"""The instruction for a model that takes up an answer in a new message."""

LEAST_KEPT: Final = 4
"""The minimum number of words that are worth keeping. Of a shorter text, the next model writes the whole answer."""
_COMPARED: Final = 8
"""How many words of the new text are compared before it is sent."""
_RUN: Final = 2
"""The minimum number of words that a repetition at the seam has."""
_LONGEST_RUN: Final = 40
"""The maximum number of words that a repetition at the seam has. Longer ones have a whole sentence."""
_GROWN: Final = 16
"""An unfinished sentence is read again after it has grown by this fraction of its length."""
_LEAST_REPEATED: Final = 5
"""The minimum number of words of a repeated sentence. Shorter sentences, such as headings, may occur twice."""

_WORD: Final = re.compile(r"\w+(?:['’.,]\w+)*")
_MARK: Final = re.compile(MARK)
# A sentence's end with citation marks after it.
_MARKED_END: Final = re.compile(rf"[.!?\u2026\u3002\uff01\uff1f][\"\u201d\u2019)]*(?:\s*{MARK})+\s+(?=\S)")
_CODE: Final = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
# Full stops of scripts without white space between sentences.
_STOPS: Final = frozenset("\u3002\uff01\uff1f\u0964")


def words_of(text: str) -> Sequence[str]:
    """The words of a text, without case, punctuation and citation marks."""
    return [word.casefold() for word in _WORD.findall(_MARK.sub(" ", text))]


def whole_sentences(text: str) -> int:
    """How many characters the whole sentences of a broken-off text have, with the white space and the citation marks after them.

    Only the text that follows a sentence shows that the sentence is whole: a full stop at the end may belong to a
    number, and a line break there may be the first of two. Unfinished code is left out.
    """
    body = text.rstrip()
    end = position = body.rfind("\n") + 1
    for sentence in sentences(body[position:], "en"):
        position += len(sentence)
        # The last sentence ends without white space. The number of a list's item is not a sentence.
        ends = sentence[-1].isspace() or sentence[-1] in _STOPS
        if position < len(body) and ends and any(letter.isalpha() for letter in sentence):
            end = position
    # The splitter takes such marks for a part of the next sentence, or does not split there.
    end = max([end, *(match.end() for match in _MARKED_END.finditer(body))])
    fences = [match.start() for match in _CODE.finditer(text[:end])]
    return fences[-1] if len(fences) % 2 else end


def to_keep(text: str, *, prefix: bool) -> int:
    """How many characters of a broken-off text stay; 0 if it is not worth keeping. prefix: whether the next model
    continues the text itself."""
    end = len(text) if prefix else whole_sentences(text)
    return end if len(words_of(text[:end])) >= LEAST_KEPT else 0


def continuing(messages: Sequence[PromptMessage], stands: str) -> Sequence[PromptMessage]:
    """The messages for a model that writes on after `stands`."""
    return [*messages, PromptMessage(Role.ASSISTANT, stands.rstrip()), PromptMessage(Role.USER, GO_ON)]


class _Compared(Enum):
    """What of the new text is compared."""

    OPENING = auto()
    SENTENCES = auto()


class SeamComparison:
    """Implements `Seam`. First it compares the opening words of the new text, and then each whole sentence."""

    def __init__(self, stands: str) -> None:
        self._words = words_of(stands)
        self._ends_in_word = bool(stands) and stands[-1].isalnum()
        self._sentences = {
            tuple(words)
            for line in stands.split("\n")
            for sentence in sentences(line, "en")
            if len(words := words_of(sentence)) >= _LEAST_REPEATED
        }
        self._text = ""
        self._compared = _Compared.OPENING
        # The end of the sentences that were compared, and the length of the text from which others are looked for.
        self._compared_to = self._look_from = 0

    def add(self, text: str) -> Fit:
        self._text += text
        return self._compare(ended=False)

    def end(self) -> Fit:
        return self._compare(ended=True)

    def _compare(self, *, ended: bool) -> Fit:
        if self._compared is _Compared.OPENING:
            words = words_of(self._text)
            # The last word may go on in the next piece.
            fit = self._compare_opening(words if ended else words[:-1], whole=ended)
            if fit is not Fit.FITS:
                return fit
            self._compared = _Compared.SENTENCES
        return self._compare_sentences(ended=ended)

    def _compare_opening(self, words: Sequence[str], *, whole: bool) -> Fit:
        """How the first words fit. whole: whether no more words will come."""
        count = min(_COMPARED, len(self._words))
        compared = words[:count]
        begins = self._words[: len(compared)]
        if self._rewrites_word(compared):
            return Fit.REPEATS
        same = self._same(begins, compared) if len(begins) == len(self._words) else begins == compared
        if compared and same:
            # The text begins like the answer. The beginning of a short answer is at the same time its end.
            if len(compared) == count or whole:
                return Fit.RESTARTS if len(compared) >= LEAST_KEPT else Fit.FITS
            return Fit.OPEN
        if any(
            self._same(self._words[-size:], words[:size])
            for size in range(_RUN, min(len(words), len(self._words)) + 1)
        ):
            return Fit.REPEATS
        # A run of words may still become a repetition, but only if it is one so far.
        return Fit.OPEN if not whole and self._may_repeat(words) else Fit.FITS

    def _rewrites_word(self, words: Sequence[str]) -> bool:
        return (
            self._ends_in_word
            and bool(words)
            and self._text[:1].isalnum()
            and len(self._words[-1]) > 1
            and words[0].startswith(self._words[-1])
        )

    def _may_repeat(self, words: Sequence[str]) -> bool:
        if not words:
            return True
        last = self._words[-_LONGEST_RUN:]
        return any(
            self._same(last[start : start + len(words)], words) for start in range(len(last) - len(words) + 1)
        )

    def _same(self, standing: Sequence[str], coming: Sequence[str]) -> bool:
        if len(standing) != len(coming):
            return False
        *before, end = standing
        *others, word = coming
        # What stands may end within a word.
        return before == others and (word == end or (self._ends_in_word and word.startswith(end)))

    def _compare_sentences(self, *, ended: bool) -> Fit:
        end = size = len(self._text)
        if not ended:
            if size < self._look_from:
                return Fit.FITS
            end = whole_sentences(self._text[self._compared_to :]) + self._compared_to
        if end <= self._compared_to:
            # Code and long sentences are not read again with each piece, but only after they have grown by a sixteenth.
            self._look_from = size + (size - self._compared_to) // _GROWN
            return Fit.FITS
        new, self._compared_to = self._text[self._compared_to : end], end
        for line in new.split("\n"):
            for sentence in sentences(line, "en"):
                words = tuple(words_of(sentence))
                if len(words) >= _LEAST_REPEATED and words in self._sentences:
                    return Fit.REPEATS
        return Fit.FITS
