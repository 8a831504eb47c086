"""What every section of the bench has at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench import corpus
from bench.library import answered_questions, make_collection, take_in
from bench.processes import Caller, Place

FEW: Final = "few"
"""The collection of the sections that ask questions: 200 passages."""
MANY: Final = "stations"
"""The collection that ingestion is measured with, and then search."""
PARAGRAPHS: Final = 100
"""Of each document."""
_QUESTIONS: Final = 64


@dataclass(slots=True)
class Run:
    """A running instance, the calling process, and how much time may be spent."""

    place: Place
    caller: Caller
    quick: bool
    say: Callable[[str], None]
    many: list[corpus.Text] = field(default_factory=list[corpus.Text])
    """The documents that MANY holds."""
    _questions: Sequence[str] = ()

    def pick(self, whole: int, quick: int) -> int:
        """How much of something, in a whole run and in a quick one."""
        return quick if self.quick else whole

    def questions(self) -> Sequence[str]:
        """Sixty-four questions that FEW answers; the collection is made when it is not there."""
        if not self._questions:
            self.say("taking in the documents that questions are asked about")
            texts = corpus.documents(2, PARAGRAPHS, seed=2)
            make_collection(self.place, FEW)
            take_in(self.place, FEW, texts)
            asked = corpus.questions(texts, 3 * _QUESTIONS)
            self._questions = answered_questions(self.place, FEW, asked, _QUESTIONS)
        return self._questions

    def take_in_more(self, number: int) -> tuple[float, int]:
        """Take new documents into MANY, and wait until each is searchable. Returns seconds and passages."""
        if not self.many:
            make_collection(self.place, MANY)
        texts = corpus.documents(number, PARAGRAPHS, first=len(self.many))
        self.many += texts
        return take_in(self.place, MANY, texts)
