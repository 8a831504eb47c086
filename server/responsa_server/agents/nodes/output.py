"""Fills in a template, or sends a text that an earlier node wrote but did not send. The text is unchanged or prepared for publication."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field

from responsa_server.agents.engine.answer_text import emit_text
from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.citations import AnswerModel, Mark
from responsa_server.agents.engine.config import TEMPLATE, Texts, Traits
from responsa_server.agents.engine.failed_tools import failures_said, without_documents
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import (
    Announcement,
    Node,
    NodeModel,
    NodeOptions,
    Offered,
    Run,
    TemplateName,
)
from responsa_server.agents.engine.prompts import PromptSet
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import MAX_ANSWER_BYTES, AnswerOutcome, Fallback, FallbackKind, Step
from responsa_server.text.disarming import Disarmer, disarm, links


class OutputModel(NodeModel):
    """The answer's text, and whether it is complete."""

    text: str
    complete: bool


class Output(Node[OutputModel, OutputModel]):
    """Sends the text in pieces, unchanged."""

    input_model = OutputModel
    output_model = OutputModel

    def __init__(self, name: str) -> None:
        self.name = name

    async def process(self, inputs: OutputModel, run: Run) -> OutputModel:
        text = disarm(inputs.text, links(inputs.text), most_bytes=MAX_ANSWER_BYTES)
        emit_text(text, run)
        return OutputModel(text=text, complete=inputs.complete)


OUTPUT: Final = NodeKind(
    lambda _, __, name: Output(name),
    OutputModel,
    OutputModel,
)


Cut = tuple[int, int]
"""A range of characters to remove."""

_FENCED: Final = re.compile(r"\s*```[^\n]*\n(?P<text>.*?)\n?```\s*\Z", re.DOTALL)
_GAPS: Final = re.compile(r"\n{2}(\n+)")
_ENDS: Final = re.compile(r"[.!?…](?=\s|\Z)")


class PostOptions(NodeOptions):
    """The steps of the preparation, in the order in which they run.

    unfence: whether to remove a code fence around the whole text. prefixes: texts to remove from the beginning, such as
    “Post:”. most_bytes: the size above which the text is cut after a sentence. must_have, must_not_have: texts that the
    text must or must not contain, in upper or lower case; if the text breaks this rule, the node is unavailable. stream:
    whether this node sends the text.
    """

    unfence: bool = True
    prefixes: Texts = ()
    most_bytes: Annotated[int, Field(ge=1, le=MAX_ANSWER_BYTES)] = MAX_ANSWER_BYTES
    must_have: Texts = ()
    must_not_have: Texts = ()
    stream: bool = True


class PostInput(NodeModel):
    """A text that was not sent, the model that wrote it, and its marks."""

    text: str
    complete: bool
    model: str = ""
    marks: tuple[Mark, ...] = ()


class PostOutput(NodeModel):
    """The text for publication, with the marks at their new places."""

    text: str
    complete: bool
    marks: tuple[Mark, ...]


class PostProcessor(Node[PostInput, PostOutput]):
    """Prepares a text for publication. It only removes text, and escapes it, so that every word of the answer is the model's."""

    input_model = PostInput
    output_model = PostOutput

    def __init__(self, name: str, options: PostOptions) -> None:
        self.name = name
        self._options = options

    async def process(self, inputs: PostInput, run: Run) -> PostOutput:
        """Prepare the text. Raises Unavailable (MODEL_UNAVAILABLE) for a rejected text, so that the turn can take a detour."""
        text, marks, complete = inputs.text, inputs.marks, inputs.complete
        for cuts in (self._around, self._beginning, _gaps, _edges):
            text, marks = left_out(text, marks, list(cuts(text)))
        if len(text.encode()) > self._options.most_bytes:
            text, marks = left_out(text, marks, list(self._too_long(text)))
            complete = False
        # What was code may be none without what was removed.
        disarmer = Disarmer(lambda: links(inputs.text))
        text = disarmer.feed(text) + disarmer.end()
        marks = tuple(mark._replace(offset=disarmer.moved(mark.offset)) for mark in marks)
        self._validate(text, inputs.model)
        if self._options.stream:
            emit_text(text, run)
        return PostOutput(text=text, complete=complete, marks=marks)

    def _around(self, text: str) -> Iterator[Cut]:
        if self._options.unfence and (found := _FENCED.match(text)) is not None:
            yield 0, found.start("text")
            yield found.end("text"), len(text)

    def _beginning(self, text: str) -> Iterator[Cut]:
        start = len(text) - len(text.lstrip())
        for prefix in self._options.prefixes:
            if text[start:].casefold().startswith(prefix.casefold()):
                yield start, start + len(prefix)
                return

    def _too_long(self, text: str) -> Iterator[Cut]:
        most = len(text.encode()[: self._options.most_bytes].decode(errors="ignore"))
        ends = [found.end() for found in _ENDS.finditer(text, 0, most)]
        yield (ends[-1] if ends else most), len(text)

    def _validate(self, text: str, model: str) -> None:
        folded = text.casefold()
        lacks = [one for one in self._options.must_have if one.casefold() not in folded]
        has = [one for one in self._options.must_not_have if one.casefold() in folded]
        if lacks or has or not text:
            raise Unavailable(
                Reason.MODEL_UNAVAILABLE,
                "The model has not written what the agent requires; ask again.",
                {"model": model, "cause": "unfit"},
                retry_after=1.0,
            )


