"""Rewrites a follow-up question as a standalone one."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from responsa_server.agents.engine.asking import FAILURES, Asker, Shape, ask_typed, cause, offered
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, NodeOptions, PromptName, Run
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.agents.engine.rewriting import standalone
from responsa_server.agents.engine.state import Said
from responsa_server.domain.events import Fallback, FallbackKind, Step
from responsa_server.domain.turns import MAX_QUESTION_BYTES

OFFERED = offered(untrusted=("question", "history", "summary"))
"""The variables for this node's prompts."""


class RewriterOptions(NodeOptions):
    """prompt: the file `prompts/NAME.md`, by which a model rewrites; "" rewrites by rule alone."""

    prompt: PromptName = ""


class RewriteInput(NodeModel):
    """The question and the history; summary: of the messages before the history."""

    question: str
    history: tuple[Said, ...] = ()
    summary: str = ""


class RewriteOutput(NodeModel):
    """standalone_question: "" if the question needs no rewriting."""

    standalone_question: str


class Rewritten(NodeModel):
    """What a model answers: the question as it can be understood alone."""

    query: str = Field(min_length=1, max_length=MAX_QUESTION_BYTES)


class Rewrite(Node[RewriteInput, RewriteOutput]):
    """Adds the subject of the last answer: by a model, else, or after its failure, by rule."""

    name = "rewrite"
    input_model = RewriteInput
    output_model = RewriteOutput
    has_rule = True
    announcement = Announcement(Step.REWRITING, "Rephrasing your question...")

    def __init__(self, asker: Asker | None = None, prompt: str = "") -> None:
        self._asker = asker
        self._prompt = prompt
        self._shape = Shape(Rewritten)
        self.calls_model = asker is not None

    async def process(self, given: RewriteInput, run: Run) -> RewriteOutput:
        """Rewrite. Without a history no model is asked."""
        if self._asker is not None and (given.history or given.summary):
            try:
                return RewriteOutput(standalone_question=await self._asked(self._asker, given, run))
            except FAILURES as error:
                run.fell_back(Fallback(FallbackKind.RULE, self.name, "rule", cause(error)))
        return RewriteOutput(standalone_question=standalone(given.question, given.history) or "")

    async def _asked(self, asker: Asker, given: RewriteInput, run: Run) -> str:
        untrusted = Untrusted(given.question, given.history, others={"summary": given.summary})
        answer = await ask_typed(asker, run, self._prompt, self._shape, {}, untrusted)
        rewritten = " ".join(answer.query.split())
        same = rewritten.casefold() == " ".join(given.question.split()).casefold()
        return "" if same or len(rewritten.encode()) > MAX_QUESTION_BYTES else rewritten


KIND: Final = NodeKind(
    lambda parts, options, _: Rewrite(parts.decider(options.prompt), options.prompt),
    RewriteInput,
    RewriteOutput,
    RewriterOptions,
    offers=OFFERED,
)
