"""Sends an answer's text to the reader in deltas, without the marks of citations and data, and within the limit of an answer's size."""

from __future__ import annotations

from typing import Final

from responsa_server.agents.engine.citations import MarkFilter, split
from responsa_server.agents.engine.fences import FenceFilter
from responsa_server.agents.engine.node import Run
from responsa_server.domain.events import MAX_ANSWER_BYTES, Delta

MAX_DELTA_BYTES: Final = 1024
_MOST_READ: Final = 4 * MAX_ANSWER_BYTES
"""The most characters to read from a model. Marks and white space count here, but not towards the size of the answer."""


class Teller:
    """Sends each piece of a text as it comes.

    told: text of the answer that was told before. lead: what goes before the model's first words, where nothing was told yet. cites: whether marks are taken out
    and noted; those that fence data always are taken out. tells: False keeps the text for others to tell. end: bytes of the answer so far, 0 as long as there is
    nothing but space.
    """

    def __init__(
        self, run: Run, told: str = "", *, lead: str = "", cites: bool = False, tells: bool = True
    ) -> None:
        self._run = run
        self._parts = [told]
        self.tells = tells
        self.end = len(told.encode())
        # Until something is said there is no answer, and so no beginning of one.
        self._waits = not told
        self._held = list[str]()
        self._read = 0
        self._lead = f"{lead}\n\n" if lead and not told else ""
        # Before the other one: what that notes are places in the text without either.
        self._fences = FenceFilter(run.nonce, told) if run.nonce else None
        self._filter = MarkFilter(self.end + len(self._lead.encode())) if cites else None

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._parts)

    @property
    def marks(self) -> tuple[tuple[int, int], ...]:
        """Those in the text so far: a byte of it, and a passage's number."""
        return () if self._filter is None else tuple(one for one in self._filter.marks if one[0] <= self.end)

    def add(self, text: str) -> bool:
        """The next piece. False: it does not fit any more, and was cut; nothing can follow."""
        # U+0000 cannot be stored.
        text = text.replace("\x00", "\ufffd")
        self._read += len(text)
        if self._fences is not None:
            text = self._fences.feed(text)
        return (
            self._tell(text if self._filter is None else self._filter.feed(text)) and self._read < _MOST_READ
        )

    def finish(self) -> None:
        """Nothing follows."""
        left = self._fences.end() if self._fences is not None else ""
        if self._filter is not None:
            left = self._filter.feed(left) + self._filter.end()
        self._tell(left)

    def _tell(self, text: str) -> bool:
        if self._waits:
            self._held.append(text)
            if not text or text.isspace():
                return True
            self._waits = False
            text = self._lead + "".join(self._held)
        left = MAX_ANSWER_BYTES - self.end
        if (size := len(text.encode())) <= min(left, MAX_DELTA_BYTES):
            if text and self.tells:
                self._run.emit(Delta(text, self.end))
            self.end += size
            self._parts.append(text)
            return True
        fitting = _fitting(text, left)
        for part in split(fitting, MAX_DELTA_BYTES):
            if self.tells:
                self._run.emit(Delta(part, self.end))
            self.end += len(part.encode())
        self._parts.append(fitting)
        return fitting == text


def _fitting(text: str, most_bytes: int) -> str:
    """As much of the text as so many bytes hold, of whole characters."""
    data = text.encode()
    return text if len(data) <= most_bytes else data[:most_bytes].decode(errors="ignore")


def emit_text(text: str, run: Run, start: int = 0) -> int:
    """Tell a text in deltas from byte `start` of the answer on; returns where it ends."""
    for part in split(text, MAX_DELTA_BYTES):
        run.emit(Delta(part, start))
        start += len(part.encode())
    return start