def left_out(text: str, marks: Sequence[Mark], cuts: Sequence[Cut]) -> tuple[str, tuple[Mark, ...]]:
    """The text without some ranges of characters, and the marks at their new places. cuts: the ranges, in order and not
    adjacent.
    """
    if not cuts:
        return text, tuple(marks)
    kept, place = list[str](), 0
    # For each range: its beginning, its end, and the size of all text that was removed before it, in bytes.
    begins, ends, before = list[int](), list[int](), [0]
    at = 0
    for start, end in cuts:
        kept.append(text[place:start])
        begins.append(at + len(kept[-1].encode()))
        at = begins[-1] + len(text[start:end].encode())
        ends.append(at)
        before.append(before[-1] + at - begins[-1])
        place = end
    kept.append(text[place:])

    def moved(offset: int) -> int:
        number = bisect_left(begins, offset)
        inside = max(0, ends[number - 1] - offset) if number else 0
        return offset - before[number] + inside

    return "".join(kept), tuple(mark._replace(offset=moved(mark.offset)) for mark in marks)


def _gaps(text: str) -> Iterator[Cut]:
    cuts, start = list[Cut](), 0
    # This reads line by line, because a regular expression would be slow on long runs of spaces.
    for line in text.split("\n"):
        end = start + len(line)
        if (words := len(line.rstrip(" \t"))) < len(line):
            cuts.append((start + words, end))
        start = end + 1
    cuts += [(match.start(1), match.end(1)) for match in _GAPS.finditer(text)]
    yield from sorted(cuts)


def _edges(text: str) -> Iterator[Cut]:
    inner = text.strip()
    start = len(text) - len(text.lstrip())
    if start:
        yield 0, start
    if start + len(inner) < len(text):
        yield start + len(inner), len(text)


POST_PROCESSOR: Final = NodeKind(
    lambda _, options, name: PostProcessor(name, options),
    PostInput,
    PostOutput,
    PostOptions,
    fallback=FallbackKind.PASSAGES,
)


WITHOUT_MODEL: Final = "without_model"
NO_MODEL: Final = "No language model is configured"
NEVER_A_MODEL: Final = "This agent uses no language model"
MODEL_AWAY: Final = "The language model is not available"
OFFERED: Final = Offered(
    trusted=frozenset({"agent", "teacher", WITHOUT_MODEL, "questions", "failed"}),
    untrusted=frozenset({"question"}),
)


class TemplateOptions(NodeOptions):
    """template: the file `prompts/NAME.md`."""

    template: TemplateName


class TemplateInput(NodeModel):
    """The values for the template, the results of tools, and the fallbacks of the turn so far."""

    question: str
    standalone_question: str = ""
    teacher: str = ""
    results: tuple[ResultModel, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()


class TemplateOutput(NodeModel):
    """The whole text. model: `template`."""

    answer: AnswerModel
    model: str


class Template(Node[TemplateInput, TemplateOutput]):
    """Fills in the template and sends the text. If no model is configured and the template has the variable `without_model`, the
    turn reports that the template replaced a model.
    """

    input_model = TemplateInput
    output_model = TemplateOutput
    announcement = Announcement(Step.GENERATING, "Generating response...")
    replaces_model = FallbackKind.TEMPLATE

    def __init__(
        self,
        prompts: PromptSet,
        template: str,
        name: str = "template",
        *,
        traits: Traits | None = None,
        has_model: bool = False,
    ) -> None:
        """has_model: whether the agent has a model. If so, the variable `without_model` says that the model is
        unavailable, and this node does not report a fallback.
        """
        self.name = name
        self._prompts = prompts
        self._template = template
        self._traits = traits or Traits()
        self._has_model = has_model

    async def process(self, inputs: TemplateInput, run: Run) -> TemplateOutput:
        """Fill in the template and send the text. Raises PromptError if the template cannot be filled in."""
        missed = not self._has_model and not self._traits.model.asks_none
        if missed and WITHOUT_MODEL in self._prompts.front(self._template).variables:
            run.fell_back(Fallback(FallbackKind.TEMPLATE, "model", self.name, "no_model"))
        whole = self._prompts.text(self._template, self._values(inputs)).replace("\x00", "\ufffd")
        text = disarm(whole, [self._prompts.source(self._template).body], most_bytes=MAX_ANSWER_BYTES)
        emit_text(text, run)
        fits = len(whole.encode()) <= MAX_ANSWER_BYTES
        outcome = AnswerOutcome.COMPLETE if fits else AnswerOutcome.OUTPUT_LIMIT
        return TemplateOutput(
            answer=AnswerModel(text=text, citations=(), outcome=outcome, passages_used=0), model=TEMPLATE
        )

    def _values(self, inputs: TemplateInput) -> Mapping[str, object]:
        return {
            "agent": self._traits.name,
            "questions": tuple(self._traits.questions),
            "teacher": inputs.teacher,
            WITHOUT_MODEL: MODEL_AWAY
            if self._has_model
            else NEVER_A_MODEL
            if self._traits.model.asks_none
            else NO_MODEL,
            "question": inputs.standalone_question or inputs.question,
            "failed": " ".join(
                filter(
                    None,
                    [without_documents(inputs.fallbacks, self._traits), failures_said(inputs.results)],
                )
            ),
        }


KIND: Final = NodeKind(
    lambda parts, options, name: Template(
        required(parts.prompts, "set of prompts"),
        options.template,
        name,
        traits=parts.traits,
        has_model=parts.model is not None,
    ),
    TemplateInput,
    TemplateOutput,
    TemplateOptions,
    offers=OFFERED,
)
