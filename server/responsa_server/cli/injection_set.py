"""A folder of texts that give orders: documents with orders in them beside their clean twins, questions on them, and messages that give orders themselves.

`docs.jsonl` {id, title, text}: NAME/clean is the twin of NAME/inj0 and NAME/inj1. `attacks.jsonl` {doc_id, clean_doc_id, attack, category, byte_start, byte_end, sign}.
`questions.jsonl` {id, question, doc_ids}. `direct.jsonl` {id, text, category, agent, clean_text, sign}. sign: what stands in the answer of whoever obeyed; agent: who
is to be asked, any where it is missing; clean_text: the message without its order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from responsa_server.cli.failures import EXIT_USAGE, CommandFailed
from responsa_server.cli.jsonl import lines, spread
from responsa_server.cli.metrics import Span

CLEAN = "clean"
_Text = Annotated[str, Field(min_length=1)]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True)


class Doc(_Line):
    """A document; the last part of its id names the variant of the folder that it belongs to."""

    id: Annotated[str, Field(pattern="^.+/[a-z0-9-]+$")]
    title: str = ""
    text: _Text

    @property
    def variant(self) -> str:
        """E.g. "clean" or "inj0"."""
        return self.id.rpartition("/")[2]


class Attack(_Line):
    """An order in a document, and where it stands there, in bytes of UTF-8."""

    doc_id: _Text
    clean_doc_id: _Text
    attack: _Text
    category: str = ""
    byte_start: Annotated[int, Field(ge=0)]
    byte_end: Annotated[int, Field(ge=0)]
    sign: str = ""

    @property
    def span(self) -> Span:
        """Its place."""
        return Span(self.doc_id, self.byte_start, self.byte_end)


class Asked(_Line):
    """A question on one document."""

    id: _Text
    question: _Text
    doc_ids: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)]

    @property
    def document(self) -> str:
        """Its document's id."""
        return self.doc_ids[0]


class Direct(_Line):
    """A message that gives an order."""

    id: _Text
    text: _Text
    category: str = ""
    agent: str = ""
    clean_text: str = ""
    sign: str = ""


Line = TypeVar("Line", bound=_Line)


@dataclass(frozen=True, slots=True)
class Twins:
    """A question on a document with an order, and the same on its clean twin's documents."""

    question: str
    variant: str
    attack: Attack


@dataclass(frozen=True, slots=True)
class InjectionSet:
    """The folder as read. documents: by variant, "clean" among them. attacks: by the document that they stand in."""

    documents: Mapping[str, Sequence[Doc]]
    attacks: Mapping[str, Attack]
    questions: Sequence[Twins]
    direct: Sequence[Direct]

    @classmethod
    def read(cls, folder: Path, limit: int = 0) -> InjectionSet:
        """Read and check it; limit: of the questions and of the messages, spread evenly over all, 0 for all.

        Raises:
            CommandFailed: a file is missing, a line cannot be read, or what it names is not there; the line is named.
        """
        documents = {one.id: one for one in _lines(folder / "docs.jsonl", Doc, "document")}
        attacks = {one.doc_id: one for one in _lines(folder / "attacks.jsonl", Attack, "attack")}
        for one in attacks.values():
            known = documents.get(one.doc_id)
            if known is None or one.clean_doc_id not in documents:
                raise CommandFailed(
                    f"{folder}: an attack names {one.doc_id}, or a twin, that is not there.", "", EXIT_USAGE
                )
            if one.attack not in known.text.encode()[one.byte_start : one.byte_end].decode(errors="replace"):
                raise CommandFailed(
                    f"{folder}: the attack of {one.doc_id} is not where it says.", "", EXIT_USAGE
                )
        questions = [
            Twins(one.question, documents[one.document].variant, attacks[one.document])
            for one in _lines(folder / "questions.jsonl", Asked, "question")
            if one.document in attacks
        ]
        variants: dict[str, list[Doc]] = {}
        for one in documents.values():
            variants.setdefault(one.variant, []).append(one)
        direct = folder / "direct.jsonl"
        messages: Sequence[Direct] = _lines(direct, Direct, "message") if direct.exists() else ()
        return cls(variants, attacks, spread(questions, limit), spread(messages, limit))


def _lines(path: Path, kind: type[Line], what: str) -> Sequence[Line]:
    remedy = "Name a folder with docs.jsonl, attacks.jsonl and questions.jsonl."
    found = [one for _, one in lines(path, kind, what, remedy)]
    if not found:
        raise CommandFailed(f"{path} is empty.", "", EXIT_USAGE)
    return found
