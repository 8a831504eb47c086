"""The tools that every section of the bench uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from bench import corpus
from bench.library import answered_questions, make_collection, take_in
from bench.processes import Caller, Place

Value = TypeVar("Value")

FEW: Final = "few"
"""The collection of the sections that ask questions: 200 passages."""
MANY: Final = "stations"
"""The collection for ingestion, and after that for search."""
PARAGRAPHS: Final = 100
"""The number of paragraphs of each document."""
_QUESTIONS: Final = 64


@dataclass(slots=True)
class Run:
    """A running instance, the id of its process `up`, the calling process, and the length of the run."""

    place: Place
    up: int
    caller: Caller
    quick: bool
    say: Callable[[str], None]
    many: list[corpus.Text] = field(default_factory=list[corpus.Text])
    """The number of documents in MANY."""
    _questions: Sequence[str] = ()

    def pick(self, whole: Value, quick: Value) -> Value:
        """Chooses the value for a whole run or for a quick run."""
        return quick if self.quick else whole

    def questions(self) -> Sequence[str]:
        """Sixty-four questions that the collection FEW answers. Creates the collection if it does not exist."""
        if not self._questions:
            self.say("uploading the documents for the questions")
            texts = corpus.documents(2, PARAGRAPHS, seed=2)
            make_collection(self.place, FEW)
            take_in(self.place, FEW, texts)
            asked = corpus.questions(texts, 3 * _QUESTIONS)
            self._questions = answered_questions(self.place, FEW, asked, _QUESTIONS)
        return self._questions

    def take_in_more(self, number: int) -> tuple[float, int]:
        """Uploads new documents to the collection MANY, and waits until each is searchable. Returns the seconds and the
        number of passages."""
        if not self.many:
            make_collection(self.place, MANY)
        texts = corpus.documents(number, PARAGRAPHS, first=len(self.many))
        self.many += texts
        return take_in(self.place, MANY, texts)
