"""The format of data sets, and the reader for all files with one JSON object per line.

A data set is a folder with the files docs.jsonl and questions.jsonl. A document is {id, title, text}. A question is {id,
question, doc_ids, answerable, answers: [{text, doc_id, byte_start, byte_end}]}. doc_ids names the documents that contain
the answer. byte_start and byte_end count bytes of the document's text in UTF-8. If `answerable` is missing, it is true.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ConfigDict, ValidationError

from responsa_lab.evaluation.metrics import TextSpan
from responsa_server.cli.output import EXIT_USAGE, CommandFailed

Line = TypeVar("Line", bound=BaseModel)
Item = TypeVar("Item")


def lines(path: Path, kind: type[Line], what: str, remedy: str = "") -> Iterator[tuple[str, Line]]:
    """The place ("FILE line N") and content of each line, in order. Empty lines are skipped.

    Args:
        what: the word for the content of a line in error messages, such as "question".
        remedy: the remedy in the error message if the file cannot be read.

    Raises:
        CommandFailed: the file cannot be read, or a line is not a valid `kind`. The message names the line and its first wrong field.
    """
    try:
        with path.open("rb") as opened:
            for number, line in enumerate(opened, start=1):
                if line.strip():
                    where = f"{path} line {number}"
                    yield where, _line(line, kind, what, where)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read ({error.strerror}).", remedy, EXIT_USAGE) from None


def _line(line: bytes, kind: type[Line], what: str, where: str) -> Line:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise CommandFailed(
            f"{where} is not a valid {what}: {path or 'it'}: {first['msg']}.", "", EXIT_USAGE
        ) from None


Limit = Annotated[
    int,
    typer.Option(
        min=0, help="The number of questions to use, spread evenly over the file. 0 uses all questions."
    ),
]
"""The option of commands that use `spread`."""


def spread(items: Sequence[Item], limit: int) -> Sequence[Item]:
    """`limit` items that are spread evenly over `items`. All items if `limit` is 0."""
    if not 0 < limit < len(items):
        return items
    return [items[index * len(items) // limit] for index in range(limit)]


def collection_name(folder: Path, limit: int) -> str:
    """The name of the default collection for a measurement: eval- followed by the folder's name. A longer name is cut
    to `limit` characters."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return f"eval-{name or 'set'}"[:limit].rstrip("-")


class _KnownAnswer(BaseModel):
    model_config = ConfigDict(frozen=True)

    text: str
    doc_id: str = ""
    byte_start: int = 0
    byte_end: int = 0


class DatasetQuestion(BaseModel):
    """A question with its known answers."""

    model_config = ConfigDict(frozen=True)

    id: str
    question: str
    doc_ids: tuple[str, ...] = ()
    answers: tuple[_KnownAnswer, ...] = ()
    answerable: bool = True

    @property
    def gold_texts(self) -> Sequence[str]:
        """The texts that answer the question."""
        return [answer.text for answer in self.answers]

    @property
    def gold_spans(self) -> Sequence[TextSpan]:
        return [
            TextSpan(answer.doc_id, answer.byte_start, answer.byte_end)
            for answer in self.answers
            if answer.doc_id
        ]


@dataclass(frozen=True, slots=True)
class DataSet:
    """The documents and questions of a folder."""

    documents: Path
    questions: Sequence[DatasetQuestion]
    collection: str
    """The name of the default collection for a measurement: eval- followed by the folder's name."""

    @classmethod
    def read(cls, folder: Path, limit: int) -> DataSet:
        """Reads `limit` questions that are spread evenly over the file. 0 reads all questions.

        Raises:
            CommandFailed: a file is missing, or a question cannot be read. The message names the line.
        """
        documents, questions_file = folder / "docs.jsonl", folder / "questions.jsonl"
        for file in (documents, questions_file):
            if not file.is_file():
                raise CommandFailed(
                    f"{folder} holds no {file.name}.",
                    "Name a folder with docs.jsonl and questions.jsonl.",
                    EXIT_USAGE,
                )
        questions = [line for _, line in lines(questions_file, DatasetQuestion, "question")]
        if not questions:
            raise CommandFailed(f"{questions_file} holds no questions.", "", EXIT_USAGE)
        return cls(documents, spread(questions, limit), collection_name(folder, 63))
