"""Generations: the vectors that one embedding model made of a collection's passages.

Searches use the active generation of each collection. Another generation is built while the active one serves, and
becomes active in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from responsa_contract import GenerationState
from responsa_server.domain.passages import Passage, PassagePiece

MAX_GENERATIONS: Final = 8
"""The maximum number of generations of a collection."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation of a collection.

    number: from 1, in the order of creation. embedding: the name of the model. passages_done, passages_total: the
    number of passages with vectors and of all passages that searches can find, at the latest update. activate_time:
    when it last became active; None if it never was.
    """

    collection_id: str
    number: int
    embedding: str
    dimensions: int
    state: GenerationState
    passages_done: int
    passages_total: int
    create_time: datetime
    update_time: datetime
    activate_time: datetime | None


@dataclass(frozen=True, slots=True)
class UnembeddedPassage:
    """A passage that lacks vectors in a generation. header: the header of the table within which the passage begins,
    with a line feed; '' if there is no such table. pieces: the pieces and headings of the passage, in order; empty if no
    generation has stored them.
    """

    passage: Passage
    language: str
    header: str
    pieces: Sequence[PassagePiece]


@dataclass(frozen=True, slots=True)
class GenerationTask:
    """A worker's claim to build a generation. It is valid only while its epoch is the operation's epoch.

    generation_id: the id under which the generation's vectors are stored; None if they are in the first table.
    activate: whether the generation becomes active when it is complete.
    passages_done: the number of passages that have vectors.
    """

    tenant_id: str
    operation_id: UUID
    epoch: int
    collection_id: str
    number: int
    generation_id: UUID | None
    embedding: str
    activate: bool
    passages_done: int
