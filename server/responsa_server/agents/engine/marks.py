"""Marks by which a model names the passages that a sentence rests on: `[2]`, `[1, 3]`. Taken out of the text while it comes. Pure."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

Mark = tuple[int, int]
"""Where a mark stood, in bytes of the text without marks, and the number of the passage that it names, from 1."""

MOST_MARKS: Final = 256
"""Marks of one text that are noted; those behind them are taken out all the same."""
MOST_HELD: Final = 12
"""Bytes that are kept back at most, while it is not known whether they are a mark."""

# Outside of code all but these pass as they are.
_PASSING: Final = re.compile(r"[^ \[`\n]+")
_CODE: Final = re.compile(r"[^`\n]+")
_FENCE: Final = 3


class _Held(Enum):
    """How far what is held back has come on its way to being a mark."""

    NOTHING = "nothing"
    SPACE = "space"
    OPENED = "opened"
    """After the bracket, or after a comma and perhaps a space."""
    NUMBER = "number"
    CLOSED = "closed"
    """A mark, unless a link's address follows."""


class MarkFilter:
    """Takes marks out of a text that comes in pieces, each with the space before it. However the text is cut, the outcome is the same.

    A mark names passages 1 to 99. What stands in code is none, nor what a link's address follows: `[1](…)`.
    """

    def __init__(self, start: int = 0) -> None:
        """start: bytes of the text that stand before the first piece."""
        self.marks: list[Mark] = []
        self._end = start
        self._state = _Held.NOTHING
        self._held = ""
        # Code: a fence that is open, or backticks that must come again in the same number; and the run of backticks that is coming in.
        self._fence = 0
        self._inline = 0
        self._run = 0
        self._line_begins = True

    def feed(self, text: str) -> str:
        """The next of the text; returns what can be passed on by now, which may be nothing."""
        if self._plain(text):
            return self._pass_on(text)
        out: list[str] = []
        place = 0
        while place < len(text):
            if self._state is _Held.NOTHING:
                plain = (_CODE if self._fence or self._inline else _PASSING).match(text, place)
                if plain is not None and not self._run:
                    self._say(plain.group(), out)
                    self._line_begins = self._line_begins and not plain.group().strip()
                    place = plain.end()
                    continue
            self._take(text[place], out)
            place += 1
        return "".join(out)

    def _plain(self, text: str) -> bool:
        """Whether there is nothing in a text to be looked at by character, as in nearly all pieces: no mark begins in it or goes on, nor any code, nor a line."""
        return (
            (self._state is _Held.NOTHING or self._state is _Held.SPACE)
            and "[" not in text
            and "`" not in text
            and "\n" not in text
            and not (self._fence or self._inline or self._run)
        )

    def _pass_on(self, text: str) -> str:
        """What is held back, a space or nothing, and the text, but for a space at its end: it may be that of a mark."""
        text = self._held + text
        self._line_begins = self._line_begins and not text.strip()
        self._held, self._state = "", _Held.NOTHING
        if text.endswith(" "):
            text = text[:-1]
            self._held, self._state = " ", _Held.SPACE
        self._end += len(text.encode())
        return text

    def end(self) -> str:
        """The text has ended; returns what was held back of it."""
        out: list[str] = []
        if self._state is _Held.CLOSED:
            self._mark()
        self._release(out)
        return "".join(out)

    def _take(self, one: str, out: list[str]) -> None:
        """A character that may begin or go on something."""
        match self._state:
            case _Held.CLOSED if one != "(":
                self._mark()
            case _Held.OPENED if one.isdecimal() and one.isascii() and one != "0":
                self._hold(one, _Held.NUMBER, out)
                return
            case _Held.OPENED if one == " " and self._held.endswith(","):
                self._hold(one, _Held.OPENED, out)
                return
            case _Held.NUMBER if one.isdecimal() and one.isascii() and self._digits() < 2:
                self._hold(one, _Held.NUMBER, out)
                return
            case _Held.NUMBER if one == ",":
                self._hold(one, _Held.OPENED, out)
                return
            case _Held.NUMBER if one == "]":
                self._hold(one, _Held.CLOSED, out)
                return
            case _Held.SPACE if one == "[":
                self._hold(one, _Held.OPENED, out)
                return
            case _:
                pass
        self._release(out)
        self._begin(one, out)

    def _begin(self, one: str, out: list[str]) -> None:
        """A character with nothing before it that is held back."""
        if one == "`":
            self._run += 1
            self._say(one, out)
            return
        if self._run:
            self._code(self._run)
            self._run = 0
        code = self._fence or self._inline
        if one == "\n":
            # A paragraph's stray backtick shall not hide the marks of all that follows.
            self._inline = 0
            self._line_begins = True
            self._say(one, out)
            return
        if not code and one == " ":
            self._hold(one, _Held.SPACE, out)
            return
        if not code and one == "[":
            self._hold(one, _Held.OPENED, out)
            return
        self._line_begins = self._line_begins and one.isspace()
        self._say(one, out)

    def _code(self, run: int) -> None:
        """A run of so many backticks has ended."""
        if self._fence:
            if self._line_begins and run >= self._fence:
                self._fence = 0
        elif self._inline:
            if run == self._inline:
                self._inline = 0
        elif run >= _FENCE and self._line_begins:
            self._fence = run
        else:
            self._inline = run
        self._line_begins = False

    def _hold(self, one: str, state: _Held, out: list[str]) -> None:
        if len(self._held) == MOST_HELD:
            # The space stays rather than the mark.
            if not self._held.startswith(" "):
                self._release(out)
                self._begin(one, out)
                return
            self._say(" ", out)
            self._held = self._held[1:]
        self._held += one
        self._state = state

    def _digits(self) -> int:
        return len(self._held) - len(self._held.rstrip("0123456789"))

    def _mark(self) -> None:
        """What is held is a mark."""
        if (left := MOST_MARKS - len(self.marks)) > 0:
            self.marks += [(self._end, int(number)) for number in re.findall(r"\d+", self._held)[:left]]
        self._held, self._state = "", _Held.NOTHING
        self._line_begins = False

    def _release(self, out: list[str]) -> None:
        """What is held is none."""
        if self._held:
            self._line_begins = self._line_begins and not self._held.strip()
            self._say(self._held, out)
        self._held, self._state = "", _Held.NOTHING

    def _say(self, text: str, out: list[str]) -> None:
        out.append(text)
        self._end += len(text.encode())
