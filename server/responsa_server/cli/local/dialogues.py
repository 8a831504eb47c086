"""Dialogues to measure by: what was said, a question, and what is right about it.

One JSON object a line: {id, agent, turns: [{speaker: user | assistant, text}], question, needs_retrieval, follow_up, source_key}.
`turns` came before the question, may be empty, and end with the assistant. `needs_retrieval`: the answer stands in documents, not in
the turns or in good manners. `follow_up`: without the turns the question is not understood. `source_key` names the document in
the agent's samples that answers, where one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from responsa_server.cli.failures import EXIT_USAGE, CommandFailed
from responsa_server.cli.jsonl import lines

_Text = Annotated[str, Field(min_length=1, max_length=4000)]
_Id = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]


class Spoken(BaseModel):
    """One message."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    speaker: Literal["user", "assistant"]
    text: _Text


class Dialogue(BaseModel):
    """One question after what was said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: _Id
    agent: _Id
    turns: tuple[Spoken, ...]
    question: _Text
    needs_retrieval: Annotated[bool, Field(strict=True)]
    follow_up: Annotated[bool, Field(strict=True)]
    source_key: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Dialogue:
        speakers = [one.speaker for one in self.turns]
        if speakers != ["user", "assistant"] * (len(speakers) // 2):
            raise ValueError("turns go user, assistant, and so on, and end with the assistant")
        if self.follow_up and not self.turns:
            raise ValueError("a follow-up follows something")
        if self.source_key and not self.needs_retrieval:
            raise ValueError("what needs no retrieval has no source")
        return self


def dialogues(path: Path) -> Sequence[Dialogue]:
    """All dialogues of a file, in their order.

    Raises:
        CommandFailed: the file is missing or empty, a line cannot be read, or an id stands twice; the line is named.
    """
    found: dict[str, Dialogue] = {}
    for where, one in lines(path, Dialogue, "dialogue"):
        if one.id in found:
            raise CommandFailed(f"{where}: {one.id} stands twice.", "", EXIT_USAGE)
        found[one.id] = one
    if not found:
        raise CommandFailed(f"{path} holds no dialogues.", "", EXIT_USAGE)
    return list(found.values())
