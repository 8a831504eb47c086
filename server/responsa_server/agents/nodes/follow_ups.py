"""Writes the questions that an answer suggests to ask next."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from responsa_server.agents.engine.asking import FAILURES, Asker, Shape, offered
from responsa_server.agents.engine.background_model import plain_line
from responsa_server.agents.engine.citations import AnswerModel, split
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import Node, NodeModel, NodeOptions, PromptName, Run
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.agents.nodes.searching import distinct
from responsa_server.domain.events import MAX_FOLLOW_UPS

MAX_CHARACTERS: Final = 160
_MOST_READ_BYTES: Final = 4096


class FollowUpOptions(NodeOptions):
    """prompt: the file `prompts/NAME.md`. most: the maximum number of questions."""

    prompt: PromptName = "follow_ups"
    most: Annotated[int, Field(ge=1, le=MAX_FOLLOW_UPS)] = MAX_FOLLOW_UPS


class FollowUpInput(NodeModel):
    """The question, and the answer as the model wrote it (`text`) or as it was checked (`answer`)."""

    question: str
    standalone_question: str = ""
    text: str = ""
    answer: AnswerModel | None = None


class FollowUpOutput(NodeModel):
    """follow_ups: questions that the user may ask next; empty without a model, or if the model fails."""

    follow_ups: tuple[str, ...] = Field(max_length=MAX_FOLLOW_UPS)


class Suggested(NodeModel):
    """The model's reply."""

    questions: tuple[str, ...]


class FollowUps(Node[FollowUpInput, FollowUpOutput]):
    """Asks a model once for questions that the user may ask next. The answer is complete without them, so a failure is no fallback."""

    input_model = FollowUpInput
    output_model = FollowUpOutput
    has_rule = True

    def __init__(self, name: str, asker: Asker | None, options: FollowUpOptions) -> None:
        self.name = name
        self.calls_model = asker is not None
        self._asker = asker
        self._options = options
        self._shape = Shape(Suggested)

    async def process(self, inputs: FollowUpInput, run: Run) -> FollowUpOutput:
        """Ask. Nobody can trust the questions, because the answer may have told the model what to say: each is put on
        one line without control characters and marks of data, and those that are too long or repeat others are
        dropped."""
        text = inputs.answer.text if inputs.answer is not None else inputs.text
        if self._asker is None or not text:
            return FollowUpOutput(follow_ups=())
        question = inputs.standalone_question or inputs.question
        untrusted = Untrusted(question, others={"answer": next(iter(split(text, _MOST_READ_BYTES)))})
        trusted = {"most": self._options.most, "formats": self._shape.text}
        try:
            prompt = self._asker.prompt(run, self._options.prompt, trusted, untrusted, self._shape.schema)
            said = self._shape.read(await self._asker.raw(prompt, run), run.nonce)
        except FAILURES:
            return FollowUpOutput(follow_ups=())
        lines = [plain_line(one) for one in said.questions]
        found = distinct(
            [one for one in lines if len(one) <= MAX_CHARACTERS], except_for=[question, inputs.question]
        )
        return FollowUpOutput(follow_ups=tuple(found[: self._options.most]))


KIND: Final = NodeKind(
    lambda parts, options, name: FollowUps(name, parts.deciding_asker(options.prompt), options),
    FollowUpInput,
    FollowUpOutput,
    FollowUpOptions,
    offers=offered("most", untrusted=("question", "answer")),
)
