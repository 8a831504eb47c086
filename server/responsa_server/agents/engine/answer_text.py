"""Sends an answer's text to the reader in deltas. Removes the marks of citations, of data and of a missing answer, makes
the text reach no host by being shown, and limits its size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from responsa_server.agents.engine.citations import Mark, MarkFilter, split
from responsa_server.agents.engine.declining import DeclineFilter
from responsa_server.agents.engine.node import Run
from responsa_server.agents.engine.prompts import FenceFilter
from responsa_server.domain.agents import Withdrawal
from responsa_server.domain.events import MAX_ANSWER_BYTES, MAX_DELTA_BYTES, AnyCitation, Cited, Delta
from responsa_server.text.disarming import Disarmer, disarm

_MOST_READ: Final = 4 * MAX_ANSWER_BYTES
"""The maximum number of characters to read from a model. Marks and white space count here even if they are removed later."""


class AnswerWriter:
    """Sends each piece of a text when it arrives.

    before: the part of the answer's text that was sent earlier. lead: a sentence to send before the model's first words
    if nothing was sent yet. cites: whether to remove and record marks of citations; marks of data are always removed.
    passages: how many passages the model was shown.
    declines: whether the text may begin with the mark `NO_ANSWER`. sends: whether to send the text; if not, another
    node sends it later. sources: the texts whose addresses the answer's links may have. end: the number of bytes of the
    answer so far; 0 while the text is only white space.
    """

    def __init__(
        self,
        run: Run,
        before: str = "",
        *,
        lead: str = "",
        cites: bool = False,
        passages: int = 0,
        declines: bool = False,
        sends: bool = True,
        sources: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._run = run
        self._before = before
        self._cites = cites
        self._passages = passages
        self._declines = declines
        self._sources = sources
        self._lead = f"{lead}\n\n" if lead and not before else ""
        # The pieces as they arrived, to which `withdraw` goes back.
        self._raw = list[str]()
        self._shown = len(before.encode())
        self.sends = sends
        self._begin()

    def _begin(self) -> None:
        before = self._before
        self._parts = [before]
        self.end = len(before.encode())
        # White space before the first word is held back, because the text may hold nothing else.
        self._waits = not before
        self._held = list[str]()
        self._read = 0
        # These marks are removed first, because the positions of citations are recorded in the text without them.
        self._fences = FenceFilter(self._run.nonce, before) if self._run.nonce else None
        self._decline = DeclineFilter(begun=bool(before)) if self._declines else None
        start = self.end + len(self._lead.encode())
        self._filter = MarkFilter(start, self._passages) if self._cites else None
        # This comes last: what the others remove may have kept an image from being one.
        self._disarmer = Disarmer(self._sources, before, start)

    @property
    def text(self) -> str:
        return "".join(self._parts)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The marks in the text so far."""
        filtered = () if self._filter is None else self._filter.marks
        moved = (mark._replace(offset=self._disarmer.moved(mark.offset)) for mark in filtered)
        return tuple(mark for mark in moved if mark.offset <= self.end)

    @property
    def declined(self) -> bool:
        return self._decline is not None and self._decline.declined

    @property
    def late_marks(self) -> int:
        """How many marks for a missing answer were removed within the text."""
        return 0 if self._decline is None else self._decline.late

    def add(self, text: str) -> bool:
        """Add the next piece. Returns False if no further text can follow: the text no longer fits and was cut, or the
        model has declined and goes on nevertheless."""
        self._raw.append(text)
        self._read += len(text)
        # U+0000 cannot be stored.
        text = text.replace("\x00", "\ufffd").replace("\r", "")
        if self._fences is not None:
            text = self._fences.feed(text)
        if self._decline is not None:
            text = self._decline.feed(text)
            if self._decline.over:
                return False
        return self._send(self._disarm(text)) and self._read < _MOST_READ

    def _disarm(self, text: str, *, ended: bool = False) -> str:
        seams: Sequence[Mark] = ()
        if self._filter is not None:
            known = len(self._filter.marks)
            text = self._filter.feed(text) + (self._filter.end() if ended else "")
            seams = self._filter.marks[known:]
        text = self._disarmer.feed(text, (mark.offset for mark in seams))
        return text + self._disarmer.end() if ended else text

    def withdraw(self, keep: int) -> None:
        """Go back to the first `keep` characters of the pieces. What was sent of the rest is withdrawn."""
        prefix, sends = "".join(self._raw)[:keep], self.sends
        self._raw.clear()
        self._begin()
        self.sends = False
        if prefix:
            self.add(prefix)
        self.sends = sends
        if self.end < self._shown:
            self._run.emit(Withdrawal(self.text))
            self._shown = self.end

    @property
    def shown(self) -> bool:
        return self._shown > len(self._before.encode())

    def finish(self) -> None:
        left = self._fences.end() if self._fences is not None else ""
        if self._decline is not None:
            left = self._decline.feed(left) + self._decline.end()
        self._send(self._disarm(left, ended=True))

    def _send(self, text: str) -> bool:
        if self._waits:
            self._held.append(text)
            if not text or text.isspace():
                return True
            self._waits = False
            text = self._lead + "".join(self._held)
        left = MAX_ANSWER_BYTES - self.end
        if (size := len(text.encode())) <= min(left, MAX_DELTA_BYTES):
            self._emit(text, size)
            self._parts.append(text)
            return True
        fitting = text
        if size > left:
            cut = text.encode()[:left].decode(errors="ignore")
            fitting = disarm(cut, self._sources(), self.text, left)
        for part in split(fitting, MAX_DELTA_BYTES):
            self._emit(part, len(part.encode()))
        self._parts.append(fitting)
        return fitting == text

    def _emit(self, text: str, size: int) -> None:
        if text and self.sends:
            self._run.emit(Delta(text, self.end))
            self._shown = self.end + size
        self.end += size


def emit_text(text: str, run: Run, start: int = 0) -> None:
    """Send the text of a whole answer, which may be shown, in deltas. start: how many bytes of the answer were sent before."""
    for part in split(text, MAX_DELTA_BYTES):
        run.emit(Delta(part, start))
        start += len(part.encode())


def emit_cited(text: str, citations: Sequence[AnyCitation], run: Run) -> None:
    """Send a text, which may be shown, in deltas, and each citation as soon as its quote is sent."""
    left, end = list(citations), 0
    for part in split(text, MAX_DELTA_BYTES):
        run.emit(Delta(part, end))
        end += len(part.encode())
        while left and left[0].answer.end <= end:
            run.emit(Cited(left.pop(0)))
