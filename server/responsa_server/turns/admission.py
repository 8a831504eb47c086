"""How many questions without a language model a process admits: as many as it finishes in a given time, at the rate that it measures."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final

from responsa_server.domain.errors import Exhausted, Reason
from responsa_server.domain.formatting import counted, in_seconds
from responsa_server.domain.sharing import Scheduler
from responsa_server.turns.runtime import loop_time

# The rate that is assumed until one has been measured, in turns per second, and the seconds for which this guess counts as a measurement.
_FIRST_RATE: Final = 25.0
_FIRST_SECONDS: Final = 1.0
# What was measured longer ago than this number of seconds hardly counts any more.
_MEMORY_SECONDS: Final = 5.0
_LONGEST_WAIT_SECONDS: Final = 30.0


class Admission:
    """The unfinished turns of this process that ask no language model. Such a turn is work for processors and the
    database alone. So by Little's law, a new one ends after the time that all of them take at the rate at which the
    process finishes them, and more of them at a time make nothing faster.

    The rate is measured while every slot is taken: a process with less to do finishes only as many turns as it is asked for.
    """

    def __init__(self, slots: int, seconds: float, clock: Callable[[], float] = loop_time) -> None:
        """slots: how many of these turns work at a time, the others wait for their turns. seconds: the
        time within which an admitted turn should end. clock: returns the time in seconds."""
        self.slots = Scheduler("turns", slots)
        """A turn holds one while its agent works."""
        self._few = slots
        self._seconds = seconds
        self._clock = clock
        self._at = clock()
        self._unfinished = 0
        # The turns that were finished while every slot was taken, and the seconds that they took. Both fade.
        self._turns, self._taken = _FIRST_RATE * _FIRST_SECONDS, _FIRST_SECONDS

    @property
    def unfinished(self) -> int:
        """The number of turns that have begun and not ended."""
        return self._unfinished

    @property
    def rate(self) -> float:
        """How many turns a second the process finishes while every slot is taken. May be read on any thread."""
        return self._turns / self._taken

    @property
    def most(self) -> int:
        """How many turns may be unfinished if a new question is admitted: what the process finishes in time, but never
        fewer than there are slots."""
        return max(self._few, int(self.rate * self._seconds))

    @property
    def may_claim(self) -> bool:
        """Whether a turn that was accepted earlier, here or elsewhere, may begin here. These turns have some room of
        their own, so new questions never keep them out."""
        return self._unfinished < self.most + self._few

    def admit(self) -> None:
        """Check that a new question ends in time. Raises Exhausted (OVERLOADED)."""
        self._measure()
        limit = self.most
        if self._unfinished < limit:
            return
        wait = self._unfinished / max(self.rate, self._unfinished / _LONGEST_WAIT_SECONDS)
        raise Exhausted(
            Reason.OVERLOADED,
            (
                f"The server has {counted(limit, 'question')} to answer, as many as it can answer in "
                f"{in_seconds(self._seconds)}; try again soon."
            ),
            {"limit": str(limit)},
            # Spread, so that those who were refused together do not return together.
            retry_after=wait * random.uniform(0.5, 1.0),  # noqa: S311
        )

    def begin(self) -> None:
        """Count a turn that begins."""
        self._measure()
        self._unfinished += 1

    def end(self, *, finished: bool) -> None:
        """Stop counting a turn. finished: whether its work was done here to its end."""
        self._measure()
        if finished and self._unfinished >= self._few:
            self._turns += 1
        self._unfinished -= 1

    def _measure(self) -> None:
        now = self._clock()
        if self._unfinished >= self._few:
            decay = math.exp((self._at - now) / _MEMORY_SECONDS)
            self._turns *= decay
            self._taken = self._taken * decay + _MEMORY_SECONDS * (1 - decay)
        self._at = now
