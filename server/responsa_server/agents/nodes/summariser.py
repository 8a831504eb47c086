"""Summarises the messages before the history."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from responsa_server.agents.engine.asking import FAILURES, Asker, cause, offer
from responsa_server.agents.engine.citations import split
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import Node, NodeModel, NodeOptions, Policy, PromptName, Run
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.agents.engine.state import StateMessage
from responsa_server.domain.conversations import MAX_SUMMARY_BYTES, Summaries, Summary
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import Fallback, FallbackKind, VersionRead

OFFERED: Final = offer(untrusted=("history", "summary"))
NEWS: Final = 10
"""The model writes a new summary when the stored summary leaves out at least this many messages."""
_RULED_BYTES: Final = 1024
MOST_READ_BYTES: Final = 12 * 1024
"""The maximum size of the messages that a model summarises at once. With the instructions, they fit into a small model's window."""
_MESSAGE_BYTES: Final = 2048
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_SENTENCE_BYTES: Final = 200


class SummaryOptions(NodeOptions):
    """prompt: the prompt with which to ask a model; "" to summarise by rule."""

    prompt: PromptName = ""


class SummaryInput(NodeModel):
    """The messages before the history, oldest first."""

    older: tuple[StateMessage, ...] = ()


class SummaryOutput(NodeModel):
    """summary: the summary, at most 4 KiB; "" if there are no messages or no summary could be made."""

    summary: str


class Summarise(Node[SummaryInput, SummaryOutput]):
    """Summarises the messages before the history.

    Without a model, the summary consists of the first sentences of the messages. With a model, the node returns the stored
    summary and the first sentences of the newer messages. The model writes a new summary if there is no stored summary or if
    at least 10 messages are newer.
    """

    input_model = SummaryInput
    output_model = SummaryOutput
    has_rule = True
    policy = Policy(timeout_seconds=60.0)

    def __init__(
        self,
        name: str,
        options: SummaryOptions,
        asker: Asker | None = None,
        summaries: Summaries | None = None,
    ) -> None:
        self.name = name
        self.calls_model = asker is not None
        self._asker = asker
        self._prompt = options.prompt
        self._summaries = summaries

    async def process(self, inputs: SummaryInput, run: Run) -> SummaryOutput:
        """Summarise. If the model fails, the turn continues with the old summary or without a summary, and reports this
        fallback.
        """
        if not inputs.older:
            return SummaryOutput(summary="")
        if self._asker is None:
            return SummaryOutput(summary=first_sentences(inputs.older))
        stored = await self._find(run)
        if stored is not None:
            run.read(stored.read)
        uncovered = inputs.older[_count_covered(stored, inputs.older) :]
        if stored is not None and len(uncovered) < NEWS:
            return SummaryOutput(summary="\n".join(filter(None, [stored.text, first_sentences(uncovered)])))
        before = stored.text if stored is not None else ""
        read = newest(uncovered)
        # If the model cannot read all messages, only the first sentences of the older messages are used.
        notes = "\n".join(filter(None, [before, first_sentences(uncovered[: len(uncovered) - len(read)])]))
        untrusted = Untrusted("", read, others={"summary": notes})
        try:
            text = await self._asker.text(self._asker.prompt(run, self._prompt, {}, untrusted), run)
        except FAILURES as error:
            lost = Fallback(FallbackKind.WITHOUT_SUMMARY, self._asker.model.name, self.name, cause(error))
            run.fell_back(lost)
            return SummaryOutput(summary=before)
        text = _shorten(text, MAX_SUMMARY_BYTES)
        drawn_from = dict.fromkeys((*(stored.read if stored is not None else ()), *run.earlier))
        await self._keep(run, text, inputs.older[-1], tuple(drawn_from))
        return SummaryOutput(summary=text)

    async def _find(self, run: Run) -> Summary | None:
        if self._summaries is None or run.conversation_id is None:
            return None
        try:
            return await self._summaries.find(run.caller, run.conversation_id)
        except Unavailable:  # then the summary is created again
            return None

    async def _keep(self, run: Run, text: str, last: StateMessage, read: Sequence[VersionRead]) -> None:
        if self._summaries is None or run.conversation_id is None or not last.id:
            return
        try:
            await self._summaries.keep(run.caller, run.conversation_id, Summary(text, UUID(last.id), read))
        except Unavailable:  # then the next turn creates the summary again
            return


def newest(messages: Sequence[StateMessage]) -> Sequence[StateMessage]:
    """The newest messages that together fit into 12 KiB, oldest first. Each message is cut to its first 2 KiB."""
    selected: list[StateMessage] = []
    left = MOST_READ_BYTES
    for message in reversed(messages):
        cut = message.model_copy(update={"text": _shorten(message.text, _MESSAGE_BYTES)})
        left -= len(cut.text.encode())
        if left < 0:
            break
        selected.append(cut)
    return selected[::-1]


def first_sentences(messages: Sequence[StateMessage]) -> str:
    """The first sentences of the newest messages, as many as fit into 1 KiB."""
    lines: list[str] = []
    left = _RULED_BYTES
    for message in reversed(messages):
        sentence = _shorten(_SENTENCE.split(message.text.strip(), maxsplit=1)[0], _SENTENCE_BYTES)
        line = f"{message.speaker.value}: {sentence}"
        left -= len(line.encode()) + 1
        if left < 0:
            break
        lines.append(line)
    return "\n".join(reversed(lines))


def _count_covered(stored: Summary | None, older: Sequence[StateMessage]) -> int:
    if stored is None:
        return 0
    through = str(stored.through)
    return next((index + 1 for index, message in enumerate(older) if message.id == through), 0)


def _shorten(text: str, most_bytes: int) -> str:
    return next(iter(split(text, most_bytes)), "").rstrip()


KIND: Final = NodeKind(
    lambda parts, options, name: Summarise(name, options, parts.asker(options.prompt), parts.summaries),
    SummaryInput,
    SummaryOutput,
    SummaryOptions,
    offers=OFFERED,
)
