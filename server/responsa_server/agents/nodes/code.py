"""Says where the code in a model's text is from: word for word from the passages, or written by the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from responsa_server.agents.engine.answer_text import emit_text
from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import Node, NodeModel, Run
from responsa_server.agents.nodes.searching import DEFAULT_RETRIEVAL
from responsa_server.domain.answers import Evidence, EvidenceSource
from responsa_server.domain.events import MAX_ANSWER_BYTES
from responsa_server.text.headed import code_blocks


class CodeCheckerModel(NodeModel):
    """The text as it was sent, and whether it is complete. evidence: what the prompt contained."""

    text: str
    complete: bool
    evidence: Evidence | None = None


class CodeCheckerOutput(NodeModel):
    """The text with the note on its code."""

    text: str
    complete: bool


class CodeChecker(Node[CodeCheckerModel, CodeCheckerOutput]):
    """Adds a note to a text with code. The text itself never changes, because it was already sent. A text without code stays as it is."""

    name = "code"
    input_model = CodeCheckerModel
    output_model = CodeCheckerOutput

    def __init__(self, source: EvidenceSource, table: RetrievalTable = DEFAULT_RETRIEVAL) -> None:
        self._source = source
        self._most_bytes = table.context_bytes

    async def process(self, given: CodeCheckerModel, run: Run) -> CodeCheckerOutput:
        """Compare each block of code with the passages, and send the note."""
        blocks = code_blocks(given.text)
        note = ""
        if blocks and given.complete:
            shown = await self._source.passages(given.evidence, self._most_bytes) if given.evidence else ()
            note = code_note(blocks, [one.text for one in shown])
        if len((given.text + note).encode()) > MAX_ANSWER_BYTES:
            note = ""
        emit_text(note, run, len(given.text.encode()))
        return CodeCheckerOutput(text=given.text + note, complete=given.complete)


def code_note(blocks: Sequence[str], passages: Sequence[str]) -> str:
    """The note on blocks of code, which begins with an empty line."""
    known = [_lines(one) for one in passages]
    own = [
        number
        for number, one in enumerate(blocks, 1)
        if not any(_within(_lines(one), all_) for all_ in known)
    ]
    if not own:
        return "\n\n*The code in this answer is word for word from the passages.*"
    if len(own) == len(blocks):
        what = "The code in this answer was" if len(blocks) == 1 else "All code in this answer was"
    else:
        places = ", ".join(map(str, own))
        what = f"Of the {len(blocks)} blocks of code, number {places} was"
        if len(own) > 1:
            what = f"Of the {len(blocks)} blocks of code, numbers {places} were"
    rest = "" if len(own) == len(blocks) else " The others are word for word from the passages."
    return f"\n\n*{what} written by the model, and its syntax is unchecked.{rest}*"


def _lines(text: str) -> Sequence[str]:
    """The lines with a visible character, without white space around them."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _within(block: Sequence[str], text: Sequence[str]) -> bool:
    """Whether the lines of a block follow each other in a text."""
    size = len(block)
    return any(list(text[place : place + size]) == list(block) for place in range(len(text) - size + 1))


CODE_CHECKER: Final = NodeKind(
    lambda parts, _, __: CodeChecker(required(parts.source, "source of evidence"), parts.traits.retrieval),
    CodeCheckerModel,
    CodeCheckerOutput,
    streams=True,
)
