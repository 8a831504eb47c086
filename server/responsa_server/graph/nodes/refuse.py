"""Says why there is no answer, and what would help."""

from __future__ import annotations

from typing import Final

from responsa_server.domain.answers import Evidence
from responsa_server.domain.turns import RefusalReason
from responsa_server.graph.node import Node, NodeModel, Run

_SHOWN_CHARACTERS: Final = 160


class RefuseInput(NodeModel):
    """What was asked, where it was looked for, and what was found."""

    question: str
    standalone_question: str = ""
    collections: tuple[str, ...] = ()
    evidence: Evidence


class RefusalModel(NodeModel):
    """The typed refusal."""

    reason: RefusalReason
    message: str


class RefuseOutput(NodeModel):
    """What the turn ends with."""

    refusal: RefusalModel


class Refuse(Node[RefuseInput, RefuseOutput]):
    """Ends without an answer. Nothing is announced: no answer is being written."""

    name = "refuse"
    input_model = RefuseInput
    output_model = RefuseOutput

    async def process(self, given: RefuseInput, run: Run) -> RefuseOutput:
        """Tell what was searched and what helps."""
        match given.collections:
            case ():
                place = "all documents that you may read"
            case (one,):
                place = f"the collection {one}"
            case many:
                place = f"the collections {', '.join(many[:8])}{' and others' if len(many) > 8 else ''}"
        asked = _shown(given.standalone_question or given.question)
        if given.evidence.passages:
            found = f"I searched {place} for “{asked}”, and no passage says enough to answer it."
            remedy = (
                "Name the subject in full, ask about one thing at a time, or add a document that covers it."
            )
        else:
            found = f"I searched {place} for “{asked}” and found nothing on it."
            remedy = "Use the words that your documents use, search other collections, or add a document that covers it."
        return RefuseOutput(
            refusal=RefusalModel(reason=RefusalReason.NO_SUPPORT, message=f"{found} {remedy}")
        )


def _shown(question: str) -> str:
    text = " ".join(question.split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1].rstrip() + "…"
