"""Says which code in a model's text is word for word from the passages, and which the model wrote."""

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
from responsa_server.text.headed import fenced_code


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
        blocks = fenced_code(given.text)
        note = ""
        if blocks and given.complete:
            shown = await self._source.passages(given.evidence, self._most_bytes) if given.evidence else ()
            own = own_blocks([block.code for block in blocks], [one.text for one in shown])
            note = code_note(len(blocks), own)
        if len((given.text + note).encode()) > MAX_ANSWER_BYTES:
            note = ""
        emit_text(note, run, len(given.text.encode()))
        return CodeCheckerOutput(text=given.text + note, complete=given.complete)


def own_blocks(blocks: Sequence[str], passages: Sequence[str]) -> Sequence[int]:
    """The numbers, from 1, of the blocks of code that are not word for word in a passage."""
    known = [_lines(passage) for passage in passages]
    return [
        number
        for number, one in enumerate(blocks, 1)
        if not any(_within(_lines(one), all_) for all_ in known)
    ]


def code_note(count: int, own: Sequence[int]) -> str:
    """The note on `count` blocks of code, which begins with an empty line. own: the numbers of the blocks that the model wrote."""
    if not own:
        return "\n\n*The code in this answer is word for word from the passages.*"
    if len(own) == count:
        what = "The code in this answer was" if count == 1 else "All code in this answer was"
        return f"\n\n*{what} written by the model, and is unchecked.*"
    places = ", ".join(map(str, own))
    what = f"numbers {places} were" if len(own) > 1 else f"number {places} was"
    return f"\n\n*Of the {count} blocks of code, {what} written by the model, and unchecked. The others are word for word from the passages.*"


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
)
