"""What a model's text must not be sent for: the mark with which the model says that the passages do not answer, and a
text that they do not support. Pure."""

from __future__ import annotations

from typing import Final

NO_ANSWER: Final = "[[no answer]]"
"""What a model writes instead of an answer. Prompts get it as the variable `no_answer`."""
VARIABLE: Final = "no_answer"
DECLINED: Final = "declined"
"""The cause of the fallback when a small model says that the passages do not answer."""
UNCITED: Final = "uncited"
"""The cause of the fallback when the passages and the sources support nothing in a model's text, so that the text is not sent."""
_LEAD: Final = frozenset("*_`\"'“”>")
"""Markup and quotation marks that may stand before the mark."""
_MOST_LEAD: Final = 8


class DeclineFilter:
    """Removes the mark from a text that arrives in pieces. The result does not depend on where the text is cut into pieces.

    The beginning of the text is held back until it is decided whether it is the mark. If it is, the model declines, and
    the rest of the text is dropped.

    declined: whether the text begins with the mark. late: how many marks stand further on. over: whether text has
    followed the mark with which the model declined.
    """

    def __init__(self, *, begun: bool = False) -> None:
        """begun: whether text of the answer was sent before, so that the model can no longer decline."""
        self.declined = self.over = False
        self.late = 0
        self._begun = begun
        self._held: str = ""
        # The last character that was passed on, and whether a mark has just ended.
        self._last: str = ""
        self._behind = False

    def feed(self, text: str) -> str:
        """Process the next piece. Returns the text that can be passed on now, which may be empty."""
        return self._clean(text, ended=False)

    def end(self) -> str:
        """End the text. Returns the rest that was held back."""
        return self._clean("", ended=True)

    def _clean(self, text: str, *, ended: bool) -> str:
        if self.declined:
            self.over = self.over or any(character.isalnum() for character in text)
            return ""
        text = self._held + text
        self._held = ""
        if not self._begun:
            lead = _lead_of(text)
            fits = _fits(text, lead)
            if sum(not character.isspace() for character in text[:lead]) > _MOST_LEAD:
                self._begun = True
            # A model may leave out the last bracket.
            elif fits == len(NO_ANSWER) or (ended and fits == len(NO_ANSWER) - 1):
                self.declined = True
                self.over = any(character.isalnum() for character in text[lead + fits :])
                return ""
            elif not ended and lead + fits == len(text):
                self._held = text
                return ""
            self._begun = True
        return self._without_marks(text, ended=ended)

    def _without_marks(self, text: str, *, ended: bool) -> str:
        out, index = list[str](), 0
        while index < len(text):
            if self._behind:
                self._behind = False
                if text[index].isspace():
                    index += 1
                    continue
            start = text.find("[", index)
            start = len(text) if start < 0 else start
            if start > index:
                out.append(text[index:start])
                self._last = text[start - 1]
            if start == len(text):
                break
            fits = _fits(text, start)
            if fits == len(NO_ANSWER):
                self.late += 1
                # A mark that stood alone leaves no second space behind.
                self._behind = not self._last or self._last.isspace()
            elif start + fits == len(text) and not ended:
                self._held = text[start:]
                break
            else:
                fits = 1
                out.append("[")
                self._last = "["
            index = start + fits
        return "".join(out)


def _lead_of(text: str) -> int:
    return next((index for index, one in enumerate(text) if not (one.isspace() or one in _LEAD)), len(text))


def _fits(text: str, start: int) -> int:
    """How many characters from `start` on are the beginning of the mark, or the whole mark, in upper or lower case; 0
    if the text goes on in another way."""
    beginning = text[start : start + len(NO_ANSWER)].lower().replace("_", " ").replace("-", " ")
    return len(beginning) if NO_ANSWER.startswith(beginning) else 0
