"""The labelled messages: one JSON object {id, text, label, part} on each line. The part is `train` or `test`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.metrics import plain
from responsa_server.cli.output import EXIT_USAGE, CommandFailed

_LEAST: Final = 10


class Message(BaseModel):
    """A message and its right label. The messages of the part `test` are only measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(min_length=1)]
    text: Annotated[str, Field(min_length=1, pattern=r"\S")]
    label: str
    part: Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """The messages of a file. examples, chosen: the two halves of the part `train`: demonstrations come from `examples`, and candidates are compared on `chosen`.
    sha256: the hash of the file, in hexadecimal digits.
    """

    examples: Sequence[Message]
    chosen: Sequence[Message]
    test: Sequence[Message]
    sha256: str


def read(path: Path, labels: Sequence[str], known: Mapping[str, str]) -> Labelled:
    """The messages of a file.

    Args:
        labels: the labels that a message may have.
        known: the agent's own examples: their texts in the form of `plain`, with their labels.

    Raises:
        CommandFailed: a line is not valid, repeats an id or a text, or has a label that does not exist, a text of the part `test` is also in the part `train` or among the agent's
            examples, or a part has fewer than 10 messages. The message names the line.
    """
    ids, texts = dict[str, str](), dict[str, tuple[str, Message]]()
    for where, one in lines(
        path, Message, "message", 'Name a file with lines {"id", "text", "label", "part"}.'
    ):
        if one.label not in labels:
            raise _refused(where, f"has the label “{one.label}”; the labels are {', '.join(labels)}")
        if one.id in ids:
            raise _refused(where, f"has the id “{one.id}” of {ids[one.id]}; give it another one")
        text = plain(one.text)
        if text in texts:
            first, other = texts[text]
            leak = "leaks into the other part: it" if other.part != one.part else "is not new: it"
            raise _refused(where, f"{leak} has the text of {first}; remove one of them")
        if one.part == "test" and text in known:
            raise _refused(
                where, "leaks: it is one of the agent's own examples; remove it from the part `test`"
            )
        ids[one.id] = where
        texts[text] = (where, one)
    parts: dict[str, list[Message]] = {"train": [], "test": []}
    for _, one in texts.values():
        parts[one.part].append(one)
    for part, messages in parts.items():
        if len(messages) < _LEAST:
            raise _refused(
                str(path), f"has {len(messages)} messages of the part `{part}`; give at least {_LEAST}"
            )
    # Sorted by label, every second message goes to the other half, so that both halves have the same labels.
    train = sorted(parts["train"], key=lambda one: one.label)
    return Labelled(train[::2], train[1::2], parts["test"], hashlib.sha256(path.read_bytes()).hexdigest())


def _refused(where: str, why: str) -> CommandFailed:
    return CommandFailed(f"{where} {why}.", "", EXIT_USAGE)
