"""The text of an answer as a wire can carry it that cannot take text back."""

from __future__ import annotations

from collections.abc import Sequence

from responsa_server.agents.engine.config import BYTES_A_TOKEN
from responsa_server.agents.engine.continuing import to_keep
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.text.disarming import disarm, links


class AppendOnlyText:
    """Takes the pieces of an answer and gives out what may be sent.

    A model that fails in the middle of an answer loses its unfinished sentence, which the next model writes anew, so
    only whole sentences are given out until the answer has ended. If more is withdrawn than that, as when a worker is
    lost, nothing is given out until the new text has reached the end of the old one; `take` raises if the new text
    differs from what was sent.

    holds: whether the newest piece is given out only after something has followed it, such as the citations of its
    sentences. sent: how many characters the client has. longest: the most characters that the text has had. cut: "stop"
    if the text ended before a stop sequence, "length" if it reached the limit, "" otherwise.
    """

    def __init__(
        self,
        stop: Sequence[str] = (),
        most_tokens: int | None = None,
        sent: int = 0,
        *,
        holds: bool = False,
    ) -> None:
        """stop: the sequences before which the text ends. most_tokens: the limit of the text. sent: how many characters
        the client has from an earlier stream."""
        self._stop = stop
        self._most = None if most_tokens is None else most_tokens * BYTES_A_TOKEN
        self._owed = ""
        self.holds = holds
        self._held = 0
        self.text = ""
        self.sent = sent
        self.longest = 0
        self.cut = ""

    def add(self, piece: str) -> None:
        """Add the next piece of the text."""
        self._held = len(piece) if self.holds else 0
        self.text += piece
        self.longest = max(self.longest, len(self.text))

    def settle(self) -> None:
        """Hold nothing back: what follows the newest piece is no citation."""
        self._held = 0

    def restart(self, keep_bytes: int) -> None:
        """Withdraw all but the first bytes of the text."""
        if len(self.text) >= self.sent and not self._owed:
            self._owed = self.text[: self.sent]
        self.text = self.text.encode()[:keep_bytes].decode()

    def take(self, *, whole: bool = False) -> str:
        """What may be sent now, after what was given out before. whole: whether the text is complete. Raises
        Unavailable (ATTEMPT_RESTARTED)."""
        if self.cut:
            return ""
        if self._owed:
            if not self.text.startswith(self._owed):
                if whole or not self._owed.startswith(self.text):
                    raise error_of_restart()
                return ""
            self._owed = ""
        end = len(self.text) if whole else min(to_keep(self.text, prefix=False), len(self.text) - self._held)
        end = self._cut(end, whole=whole)
        if end <= self.sent:
            return ""
        start, self.sent = self.sent, end
        if self.cut:
            # Code that has lost its end is none.
            line = max(start, self.text.rfind("\n", 0, end) + 1)
            before, known = self.text[:line], links(self.text)
            self.text = before + disarm(self.text[line:end], known, before)
            self.sent = len(self.text)
        return self.text[start : self.sent]

    def _cut(self, end: int, *, whole: bool) -> int:
        """The end before a stop sequence, or at the limit."""
        positions = [position for stop in self._stop if (position := self.text.find(stop)) >= 0]
        if positions and min(positions) <= end:
            end, self.cut = min(positions), "stop"
        elif self._stop and not whole:
            # The text so far may end with the beginning of a stop sequence.
            end = min(end, len(self.text) - max(map(len, self._stop)) + 1)
        if self._most is not None and len(self.text[:end].encode()) > self._most:
            end = len(self.text.encode()[: self._most].decode(errors="ignore"))
            self.cut = "length"
        return end


def error_of_restart() -> Unavailable:
    """The error for a text that was withdrawn after it had been sent."""
    return Unavailable(
        Reason.ATTEMPT_RESTARTED,
        (
            "The answer was begun anew after a part of it had been sent, so that part is void. "
            "Repeat the request with the same Idempotency-Key, or get the response of this id, for "
            "the whole answer."
        ),
        retry_after=1.0,
    )
