"""Says which code in a model's text is word for word from the passages and which the model wrote, and whether the syntax of the model's code is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from responsa_server.agents.engine.answer_text import emit_text
from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import Node, NodeModel, Run
from responsa_server.agents.nodes.searching import DEFAULT_RETRIEVAL
from responsa_server.domain.answers import Evidence, EvidenceSource
from responsa_server.domain.code import Syntax, SyntaxChecker, SyntaxFault
from responsa_server.domain.events import MAX_ANSWER_BYTES
from responsa_server.text.headed import FencedCode, fenced_code
from responsa_server.text.shown import escaped


class CodeCheckerModel(NodeModel):
    """The text as it was sent, and whether it is complete. evidence: what the prompt contained."""

    text: str
    complete: bool
    evidence: Evidence | None = None


class CodeCheckerOutput(NodeModel):
    """The text with the note on its code, and what is known about the syntax of the code that the model wrote."""

    text: str
    complete: bool
    syntax: Syntax = Syntax.NONE


class CodeChecker(Node[CodeCheckerModel, CodeCheckerOutput]):
    """Adds a note to a text with code. The text itself never changes, because it was already sent. A text without code stays as it is."""

    name = "code"
    input_model = CodeCheckerModel
    output_model = CodeCheckerOutput

    def __init__(
        self,
        source: EvidenceSource,
        table: RetrievalTable = DEFAULT_RETRIEVAL,
        checker: SyntaxChecker | None = None,
    ) -> None:
        self._source = source
        self._most_bytes = table.context_bytes
        self._checker = checker

    async def process(self, given: CodeCheckerModel, run: Run) -> CodeCheckerOutput:
        """Compare each block of code with the passages, check the syntax of the model's own blocks, and send the note."""
        blocks = fenced_code(given.text)
        note, syntax = "", Syntax.NONE
        if blocks and given.complete:
            shown = await self._source.passages(given.evidence, self._most_bytes) if given.evidence else ()
            own = own_blocks([one.code for one in blocks], [one.text for one in shown])
            faults = {
                number: await self._faults(blocks[number - 1]) if place < _MOST_CHECKED else None
                for place, number in enumerate(own)
            }
            note, syntax = code_note(len(blocks), faults), _syntax(faults)
        if len((given.text + note).encode()) > MAX_ANSWER_BYTES:
            note = ""
        emit_text(note, run, len(given.text.encode()))
        return CodeCheckerOutput(text=given.text + note, complete=given.complete, syntax=syntax)

    async def _faults(self, block: FencedCode) -> Sequence[SyntaxFault] | None:
        return None if self._checker is None else await self._checker.faults(block.language, block.code)


_MOST_CHECKED: Final = 4
"""The maximum number of blocks whose syntax is checked. The rest counts as unchecked."""
_MOST_MESSAGE: Final = 120


def own_blocks(blocks: Sequence[str], passages: Sequence[str]) -> Sequence[int]:
    """The numbers, from 1, of the blocks of code that are not word for word in a passage."""
    known = [_lines(one) for one in passages]
    return [
        number
        for number, one in enumerate(blocks, 1)
        if not any(_within(_lines(one), all_) for all_ in known)
    ]


def code_note(count: int, own: Mapping[int, Sequence[SyntaxFault] | None]) -> str:
    """The note on `count` blocks of code, which begins with an empty line. own: the faults of the model's own blocks, by number; None for a block that was not checked."""
    if not own:
        return "\n\n*The code in this answer is word for word from the passages.*"
    if len(own) == count:
        what = "The code in this answer was" if count == 1 else "All code in this answer was"
    else:
        places = ", ".join(map(str, own))
        what = f"Of the {count} blocks of code, number{'s' * (len(own) > 1)} {places} {'were' if len(own) > 1 else 'was'}"
    rest = "" if len(own) == count else " The others are word for word from the passages."
    said = {number: _said(faults) for number, faults in own.items()}
    if len(set(said.values())) == 1:
        return f"\n\n*{what} written by the model, and its syntax {next(iter(said.values()))}.{rest}*"
    each = "; ".join(f"the syntax of number {number} {one}" for number, one in said.items())
    return f"\n\n*{what} written by the model: {each}.{rest}*"


def _said(faults: Sequence[SyntaxFault] | None) -> str:
    if faults is None:
        return "is unchecked"
    if not faults:
        return "was checked and has no errors"
    message = " ".join(faults[0].message.split()).rstrip(".")[:_MOST_MESSAGE]
    return f"was checked and has an error in line {faults[0].line} ({escaped(message)})"


def _syntax(own: Mapping[int, Sequence[SyntaxFault] | None]) -> Syntax:
    if any(own.values()):
        return Syntax.INVALID
    if None in own.values():
        return Syntax.UNCHECKED
    return Syntax.VALID if own else Syntax.NONE


def _lines(text: str) -> Sequence[str]:
    """The lines with a visible character, without white space around them."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _within(block: Sequence[str], text: Sequence[str]) -> bool:
    """Whether the lines of a block follow each other in a text."""
    size = len(block)
    return any(list(text[place : place + size]) == list(block) for place in range(len(text) - size + 1))


CODE_CHECKER: Final = NodeKind(
    lambda parts, _, __: CodeChecker(
        required(parts.source, "source of evidence"), parts.traits.retrieval, parts.syntax
    ),
    CodeCheckerModel,
    CodeCheckerOutput,
    streams=True,
)
