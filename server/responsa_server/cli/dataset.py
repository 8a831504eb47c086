"""A folder to measure on: docs.jsonl {id, title, text} and questions.jsonl.

A question is {id, question, doc_ids, answerable, answers: [{text, doc_id, byte_start, byte_end}]}; doc_ids are the documents
that hold its answer, byte ranges are UTF-8 bytes of the document's text. `answerable` is true when it is missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from responsa_server.cli.failures import EXIT_USAGE, CommandFailed
from responsa_server.cli.jsonl import lines, spread
from responsa_server.cli.metrics import Span


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)

    text: str
    doc_id: str = ""
    byte_start: int = 0
    byte_end: int = 0


class Question(BaseModel):
    """One question and what is known of its answer."""

    model_config = ConfigDict(frozen=True)

    id: str
    question: str
    doc_ids: tuple[str, ...] = ()
    answers: tuple[_Answer, ...] = ()
    answerable: bool = True

    @property
    def gold_texts(self) -> Sequence[str]:
        """The texts that answer it."""
        return [answer.text for answer in self.answers]

    @property
    def gold_spans(self) -> Sequence[Span]:
        """Where they stand."""
        return [
            Span(answer.doc_id, answer.byte_start, answer.byte_end)
            for answer in self.answers
            if answer.doc_id
        ]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A folder's documents and questions."""

    documents: Path
    questions: Sequence[Question]
    collection: str
    """The collection to measure in unless told otherwise: eval- and the folder's name."""

    @classmethod
    def read(cls, folder: Path, limit: int) -> DataSet:
        """Read the questions, `limit` of them spread evenly over all, 0 for all.

        Raises:
            CommandFailed: a file is missing or a question cannot be read; the line is named.
        """
        documents, asked = folder / "docs.jsonl", folder / "questions.jsonl"
        for file in (documents, asked):
            if not file.is_file():
                raise CommandFailed(
                    f"{folder} holds no {file.name}.",
                    "Name a folder with docs.jsonl and questions.jsonl.",
                    EXIT_USAGE,
                )
        questions = [one for _, one in lines(asked, Question, "question")]
        if not questions:
            raise CommandFailed(f"{asked} holds no questions.", "", EXIT_USAGE)
        name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
        return cls(documents, spread(questions, limit), f"eval-{name or 'set'}"[:63].rstrip("-"))
