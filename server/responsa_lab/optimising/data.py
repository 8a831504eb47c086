"""The labelled messages or questions: one JSON object {id, text, part} with its label on each line. The part is `train` or `test`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.metrics import plain
from responsa_server.cli.output import EXIT_USAGE, CommandFailed

_LEAST: Final = 10


class Item(BaseModel):
    """A message. The messages of the part `test` are only measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(min_length=1)]
    text: Annotated[str, Field(min_length=1, pattern=r"\S")]
    part: Literal["train", "test"]

    @property
    def group(self) -> str:
        """What both halves of the part `train` have."""
        return ""


class LabelledMessage(Item):
    """A message and its right label."""

    label: str

    @property
    def group(self) -> str:
        return self.label


class LabelledQuestion(Item):
    """A question and what makes an answer good.

    documents: the documents of which one must be cited, each as `documents/{uuid}` or by its source_key. contains: a
    text that the answer must contain; "" if any answer will do. refused: whether the question must be refused.
    parameters: the question's parameters.
    """

    documents: tuple[str, ...] = ()
    contains: str = ""
    refused: bool = False
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])

    @model_validator(mode="after")
    def _check_label(self) -> Self:
        if self.refused == bool(self.documents):
            raise ValueError("give documents, or refused as true")
        return self

    @property
    def group(self) -> str:
        return "".join(self.documents[:1])


One = TypeVar("One", bound=Item)


@dataclass(frozen=True, slots=True)
class LabelledSet(Generic[One]):
    """The lines of a file. examples, chosen: the two halves of the part `train`: demonstrations come from `examples`,
    and candidates are compared on `chosen`.
    sha256: the hash of the file, in hexadecimal digits. what: what a line is, `message` or `question`.
    """

    examples: Sequence[One]
    chosen: Sequence[One]
    test: Sequence[One]
    sha256: str
    what: str


def read(
    path: Path, kind: type[One], wrong: Callable[[One], str], known: Collection[str]
) -> LabelledSet[One]:
    """The lines of a file.

    Args:
        wrong: what is wrong with a line's label; "" if it is right.
        known: the texts of the agent's own examples, in the form of `plain`.

    Raises:
        CommandFailed: a line is not valid, repeats an id or a text, or has a wrong label, a text of the part `test` is
            also in the part `train` or among the agent's
            examples, or a part has fewer than 10 lines. The message names the line.
    """
    what = "message" if kind is LabelledMessage else "question"
    ids, texts = dict[str, str](), dict[str, tuple[str, One]]()
    for where, item in lines(path, kind, what, 'Name a file with lines {"id", "text", "part"} and a label.'):
        if why := wrong(item):
            raise _refuse(where, why)
        if item.id in ids:
            raise _refuse(where, f"has the id “{item.id}” of {ids[item.id]}; give it another one")
        text = plain(item.text)
        if text in texts:
            first, other = texts[text]
            leak = "leaks into the other part: it" if other.part != item.part else "is not new: it"
            raise _refuse(where, f"{leak} has the text of {first}; remove one of them")
        if item.part == "test" and text in known:
            raise _refuse(
                where, "leaks: it is one of the agent's own examples; remove it from the part `test`"
            )
        ids[item.id] = where
        texts[text] = (where, item)
    parts: dict[str, list[One]] = {"train": [], "test": []}
    for _, item in texts.values():
        parts[item.part].append(item)
    for part, items in parts.items():
        if len(items) < _LEAST:
            raise _refuse(str(path), f"has {len(items)} {what}s of the part `{part}`; give at least {_LEAST}")
    # Sorted by label, every second line goes to the other half, so that both halves have the same labels.
    train = sorted(parts["train"], key=lambda item: item.group)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return LabelledSet(train[::2], train[1::2], parts["test"], digest, what)


def _refuse(where: str, why: str) -> CommandFailed:
    return CommandFailed(f"{where} {why}.", "", EXIT_USAGE)
